"""Langevin dynamics: gradient descent with the noise that makes its path a walk through a posterior."""

from collections.abc import Callable, Iterable
from math import sqrt
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from carom.draws import stream
from carom.zoo.training.slots import Update
from carom.zoo.training.state import State


class Langevin(torch.optim.Optimizer):
    """Stochastic-gradient Langevin dynamics and, with momentum, Hamiltonian Monte Carlo with friction.

    With a mean loss of N images, `v <- (1 - alpha) v - lr G (g + wd theta) + sqrt(2 lr alpha T G / N) xi`, and
    `theta <- theta + v`, for standard normal `xi`. As the steps get small, the path's weights are distributed as
    `exp(-N (loss + wd |theta|^2 / 2) / T)`: at T = 1 the posterior under a prior of variance `1 / (N wd)`, in the limit
    of T = 0 plain descent. `alpha = 1` is Welling and Teh 2011, with their step `2 lr / N`; below it is Chen, Fox and
    Guestrin 2014, arXiv:1402.4102. G is 1, or the preconditioner of Li et al. 2016, arXiv:1512.07666: one over the root
    of a running mean of g^2. The term for G's own change is left out, as is common.

    The noise goes into the step, not into the loss, where its factor would be sqrt(2 alpha / lr) and grow without bound
    as the learning rate falls.

    Attributes:
        temperature: T / N of the next step; 0 for none of the noise.
        generator: Of the next step's noise, on the CPU.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        *,
        lr: float,
        alpha: float = 1.0,
        weight_decay: float = 0.0,
        smoothing: float | None = None,
        damping: float = 1e-5,
    ) -> None:
        """From parameters, all of which decay, as the prior is on all of them.

        Args:
            parameters: What moves.
            lr: Learning rate.
            alpha: Friction: one less the momentum.
            weight_decay: wd above.
            smoothing: Of the running mean of g^2; None for no preconditioner.
            damping: Added to its root.
        """
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "weight_decay": weight_decay,
            "smoothing": smoothing,
            "damping": damping,
        }
        super().__init__(parameters, defaults)
        self.temperature = 0.0
        self.generator: torch.Generator | None = None

    @override
    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step along the gradients, with noise where there is a temperature."""
        for group in self.param_groups:
            rate, alpha, smoothing = group["lr"], group["alpha"], group["smoothing"]
            deviation = sqrt(2 * rate * alpha * self.temperature)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                kept = self.state[parameter]
                move = -rate * (parameter.grad + group["weight_decay"] * parameter)
                scale = None
                if smoothing is not None:
                    square = kept.setdefault("square", torch.zeros_like(parameter))
                    square.mul_(smoothing).addcmul_(parameter.grad, parameter.grad, value=1 - smoothing)
                    scale = 1 / (square.sqrt() + group["damping"])
                    move = scale * move
                if deviation > 0:
                    noise = torch.randn(parameter.shape, generator=self.generator).to(parameter)
                    move = move + deviation * (noise if scale is None else scale.sqrt() * noise)
                if alpha < 1:
                    move = kept.setdefault("velocity", torch.zeros_like(parameter)).mul_(1 - alpha).add_(move)
                parameter.add_(move)


def langevin(temperature: float, noisy: Callable[[State], bool], prior: float | None = None) -> Update:
    """The update of a `Langevin` optimizer: noise of this temperature at the steps where it is wanted.

    With a `prior`, the standard deviation of each weight before any data, weight decay is what that comes to.
    """

    def update(state: State, gradient: Callable[[], None]) -> None:
        gradient()
        optimizer = state.optimizer
        if not isinstance(optimizer, Langevin):
            raise TypeError(f"expected an optimizer of Langevin dynamics, got {type(optimizer).__name__}")
        if prior is not None:
            for group in optimizer.param_groups:
                group["weight_decay"] = 1 / (len(state.images) * prior**2)
        optimizer.temperature = temperature / len(state.images) if noisy(state) else 0.0
        if optimizer.temperature:
            seed = stream(state.seed, "langevin", state.step)
            optimizer.generator = torch.Generator().manual_seed(seed)
        optimizer.step()

    return update
