"""Momentum, and an accumulation of one's own in its slot."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from carom.attacks import (
    Gradients,
    Iterative,
    Look,
    Memory,
    Momentum,
)
from carom.budget import Budget
from carom.draws import Draws
from carom.protocols import Attack

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")


def run(attack: Attack, source: Any, batch: Any, budget: Budget = LINF, seed: int = 1) -> Tensor:
    x = batch.pixels.to(next(source.networks[0].parameters()).dtype) / 255
    return attack(Gradients(source, x, batch.y), budget, Draws(seed, batch.ids))


def test_momentum_is_scaled_image_by_image_and_keeps_zeros() -> None:
    g = torch.randn(5, 3, 8, 7, generator=torch.Generator().manual_seed(0))
    g[1] = 0
    g[2] *= 1e-37
    g[3] *= 1e30
    first = Momentum(decay=0.5).accumulate(None, g)
    assert torch.isfinite(first).all()
    assert torch.equal(first[1], torch.zeros(3, 8, 7))
    mean = first.abs().mean((1, 2, 3))
    torch.testing.assert_close(mean[[0, 2, 3, 4]], torch.ones(4))
    torch.testing.assert_close(first[3], g[3] / g[3].abs().mean())
    second = Momentum(decay=0.5).accumulate(first, g)
    torch.testing.assert_close(second, 1.5 * first)
    unscaled = Momentum(decay=0.5, normalised=False)
    torch.testing.assert_close(unscaled.accumulate(unscaled.accumulate(None, g), 2 * g), 2.5 * g)
    # the smallest floats there are keep their directions
    least = torch.tensor([1e-45, 0.0, -1e-45, 1e-45]).reshape(1, 1, 2, 2)
    torch.testing.assert_close(Momentum().accumulate(None, least), torch.tensor([4, 0, -4, 4]).reshape(1, 1, 2, 2) / 3)


def test_an_accumulation_of_ones_own_fits_the_slot(source64: Any, batch: Any) -> None:
    """Adam's first moment over its second: the slot is a protocol, with a memory."""
    seen: list[tuple[Tensor | None, Tensor]] = []

    @dataclass(frozen=True)
    class Adam:
        decay: float = 0.9

        def __call__(self, look: Look, gradient: Tensor, memory: Memory) -> Tensor:
            zero = torch.zeros_like(gradient)
            memory["first"] = 0.9 * memory.get("first", zero) + 0.1 * gradient
            memory["second"] = 0.99 * memory.get("second", zero) + 0.01 * gradient.square()
            seen.append((look.momentum, memory["first"] / memory["second"].sqrt()))
            assert look.decay == 0.9
            return seen[-1][1]

    x_adv = run(Iterative(momentum=Adam(), steps=3), source64, batch)
    assert seen[0][0] is None
    for (_, direction), (before, _) in pairwise(seen):
        assert before is direction
    x = batch.pixels.double() / 255
    moved = x
    for _, direction in seen:
        moved = LINF.project(moved + 16 / 255 / 3 * direction.sign(), x)
    torch.testing.assert_close(x_adv, moved)
