"""The attack that CONTRIBUTING adds is one, and short."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import carom.attacks
from carom.attacks import ATTACKS, Iterative, Look, Memory, Momentum, Part, Passes, craft
from carom.attacks.composition import compose
from carom.budget import Budget

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


def entry_of_the_page() -> Part:
    """The entry, from the page's two pieces of code."""
    cls, entry = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len([line for line in (cls + entry).splitlines() if line.strip()]) <= 20 + 2  # imports come from beside it
    assert len([line for line in cls.splitlines() if line.strip()]) < 20
    names: dict[str, Any] = {"Look": Look, "Memory": Memory, "Momentum": Momentum, "Part": Part}
    exec(
        "from dataclasses import dataclass\nfrom typing import ClassVar\nfrom carom.typing import Images\n" + cls, names
    )
    entries: dict[str, Part] = eval("{" + entry + "}", names)
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
