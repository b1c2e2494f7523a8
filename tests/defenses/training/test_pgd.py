"""PGD inside a training: stays in the ball, leaves the network as it was, and is counted."""

from fractions import Fraction
from typing import Literal, get_args

import pytest
import torch
from tests.defenses.conftest import images
from torch import nn

from carom.budget import Budget, Norm
from carom.defenses.training.pgd import (
    Start,
    evaluating,
    maximised,
    robust_accuracy,
    started,
    summed_cross_entropy,
    withstood,
)
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, create, weights
from carom.zoo.training.state import Passes, State

BUDGETS = (Budget(norm="linf", eps=Fraction(16, 255)), Budget(norm="l2", eps=Fraction(1)))


def network(seed: int = 0) -> Classifier:
    return create(architecture("resnet-small"), shape=(1, 8, 8), classes=3, seed=seed).train()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.norm)
@pytest.mark.parametrize("start", get_args(Start))
def test_images_stay_in_the_ball_and_lose_accuracy(budget: Budget, start: Start) -> None:
    data, model = images(40), network()
    loss = summed_cross_entropy(data.labels)
    begin = started(data.pixels, budget, start, seeded())
    x_adv = maximised(model, data.pixels, loss, budget, steps=5, step=0.5, start=start, generator=seeded())
    for some in (begin, x_adv):
        assert float(budget.size(some, data.pixels).max()) <= float(budget.eps) + 1e-6
        assert float(some.min()) >= 0
        assert float(some.max()) <= 1
        assert not some.requires_grad
    model.eval()
    with torch.no_grad():
        assert float(loss(model(x_adv))) > float(loss(model(begin))) + 0.1
    again = maximised(model, data.pixels, loss, budget, steps=5, step=0.5, start=start, generator=seeded())
    assert torch.equal(x_adv, again)


@pytest.mark.parametrize("norm", get_args(Norm))
def test_a_uniform_start_fills_the_ball(norm: Literal["linf", "l2"]) -> None:
    budget = Budget(norm=norm, eps=Fraction(1, 10))
    x = torch.full((4000, 1, 1, 2), 0.5)
    shift = started(x, budget, "uniform", seeded()) - x
    size = budget.size(x + shift, x) / 0.1
    # in two dimensions, half of either ball's area lies within 0.707 of its radius
    assert float((size < 0.5**0.5).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(size.max()) <= 1 + 1e-5
    assert float(shift.mean()) == pytest.approx(0, abs=0.003)


def test_a_gaussian_start_is_tiny_and_a_zero_start_is_none() -> None:
    x = images(100).pixels.clamp(0.1, 0.9)
    shift = started(x, BUDGETS[0], "gaussian", seeded()) - x
    assert float(shift.std()) == pytest.approx(0.001, rel=0.1)
    assert started(x, BUDGETS[0], "zero", seeded()) is x


def test_the_network_is_left_as_it_was() -> None:
    data, model = images(20), network()
    first = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    first.eval()
    modes = [module.training for module in model.modules()]
    before = weights(model)
    maximised(model, data.pixels, summed_cross_entropy(data.labels), BUDGETS[0], steps=2, step=0.5, generator=seeded())
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(model).items())
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ZeroDivisionError), evaluating(model):
        _ = 1 / 0
    assert [module.training for module in model.modules()] == modes


def test_an_image_is_attacked_as_if_alone() -> None:
    data, model = images(6), network()
    whole = maximised(
        model,
        data.pixels,
        summed_cross_entropy(data.labels),
        BUDGETS[0],
        steps=2,
        step=0.5,
        start="zero",
        generator=seeded(),
    )
    some = data.select(torch.arange(2))
    part = maximised(
        model,
        some.pixels,
        summed_cross_entropy(some.labels),
        BUDGETS[0],
        steps=2,
        step=0.5,
        start="zero",
        generator=seeded(),
    )
    assert torch.allclose(whole[:2], part, atol=1e-6)


def test_passes_are_counted() -> None:
    data, passes = images(20), Passes(1, 2)
    maximised(
        network(),
        data.pixels,
        summed_cross_entropy(data.labels),
        BUDGETS[0],
        steps=3,
        step=0.5,
        generator=seeded(),
        passes=passes,
    )
    assert (passes.forward, passes.backward) == (61, 62)


def test_accuracy_under_attack_looks_at_the_same_images_from_the_same_starts() -> None:
    model, judges = network(), images(60)
    state = State(model, torch.optim.SGD(model.parameters(), lr=0.1), images(9), judges, 3, 2, 2, seeded())
    found = robust_accuracy(state, BUDGETS[0], steps=2)
    state.epoch, state.generator = 1, seeded(5)
    assert robust_accuracy(state, BUDGETS[0], steps=2) == found
    assert (state.passes.forward, model.training) == (0, True)


def test_accuracy_under_attack_looks_at_every_class_whatever_the_order() -> None:
    """Folders come class by class; their first images would be of the first class alone."""
    judges = images(60)
    ordered = judges.select(judges.labels.argsort(stable=True))
    head = nn.Linear(64, 3)
    nn.init.zeros_(head.weight)
    with torch.no_grad():
        head.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    kind = architecture("mlp")
    preprocessing = create(kind, shape=(1, 8, 8), classes=3).preprocessing
    of = nn.Sequential(nn.Flatten(), head)
    model = Classifier(of, shape=(1, 8, 8), classes=3, preprocessing=preprocessing, architecture=kind).train()
    state = State(model, torch.optim.SGD(model.parameters(), lr=0.1), images(9), ordered, 3, 2, 2, seeded())
    assert robust_accuracy(state, BUDGETS[0], steps=1, most=20) == pytest.approx(1 / 3)


def test_what_withstands_nothing_is_what_is_right() -> None:
    model, data = network(), images(30)
    x, y = data.pixels, data.labels
    right = withstood(model, x, y, BUDGETS[0], steps=0, start="zero", generator=seeded())
    with torch.no_grad(), evaluating(model):
        assert torch.equal(right, (model(x).argmax(1) == y).float())
    attacked = withstood(model, x, y, Budget(norm="linf", eps=Fraction(1, 2)), generator=seeded())
    assert attacked.sum() < right.sum()
