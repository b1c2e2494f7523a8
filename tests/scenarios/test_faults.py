"""What a run rests on changes under it: no outcome outlives it, and no digest is recorded of what was not loaded."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import carom.scenarios.reader as carom_reader
from carom.errors import InputError
from carom.scenarios.reader import find_run, read_outcomes
from carom.scenarios.store import Store, cells

from . import raw_store
from .conftest import Carom, tiny_images

SOURCES = ("here", "there")
SPLITS = (("train", 90), ("validation", 30), ("test", 60))

SMALL = """
name = "NAME"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = [ATTACK]
budgets = [{norm = "linf", eps = "32/255"}]
[images]
per_source = 21
[models]
source = "here"
balance = "uniform"
architecture = {name = "mlp", width = 12}
recipe = {name = "standard", epochs = 2, shift = 0, rotation = 0, scale = 0, learning_rate = 0.02}
[[surrogates]]
seed = 1
[[victims]]
seed = 2
"""


def write_data(path: Path, **others: int) -> Path:
    """The tiny task; `test=1` draws other test images, `train=1` other training images."""
    arrays = {}
    for i, source in enumerate(SOURCES):
        for j, (split, n) in enumerate(SPLITS):
            seed = 10 * i + j + 1000 * others.get(split, 0)
            arrays[f"{source}/x_{split}"], arrays[f"{source}/y_{split}"] = tiny_images(seed, n, float(i))
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def write_scenario(folder: Path, name: str, attack: str, more: str = "") -> Path:
    text = SMALL.replace("NAME", name).replace("NPZ", str(folder / "data.npz")).replace("ATTACK", f'"{attack}"')
    path = folder / f"{name}.toml"
    path.write_text(text + more)
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data and two scenarios on them, `a` and `b`; modules are found there."""
    write_data(tmp_path / "data.npz")
    write_scenario(tmp_path, "a", "fgsm")
    write_scenario(tmp_path, "b", "mi")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(carom: Carom, file: Path, store: Path, code: int = 0) -> dict[str, Any]:
    answer = carom("run", file, "--store", store, "--workers", 0, "--json")
    assert answer.code == code, answer.err
    (report,) = json.loads(answer.out)
    assert isinstance(report, dict)
    return report


def outcomes(carom: Carom, place: Path, store: Path, *names: str) -> dict[tuple[str, str], raw_store.Cell]:
    """What a store of its own gets from these scenarios and the data as they are now."""
    for name in names:
        run(carom, place / f"{name}.toml", store)
    return raw_store.cells(store)


# ------------------------------------------------------------------------------------------------------ attacked images


def test_other_attacked_images_under_the_same_key_leave_no_outcome_of_any_run(carom: Carom, place: Path) -> None:
    store = place / "store"
    before = outcomes(carom, place, store, "a", "b")
    write_data(place / "data.npz", test=1)
    again = run(carom, place / "a.toml", store)
    assert (again["trained"], again["evaluated"]) == (0, again["cells"])
    truth = outcomes(carom, place, place / "fresh", "a", "b")
    came = raw_store.cells(store)
    assert {pair: cell for pair, cell in came.items() if truth[pair] != cell} == {}
    assert len(came) < len(before), "those of b are not there until b is run again"
    shown = json.loads(carom("show", "b", "--store", store, "--json").out)["cases"]
    assert {row["case"] for row in shown} == {"control"}, "b shows what a made anew for both, and none of its attacks"
    run(carom, place / "b.toml", store)
    assert raw_store.cells(store) == truth


# ------------------------------------------------------------------------------------------------------------- readers


def test_what_is_read_at_once_is_of_one_state(carom: Carom, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outcomes are dropped and written between the queries of one reader."""
    store = place / "store"
    run(carom, place / "a.toml", store)
    with Store(store) as reader, Store(store, write=True) as writer:
        name = find_run(reader).id
        expected = read_outcomes(reader, name)
        images = carom_reader._images
        written = []

        def meanwhile(*of: Any) -> Any:
            found = images(*of)
            with writer.writing() as connection:
                written.append(connection.execute(cells.delete()).rowcount)
            return found

        monkeypatch.setattr(carom_reader, "_images", meanwhile)
        came = read_outcomes(reader, name)
        assert written[0] == len(expected.cells)
        assert came.cells.equals(expected.cells)
        assert (came.adversarial == expected.adversarial).all()
        with pytest.raises(InputError, match="has no outcome"):
            read_outcomes(reader, name)
