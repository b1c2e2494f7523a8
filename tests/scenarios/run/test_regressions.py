"""Faults that were found once, each with the run that showed it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.scenarios.conftest import Carom

from carom.scenarios.plan.plan import plan
from carom.scenarios.spec.read import load_scenario
from carom.scenarios.store.database import Store
from carom.scenarios.store.schema import clean, image_sets

Scenario = Callable[..., Path]
ONE_MODEL = (
    ('source = ["here", "there"]', 'source = "here"'),
    ('balance = ["uniform", "tv0.2"]', 'balance = "uniform"'),
    ('architecture = [{name = "mlp", width = 12}, "lenet"]', 'architecture = {name = "mlp", width = 12}'),
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def test_a_victim_whose_training_nobody_declared_has_a_row_of_its_own(
    carom: Carom, scenario: Scenario, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "judge_of_rows.py").write_text("def judge(x):\n    return x.flatten(1).sum(1).long() % 3\n")
    monkeypatch.chdir(tmp_path)
    file = scenario(*ONE_MODEL)
    file.write_text(file.read_text() + '\n[[victims]]\nmodel = "judge_of_rows:judge"\nanswers = "labels"\n')
    assert carom("run", file, "--store", store, "--workers", 0).code == 0
    tables = json.loads(carom("show", "--json", "--store", store).out)
    rows = [row for row in tables["cases"] if row["surrogate_seeds"] and row["case_number"] != -1]
    cases = [(row["case"], row["cells"]) for row in rows]
    assert cases == [("C0", 2), ("C1", 2), ("C?", 2)]
    assert {row["victim"] for row in tables["by-victim"]} == {"here/uniform/mlp(width=12)/s2", "judge_of_rows:judge"}


@pytest.mark.thorough
def test_freed_sets_are_crafted_again_only_for_a_new_victim_and_targets_are_those_of_the_split(
    carom: Carom, scenario: Scenario, store: Path
) -> None:
    targeted = ('attacks = ["fgsm", "mi"]', 'attacks = ["fgsm", {name = "mi", targeted = true}]')
    file = scenario(*ONE_MODEL, targeted)
    file.write_text(file.read_text() + "\n[[validation_victims]]\nseed = 3\n")
    assert carom("run", file, "--store", store, "--workers", 0).code == 0
    shown = [carom("show", "--json", "--store", store, "--split", split) for split in ("test", "validation")]
    assert [a.code for a in shown] == [0, 0]
    assert carom("gc", "--sets", "--store", store).code == 0
    assert not list((store / "artifacts" / "sets").glob("*.safetensors"))
    again = [carom("show", "--json", "--store", store, "--split", split) for split in ("test", "validation")]
    assert [a.out for a in again] == [a.out for a in shown]
    (report,) = json.loads(carom("run", file, "--store", store, "--workers", 0, "--json").out)
    assert (report["trained"], report["crafted"], report["evaluated"]) == (0, 0, 0)
    file.write_text(file.read_text() + "\n[[victims]]\nseed = 4\n")
    (report,) = json.loads(carom("run", file, "--store", store, "--workers", 0, "--json").out)
    assert (report["trained"], report["crafted"], report["evaluated"]) == (1, 8, 8)


def test_answers_in_another_precision_are_asked_for_anew(carom: Carom, scenario: Scenario, store: Path) -> None:
    single = scenario(*ONE_MODEL)
    half = scenario(*ONE_MODEL, ('name = "tiny"', 'name = "half"\nprecision = "bfloat16"'), name="half.toml")
    assert carom("run", single, "--store", store, "--workers", 0).code == 0
    (report,) = json.loads(carom("run", half, "--store", store, "--workers", 0, "--json").out)
    assert report["trained"] == 0
    assert report["evaluated"] == report["cells"], "no cell of the float32 run stands for one in bfloat16"
    with Store(store) as opened, opened.reading() as connection:
        counts = connection.execute(sa.select(clean.c.image_set, sa.func.count()).group_by(clean.c.image_set)).all()
    assert [count for _, count in counts] == [2, 2], "clean answers of two models in two precisions"


def test_a_kill_between_images_and_their_row_is_made_good(carom: Carom, scenario: Scenario, store: Path) -> None:
    file = scenario(*ONE_MODEL)
    assert carom("run", file, "--store", store, "--workers", 0).code == 0
    shown = carom("show", "--json", "--store", store).out
    with Store(store, write=True) as opened, opened.writing() as connection:
        connection.execute(image_sets.delete())
    assert carom("run", file, "--store", store, "--workers", 0).code == 0
    assert carom("show", "--json", "--store", store).out == shown


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/b", "", "-x", ".hidden", "a\\nb", "[red]"])
def test_a_name_that_leads_to_another_folder_is_refused(carom: Carom, scenario: Scenario, name: str) -> None:
    answer = carom("plan", scenario(('name = "tiny"', f'name = "{name}"')))
    assert answer.code == 2
    assert "cannot begin a file's name" in answer.error


def test_a_surrogate_and_a_victim_of_one_name_are_refused(carom: Carom, scenario: Scenario) -> None:
    file = scenario(*ONE_MODEL, ("seed = 1", 'seed = 1\nname = "net"'), ("seed = 2", 'seed = 2\nname = "net"'))
    answer = carom("plan", file)
    assert answer.code == 2
    assert "a surrogate and a victim are both called 'net'" in answer.error


def test_a_copy_of_a_weights_file_is_the_same_model(
    carom: Carom, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one.pt", "two.pt"):
        (tmp_path / name).write_bytes(b"weights")
    file = scenario(
        *ONE_MODEL, ("seed = 1", 'model = "one.pt"\nname = "a"'), ("seed = 2", 'model = "two.pt"\nname = "b"')
    )
    answer = carom("plan", file)
    assert answer.code == 2
    assert "is in two roles: surrogate 'a' and victim 'b'" in answer.error


def test_two_spellings_of_one_level_are_one_level(scenario: Scenario) -> None:
    file = scenario(
        *ONE_MODEL,
        ("seed = 1", 'seed = 1\nbalance = "tv0.2"\narchitecture = "lenet"'),
        ("seed = 2", 'seed = 2\nbalance = "tv1/5"\narchitecture = {name = "lenet"}'),
    )
    planned = plan(load_scenario(str(file)))
    assert {c.case for c in planned.cells if planned.sets[c.set_key].surrogate} == {0, 1}


def test_the_architectures_of_an_ensemble_are_those_that_it_trains(scenario: Scenario) -> None:
    ensemble = 'builder = {name = "ensemble", size = 1, architectures = ["vgg-small", "resnet-small"]}'
    file = scenario(*ONE_MODEL, ("seed = 1", f"seed = 1\n{ensemble}"))
    planned = plan(load_scenario(str(file)))
    (surrogate,) = planned.scenario.surrogates
    assert surrogate.base.axes["architecture"] == "vgg-small+resnet-small"
    cases = {c.case for c in planned.cells if planned.sets[c.set_key].surrogate}
    assert cases == {0, 3}, "no member is a mlp, so the architectures differ"


@pytest.mark.thorough
def test_a_victim_that_kills_its_process_fails_alone(
    carom: Carom, scenario: Scenario, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text(
        "import multiprocessing, os, signal\n"
        "def victim(x):\n"
        "    if multiprocessing.parent_process() is not None:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return x.flatten(1).sum(1).long() % 3\n"
    )
    monkeypatch.chdir(tmp_path)
    file = scenario(*ONE_MODEL, ("seed = 2", "seed = [2, 3, 4, 5, 6, 7]"))
    file.write_text(file.read_text() + '\n[[victims]]\nmodel = "deadly:victim"\nanswers = "labels"\nrevision = "1"\n')
    answer = carom("run", file, "--store", store, "--workers", 1, "--json")
    (report,) = json.loads(answer.out)
    assert answer.code == 1
    assert len(report["failures"]) == 1
    assert "deadly:victim: its process was killed" in report["failures"][0]
    assert report["evaluated"] == report["cells"] - 8
