"""What a user can get wrong: one line that says where, what came, what was expected and what to do; exit 2."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from .conftest import Answer, Carom

Write = Callable[..., Path]


def one_line(answer: Answer, *words: str, code: int = 2) -> None:
    """Exit code, a single line, no traceback, and what the line has to say."""
    assert answer.code == code, answer
    assert "Traceback" not in answer.err
    assert answer.error.startswith("error: "), answer.err
    for word in words:
        assert word in answer.error, answer.error


TYPOS = {
    "unknown key": ([("attacks =", "atacks =")], ["tiny.toml", "'atacks'", "did you mean 'attacks'"]),
    "unknown key of an axis": ([("balance =", "balanse =")], ["models", "'balanse'", "did you mean 'balance'"]),
    "unknown key of a part": (
        [('"mi"]', '{name = "mi", mi = {decai = 1.0}}]')],
        ["attacks[1]", "'decai'", "did you mean 'decay'"],
    ),
    "unknown attack": ([('"mi"]', '"mii"]')], ["attacks[1]", "'mii'", "did you mean 'mi'"]),
    "unknown architecture": ([('"lenet"]', '"lenett"]')], ["'lenett'", "did you mean 'lenet'"]),
    "unknown balance": ([('"tv0.2"]', '"tv.two"]')], ["balance", "'tv.two'"]),
    "unknown task": ([('name = "npz"', 'name = "npy"')], ["task", "'npy'", "did you mean 'npz'"]),
    "unknown recipe": ([('name = "standard"', 'name = "standart"')], ["'standart'", "did you mean 'standard'"]),
    "unknown builder": ([("seed = 1", 'seed = 1\nbuilder = "ensembel"')], ["'ensembel'", "did you mean 'ensemble'"]),
    "unknown source": ([('["here", "there"]', '["here", "their"]')], ["source", "'their'", "did you mean 'there'"]),
    "wrong type": ([("per_source = 21", 'per_source = "21"')], ["images.per_source", "'21'", "whole number"]),
    "wrong type of a field": ([("epochs = 3", "epochs = 3.5")], ["recipe", "epochs", "3.5"]),
    "wrong type of a seed": ([("seed = 1", "seed = true")], ["surrogates[0].seed", "whole number", "True"]),
    "empty grid": ([('["here", "there"]', "[]")], ["source", "empty list"]),
    "no attack": ([('["fgsm", "mi"]', "[]")], ["attacks", "empty list", "at least one"]),
    "no victim": ([("[[victims]]\nseed = 2", ""), ("attacks =", "victims = []\nattacks =")], ["victims", "empty"]),
    "missing part": ([('attacks = ["fgsm", "mi"]', "")], ["'attacks' is missing"]),
    "eps in grey levels": ([('"32/255"', "8")], ["budgets[0]", "eps=8", '"8/255"']),
    "eps negative": ([('"32/255"', '"-8/255"')], ["budgets[0].eps", "must not be negative", "-8/255"]),
    "eps not a number": ([('"32/255"', '"eight"')], ["budgets[0].eps", "'eight'", "8/255"]),
    "unknown norm": ([('norm = "linf"', 'norm = "l3"')], ["budgets[0]", "'l3'", "linf, l2"]),
    "two victims of one name": (
        [("[[victims]]\nseed = 2", '[[victims]]\nseed = 2\nname = "ours"')],
        ["victims", "'ours'", "names must differ"],
    ),
    "one seed in two roles": ([("seed = 2", "seed = 1")], ["training seed 1", "two roles", "surrogate", "victim"]),
    "same victim twice": (
        [("[[victims]]\nseed = 2", "[[victims]]\nseed = 2\n[[victims]]\nseed = [2, 2]")],
        ["victims", "names must differ"],
    ),
    "targeted set twice": ([('"mi"]', '"mi", "mi"]')], ["attacks", "'mi'", "names must differ"]),
    "too many images": ([("per_source = 21", "per_source = 500")], ["attacked images", "at most"]),
    "missing data": ([("tiny.npz", "nowhere.npz")], ["nowhere.npz"]),
    "not TOML": ([('name = "tiny"', "name = tiny")], ["not a TOML file"]),
}


@pytest.mark.parametrize("name", TYPOS)
def test_a_wrong_scenario_is_one_line(name: str, carom: Carom, scenario: Write, tmp_path: Path) -> None:
    changes, words = TYPOS[name]
    one_line(carom("run", scenario(*changes), "--store", tmp_path / "s", "--workers", 0), *words)


def test_no_such_scenario(carom: Carom) -> None:
    one_line(carom("run", "digits-quik"), "digits-quik", "did you mean 'digits-quick'")


def test_missing_data_says_how_to_get_it(carom: Carom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROM_DATA", str(tmp_path / "empty"))
    text = """
task = "cifar10"
attacks = ["fgsm"]
budgets = [{eps = "8/255"}]
[[surrogates]]
seed = 1
[[victims]]
seed = 2
"""
    path = tmp_path / "c.toml"
    path.write_text(text)
    one_line(carom("run", path, "--store", tmp_path / "s"), "cifar10", "download")


# ------------------------------------------------------------------------------------------------------ models of users

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


SMALLER = (
    ('balance = ["uniform", "tv0.2"]', 'balance = "uniform"'),
    ('architecture = [{name = "mlp", width = 12}, "lenet"]', 'architecture = {name = "mlp", width = 12}'),
)
BROKEN = {
    "other_classes": ["theirs", "4", "3"],
    "not_a_number": ["theirs", "finite"],
    "probabilities": ["theirs", "probabilities"],
    "wrong_shape": ["theirs", "(3,)"],
    "raises": ["theirs", "RuntimeError", "no such layer"],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_victim_is_refused_before_anything_runs(
    name: str, carom: Carom, scenario: Write, victims: Path
) -> None:
    store = victims / "s"
    one_line(carom("run", scenario(with_victim(name)), "--store", store, "--workers", 0), *BROKEN[name])
    assert not list((store / "artifacts").rglob("*.safetensors")) if (store / "artifacts").exists() else True


def test_a_victim_that_raises_later_costs_its_own_cells_only(carom: Carom, scenario: Write, victims: Path) -> None:
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


def test_a_checkpoint_that_needs_unpickling_is_refused(carom: Carom, scenario: Write, tmp_path: Path) -> None:
    class Model(torch.nn.Linear):
        pass

    path = tmp_path / "whole.pt"
    with path.open("wb") as file:
        pickle.dump({"model": os.system}, file)
    change = ("seed = 2", f'seed = 2\n[[victims]]\nname = "theirs"\nmodel = "{path}"\narchitecture = "lenet"')
    one_line(carom("run", scenario(change), "--store", tmp_path / "s"), "whole.pt", "state dict")


def test_one_model_in_two_roles(carom: Carom, scenario: Write, tmp_path: Path) -> None:
    trained = tmp_path / "m.safetensors"
    text = scenario().read_text()
    from carom.scenarios.spec.read import parse_scenario
    from carom.zoo.models.classifier import create
    from carom.zoo.models.references import save_state_dict

    parsed = parse_scenario(text, where="tiny")
    network = parsed.surrogates[0].base.configuration.architecture  # type: ignore[union-attr]
    save_state_dict(create(network, shape=(1, 6, 5), classes=3), trained)
    both = f'seed = 2\n[[victims]]\nname = "v"\nmodel = "{trained}"\n[[surrogates]]\nname = "s"\nmodel = "{trained}"'
    one_line(carom("run", scenario(("seed = 2", both)), "--store", tmp_path / "s"), "two roles", "'s'", "'v'")


# --------------------------------------------------------------------------------------------------------------- store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB, where this user may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this machine lets nobody mount")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_one_line_and_keeps_what_is_there(carom: Carom, scenario: Write, small_disk: Path) -> None:
    store = small_disk / "s"
    one_line(carom("run", scenario(), "--store", store, "--workers", 0), "no space left")
    subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
    before = {p.name: p.read_bytes() for p in (store / "artifacts").rglob("*.safetensors")}
    answer = carom("run", scenario(), "--store", store, "--workers", 0)
    assert answer.code == 0, answer.err
    for path in (store / "artifacts").rglob("*.safetensors"):
        assert before.get(path.name, path.read_bytes()) == path.read_bytes()


def test_a_read_only_store_is_one_line(carom: Carom, scenario: Write, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    one_line(carom("run", scenario(), "--store", small_disk / "s", "--workers", 0), "cannot be written", "--store")


def test_two_runs_on_one_store(carom: Carom, scenario: Write, tmp_path: Path) -> None:
    from carom.scenarios.store.database import Store

    with Store(tmp_path / "s", write=True):
        answer = carom("run", scenario(), "--store", tmp_path / "s", "--workers", 0)
    one_line(answer, "another run is writing", f"process {os.getpid()}")


@pytest.mark.parametrize("kind", ["weights", "sets", "images"])
@pytest.mark.parametrize("harm", ["truncated", "edited", "gone"])
def test_a_damaged_artefact_is_found_and_rebuilt(
    kind: str, harm: str, carom: Carom, scenario: Write, tiny_store: Path, tmp_path: Path
) -> None:
    store, path = tmp_path / "s", scenario()
    shutil.copytree(tiny_store, store)
    victim = sorted((store / "artifacts" / kind).glob("*.safetensors"))[0]
    whole = victim.read_bytes()
    if harm == "gone":
        victim.unlink()
    else:
        victim.write_bytes(whole[:-7] if harm == "truncated" else whole[:-1] + bytes([whole[-1] ^ 1]))
    answer = carom("run", path, "--store", store, "--workers", 0)
    assert answer.code == 0, answer.err
    if (kind, harm) == ("sets", "gone"):  # as `carom gc --sets` leaves it: its outcomes are there, so nobody needs it
        assert not victim.exists()
        return
    assert victim.read_bytes() == whole
    if kind != "images":
        assert victim.name in answer.err
    assert "evaluated 0 of" in answer.err or "nothing to do" in answer.err


def test_no_store_and_no_run(carom: Carom, tmp_path: Path) -> None:
    for command in ("show", "export", "gc"):
        one_line(carom(command, "--store", tmp_path / "none"), "no store here")


def test_a_newer_store_is_refused(carom: Carom, scenario: Write, tiny_store: Path, tmp_path: Path) -> None:
    import sqlite3

    store = tmp_path / "s"
    shutil.copytree(tiny_store, store)
    with sqlite3.connect(store / "carom.db") as connection:
        connection.execute("update meta set value = '999' where name = 'schema'")
    connection.close()
    for command in ("show", "run"):
        arguments = [scenario()] if command == "run" else []
        one_line(carom(command, *arguments, "--store", store), "schema 999")
