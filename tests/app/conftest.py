"""A store with one small finished run whose names hold markup, and copies of it to bring into other states."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from tests.conftest import Once

import carom.app
from carom.app.shell.plain import JOINER
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import load_scenario
from carom.scenarios.store.database import Store

MARKUP = "**x** <b>y :smile: :red[r] $a$"

SCENARIO = """
name = "small"
description = "DESCRIPTION"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = ["fgsm", "mi"]
budgets = [{norm = "linf", eps = "32/255"}, {norm = "l2", eps = "1/2"}]

[images]
per_source = 13

[models]
source = ["here", "MARKUP"]
balance = ["uniform", "tv0.2"]
architecture = [{name = "mlp", width = 12}]
recipe = {name = "standard", epochs = 3, shift = 0, rotation = 0, scale = 0, learning_rate = 0.02}

[[surrogates]]
seed = 1

[[victims]]
seed = 2
"""


@pytest.fixture(scope="session")
def finished(once: Once) -> Path:
    """A store with a finished run: 4 surrogates, 4 victims, 2 attacks, 2 budgets. Not to be changed."""
    return once("explorer", finish) / "store"


def finish(folder: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for i, source in enumerate(("here", MARKUP)):
        for split, n in (("train", 60), ("validation", 30), ("test", 45)):
            y = np.arange(n) % 3
            x = rng.normal(60 + 40 * i, 30, (n, 6, 5))
            x[np.arange(n), 2 * y] += 110
            arrays[f"{source}/x_{split}"] = x.clip(0, 255).round().astype(np.uint8)
            arrays[f"{source}/y_{split}"] = y.astype(np.int64)
    np.savez(folder / "small.npz", **arrays)  # type: ignore[arg-type]
    text = SCENARIO.replace("NPZ", str(folder / "small.npz")).replace("DESCRIPTION", MARKUP)
    (folder / "small.toml").write_text(text.replace("MARKUP", MARKUP))
    report = run_scenario(load_scenario(str(folder / "small.toml")), folder / "store", workers=0, device="cpu")
    assert report.status == "done", report.failures


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """The finished store, to be changed."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def changed(copy: Path) -> Callable[..., Path]:
    """The finished store after some statements."""

    def change(*statements: object) -> Path:
        with Store(copy, write=True) as store, store.writing() as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]
        return copy

    return change


@pytest.fixture
def explore(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """A page inside of the explorer, so that it can lead to others; fails on any traceback."""

    def open_page(folder: Path, page: str, /, **address: str | list[str]) -> AppTest:
        monkeypatch.setenv("CAROM_STORE", str(folder))
        at = AppTest.from_file(str(Path(carom.app.__file__).with_name("explorer.py")), default_timeout=60)
        at.switch_page(f"pages/{page}.py")
        for name, value in address.items():
            at.query_params[name.replace("_", "-")] = value
        at.run()
        assert not at.exception, at.exception
        return at

    return open_page


@pytest.fixture
def read() -> Callable[[object], str]:
    """What people read in elements whose text is escaped."""

    def words(elements: object) -> str:
        text = "\n".join(str(e.value) for e in elements)  # type: ignore[attr-defined]
        return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).replace(JOINER, "")

    return words
