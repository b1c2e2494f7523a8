"""Models that exist already as surrogates and victims of one scenario: what is C0, and that it is no transfer."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from tests.scenarios.conftest import Carom, one_line

from carom.scenarios.cases import UNDECLARED
from carom.scenarios.plan.cost import estimate
from carom.scenarios.plan.plan import plan
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import load_scenario
from carom.scenarios.statistics import group_table
from carom.scenarios.statistics.rates import white_box_asr
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes, read_rates
from carom.scenarios.tables.which import show_run
from carom.zoo.architectures import architecture
from carom.zoo.models.checkpoints import save_state_dict
from carom.zoo.models.classifier import create

NETWORKS: dict[str, str | dict[str, object]] = {
    "one": "lenet",
    "two": {"name": "mlp", "width": 9},
    "three": {"name": "mlp", "width": 7},
}
PAIRS = [*itertools.combinations(NETWORKS, 2)]


@pytest.fixture
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files of weights."""
    monkeypatch.chdir(tmp_path)
    for seed, (name, network) in enumerate(NETWORKS.items()):
        made = create(architecture(network), shape=(1, 6, 5), classes=3, seed=seed)
        save_state_dict(made, tmp_path / f"{name}.safetensors")


def model(name: str, more: str = "") -> str:
    return f'{{model = "{name}.safetensors", name = "{name}"{more}}}'


def matrix(tiny: str, *, itself: bool = True) -> str:
    """Three networks, each a victim and a surrogate, and each pair and all three a surrogate; the tiny task."""
    head = tiny.split("[models]")[0].replace('["fgsm", "mi"]', '["fgsm"]').replace("per_source = 21", "per_source = 9")
    text = f"itself = {str(itself).lower()}\n{head}"
    for name in NETWORKS:
        text += f'[[surrogates]]\nmodel = "{name}.safetensors"\nname = "{name}"\n'
        text += f'[[victims]]\nmodel = "{name}.safetensors"\nname = "{name}"\n'
    for some in (*PAIRS, tuple(NETWORKS)):
        text += f'[[surrogates]]\nmodels = [{", ".join(map(model, some))}]\nname = "{"+".join(some)}"\n'
    return text


def read_of() -> dict[tuple[str, str], bool]:
    """Whether a victim was read when a surrogate's sets were made."""
    surrogates = [*((name,) for name in NETWORKS), *PAIRS, tuple(NETWORKS)]
    return {("+".join(read), victim): victim in read for read in surrogates for victim in NETWORKS}


def test_a_matrix_of_existing_models_has_c0_where_the_victim_was_read_and_nowhere_else(
    networks: None, tiny: str, tmp_path: Path
) -> None:
    file = tmp_path / "matrix.toml"
    file.write_text(matrix(tiny))
    report = run_scenario(load_scenario(str(file)), tmp_path / "store", workers=0)
    assert not report.failures
    with Store(tmp_path / "store") as store:
        every = read_outcomes(store, report.run)
        rates = read_rates(store, report.run)
        shown = {table.name: table.frame for table in show_run(store, report.run)}
    outcomes = every.where(~every.control)
    cells, expected = outcomes.cells.assign(transfer=outcomes.transfer), read_of()
    found = {(row.surrogate, row.victim): (row.case, row.transfer) for row in cells.itertuples()}
    assert found == {pair: (0, False) if read else (UNDECLARED, True) for pair, read in expected.items()}
    assert len(cells) == len(expected)  # each once
    of_case = dict(zip(shown["cases"]["case_number"], shown["cases"]["cells"], strict=True))
    assert (of_case[0], of_case[UNDECLARED]) == (3 + 3 * 2 + 3, 3 * 2 + 3)
    counted = rates[~rates["control"]]
    assert {(r.surrogate, r.victim): r.case == 0 for r in counted.itertuples()} == expected
    counts = outcomes.right.sum(1)[outcomes.victim_index]
    clean = dict(zip(cells["victim"], map(int, counts), strict=True))
    n: dict[str, int] = {}
    for (surrogate, victim), read in expected.items():
        if not read:
            n[surrogate] = n.get(surrogate, 0) + clean[victim]
    assert {row.surrogate: row.n for row in group_table(every, ("surrogate",)).itertuples()} == n


def test_victims_that_are_surrogates_are_met_where_surrogates_do_not_meet_themselves(
    networks: None, tiny: str, tmp_path: Path
) -> None:
    file = tmp_path / "matrix.toml"
    file.write_text(matrix(tiny, itself=False))
    planned = plan(load_scenario(str(file)))
    names = {key: label for key, role, label in planned.roles if role == "victim"}
    cells = [(planned.sets[c.set_key].surrogate, names[c.victim_key], c.case == 0) for c in planned.cells]
    ours = [cell for cell in cells if cell[0] is not None]
    assert sorted(map(str, ours)) == sorted(str((*pair, read)) for pair, read in read_of().items())


def test_a_victim_that_is_one_model_of_an_ensemble_does_not_stand_for_it(
    networks: None, tiny: str, tmp_path: Path
) -> None:
    """Nobody asked its other models, so what transfers is compared with no white box."""
    text = matrix(tiny, itself=False)
    for name in ("two", "three"):
        text = text.replace(f'[[victims]]\nmodel = "{name}.safetensors"\nname = "{name}"\n', "")
    file = tmp_path / "few.toml"
    file.write_text(text)
    report = run_scenario(load_scenario(str(file)), tmp_path / "store", workers=0)
    with Store(tmp_path / "store") as store:
        outcomes = read_outcomes(store, report.run)
    known = dict(zip(outcomes.cells["surrogate"], ~np.isnan(white_box_asr(outcomes)), strict=True))
    assert {name: known[name] for name in known if name} == {
        "one": True,
        **dict.fromkeys(("two", "three", "one+two", "one+three", "two+three", "one+two+three"), False),
    }


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ('[[surrogates]]\nmodel = "one.safetensors"\nname = "a"', ["two roles", "'a'", "'one'", "call both alike"]),
        (
            '[[surrogates]]\nmodel = "one.safetensors"\nname = "one"\npreprocessing = {mean = [0.1], std = [0.2]}',
            ["two roles", "read in one way", "the same settings"],
        ),
        ('[[surrogates]]\nmodel = "two.safetensors"\nname = "one"', ["both called 'one'"]),
        (
            '[[surrogates]]\nmodel = "two.safetensors"\n[[validation_victims]]\nmodel = "one.safetensors"\nname = "x"',
            ["two roles", "victim 'one'", "validation victim 'x'"],
        ),
        (
            '[[surrogates]]\nmodel = "two.safetensors"\n[[victims]]\nmodel = "two.safetensors"\ndefense = "jpeg"',
            ["two roles"],
        ),
    ],
)
def test_what_stays_refused(
    tables: str, words: list[str], networks: None, tiny: str, tmp_path: Path, carom: Carom
) -> None:
    head = tiny.split("[models]")[0]
    file = tmp_path / "roles.toml"
    file.write_text(f'{head}{tables}\n[[victims]]\nmodel = "one.safetensors"\nname = "one"\n')
    one_line(carom("plan", file), *words)


NET = """
import torch
class Rounds(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(30, 3)
    def forward(self, x): return self.net(x.detach().flatten(1))
"""


def test_a_victim_without_gradients_is_no_surrogate_though_it_was_checked_as_a_victim(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carom: Carom
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nets_of_both_roles.py").write_text(NET)
    both = 'model = "nets_of_both_roles:Rounds"\n'
    file = tmp_path / "rounds.toml"
    file.write_text(f"{tiny.split('[models]')[0]}[[surrogates]]\n{both}[[victims]]\n{both}")
    one_line(carom("plan", file), "nets_of_both_roles:Rounds", "no gradient reaches")


SLOW = """
import time
import torch
class Slow(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(30, 3)
    def forward(self, x):
        time.sleep(0.01 * len(x))
        return self.net(x.flatten(1))
"""


def test_the_time_expected_of_existing_models_is_what_they_take(
    tiny: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network of 10 ms an image forward, and of no time back: a pass of an attack takes 5 ms on average."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "nets_that_sleep.py").write_text(SLOW)
    both = 'model = "nets_that_sleep:Slow"\nrevision = "1"\n'
    file = tmp_path / "slow.toml"
    file.write_text(f"{tiny.split('[models]')[0]}[[surrogates]]\n{both}[[victims]]\n{both}")
    found = estimate(load_scenario(str(file)), tmp_path / "store", workers=1)
    assert found["time rests on"] == "what these models take here"
    passes = dict(re.findall(r"(craft|evaluate) ([\d,]+)", found["image passes"]))
    craft, evaluate = (int(passes[kind].replace(",", "")) for kind in ("craft", "evaluate"))
    minutes = float(found["time expected"].split()[1])
    assert minutes == pytest.approx((0.5 * craft + evaluate) * 0.01 / 60, rel=0.5)
