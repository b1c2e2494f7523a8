"""GRA's steps by their formula."""

import torch
from torch import Tensor

from carom.attacks import (
    DecayIndicator,
    Look,
)
from carom.budget import Budget
from carom.draws import Draws

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")


def a_look(x: Tensor, *, size: float, budget: Budget = LINF) -> Look:
    """A first step of nothing but zero gradients."""
    return Look(
        x=x,
        x_adv=x,
        step=0,
        size=size,
        unit=1.0,
        budget=budget,
        draws=Draws(0, torch.arange(len(x))),
        momentum=None,
        decay=0.0,
        members=1,
        read_members=lambda at, reading, member, inner=0, summed=False: torch.zeros_like(at),
        read_by=lambda look, at, reading: torch.zeros_like(at),
        smooth=lambda gradient: gradient,
    )


def test_decay_indicator_shortens_the_step_of_each_pixel_that_turned() -> None:
    """By its formula: the factor starts at 1 / rate, and the sign before the first step is 0."""
    directions = torch.tensor([[1.0, 1, 0, 2], [2, -1, 1, 3], [1, -2, 1, -1], [3, 1, 1, 0]])
    rate, factor, sign = 0.94, torch.full((4,), 1 / 0.94), torch.zeros(4)
    memory: dict[str, Tensor] = {}
    look = a_look(torch.zeros(1, 1, 1, 4), size=0.5)
    for direction in directions:
        factor = torch.where(direction.sign() == sign, factor, factor * rate)
        sign = direction.sign()
        moved = DecayIndicator(rate=rate)(look, direction.reshape(1, 1, 1, 4), memory)
        torch.testing.assert_close(moved.flatten(), 0.5 * factor * sign)
    torch.testing.assert_close(factor, torch.tensor([1, rate**2, 1, rate**2]))
