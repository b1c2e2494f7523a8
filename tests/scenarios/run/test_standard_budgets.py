"""Every control, of real sets, at the budgets that the field uses: a sound run raises no alarm."""

from collections.abc import Callable
from pathlib import Path

import pytest

from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.attacks import SCENARIO_CONTROLS
from carom.scenarios.spec.read import load_scenario
from carom.scenarios.statistics import controls
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes

STANDARD = (
    '[{norm = "linf", eps = ["2/255", "4/255", "8/255", "16/255"]}, {norm = "l2", eps = ["0.5", 1, 3]}]'  # of the field
)


@pytest.mark.thorough
def test_no_control_fails_on_a_sound_run(scenario: Callable[..., Path], tmp_path: Path) -> None:
    file = scenario(
        ('source = ["here", "there"]', 'source = "here"'),
        ('attacks = ["fgsm", "mi"]', 'attacks = ["fgsm", {name = "pgd", steps = 3}]'),
        ('[{norm = "linf", eps = "32/255"}]', STANDARD),
        ("[[victims]]\nseed = 2", '[[victims]]\nseed = 2\nbalance = "uniform"\narchitecture = "lenet"'),
    )
    report = run_scenario(load_scenario(str(file)), tmp_path / "store", workers=0)
    assert not report.failures
    with Store(tmp_path / "store") as store:
        outcomes = read_outcomes(store, report.run)
    assert outcomes.sets is not None
    assert set(SCENARIO_CONTROLS) <= set(outcomes.sets["attack"])
    checks = {check.name: check for check in controls(outcomes)}
    assert {name: c.came for name, c in checks.items() if c.status in ("failed", "not run")} == {}
    assert checks["size / eps"].numbers["highest"] == 1.0
