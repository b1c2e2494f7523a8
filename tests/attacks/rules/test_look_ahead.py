"""NI by its formula."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from carom.attacks import (
    Gradients,
    parse_attack,
)
from carom.budget import Budget
from carom.draws import Draws
from carom.protocols import Attack

LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")


def run(attack: Attack, source: Any, batch: Any, budget: Budget = LINF, seed: int = 1) -> Tensor:
    x = batch.pixels.to(next(source.networks[0].parameters()).dtype) / 255
    return attack(Gradients(source, x, batch.y), budget, Draws(seed, batch.ids))


@pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)
def test_ni_looks_one_step_of_momentum_ahead(budget: Budget, batch: Any, source64: Any) -> None:
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
    parse_attack({"name": "ni", "steps": 2, "ni": {"decay": 0.5}})(
        Gradients(Watched(), x, batch.y),  # type: ignore[arg-type]
        budget,
        Draws(0, batch.ids),
    )
    after_one = run(parse_attack({"name": "fgsm", "step": "1/2"}), source64, batch, budget)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(F.cross_entropy(net(leaf), batch.y, reduction="sum"), leaf)
    momentum = g / g.abs().mean((1, 2, 3), keepdim=True)
    unit = 1 if budget.norm == "linf" else (3 * 8 * 7) ** -0.5
    expected = after_one + 0.5 * float(budget.eps) * 0.5 * unit * momentum
    assert torch.equal(seen[0], x)
    torch.testing.assert_close(seen[1], expected, rtol=0, atol=1e-12)
    # as far as a step goes, in the norm's own measure
    moved = (seen[1] - after_one).abs().mean((1, 2, 3)) / unit
    torch.testing.assert_close(moved, torch.full_like(moved, 0.25 * float(budget.eps)))


def test_ni_is_mi_for_one_step_and_differs_after_two(source64: Any, batch: Any) -> None:
    def both(steps: int) -> tuple[Tensor, Tensor]:
        wide = Budget.parse("linf", "128/255")
        mi, ni = (parse_attack({"name": name, "steps": steps}) for name in ("mi", "ni"))
        return run(mi, source64, batch, wide), run(ni, source64, batch, wide)

    one, other = both(1)
    assert torch.equal(one, other)
    one, other = both(2)
    assert not torch.equal(one, other)
