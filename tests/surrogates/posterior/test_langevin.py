"""Langevin dynamics sample the posterior that they say, where it is known in closed form."""

from collections.abc import Callable
from math import sqrt

import pytest
import torch
from tests.surrogates.conftest import images
from torch import Tensor, nn

from carom.draws import stream
from carom.surrogates.posterior.csgld import restarts
from carom.surrogates.posterior.langevin import Langevin, langevin
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.training.state import State

CHAINS = 4000
N = 40
NOISE = 0.5  # standard deviation of the targets
PRIOR = 0.7  # of the weights


def linear() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs and targets of a linear model with Gaussian noise; mean and precision of its weights' posterior."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(N, 3, generator=generator) * torch.tensor([1.0, 0.5, 0.3])
    x[:, 1] += 0.4 * x[:, 0]
    y = x @ torch.tensor([1.0, -0.5, 0.8]) + NOISE * torch.randn(N, generator=generator)
    precision = x.T @ x / NOISE**2 + torch.eye(3) / PRIOR**2
    return x, y, torch.linalg.solve(precision, x.T @ y / NOISE**2), precision


def walked(
    seed: int, steps: int, *, rate: float, alpha: float, temperature: float, schedule: Callable[[float], float]
) -> Tensor:
    """Where many chains are after some steps: each row of one parameter is a chain, and none knows of the others."""
    x, y, _, _ = linear()
    theta = nn.Parameter(torch.zeros(CHAINS, 3))
    optimizer = Langevin([theta], lr=rate, alpha=alpha, weight_decay=1 / (N * PRIOR**2))
    optimizer.generator = torch.Generator().manual_seed(seed)
    optimizer.temperature = temperature / N
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * schedule(step / steps)
        optimizer.zero_grad()
        losses = (theta @ x.T - y).square().mean(1) / (2 * NOISE**2)
        torch.autograd.backward(losses.sum())
        optimizer.step()
    return theta.detach()


def alike(found: Tensor, mean: Tensor, covariance: Tensor) -> None:
    """Mean and covariance within five standard errors of so many independent chains."""
    deviation = covariance.diagonal().sqrt()
    assert bool(((found.mean(0) - mean).abs() < 5 * deviation / sqrt(CHAINS)).all())
    error = (torch.cov(found.T) - covariance).abs() / torch.outer(deviation, deviation)
    assert bool((error < 5 * sqrt(2 / CHAINS)).all())


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("alpha", "temperature"), [(1.0, 1.0), (0.1, 1.0), (0.3, 0.25)], ids=str)
def test_a_constant_step_samples_the_posterior(seed: int, alpha: float, temperature: float) -> None:
    """With the widening that a finite step brings, which for a Gaussian is known exactly."""
    _, _, mean, precision = linear()
    rate = 0.1
    values, vectors = torch.linalg.eigh(precision)
    widening = 1 / (1 - rate / N * values / (2 * (2 - alpha)))
    covariance = vectors @ torch.diag(temperature / values * widening) @ vectors.T
    found = walked(seed, 400, rate=rate, alpha=alpha, temperature=temperature, schedule=lambda done: 1.0)
    alike(found, mean, covariance)


@pytest.mark.parametrize(("alpha", "steps"), [(1.0, 800), (0.5, 2000)])
def test_the_ends_of_cycles_sample_the_posterior(alpha: float, steps: int) -> None:
    """Steps get small there, and nothing of their widening is left to see.

    With little friction a cycle must be long: the velocity of larger steps is left over, and warms what is sampled.
    """
    _, _, mean, precision = linear()
    found = walked(3, steps, rate=0.15, alpha=alpha, temperature=1.0, schedule=lambda done: restarts(done, 2))
    alike(found, mean, torch.linalg.inv(precision))


def test_what_tells_a_wrong_temperature() -> None:
    """The check above has the power to fail: a fifth too much temperature is seen."""
    _, _, mean, precision = linear()
    found = walked(0, 800, rate=0.15, alpha=1.0, temperature=1.2, schedule=lambda done: restarts(done, 2))
    with pytest.raises(AssertionError):
        alike(found, mean, torch.linalg.inv(precision))


def test_a_preconditioned_step_by_hand() -> None:
    theta = nn.Parameter(torch.tensor([1.0, -2.0, 3.0]))
    start = theta.detach().clone()
    optimizer = Langevin([theta], lr=0.1, weight_decay=0.01, smoothing=0.75, damping=0.5)
    optimizer.temperature = 0.04
    square = torch.zeros(3)
    here = start.clone()
    for i, gradient in enumerate((torch.tensor([2.0, 0.0, -1.0]), torch.tensor([1.0, 1.0, 1.0]))):
        optimizer.generator = torch.Generator().manual_seed(i)
        noise = torch.randn(3, generator=torch.Generator().manual_seed(i))
        square = 0.75 * square + 0.25 * gradient**2
        g = 1 / (square.sqrt() + 0.5)
        here = here - 0.1 * g * (gradient + 0.01 * here) + (2 * 0.1 * 0.04 * g).sqrt() * noise
        theta.grad = gradient
        optimizer.step()
    torch.testing.assert_close(theta.detach(), here)


def test_noise_belongs_to_seed_and_step_and_to_the_number_of_images() -> None:
    classifier = create(architecture({"name": "mlp", "width": 4, "depth": 1}), shape=(1, 8, 8), classes=3)
    parameters = list(classifier.parameters())
    optimizer = Langevin(parameters, lr=0.02, alpha=0.5)
    state = State(classifier, optimizer, images(50), images(50), 7, 1, 10, torch.Generator(), step=4)
    before = [p.detach().clone() for p in parameters]

    def gradient() -> None:
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)

    langevin(0.3, lambda state: True)(state, gradient)
    generator = torch.Generator().manual_seed(stream(7, "langevin", 4))
    for parameter, old in zip(parameters, before, strict=True):
        noise = torch.randn(old.shape, generator=generator)
        torch.testing.assert_close(parameter.detach() - old, sqrt(2 * 0.02 * 0.5 * 0.3 / 50) * noise, atol=1e-6, rtol=0)
    there = [p.detach().clone() for p in parameters]
    langevin(0.3, lambda state: False)(state, gradient)  # the velocity goes on, halved, and nothing is added
    for parameter, old, first in zip(parameters, there, before, strict=True):
        torch.testing.assert_close(parameter.detach() - old, 0.5 * (old - first), atol=1e-6, rtol=0)


def test_another_optimizer_is_refused() -> None:
    classifier = create(architecture("mlp"), shape=(1, 8, 8), classes=3)
    plain = torch.optim.SGD(classifier.parameters(), lr=0.1)
    state = State(classifier, plain, images(4), images(4), 0, 1, 1, torch.Generator())
    with pytest.raises(TypeError, match="Langevin dynamics, got SGD"):
        langevin(1.0, lambda state: True)(state, lambda: None)
