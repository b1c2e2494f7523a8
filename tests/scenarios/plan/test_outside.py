"""Models from outside in a scenario: who may be what, the accuracy stated of them, and those that are broken."""

import json
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.scenarios.conftest import Carom, one_line
from torch import nn

Scenario = Callable[..., Path]
ONE_MODEL = (
    ('source = ["here", "there"]', 'source = "here"'),
    ('balance = ["uniform", "tv0.2"]', 'balance = "uniform"'),
    ('architecture = [{name = "mlp", width = 12}, "lenet"]', 'architecture = {name = "mlp", width = 12}'),
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def bright_rows(path: Path, weight: float) -> Path:
    """The class whose row is brightest, as TorchScript."""
    linear = nn.Linear(30, 3, bias=False)
    with torch.no_grad():
        linear.weight.zero_()
        for k in range(3):
            linear.weight.view(3, 6, 5)[k, 2 * k] = weight
    with warnings.catch_warnings(action="ignore"):  # TorchScript is announced to end
        torch.jit.trace(nn.Sequential(nn.Flatten(), linear), torch.rand(2, 1, 6, 5)).save(str(path))  # type: ignore[no-untyped-call]
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return bright_rows(tmp_path / "rows.torchscript", 3.0)


def add(file: Path, table: str) -> Path:
    file.write_text(f"{file.read_text()}\n{table}\n")
    return file


def test_a_program_is_a_surrogate_and_a_victim(carom: Carom, scenario: Scenario, store: Path, program: Path) -> None:
    file = scenario(*ONE_MODEL)
    add(file, f'[[surrogates]]\nname = "rows"\nmodel = "{program}"\ntrusted = true\nclean_accuracy = 0.95')
    mean = "preprocessing = {mean = [0.5], std = [0.25]}"
    other = bright_rows(program.with_name("other.torchscript"), 2.0)
    add(file, f'[[victims]]\nname = "rows too"\nmodel = "{other}"\ntrusted = true\n{mean}')
    done = carom("run", file, "--store", store, "--workers", 0)
    assert done.code == 0, done.err
    rows = json.loads(carom("show", "--json", "--store", store).out)["by-victim"]
    assert "rows too" in {row["victim"] for row in rows}
    (report,) = json.loads(carom("run", file, "--store", store, "--workers", 0, "--json").out)
    assert (report["trained"], report["crafted"], report["evaluated"]) == (0, 0, 0)


def test_less_accuracy_than_stated_is_refused_before_anything_runs(
    carom: Carom, scenario: Scenario, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "upside_down.py").write_text(
        "def judge(x):\n    return 2 - x[:, 0, ::2].sum(2).argmax(1)  # the classes in the wrong order\n"
    )
    monkeypatch.chdir(tmp_path)
    file = scenario(*ONE_MODEL)
    table = '[[victims]]\nname = "theirs"\nmodel = "upside_down:judge"\nanswers = "labels"\nsource = "here"\n'
    add(file, f"{table}clean_accuracy = 0.94")
    answer = carom("run", file, "--store", store, "--workers", 0)
    assert answer.code == 2
    assert "theirs: clean accuracy 3" in answer.error
    assert "on 30 validation images, stated 94.0%" in answer.error
    assert not list((store / "artifacts").rglob("*.safetensors")) if (store / "artifacts").exists() else True


NETS = """
import torch
from torch import nn
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create

class Net(nn.Sequential):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(nn.Flatten(), nn.Linear(30, 3))

def made(): return create(architecture("lenet"), shape=(1, 6, 5), classes=3)
def made_again(): return made()
def judge(x): return 2 - x[:, 0, ::2].sum(2).argmax(1)
"""


@pytest.mark.parametrize(
    ("surrogate", "victim"),
    [
        ('model = "nets_of_roles:Net"', 'model = "nets_of_roles:Net"'),
        ('model = "nets_of_roles:Net"\nrevision = "1"', 'model = "nets_of_roles:Net"\nrevision = "2"'),
        ('model = "nets_of_roles:Net"', 'model = "nets_of_roles:Net"\nanswers = "labels"\ndeterministic = false'),
        ('model = "nets_of_roles:Net"', 'model = "nets_of_roles:Net"\npreprocessing = {mean = [0.5], std = [0.5]}'),
        ('model = "PROGRAM"\ntrusted = true', 'model = "PROGRAM"\ntrusted = true\npreprocessing = {resize = [6, 5]}'),
        ('model = "nets_of_roles:made"', 'model = "nets_of_roles:made_again"'),  # found out when they are loaded
    ],
)
def test_one_model_under_two_names_is_not_transfer(
    carom: Carom,
    scenario: Scenario,
    tmp_path: Path,
    program: Path,
    surrogate: str,
    victim: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets_of_roles.py").write_text(NETS)
    file = scenario(*ONE_MODEL)
    add(
        file,
        f'[[surrogates]]\nname = "a"\n{surrogate}\n[[victims]]\nname = "b"\n{victim}'.replace("PROGRAM", str(program)),
    )
    answer = carom("plan", file)
    assert answer.code == 2
    assert "surrogate 'a' and victim 'b'" in answer.error or "victim 'b' and surrogate 'a'" in answer.error
    assert "in two roles" in answer.error


def test_an_address_in_two_roles_is_said_without_its_query(carom: Carom, scenario: Scenario) -> None:
    file = scenario(*ONE_MODEL)
    table = 'model = "http://127.0.0.1:9/classify?token=123"'
    add(file, f'[[victims]]\nname = "a"\n{table}\n[[validation_victims]]\nname = "b"\n{table}\nrevision = "1"')
    answer = carom("plan", file)
    assert "model http://127.0.0.1:9/classify " in answer.error, answer.error
    assert "in two roles" in answer.error
    assert "123" not in answer.error


def test_every_stated_accuracy_of_one_model_is_checked(
    carom: Carom, scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets_stated.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    file = scenario(*ONE_MODEL)
    model = 'model = "nets_stated:judge"\nanswers = "labels"\nsource = "here"\nrevision = "1"'
    add(file, f'[[victims]]\nname = "plain"\n{model}')
    add(file, f'[[victims]]\nname = "behind"\n{model}\ndefense = "jpeg"\nclean_accuracy = 0.94')
    answer = carom("plan", file)
    assert answer.code == 2
    assert "behind" in answer.error
    assert "stated 94.0%" in answer.error


# --------------------------------------------------------------------------------------------- broken

SMALLER = (
    ('balance = ["uniform", "tv0.2"]', 'balance = "uniform"'),
    ('architecture = [{name = "mlp", width = 12}, "lenet"]', 'architecture = {name = "mlp", width = 12}'),
)

VICTIMS = """
import torch
calls = 0

def right_shape(x):
    return torch.nn.functional.one_hot((x.flatten(1).sum(1) > 0).long(), 3).float() * 9 - 4

def other_classes(x):
    return torch.zeros(len(x), 4)

def not_a_number(x):
    return torch.full((len(x), 3), float("nan"))

def probabilities(x):
    return torch.softmax(torch.linspace(0, 1, 3).expand(len(x), 3), 1)

def wrong_shape(x):
    return torch.zeros(3)

def noisy(x):
    return torch.rand(len(x), 3)

def raises(x):
    raise RuntimeError("no such\\nlayer")

def raises_late(x):
    global calls
    calls += 1
    if calls > 2 + CHECKS:
        raise RuntimeError("out of tea")
    return right_shape(x)
"""


@pytest.fixture
def victims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "their_models.py").write_text(VICTIMS.replace("CHECKS", "1000000"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("their_models", None)


def with_victim(name: str) -> tuple[str, str]:
    return ("seed = 2", f'seed = 2\n[[victims]]\nname = "theirs"\nmodel = "their_models:{name}"')


BROKEN = {
    "other_classes": ["theirs", "4", "3"],
    "not_a_number": ["theirs", "finite"],
    "probabilities": ["theirs", "probabilities"],
    "wrong_shape": ["theirs", "(3,)"],
    "raises": ["theirs", "RuntimeError", "no such layer"],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_victim_is_refused_before_anything_runs(
    name: str, carom: Carom, scenario: Scenario, victims: Path
) -> None:
    store = victims / "s"
    one_line(carom("run", scenario(with_victim(name)), "--store", store, "--workers", 0), *BROKEN[name])
    assert not list((store / "artifacts").rglob("*.safetensors")) if (store / "artifacts").exists() else True


def test_a_victim_that_raises_later_costs_its_own_cells_only(carom: Carom, scenario: Scenario, victims: Path) -> None:
    path = scenario(with_victim("raises_late"), *SMALLER)
    store = victims / "s"
    probe = carom("run", path, "--store", store, "--workers", 0)
    assert probe.code == 0, probe.err  # it never gets that far
    (victims / "their_models.py").write_text(VICTIMS.replace("CHECKS", "12"))
    sys.modules.pop("their_models")
    answer = carom("run", path, "--store", store, "--workers", 0)
    assert answer.code == 2
    assert "theirs" in answer.err
    assert "out of tea" in answer.err
    assert "batch" in answer.err
    assert "Traceback" not in answer.err
    shown = carom("show", "--store", store)
    assert "have no outcome" in shown.out
    assert "out of tea" in shown.out


def test_a_checkpoint_that_needs_unpickling_is_refused(carom: Carom, scenario: Scenario, tmp_path: Path) -> None:
    class Model(torch.nn.Linear):
        pass

    path = tmp_path / "whole.pt"
    with path.open("wb") as file:
        pickle.dump({"model": os.system}, file)
    change = ("seed = 2", f'seed = 2\n[[victims]]\nname = "theirs"\nmodel = "{path}"\narchitecture = "lenet"')
    one_line(carom("run", scenario(change), "--store", tmp_path / "s"), "whole.pt", "state dict")
