"""The attack that CONTRIBUTING adds is one, short, and takes the file and the entry that the page says."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import carom.attacks
from carom.attacks import ATTACKS, Iterative, Part, Passes, craft, names
from carom.attacks.composition import compose
from carom.budget import Budget

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


@contextmanager
def file_of_the_page(code: str) -> Iterator[None]:
    """The page's file, where the page says that it stands; it brings its own imports."""
    (path,) = re.findall(r"`attacks/(rules/\w+)\.py`:", PAGE.read_text())
    name = "carom.attacks." + path.replace("/", ".")
    assert name not in sys.modules
    module = ModuleType(name)
    sys.modules[name] = module  # a dataclass looks its module up
    exec(code, vars(module))
    try:
        yield
    finally:
        del sys.modules[name]


def entry_of_the_page() -> Part:
    """The entry, from the page's two pieces of code, made in `names.py` with the import that the page names."""
    page = PAGE.read_text()
    file, entry = re.findall(r"```python\n(.*?)```", page, re.S)
    cls = file[file.index("@dataclass") :]
    assert len([line for line in (cls + entry).splitlines() if line.strip()]) <= 20 + 2
    assert len([line for line in cls.splitlines() if line.strip()]) < 20
    (line,) = re.findall(r"`(from \.rules\.\w+ import \w+)`", page)
    namespace: dict[str, Any] = dict(vars(names))
    with file_of_the_page(file):
        exec(line, namespace)
        entries: dict[str, Part] = eval("{" + entry + "}", namespace)
    (name,) = entries
    assert name not in ATTACKS
    return entries[name]


@pytest.fixture
def added() -> Part:
    """The entry."""
    return entry_of_the_page()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_attack_of_the_page_keeps_the_contract(added: Part, norm: Any, source: Any, batch: Any) -> None:
    budget = Budget.parse(norm, "16/255" if norm == "linf" else "1.5")
    sum_ = compose({"ie": added, "di": ATTACKS["di"], "ti": ATTACKS["ti"]})  # type: ignore[dict-item]
    for attack in (added.attack, sum_):
        assert isinstance(attack, Iterative)
        (one,) = craft([(attack, budget)], source, batch.pixels, batch.y, seed=1, ids=batch.ids)
        assert one.passes == Passes(20 * 5, 20 * 5)
        (pieces,) = craft([(attack, budget)], source, batch.pixels, batch.y, seed=1, ids=batch.ids, chunk=2)
        assert (one.images.int() - pieces.images.int()).abs().max() <= 1
        (mi,) = craft([(ATTACKS["mi"].attack, budget)], source, batch.pixels, batch.y, seed=1, ids=batch.ids)
        assert not torch.equal(one.images, mi.images)
    assert carom.attacks.parse_attack("mi") == ATTACKS["mi"].attack


def test_an_attack_of_parts_that_exist_is_one_entry() -> None:
    """Its entry needs nothing but what `names.py` has; it is the sum of its parts, under a name."""
    entry = """Part(
        summary="Momentum, and diverse inputs.",
        paper="Xie et al. 2019, arXiv:1803.06978",
        family="gradient",
        slots={"momentum": Momentum(), "transformations": (DI(),)},
    )"""
    added = eval(entry, dict(vars(names)))
    known = {**ATTACKS, "mdi2": added}
    parsed = carom.attacks.composition.parse("mdi2+ti", known, {}, where="attack")
    assert parsed == carom.attacks.parse_attack("mi+di+ti")
