"""Slightly adversarial training: what a step trains on, and what the attack must leave alone."""

from dataclasses import replace

import pytest
import torch
from tests.surrogates.by_hand import same, trained
from tests.surrogates.conftest import ground, images, plain
from torch import Tensor, nn

from carom.errors import InputError
from carom.surrogates.builder import Training
from carom.surrogates.smoothness.slightly_adversarial import SlightlyAdversarial
from carom.typing import Images, Labels, Logits
from carom.zoo.models.classifier import create
from carom.zoo.training.recipes import Adaptation, Recipe
from carom.zoo.training.state import State


def attacked(way: SlightlyAdversarial, name: str = "resnet-small") -> tuple[State, Tensor, Tensor]:
    """The state of a training after one loss, the batch, and what the loss was given instead."""
    classifier = create(ground(name).architecture, shape=(1, 8, 8), classes=3, seed=2).train()
    data = images(24)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1)
    state = State(classifier, optimizer, data, data, 0, 1, 1, torch.Generator().manual_seed(0))
    given: list[Tensor] = []

    def noting(state: State, x: Images, y: Labels) -> tuple[Tensor, Logits]:
        assert state.classifier.training
        given.append(x)
        return torch.zeros(()), torch.zeros(len(x), 3)

    slots = replace(Recipe().slots(), loss=noting)
    way.slots(slots, Recipe()).loss(state, data.pixels, data.labels)
    return state, data.pixels, given[0]


def test_it_is_a_training() -> None:
    assert isinstance(SlightlyAdversarial(), Training)
    assert isinstance(SlightlyAdversarial(), Adaptation)


def test_it_trains_on_images_in_the_ball_that_raise_the_loss() -> None:
    state, x, x_adv = attacked(SlightlyAdversarial(eps=0.3, steps=3))
    distance = (x_adv - x).flatten(1).norm(dim=1)
    assert float(distance.max()) <= 0.3 + 1e-5
    assert float(distance.median()) > 0.15
    assert float(x_adv.min()) >= 0
    assert float(x_adv.max()) <= 1
    y = state.images.labels
    with torch.no_grad():
        losses = [float(nn.functional.cross_entropy(state.classifier.eval()(at), y)) for at in (x, x_adv)]
    assert losses[1] > losses[0] + 0.01


def test_one_step_by_hand() -> None:
    state, x, x_adv = attacked(SlightlyAdversarial(eps=0.3, steps=1, step=0.5, random_start=False))
    point = x.clone().requires_grad_()
    classifier = state.classifier.eval()
    loss = nn.functional.cross_entropy(classifier(point), state.images.labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, point)
    unit = gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(x_adv, (x + 0.15 * unit).clamp(0, 1), rtol=0, atol=1e-5)


def test_starts_are_in_the_ball_and_drawn_anew() -> None:
    way = SlightlyAdversarial(eps=0.3, steps=1, step=0.0)
    _, x, first = attacked(way)
    assert 0 < float((first - x).flatten(1).norm(dim=1).max()) <= 0.3 + 1e-5
    _, _, again = attacked(way)
    assert torch.equal(first, again)
    assert not torch.equal((first - x)[0], (first - x)[1])


def test_the_attack_leaves_batch_norm_and_gradients_alone() -> None:
    state, *_ = attacked(SlightlyAdversarial())
    fresh = create(ground().architecture, shape=(1, 8, 8), classes=3, seed=2)
    assert all(torch.equal(a, b) for a, b in zip(fresh.buffers(), state.classifier.buffers(), strict=True))
    assert all(p.grad is None for p in state.classifier.parameters())
    assert state.classifier.training


def test_a_radius_of_zero_is_plain_training() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, SlightlyAdversarial(eps=0.0))
    assert same(base.last, made.last)
    assert made.passes == base.passes


def test_its_cost() -> None:
    made = trained(ground(recipe=plain(epochs=2)), SlightlyAdversarial(steps=3))
    assert made.passes.forward == made.passes.backward == 2 * 96 * (1 + 3)


def test_it_withstands_more() -> None:
    here = ground("mlp", recipe=plain(epochs=10))
    x, y = here.validation.pixels, here.validation.labels

    def right(weights: dict[str, Tensor]) -> float:
        classifier = here.classifier(weights)
        point = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(classifier(point), y), point)
        unit = gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
        return float((classifier((x + 1.2 * unit).clamp(0, 1)).argmax(1) == y).float().mean())

    base, made = here.trained(here.recipe), trained(here, SlightlyAdversarial(eps=1.0))
    assert right(made.last) > right(base.last) + 0.05


@pytest.mark.parametrize("setting", [{"eps": -0.1}, {"steps": 0}, {"step": -1.0}], ids=str)
def test_settings_out_of_range(setting: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"slightly adversarial: {next(iter(setting))} must be in"):
        SlightlyAdversarial(**setting)  # type: ignore[arg-type]
