"""`carom students`: an elastic network's students are measured once, listed, and exported as models that load."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tests.scenarios.conftest import Carom

from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.spec.scenario import ReferencedModel
from carom.scenarios.store.database import Store
from carom.scenarios.store.runs import list_runs
from carom.scenarios.students import STUDENTS, front, measured_students, record
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.references import load_reference

TEXT = """
name = "elastic"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = ["fgsm"]
budgets = [{norm = "linf", eps = "32/255"}]
[images]
per_source = 6
[models]
source = "here"
architecture = {name = "elastic-resnet", width = 8, stages = 1, depth = 1}
recipe = {name = "standard", epochs = 5, optimizer = "sgd", learning_rate = 0.1, shift = 0, rotation = 0, scale = 0}
[[surrogates]]
seed = 1
[[victims]]
seed = 2
[victims.defense]
name = "trades -> proard"
trades = {eps = "4/255", steps = 1}
proard = {eps = "4/255", steps = 1, epochs = [1, 1, 1]}
"""
QUICK = ("--samples", 12, "--measured", 3, "--device", "cpu")


@pytest.fixture(scope="module")
def store(tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one elastic network, which nobody looks at for masked gradients."""
    folder = tmp_path_factory.mktemp("elastic")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("carom.defenses.masking.examined", lambda *_, **__: SimpleNamespace(numbers=dict))
        scenario = parse_scenario(TEXT.replace("NPZ", str(tiny_npz)), where="elastic.toml")
        assert run_scenario(scenario, folder, workers=0).failures == []
    return folder


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps of PGD."""
    monkeypatch.setattr("carom.scenarios.students._STEPS", 2)


@pytest.mark.thorough
def test_students_are_measured_once_and_listed(carom: Carom, store: Path) -> None:
    first = carom("students", "elastic", "--store", store, *QUICK)
    assert first.code == 0, first.err
    assert "measure: about" in first.err
    assert "linf 4/255" in first.out
    again = carom("students", "elastic", "--store", store, *QUICK)
    assert (again.out, again.err) == (first.out, "")
    students = json.loads(carom("students", "--store", store, *QUICK, "--json").out)["students"]
    assert all(f" {s['student']} " in first.out for s in students)
    assert [s["robust accuracy"] for s in students] == sorted((s["robust accuracy"] for s in students), reverse=True)
    # what was lost is measured again, to the same numbers; what is there, is not
    (notes,) = (store / "artifacts" / STUDENTS).iterdir()
    kept = json.loads(notes.read_text())
    notes.write_text(json.dumps({"scores": dict(list(kept["scores"].items())[1:]), "searches": []}))
    assert carom("students", "--store", store, *QUICK).out == first.out
    assert json.loads(notes.read_text())["scores"] == kept["scores"]


def test_what_was_measured_can_be_read_without_measuring(
    carom: Carom, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = json.loads(carom("students", "--store", store, *QUICK, "--json").out)["students"]
    monkeypatch.setattr("carom.scenarios.students.Measure", None)
    with Store(store) as opened:
        (run,) = [r.id for r in list_runs(opened)]
    ((label, found),) = measured_students(store, run).items()
    assert label
    assert [record(c) for c in front(found)] == listed
    for path in (store / "artifacts" / STUDENTS).iterdir():
        path.rename(store / path.name)
    assert measured_students(store, run) == {}
    for path in store.glob("*.json"):
        path.rename(store / "artifacts" / STUDENTS / path.name)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_an_exported_student_is_a_victim_that_answers_the_same(
    suffix: str, carom: Carom, store: Path, tiny_npz: Path, tmp_path: Path
) -> None:
    file = tmp_path / f"student{suffix}"
    most = json.loads(carom("students", "--store", store, *QUICK, "--json").out)["students"][-1]["MACs"]
    answer = carom("students", "--store", store, *QUICK, "--max-macs", most, "-o", file)
    assert answer.code == 0, answer.err
    made, named = answer.out.strip().splitlines()[-2:]
    assert named.startswith(f'in a scenario: model = "{file}", architecture = {{name = "elastic-resnet"')
    table = named.removeprefix("in a scenario: ").replace(", architecture", "\narchitecture")
    base = TEXT[: TEXT.index("[[victims]]")].replace("NPZ", str(tiny_npz))
    (victim,) = parse_scenario(f"{base}[[victims]]\n{table}\n", where="own.toml").victims
    assert isinstance(victim.model, ReferencedModel)
    loaded = load_reference(victim.model.reference, shape=(1, 6, 5), classes=3)
    assert isinstance(loaded, Classifier)
    assert f"fingerprint {loaded.fingerprint()}" in made
    parameters = sum(p.numel() for p in loaded.parameters())
    assert f"{parameters:,} parameters" in made
    assert f"{most:,} MACs" in made
    assert loaded(torch.rand(2, 1, 6, 5)).shape == (2, 3)


def test_what_cannot_be_is_one_line(carom: Carom, store: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (("elastik",), "no run 'elastik'"),
        (("--model", "none"), "unknown network with students 'none'"),
        (("--max-macs", 1), "students meets all constraints; the nearest"),
        (("-o", tmp_path / "student.bin"), "unknown kind of file"),
        (("-o", tmp_path / "no" / "student.pt"), "is not a folder"),
        (("--samples", 3), "samples must be in"),
    ):
        answer = carom("students", "--store", store, *QUICK, *arguments)
        assert answer.code == 2, arguments
        assert words in answer.error
        assert answer.out == ""
    assert not list(tmp_path.iterdir())


def test_a_run_without_an_elastic_network_has_none(carom: Carom, tiny_npz: Path, tmp_path: Path) -> None:
    plain = TEXT[: TEXT.index("[victims.defense]")].replace("NPZ", str(tiny_npz)).replace("epochs = 5", "epochs = 1")
    architecture = '{name = "elastic-resnet", width = 8, stages = 1, depth = 1}'
    scenario = parse_scenario(plain.replace(architecture, '"mlp"'), where="plain.toml")
    run_scenario(scenario, tmp_path, workers=0)
    answer = carom("students", "--store", tmp_path)
    assert answer.code == 2
    assert 'has no network with students; defend a victim by "trades -> proard", say' in answer.error
