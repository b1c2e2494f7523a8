"""Gradients of one batch at several weights: what SAM, its relatives and MoreBayesian share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carom.zoo.training.state import State

Tensors = list[Tensor]
"""One tensor for each parameter, in the optimizer's order."""


TINY = 1e-12  # a gradient of 0 has no direction, and moves nothing


def norm(tensors: Tensors) -> Float[Tensor, ""]:
    """The Euclidean norm over all of them."""
    total: Tensor = torch.linalg.vector_norm(torch.stack(list(torch._foreach_norm(tensors))))
    return total


def inner(a: Tensors, b: Tensors) -> Float[Tensor, ""]:
    """The inner product over all of them."""
    return torch.stack([product.sum() for product in torch._foreach_mul(a, b)]).sum()


def along(direction: Tensors, length: float) -> Tensors:
    """Of `length` over all tensors, in this direction; zero where the direction is."""
    return list(torch._foreach_mul(direction, length / (norm(direction) + TINY)))


@dataclass(eq=False)
class Probe:
    """Gradients of one batch's loss: first at the present weights, then at others nearby.

    All are gradients of one function of the weights. The images are the same, and so are dropout masks and whatever
    else the loss draws: generators are set back before each further reading. Batch norm's statistics take in the first
    reading alone, so what a network carries in the end belongs to weights that it had. Weights are kept as copies and
    put back bit for bit. Gradients are the loss's own: weight decay is the optimizer's, and enters in its step.

    Attributes:
        state: Where the training stands.
        gradient: What the training loop gave.
        parameters: Those that the loss has a gradient for; known after the first reading.
    """

    state: State
    gradient: Callable[[], None]
    parameters: Tensors = field(default_factory=list)
    _random: tuple[Tensor, ...] = ()

    def here(self) -> Tensors:
        """At the present weights; comes first."""
        self._random = _random_states(self.state)
        self.gradient()
        self.parameters = [
            p for group in self.state.optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        return self._gradients()

    def at(self, shift: Tensors) -> Tensors:
        """At the present weights moved by `shift`."""
        with torch.no_grad():
            kept = list(torch._foreach_clone(self.parameters))
            torch._foreach_add_(self.parameters, shift)
        _set_random_states(self.state, self._random)
        with _still(self.state.classifier):
            self.gradient()
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, kept)
        return self._gradients()

    def step(self, gradients: Tensors) -> None:
        """The optimizer's step, along these gradients."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.state.optimizer.step()

    def _gradients(self) -> Tensors:
        # tensors of their own: the next reading makes new ones
        return [p.grad for p in self.parameters if p.grad is not None]


@contextmanager
def _still(classifier: nn.Module) -> Iterator[None]:
    """Batch norm normalises by the batch, and takes nothing down.

    Not a momentum of 0: that would still count the batch, and carry over a statistic that is not finite.
    """
    norms = [m for m in classifier.modules() if isinstance(m, nn.modules.batchnorm._NormBase) and m.track_running_stats]
    # instance norm writes its statistics whatever that flag says
    kept = [(b, b.clone()) for m in norms if isinstance(m, nn.modules.instancenorm._InstanceNorm) for b in m.buffers()]
    for layer in norms:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in norms:
            layer.track_running_stats = True
        for buffer, before in kept:
            buffer.copy_(before)


def _random_states(state: State) -> tuple[Tensor, ...]:
    """Of everything that a loss may draw from: dropout's generators, and the training's own."""
    device = state.classifier.mean.device
    states = (state.generator.get_state(), torch.default_generator.get_state())
    return (*states, torch.cuda.get_rng_state(device)) if device.type == "cuda" else states


def _set_random_states(state: State, states: tuple[Tensor, ...]) -> None:
    state.generator.set_state(states[0])
    torch.default_generator.set_state(states[1])
    if len(states) > 2:
        torch.cuda.set_rng_state(states[2], state.classifier.mean.device)
