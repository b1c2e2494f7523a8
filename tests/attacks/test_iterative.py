"""What single slots do."""

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carom.attacks import (
    DI,
    SI,
    TI,
    Gradients,
    Iterative,
    LookAhead,
    Momentum,
    parse_attack,
)
from carom.attacks.slots import View
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Attack

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")


def view(draws: Draws, *, step: int = 0, copy: int = 0) -> View:
    y = torch.zeros_like(draws.ids)
    return View(draws=draws, budget=LINF, step=step, index=0, copy=copy, y=y, partners=None)


def run(attack: Attack, source: Any, batch: Any, budget: Budget = LINF, seed: int = 1) -> Tensor:
    x = batch.pixels.to(next(source.networks[0].parameters()).dtype) / 255
    return attack(Gradients(source, x, batch.y), budget, Draws(seed, batch.ids))


@pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)
@pytest.mark.parametrize("transformation", [DI(probability=0.0), SI(copies=1), TI(size=1)], ids=repr)
def test_a_transformation_that_does_nothing_leaves_mi(
    transformation: Any, budget: Budget, source: Any, batch: Any
) -> None:
    plain = run(Iterative(momentum=Momentum()), source, batch, budget)
    assert torch.equal(
        run(Iterative(momentum=Momentum(), transformations=(transformation,)), source, batch, budget), plain
    )


def test_every_copy_and_step_draws_anew_and_copies_multiply(batch: Any, source64: Any) -> None:
    seen: list[Tensor] = []
    net = source64.networks[0]

    class Watched:
        combination = "logits"

        def members(self, step: int, copy: int) -> list[Any]:
            def watch(x: Tensor) -> Tensor:
                seen.append(x.detach())
                return net(x)  # type: ignore[no-any-return]

            return [watch]

    x = batch.pixels.double() / 255
    attack = Iterative(transformations=(SI(copies=3), DI(probability=1.0, rate=0.5), SI(copies=2)), steps=1)
    assert attack.passes().forward == attack.copies == 6
    draws = Draws(0, batch.ids)
    attack(Gradients(Watched(), x, batch.y), LINF, draws)  # type: ignore[arg-type]
    for copy, (first, second) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]):
        expected = DI(probability=1.0, rate=0.5).image(x * 0.5**first, view(draws, step=0, copy=copy)) * 0.5**second
        torch.testing.assert_close(seen[copy], expected)
    assert not torch.allclose(seen[0], seen[1] * 2)


def test_other_seeds_give_other_random_starts(source: Any, batch: Any) -> None:
    attack = parse_attack("pgd")
    assert not torch.equal(run(attack, source, batch, seed=1), run(attack, source, batch, seed=2))


def test_more_steps_reach_a_higher_loss(source64: Any, batch: Any) -> None:
    net = source64.networks[0]
    losses = [
        float(F.cross_entropy(net(run(parse_attack({"name": "bim", "steps": k}), source64, batch, L2)), batch.y))
        for k in (1, 5, 20)
    ]
    assert losses == sorted(losses)
    assert losses[2] > losses[0]


def test_impossible_slots_are_refused() -> None:
    for wrong in (
        lambda: Iterative(steps=0),
        lambda: Iterative(step=Fraction(0)),
        lambda: Iterative(rule=LookAhead()),
        lambda: Momentum(decay=-1.0),
        lambda: Momentum(decay=float("nan")),
        lambda: DI(probability=1.5),
        lambda: DI(rate=0.0),
        lambda: DI(rate=float("inf")),
        lambda: SI(copies=0),
        lambda: TI(size=4),
        lambda: TI(size=-1),
    ):
        with pytest.raises(InputError):
            wrong()


def test_a_linear_model_is_attacked_exactly(source_of: Any) -> None:
    """On logits w.x, FGSM moves every pixel by eps against the margin: the known optimum."""
    last = nn.Linear(6, 2, bias=False).requires_grad_(False)
    net = nn.Sequential(nn.Flatten(), last)
    last.weight.copy_(torch.tensor([[1.0, -2, 3, -4, 5, -6], [0, 0, 0, 0, 0, 0]]))
    x = torch.full((1, 1, 2, 3), 0.5)
    x_adv = parse_attack("fgsm")(Gradients(source_of([net]), x, torch.tensor([0])), LINF, Draws(0, torch.tensor([0])))
    expected = torch.tensor([-1.0, 1, -1, 1, -1, 1]).reshape(1, 1, 2, 3) * float(LINF.eps)
    torch.testing.assert_close(x_adv - x, expected)
