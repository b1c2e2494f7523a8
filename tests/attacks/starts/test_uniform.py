"""Starts that draw from the ball."""

import torch

from carom.attacks import (
    Clean,
    Uniform,
)
from carom.budget import Budget
from carom.draws import Draws

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")


def test_uniform_starts_fill_the_ball() -> None:
    n = 4000
    x = torch.full((n, 1, 2, 1), 0.5)
    draws = Draws(0, torch.arange(n))
    change = (Uniform()(x, LINF, draws) - x).flatten(1) / float(LINF.eps)
    assert float(change.abs().max()) <= 1 + 1e-5
    torch.testing.assert_close(change.mean(0), torch.zeros(2), rtol=0, atol=0.05)
    torch.testing.assert_close(change.square().mean(0), torch.full((2,), 1 / 3), rtol=0, atol=0.02)
    small = Budget.parse("l2", "0.1")
    length = (Uniform()(x, small, draws) - x).flatten(1).square().sum(1).sqrt() / 0.1
    assert float(length.max()) <= 1 + 1e-5
    assert abs(float((length < 0.5).float().mean()) - 0.25) < 0.03  # a quarter of the disc
    assert torch.equal(Clean()(x, LINF, draws), x)
