"""ASAM: the radius of a weight is its size."""

import pytest
import torch
from tests.surrogates.by_hand import RATE, A, W, by_hand, same, step, trained, weights
from tests.surrogates.conftest import ground
from torch import nn

from carom.errors import InputError
from carom.surrogates.builder import Training
from carom.surrogates.flatness.asam import ASAM
from carom.zoo.training.recipes import Adaptation


def test_radius_zero_is_the_base_optimizer() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, ASAM(rho=0.0))
    assert same(base.last, made.last)
    assert made.passes == base.passes


def test_it_is_a_training_of_twice_the_cost() -> None:
    assert isinstance(ASAM(), Training)
    assert isinstance(ASAM(), Adaptation)
    made = trained(ground(), ASAM())
    assert made.passes.forward == made.passes.backward == 2 * 3 * 96


def test_weights_move_by_their_size_and_biases_do_not() -> None:
    state, gradient, read = by_hand()
    step(ASAM(rho=0.6, eta=0.05), state, gradient)
    size = torch.cat([W[:4].abs() + 0.05, torch.ones(2)])
    moved = W + 0.6 * size**2 * A * W / (size * A * W).norm()
    torch.testing.assert_close(read[1], moved)
    torch.testing.assert_close(weights(state), W - RATE * A * moved)


def test_a_network_scaled_from_layer_to_layer_has_the_same_neighbourhood() -> None:
    """What the paper asks of it: the loss at the worst weights is that of any equal network."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(16, 6, generator=generator), torch.arange(16) % 3

    def worst(scale: float) -> float:
        network = nn.Sequential(nn.Linear(6, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False))
        generator = torch.Generator().manual_seed(1)
        parameters = list(network.parameters())
        with torch.no_grad():
            for parameter, factor in zip(parameters, (scale, 1 / scale), strict=True):
                parameter.copy_(factor * torch.randn(parameter.shape, generator=generator))
        loss = nn.functional.cross_entropy(network(x), y)
        gradients = list(torch.autograd.grad(loss, parameters))
        with torch.no_grad():
            for parameter, move in zip(
                parameters, ASAM(rho=0.3, eta=0.0)._ascent(network, list(parameters), gradients), strict=True
            ):
                parameter.add_(move)
            return float(nn.functional.cross_entropy(network(x), y))

    assert worst(4.0) == pytest.approx(worst(1.0), rel=1e-5)


@pytest.mark.parametrize(("setting", "name"), [({"rho": -1.0}, "rho"), ({"eta": 2.0}, "eta")], ids=str)
def test_settings_out_of_range(setting: dict[str, float], name: str) -> None:
    with pytest.raises(InputError, match=f"asam: {name} must be in"):
        ASAM(**setting)
