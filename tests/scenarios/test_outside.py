"""Models from outside in a scenario: who may be what, and the accuracy that is stated of them."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from .conftest import Carom

Scenario = Callable[..., Path]
ONE_MODEL = (
    ('source = ["here", "there"]', 'source = "here"'),
    ('balance = ["uniform", "tv0.2"]', 'balance = "uniform"'),
    ('architecture = [{name = "mlp", width = 12}, "lenet"]', 'architecture = {name = "mlp", width = 12}'),
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The class whose row is brightest, as TorchScript."""
    linear = nn.Linear(30, 3, bias=False)
    with torch.no_grad():
        linear.weight.zero_()
        for k in range(3):
            linear.weight.view(3, 6, 5)[k, 2 * k] = 3.0
    path = tmp_path / "rows.torchscript"
    with warnings.catch_warnings(action="ignore"):  # TorchScript is announced to end
        torch.jit.trace(nn.Sequential(nn.Flatten(), linear), torch.rand(2, 1, 6, 5)).save(str(path))  # type: ignore[no-untyped-call]
    return path


def add(file: Path, table: str) -> Path:
    file.write_text(f"{file.read_text()}\n{table}\n")
    return file


def test_a_program_is_a_surrogate_and_a_victim(carom: Carom, scenario: Scenario, store: Path, program: Path) -> None:
    file = scenario(*ONE_MODEL)
    add(file, f'[[surrogates]]\nname = "rows"\nmodel = "{program}"\ntrusted = true\nclean_accuracy = 0.95')
    mean = "preprocessing = {mean = [0.5], std = [0.25]}"
    add(file, f'[[victims]]\nname = "rows too"\nmodel = "{program}"\ntrusted = true\n{mean}')
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
