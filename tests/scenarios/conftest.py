"""A tiny task, a scenario over it that runs in seconds, and the command line in this process."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tests.conftest import Once

from carom.scenarios.cli import main as cli
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario


class Answer(NamedTuple):
    """What a command printed."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The last line of stderr."""
        return self.err.strip().splitlines()[-1] if self.err.strip() else ""


Carom = Callable[..., Answer]


def one_line(answer: Answer, *words: str, code: int = 2) -> None:
    """Exit code, a single line, no traceback, and what the line has to say."""
    assert answer.code == code, answer
    assert "Traceback" not in answer.err
    assert answer.error.startswith("error: "), answer.err
    for word in words:
        assert word in answer.error, answer.error


@pytest.fixture
def carom(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Carom:
    """Runs `carom ARGUMENTS` in this process."""

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["carom", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        code = stop.value.code
        return Answer(code if isinstance(code, int) else 1, captured.out, captured.err)

    return call


def tiny_images(seed: int, n: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Three classes of 6x5 images: a bright row that says which, on noise; the shift makes another source."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = rng.normal(60 + 40 * shift, 30, (n, 6, 5))
    x[np.arange(n), 2 * y] += 110
    return x.clip(0, 255).round().astype(np.uint8), y.astype(np.int64)


@pytest.fixture(scope="session")
def tiny_npz(once: Once) -> Path:
    """Two sources of three classes."""
    return once("tiny-data", write_tiny) / "tiny.npz"


def write_tiny(folder: Path) -> None:
    arrays = {}
    for i, source in enumerate(("here", "there")):
        for j, (split, n) in enumerate((("train", 90), ("validation", 30), ("test", 60))):
            arrays[f"{source}/x_{split}"], arrays[f"{source}/y_{split}"] = tiny_images(10 * i + j, n, float(i))
    np.savez(folder / "tiny.npz", **arrays)  # type: ignore[arg-type]


@pytest.fixture
def tiny(tiny_npz: Path) -> str:
    """The text of a scenario: 2 sources x 2 architectures x 2 balances, one attack of each kind."""
    return TINY.replace("NPZ", str(tiny_npz))


TINY = """
name = "tiny"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = ["fgsm", "mi"]
budgets = [{norm = "linf", eps = "32/255"}]

[images]
per_source = 21

[models]
source = ["here", "there"]
balance = ["uniform", "tv0.2"]
architecture = [{name = "mlp", width = 12}, "lenet"]
recipe = {name = "standard", epochs = 3, shift = 0, rotation = 0, scale = 0, learning_rate = 0.02}

[[surrogates]]
seed = 1

[[victims]]
seed = 2
"""


EMBEDDED = """
name = "small"
task = "digits"
attacks = ["fgsm"]
budgets = [{eps = "48/255"}]
[images]
per_source = 20
[models]
architecture = {name = "mlp", width = 8}
balance = "uniform"
n = 100
recipe = {name = "standard", epochs = 1}
[[surrogates]]
source = "uci"
seed = 1
[[victims]]
source = "uci"
seed = 2
"""


@pytest.fixture(scope="session")
def tiny_store(tiny_npz: Path, once: Once) -> Path:
    """A store with the tiny scenario, done: to be read, or copied."""

    def make(folder: Path) -> None:
        report = run_scenario(parse_scenario(TINY.replace("NPZ", str(tiny_npz)), where="tiny.toml"), folder, workers=0)
        assert not report.failures

    return once("tiny-store", make)


@pytest.fixture
def scenario(tmp_path: Path, tiny: str) -> Callable[..., Path]:
    """A file with the tiny scenario, some of its text replaced."""

    def write(*changes: tuple[str, str], name: str = "tiny.toml") -> Path:
        text = tiny
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


# One source, balance and architecture of the tiny scenario.
SMALL = (
    ('source = ["here", "there"]', 'source = "here"'),
    ('balance = ["uniform", "tv0.2"]', 'balance = "uniform"'),
    ('architecture = [{name = "mlp", width = 12}, "lenet"]', 'architecture = {name = "mlp", width = 12}'),
)
