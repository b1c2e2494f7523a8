"""A source may show other classifiers at each step: those that are gone are freed, made ready or not."""

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from carom.attacks import craft_images, parse_attack
from carom.attacks.reading.networks import Ready
from carom.budget import Budget
from carom.protocols import Combination
from carom.zoo.models.prepare import prepare


@dataclass(eq=False)
class Fresh:
    """Other networks at each step, two of them."""

    make: Callable[..., nn.Module]
    combination: Combination = "loss"
    seen: list["weakref.ref[nn.Module]"] = field(default_factory=list)
    most: int = 0

    def members(self, step: int, copy: int) -> Sequence[nn.Module]:
        made = [self.make(10 * step + i) for i in range(2)]
        self.seen += [weakref.ref(network) for network in made]
        gc.collect()
        self.most = max(self.most, sum(one() is not None for one in self.seen))
        return made


@pytest.mark.parametrize("preparing", [None, prepare], ids=["as they are", "prepared"])
@pytest.mark.parametrize("attack", ["mi", "mi+sgm", "fia"])
def test_networks_of_earlier_steps_are_freed(
    attack: str, preparing: Callable[[nn.Module], nn.Module] | None, network: Callable[..., nn.Module]
) -> None:
    source = Fresh(network)
    x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    steps = parse_attack({"name": attack, "steps": 4})
    craft_images(
        [(steps, Budget.parse("linf", "8/255"))], source, x, torch.tensor([0, 1, 2]), seed=0, prepare=preparing
    )
    assert len(source.seen) >= 8
    # those of the first step are kept, for the attacks that share it; those of a step and the next may meet
    assert source.most <= 6


def test_what_preparing_leaves_as_it_is_does_not_keep_itself_alive(network: Callable[..., nn.Module]) -> None:
    for ready in (Ready(), Ready(lambda module: module)):
        member = network(0)
        assert ready(member) is member
        gone = weakref.ref(member)
        del member
        gc.collect()
        assert gone() is None
