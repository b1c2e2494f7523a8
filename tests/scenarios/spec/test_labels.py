"""What models are called that a file does not name."""

from collections.abc import Callable
from pathlib import Path

from tests.scenarios.conftest import SMALL

from carom.scenarios.plan.plan import Plan, plan
from carom.scenarios.spec.read import load_scenario

Write = Callable[..., Path]


def planned(path: Path) -> Plan:
    return plan(load_scenario(str(path)))


def test_labels_name_what_varies(scenario: Write) -> None:
    made = planned(scenario())
    labels = {v.label for v in made.scenario.victims}
    assert "here/uniform/mlp(width=12)/s2" in labels
    assert "there/tv0.2/lenet/s2" in labels
    assert len(labels) == 8
    varied = planned(scenario(*SMALL, ("seed = 2", "seed = 2\nn = [30, 60]")))
    assert {v.label for v in varied.scenario.victims} == {
        "here/uniform/mlp(width=12)/30/s2",
        "here/uniform/mlp(width=12)/60/s2",
    }
    named = planned(scenario(*SMALL, ("seed = 2", 'seed = 2\nname = "ours"')))
    assert [v.label for v in named.scenario.victims] == ["ours"]
    attacks = planned(scenario(*SMALL, ('"fgsm", "mi"', '{name = "mi", steps = [3, 4], targeted = true}')))
    assert [a.label for a in attacks.scenario.attacks] == ["mi steps=3 targeted", "mi steps=4 targeted"]
