"""The builder that docs/surrogates.md adds is one file and one line, and works."""

import importlib.util
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from carom.stages import Entry
from carom.surrogates import SURROGATES, Chain, Training, build
from carom.surrogates.chain import parse
from carom.surrogates.flatness.sam import SAM

from .by_hand import RATE, A, W, by_hand, same, step, trained, weights
from .conftest import ground

PAGE = Path(__file__).parents[2] / "docs" / "surrogates.md"


@pytest.fixture(scope="module")
def pieces() -> tuple[str, str]:
    """The file, and the line."""
    file, line = re.findall(r"```python\n(.*?)```", PAGE.read_text().split("## One more, added")[1], re.DOTALL)
    assert len(line.splitlines()) == 1
    return file, line


@pytest.fixture
def module(pieces: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The file, imported."""
    path = tmp_path / "gradient_norm.py"
    path.write_text(pieces[0])
    spec = importlib.util.spec_from_file_location("gradient_norm", path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gradient_norm", made)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def known(pieces: tuple[str, str], module: ModuleType) -> dict[str, Entry]:
    """The registry with the line."""
    more: dict[str, Entry] = eval("{" + pieces[1] + "}", {"gradient_norm": module})
    assert not set(more) & set(SURROGATES)
    return {**SURROGATES, **more}


def chain_of(value: Any, known: dict[str, Entry]) -> Chain:
    return parse(value, known, where="page")[1]


def test_the_file_and_the_line_are_a_builder_that_can_be_named_and_set(known: dict[str, Entry]) -> None:
    chain = chain_of({"name": "gradient-norm", "rho": 0.1}, known)
    assert isinstance(chain.first, Training)
    assert chain.count == 1
    then = {"name": "gradient-norm -> lgv", "lgv": {"epochs": 1, "models_per_epoch": 2}}
    built = build(chain_of(then, known), ground("mlp"))
    assert len(built.members) == 2


def test_a_step_is_along_the_mean_of_two_gradients(module: ModuleType) -> None:
    """Of a quadratic: `A w`, and `A (w + rho A w / |A w|)`."""
    state, gradient, read = by_hand()
    step(module.GradientNorm(rho=0.3, alpha=0.25), state, gradient)
    here = A * W
    nearby = A * (W + 0.3 * here / here.norm())
    torch.testing.assert_close(torch.stack(read), torch.stack([W, W + 0.3 * here / here.norm()]))
    torch.testing.assert_close(weights(state), W - RATE * (0.75 * here + 0.25 * nearby))


def test_at_its_ends_it_is_plain_training_and_sam(module: ModuleType) -> None:
    here = ground("mlp")
    ways = [module.GradientNorm(rho=0.05, alpha=alpha) for alpha in (0.0, 1.0)]
    plain, sharp = (trained(here, way) for way in ways)
    assert same(plain.last, here.trained(here.recipe).last)
    assert same(sharp.last, trained(here, SAM(rho=0.05)).last)
    assert not same(trained(here, replace(ways[0], alpha=0.5)).last, plain.last)
