"""Input-gradient regularisation: the penalty, its gradient, its cost."""

from dataclasses import replace

import pytest
import torch
from tests.surrogates.by_hand import same, trained
from tests.surrogates.conftest import ground, images, plain
from torch import nn

from carom.errors import InputError
from carom.surrogates.builder import Training
from carom.surrogates.flatness.sam import SAM
from carom.surrogates.smoothness.input_gradient import InputGradient
from carom.surrogates.smoothness.jacobian import Jacobian
from carom.zoo.models.classifier import Classifier, create
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.recipes import Adaptation, Recipe
from carom.zoo.training.state import State


def state(name: str = "mlp") -> tuple[State, ImageSet]:
    """A network and 12 images."""
    classifier = create(ground(name).architecture, shape=(1, 8, 8), classes=3, seed=2).double().train()
    data = images(12)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1)
    return State(classifier, optimizer, data, data, 0, 1, 1, torch.Generator().manual_seed(0)), data


def gradients(classifier: Classifier, x: ImageSet) -> torch.Tensor:
    """Of each image's own loss, alone."""
    rows = []
    for pixels, label in zip(x.pixels.double(), x.labels, strict=True):
        point = pixels[None].requires_grad_()
        (row,) = torch.autograd.grad(nn.functional.cross_entropy(classifier(point), label[None]), point)
        rows.append(row.flatten())
    return torch.stack(rows)


def test_it_is_a_training() -> None:
    assert isinstance(InputGradient(), Training)
    assert isinstance(InputGradient(), Adaptation)


def test_the_penalty_is_the_root_of_the_mean_squared_gradient_of_an_image() -> None:
    at, data = state()
    loss = InputGradient(beta=0.7).slots(Recipe().slots(), Recipe()).loss
    value, logits = loss(at, data.pixels.double(), data.labels)
    plainly = nn.functional.cross_entropy(at.classifier(data.pixels.double()), data.labels)
    size = gradients(at.classifier, data).square().sum(1).mean().sqrt()
    torch.testing.assert_close(value, plainly + 0.7 * size, rtol=1e-6, atol=0)
    assert logits.shape == (12, 3)


def test_its_gradient_is_that_of_the_penalty() -> None:
    at, data = state()
    loss = InputGradient(beta=2.0).slots(Recipe().slots(), Recipe()).loss
    x, y = data.pixels.double(), data.labels
    weight = next(at.classifier.parameters())
    (gradient,) = torch.autograd.grad(loss(at, x, y)[0], weight)
    place, far = divmod(int(gradient.abs().argmax()), weight.shape[1]), 1e-6
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[place] += sign * far
        values.append(float(loss(at, x, y)[0].detach()))
        with torch.no_grad():
            weight[place] -= sign * far
    assert (values[0] - values[1]) / (2 * far) == pytest.approx(float(gradient[place]), rel=1e-4)


def test_without_weight_it_is_plain_training() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, InputGradient(beta=0.0))
    assert same(base.last, made.last)
    assert made.passes == base.passes


def test_without_weight_and_with_a_radius_it_is_sam() -> None:
    here = ground()
    base, made = trained(here, SAM(rho=0.1)), trained(here, InputGradient(beta=0.0, rho=0.1))
    assert same(base.last, made.last)


@pytest.mark.parametrize(("rho", "times"), [(0.0, 2), (0.1, 4)], ids=str)
def test_its_cost(rho: float, times: int) -> None:
    made = trained(ground(recipe=plain(epochs=1)), InputGradient(rho=rho))
    assert made.passes.forward == made.passes.backward == times * 96


@pytest.mark.parametrize("name", ["resnet-small", "vit-small"])
def test_gradients_become_smaller(name: str) -> None:
    here = ground(name, recipe=plain(epochs=6))
    made, base = trained(here, InputGradient(beta=0.5)), here.trained(here.recipe)
    sizes = [gradients(here.classifier(t.last).double(), here.train).norm(dim=1).mean() for t in (made, base)]
    assert sizes[0] < 0.8 * sizes[1]


class Fused(nn.Module):
    """Fused attention over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = nn.functional.scaled_dot_product_attention(x, x, x)
        logits: torch.Tensor = self.head(mixed[:, 0].mean(1))
        return logits


@pytest.mark.parametrize("way", [InputGradient(), Jacobian()], ids=["input gradient", "jacobian"])
def test_fused_attention_is_differentiated_twice(way: InputGradient | Jacobian) -> None:
    at, data = state()
    at.classifier.float().network = Fused()
    value, _ = way.slots(Recipe().slots(), Recipe()).loss(at, data.pixels, data.labels)
    torch.autograd.backward(value)
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in at.classifier.parameters())


def test_a_gradient_of_zero_is_no_obstacle() -> None:
    at, data = state()
    with torch.no_grad():
        for parameter in at.classifier.parameters():
            parameter.zero_()
    value, _ = InputGradient().slots(Recipe().slots(), Recipe()).loss(at, data.pixels.double(), data.labels)
    torch.autograd.backward(value)
    assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in at.classifier.parameters())


def test_in_bfloat16_it_trains() -> None:
    here = ground(recipe=plain(epochs=1, precision="bfloat16"))
    made = trained(replace(here), InputGradient())
    assert all(bool(t.isfinite().all()) for t in made.last.values())


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError, match="input gradient: beta must be in"):
        InputGradient(beta=-0.1)
