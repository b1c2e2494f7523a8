"""Jacobian regularisation: the penalty, its cost, its draws."""

import pytest
import torch
from tests.surrogates.by_hand import same, trained
from tests.surrogates.conftest import ground, images, plain
from torch import nn

from carom.errors import InputError
from carom.surrogates.builder import Training
from carom.surrogates.flatness.sam import SAM
from carom.surrogates.smoothness.jacobian import Jacobian
from carom.zoo.models.classifier import create
from carom.zoo.training.recipes import Adaptation, Recipe
from carom.zoo.training.state import State


def test_it_is_a_training() -> None:
    assert isinstance(Jacobian(), Training)
    assert isinstance(Jacobian(), Adaptation)


def test_the_penalty_is_half_the_mean_squared_norm_of_the_jacobian() -> None:
    classifier = create(ground("mlp").architecture, shape=(1, 8, 8), classes=3, seed=2).double().train()
    data = images(12)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1)
    state = State(classifier, optimizer, data, data, 0, 1, 1, torch.Generator().manual_seed(0))
    x = data.pixels.double()
    loss = Jacobian(beta=0.7, projections=600).slots(Recipe().slots(), Recipe()).loss
    value, logits = loss(state, x, data.labels)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda image: classifier(image[None])[0]))(x)
    plainly = nn.functional.cross_entropy(classifier(x), data.labels)
    squared = jacobian.detach().flatten(1).square().sum(1).mean()
    assert float((value - plainly).detach()) == pytest.approx(0.7 / 2 * float(squared), rel=0.03)
    assert logits.shape == (12, 3)


def test_without_weight_it_is_plain_training_and_with_a_radius_sam() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, Jacobian(beta=0.0))
    assert same(base.last, made.last)
    assert made.passes == base.passes
    assert same(trained(here, SAM(rho=0.1)).last, trained(here, Jacobian(beta=0.0, rho=0.1)).last)


@pytest.mark.parametrize(("projections", "rho", "times"), [(1, 0.0, 2), (3, 0.0, 4), (1, 0.1, 4)], ids=str)
def test_its_cost(projections: int, rho: float, times: int) -> None:
    made = trained(ground(recipe=plain(epochs=1)), Jacobian(projections=projections, rho=rho))
    assert made.passes.forward == made.passes.backward == times * 96


def test_the_same_seed_gives_the_same_weights() -> None:
    here = ground("mlp")
    assert same(trained(here, Jacobian()).last, trained(here, Jacobian()).last)


@pytest.mark.parametrize(("name", "beta"), [("resnet-small", 0.02), ("vit-small", 0.5)], ids=str)
def test_jacobians_become_smaller(name: str, beta: float) -> None:
    here = ground(name, recipe=plain(epochs=6))

    def size(weights: dict[str, torch.Tensor]) -> float:
        x = here.train.pixels.requires_grad_()
        logits = here.classifier(weights)(x)
        rows = [torch.autograd.grad(logits[:, k].sum(), x, retain_graph=True)[0] for k in range(3)]
        return float(torch.stack(rows).square().sum() / len(x))

    base, made = here.trained(here.recipe), trained(here, Jacobian(beta=beta))
    assert size(made.last) < 0.7 * size(base.last)


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError, match="jacobian: projections must be in"):
        Jacobian(projections=0)
