"""`carom suite build`, `run` and `calibrate`: from a scenario to a file that needs nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.scenarios.conftest import TINY, Carom
from torch import nn

from carom.budget import Budget
from carom.errors import ModelError, StoreError
from carom.scenarios.gates.ask import ask_suite
from carom.scenarios.gates.freeze import freeze
from carom.scenarios.gates.suite import Suite, read_suite
from carom.scenarios.statistics import cell_rates
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import find_run
from carom.scenarios.store.schema import artifacts, run_sets

SMALL = (('["uniform", "tv0.2"]', '"uniform"'), ('[{name = "mlp", width = 12}, "lenet"]', '{name = "mlp", width = 12}'))


@pytest.fixture(scope="module")
def built(tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Scenario, store and suite: two surrogates, two attacks."""
    folder = tmp_path_factory.mktemp("suite")
    text = TINY.replace("NPZ", str(tiny_npz))
    for old, new in SMALL:
        assert old in text
        text = text.replace(old, new)
    (folder / "tiny.toml").write_text(text)
    return folder / "tiny.toml", folder / "store", folder / "tiny.suite"


@pytest.fixture
def made(built: tuple[Path, Path, Path], carom: Carom) -> Suite:
    """The suite, made by the first test that asks for it."""
    scenario, store, file = built
    if not file.exists():
        done = carom("suite", "build", scenario, "-o", file, "--store", store, "--workers", 0)
        assert done.code == 0, done.err
        assert "4 adversarial sets of the same 42 images of npz" in done.out
    return read_suite(file)


def right_answers(suite: Suite) -> nn.Module:
    """A network that knows the tiny task: the bright row says the class."""

    class Rows(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 9 * x.mean((1, 3))[:, 0:6:2]

    return Rows().eval()


def test_a_suite_is_what_the_store_holds(made: Suite, built: tuple[Path, Path, Path]) -> None:
    assert [s.name for s in made.sets] == [
        f"{attack} linf 32/255 from {surrogate}"
        for surrogate in sorted({s.surrogate for s in made.sets})
        for attack in ("fgsm", "mi")
    ]
    with Store(built[1]) as store:
        outcomes = read_outcomes(store, find_run(store).id)
        cells = cell_rates(outcomes.where(outcomes.transfer))
    for one, images in zip(made.sets, made.adversarial, strict=True):
        Budget.parse(one.norm, one.eps).check(torch.from_numpy(images), torch.from_numpy(made.clean))
        assert (images != made.clean).any()
        mine = cells[(cells["surrogate"] == one.surrogate) & (cells["attack"] == one.attack)]
        assert one.strength is not None
        assert one.strength.victims == len(mine) == 2
        assert one.strength.asr == pytest.approx(mine["asr"].mean(), nan_ok=True)
        assert one.strength.robust_accuracy == pytest.approx(mine["robust_accuracy"].mean())
        assert all(len(digest) == 64 for digest in one.fingerprints)
        assert len(one.fingerprints) == 1
        assert one.axes["architecture"]
    assert len({one.fingerprints for one in made.sets}) == 2


def test_victims_of_the_run_answer_the_suite_as_they_did_in_the_run(
    made: Suite, built: tuple[Path, Path, Path], carom: Carom, tmp_path: Path
) -> None:
    trained = carom(
        "run", built[0], "--store", built[1], "--workers", 0
    )  # the same scenario: nothing is computed, and the suite's run is the store's
    assert "nothing to do" in trained.err
    from carom.scenarios.plan.plan import plan
    from carom.scenarios.spec.read import load_scenario
    from carom.scenarios.store.artifacts import read_artifact
    from carom.zoo.models.classifier import restore

    planned = plan(load_scenario(str(built[0])))
    with Store(built[1]) as store:
        outcomes = read_outcomes(store, find_run(store).id)
        rates = cell_rates(outcomes)
        for victim in planned.scenario.victims:
            key = next(k for k, m in planned.models.items() if m.label == victim.label)
            state = store.recorded("weights", [key])[key]
            model = restore(
                victim.model.configuration.architecture,  # type: ignore[union-attr]
                read_artifact(built[1], "weights", key, state.digest),
                shape=made.shape,
                classes=3,
            )
            answers = ask_suite(model, made)
            for i, one in enumerate(made.sets):
                row = rates[
                    (rates["victim"] == victim.label)
                    & (rates["surrogate"] == one.surrogate)
                    & (rates["attack"] == one.attack)
                ].iloc[0]
                assert answers.adversarial[i].mean() == pytest.approx(row["robust_accuracy"], abs=1e-12)
                assert answers.clean.sum() == row["n"]


def test_building_again_computes_nothing_and_gives_the_same_bytes(
    made: Suite, built: tuple[Path, Path, Path], carom: Carom, tmp_path: Path
) -> None:
    again = carom("suite", "build", built[0], "-o", tmp_path / "b.suite", "--store", built[1], "--json")
    assert again.code == 0
    assert len(json.loads(again.out)["suite"]) == 4
    assert (tmp_path / "b.suite").read_bytes() == built[2].read_bytes()


def test_controls_white_boxes_and_decoys_are_left_out(made: Suite) -> None:
    assert all(one.surrogate and one.attack in ("fgsm", "mi") for one in made.sets)


def test_a_freed_set_is_told(made: Suite, built: tuple[Path, Path, Path], tmp_path: Path) -> None:
    import shutil

    import sqlalchemy as sa

    shutil.copytree(built[1], tmp_path / "copy")
    with Store(tmp_path / "copy", write=True) as store, store.writing() as connection:
        one = connection.execute(sa.select(run_sets.c.artifact).where(run_sets.c.surrogate.is_not(None))).scalar()
        connection.execute(artifacts.update().where(artifacts.c.id == one).values(digest=None))
    with Store(tmp_path / "copy") as store:
        run = find_run(store).id
    with pytest.raises(StoreError, match=r"1 of 4 sets of .* are missing; run it again"):
        freeze(tmp_path / "copy", run)


def test_run_needs_forward_passes_only(
    made: Suite, built: tuple[Path, Path, Path], carom: Carom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Rows(torch.nn.Module):\n"
        "    def forward(self, x):\n"
        "        return 9 * x.mean((1, 3))[:, 0:6:2]\n"
    )
    monkeypatch.chdir(tmp_path)
    done = carom("suite", "run", built[2], "mine:Rows", "--device", "cpu", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["suite-run"]
    assert len(rows) == 5
    answers = ask_suite(right_answers(made), made)
    assert rows[-1]["robust accuracy"] == pytest.approx(answers.robust_accuracy)
    assert rows[-1]["ASR"] == pytest.approx(answers.asr)
    table = carom("suite", "run", built[2], '{model = "mine:Rows", revision = "1"}', "--device", "cpu")
    assert "reference ASR" in table.out
    for text, message in (
        ("{model = ", "no inline table of TOML"),
        ("mine:Gone", "mine has no 'Gone'"),
        ("nothing", "'nothing' names no model"),
    ):
        wrong = carom("suite", "run", built[2], text)
        assert wrong.code == 2
        assert message in wrong.error


def test_calibrate_wants_five(built: tuple[Path, Path, Path], carom: Carom) -> None:
    wrong = carom("suite", "calibrate", built[2], *["a:b"] * 4)
    assert wrong.code == 2
    assert "4 trainings; expected 5 or more" in wrong.error


def test_calibrate_proposes_an_allowance(
    made: Suite, built: tuple[Path, Path, Path], carom: Carom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seeds.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, seed):\n"
        "        super().__init__()\n"
        "        self.noise = torch.rand(3, generator=torch.Generator().manual_seed(seed)) * 4\n"
        "    def forward(self, x):\n"
        "        return 9 * x.mean((1, 3))[:, 0:6:2] + self.noise\n"
        + "".join(f"def s{i}(): return Net({i})\n" for i in range(5))
    )
    monkeypatch.chdir(tmp_path)
    done = carom("suite", "calibrate", built[2], *(f"seeds:s{i}" for i in range(5)), "--device", "cpu", "--json")
    assert done.code == 0, done.err
    rows = json.loads(done.out)["calibration"]
    spread = np.std([row["robust accuracy"] for row in rows], ddof=1)
    assert spread > 0
    assert 2.1318 * spread * 2**0.5 <= rows[0]["allowance"] <= 2.1319 * spread * 2**0.5 + 0.001


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x.mean((1, 3))[:, :3].softmax(1), "probabilities, where logits are expected"),
        (lambda x: x.mean((1, 3))[:, :4], "answers with 4 classes, the task has 3"),
        (lambda x: x.mean((1, 3))[:1, :3], "answered 8 images with 1 rows"),
        (lambda x: x.mean((1, 3))[:, :3] * float("nan"), "nan; expected finite numbers"),
        (lambda x: x.argmax(9), "failed on images"),
    ],
)
def test_a_model_that_cannot_be_judged_is_refused(
    made: Suite, answer: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return answer(x)

    with pytest.raises(ModelError, match=message):
        ask_suite(Model(), made, name="mine")


def test_nan_on_a_late_image_is_refused_too(made: Suite) -> None:
    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            last = x.flatten(1).eq(torch.from_numpy(made.clean[-1]).flatten() / 255).all(1)
            return torch.where(last[:, None], torch.nan, x.mean((1, 3))[:, :3])

    with pytest.raises(ModelError, match="is nan; expected finite numbers"):
        ask_suite(Model(), made)


def test_a_model_is_afterwards_as_it_was(made: Suite) -> None:
    model = nn.Sequential(right_answers(made), nn.Dropout(0.5), nn.BatchNorm1d(3).eval()).train()
    model[0].eval()
    model[2].eval()
    before = [part.training for part in model.modules()]
    ask_suite(model, made)
    assert [part.training for part in model.modules()] == before
    assert not all(before)


def test_output_is_checked_before_anything_is_computed(
    built: tuple[Path, Path, Path], carom: Carom, tmp_path: Path
) -> None:
    for name, message in (("a.npz", "expected a name that ends in .suite"), ("gone/a.suite", "is not a folder")):
        wrong = carom("suite", "build", built[0], "-o", tmp_path / name, "--store", tmp_path / "new")
        assert wrong.code == 2
        assert message in wrong.error
    assert not (tmp_path / "new").exists()
