"""The losses of logits that attacks raise."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from carom.attacks import CrossEntropy, Gradients, Iterative, Logit, LogitMargin, Margin, Momentum, parse_attack
from carom.attacks.objectives.probability import Probability
from carom.attacks.slots import Fitted, Objective
from carom.budget import Budget
from carom.draws import Draws

LOSSES = [CrossEntropy(), Margin(), Logit(), LogitMargin(), Probability()]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
LINF, L2 = Budget.parse("linf", "16/255"), Budget.parse("l2", "1.5")


def logits(n: int = 7, classes: int = 5, seed: int = 0) -> Tensor:
    return torch.randn(n, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def gradient(loss: Objective, z: Tensor, labels: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    (g,) = torch.autograd.grad(loss(z, labels).sum(), z)
    return g


Y = torch.tensor([0, 1, 2, 3, 4, 0, 2])


def test_values_are_those_of_their_formulas_image_by_image() -> None:
    z = logits()
    for i, y in enumerate(Y.tolist()):
        row, label = z[i].tolist(), Y[i : i + 1]
        others = max(value for k, value in enumerate(row) if k != y)
        first, second = sorted(row, reverse=True)[:2]
        scaled = torch.tensor([value / (first - second) for value in row], dtype=torch.float64)
        odds = torch.tensor(row, dtype=torch.float64).exp()
        expected: dict[Objective, float] = {
            Margin(): others - row[y],
            Logit(): -row[y],
            LogitMargin(): float(scaled.exp().sum().log() - scaled[y]),
            Probability(): -float(odds[y] / odds.sum()),
        }
        for loss, value in expected.items():
            assert float(loss(z[i : i + 1], label)) == pytest.approx(value, rel=1e-12)


@every_loss
def test_trap_5_one_loss_an_image_and_none_knows_of_the_others(loss: Objective) -> None:
    z = logits()
    assert loss(z, Y).shape == (7,)
    assert isinstance(loss, Objective)
    assert not isinstance(loss, Fitted)
    alone = torch.cat([gradient(loss, z[i : i + 1], Y[i : i + 1]) for i in range(7)])
    assert torch.equal(gradient(loss, z, Y), alone)


@every_loss
def test_losses_are_high_where_the_logits_speak_against_the_labels(loss: Objective) -> None:
    z = logits()
    for_them = z.scatter_add(1, Y[:, None], torch.ones(7, 1, dtype=z.dtype))
    assert bool((loss(z, Y) > loss(for_them, Y)).all())


def test_the_margin_pulls_at_two_logits_only() -> None:
    z = torch.tensor([[3.0, 5.0, 1.0], [3.0, 5.0, 1.0]])
    expected = torch.tensor([[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0]])  # behind the border too: no clamp
    assert torch.equal(gradient(Margin(), z, torch.tensor([0, 1])), expected)


@pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)
@pytest.mark.parametrize("targeted", [False, True])
def test_with_two_classes_the_margin_is_cross_entropy_in_another_unit(
    budget: Budget, targeted: bool, network: Any, source_of: Any, batch: Any
) -> None:
    source = source_of([network(0, classes=2, dtype=torch.float64)])
    x, y = batch.pixels.double() / 255, batch.y % 2
    made = [
        Iterative(objective=loss, momentum=Momentum(decay=0.0), steps=4)(
            Gradients(source, x, y, 1 - y if targeted else None), budget, Draws(0, batch.ids)
        )
        for loss in (CrossEntropy(), Margin())
    ]
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=1e-9)
    assert float((made[0] - x).abs().max()) > 0.02


@pytest.mark.parametrize("loss", [Margin(), Logit(), LogitMargin()], ids=lambda loss: type(loss).__name__)
def test_gradients_do_not_vanish_where_cross_entropy_is_certain(loss: Objective) -> None:
    z = torch.tensor([[1e4, 0.0, -3.0]])
    y = torch.tensor([0])
    assert not gradient(CrossEntropy(), z, y).any()  # float32: the loss is exactly 0
    g = gradient(loss, z, y)
    assert float(g[0, 0]) < 0
    assert bool(g.isfinite().all())


def test_the_scaled_logits_know_nothing_of_the_networks_confidence() -> None:
    z = logits()
    torch.testing.assert_close(LogitMargin()(z, Y), LogitMargin()(1e5 * z, Y), rtol=1e-9, atol=0)
    # and the gap is a constant: the gradient is that of cross-entropy at the scaled logits, over the gap
    top = z.topk(2, 1).values
    gap = (top[:, 0] - top[:, 1])[:, None]
    torch.testing.assert_close(gradient(LogitMargin(), z, Y), gradient(CrossEntropy(), z / gap, Y) / gap)


@pytest.mark.parametrize("row", [[2.0, 2.0, 1.0], [0.0, 0.0, 0.0], [-4.0, -4.0, -4.0], [1e30, 1e30, 0.0]])
def test_ties_stay_finite(row: list[float]) -> None:
    z, y = torch.tensor([row, row]), torch.tensor([0, 2])
    for loss in (Margin(), LogitMargin()):
        assert bool(loss(z, y).isfinite().all())
        assert bool(gradient(loss, z, y).isfinite().all())


@pytest.mark.parametrize("name", ["margin", "logit", "logit-margin"])
def test_a_certain_network_is_fooled_all_the_same(name: str, source_of: Any, batch: Any) -> None:
    """Scaled by a million, cross-entropy is exactly 0 and moves nothing."""
    last = nn.Linear(3 * 8 * 7, 6, dtype=torch.float64)
    weights = torch.sin(torch.arange(6 * 168, dtype=torch.float64) ** 2).reshape(6, 168)
    net = nn.Sequential(nn.Flatten(), last).requires_grad_(False)
    last.weight.copy_(weights * 1e6)
    last.bias.zero_()
    x = batch.pixels.double() / 255
    y = net(x).argmax(1)

    def left(attack: str) -> Tensor:
        made = parse_attack(attack)(Gradients(source_of([net]), x, y), Budget.parse("linf", "1/4"), Draws(0, batch.ids))
        right: Tensor = net(made).argmax(1) == y
        return right

    assert bool(left("bim").all())
    assert int(left(name).sum()) == 0


def test_objectives_join_other_parts() -> None:
    attack = parse_attack("mi+di+ti+logit")
    assert isinstance(attack, Iterative)
    assert attack.objective == Logit()
    assert attack.momentum == Momentum()
    with pytest.raises(Exception, match="'logit' and 'margin' both set objective"):
        parse_attack("logit+margin")


def test_cross_entropy_is_that_of_torch() -> None:
    z = logits()
    assert torch.equal(CrossEntropy()(z, Y), F.cross_entropy(z, Y, reduction="none"))
