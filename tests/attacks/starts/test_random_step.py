"""The start of R-FGSM."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from carom.attacks import (
    Gradients,
    RandomStep,
    parse_attack,
)
from carom.budget import Budget
from carom.draws import Draws
from carom.protocols import Attack

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")
every_budget = pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)


def run(attack: Attack, source: Any, batch: Any, budget: Budget = LINF, seed: int = 1) -> Tensor:
    x = batch.pixels.to(next(source.networks[0].parameters()).dtype) / 255
    return attack(Gradients(source, x, batch.y), budget, Draws(seed, batch.ids))


@every_budget
def test_rfgsm_goes_half_the_radius_at_random_and_the_other_half_along_the_gradient(
    budget: Budget, source64: Any, batch: Any
) -> None:
    x = batch.pixels.double() / 255
    noise = Draws(1, batch.ids).normal("start", (3, 8, 7)).double()
    half = float(budget.eps) / 2
    start = budget.project(x + half * budget.steepest(noise), x)
    leaf = start.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(source64.networks[0](leaf), batch.y, reduction="sum"), leaf)
    expected = budget.project(start + half * budget.steepest(g), x)
    torch.testing.assert_close(run(parse_attack("rfgsm"), source64, batch, budget), expected, rtol=0, atol=1e-12)


def test_random_steps_have_their_length_and_no_preferred_direction() -> None:
    n = 4000
    x = torch.full((n, 1, 2, 1), 0.5)
    draws = Draws(0, torch.arange(n))
    change = (RandomStep(size=Fraction(1, 4))(x, LINF, draws) - x).flatten(1) / float(LINF.eps)
    torch.testing.assert_close(change.abs(), torch.full((n, 2), 0.25), rtol=0, atol=1e-5)
    for corner in (-3, -1, 1, 3):
        share = float((change.sign() @ torch.tensor([1.0, 2.0]) == corner).float().mean())
        assert abs(share - 0.25) < 4 * (0.25 * 0.75 / n) ** 0.5
    small = Budget.parse("l2", "0.1")
    change = (RandomStep()(x, small, draws) - x).flatten(1) / 0.1
    torch.testing.assert_close(change.square().sum(1).sqrt(), torch.full((n,), 0.5), rtol=0, atol=1e-5)
    torch.testing.assert_close(change.mean(0), torch.zeros(2), rtol=0, atol=0.02)
