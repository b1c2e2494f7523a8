"""Input-gradient regularisation: a loss that is flat around the images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from typing_extensions import override

from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.flatness.sam import sharpness_aware
from carom.surrogates.networks.single import Single
from carom.typing import Images, Labels, Logits
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State


def count_double_backward(state: State, images: int) -> None:
    """Count what a penalty on a gradient costs beside the loop's own forward and backward pass.

    Reading the gradient is a backward pass. Following it back, the loop's backward first runs up the network, from the
    images to the loss, as a forward pass does, and then down with what it would have done anyway.
    """
    state.passes.forward += images
    state.passes.backward += images


@dataclass(frozen=True, kw_only=True)
class InputGradient(Single):
    """Adds the size of the loss's gradient in the images to the loss (Zhang et al. 2024, arXiv:2307.07873).

    The loss is `l + beta sqrt(mean |d l_i / d x_i|^2)` over the images i of a batch, pixels in [0, 1]. The form with
    the plain mean of squares is that of Ross and Doshi-Velez 2018, arXiv:1711.09404. The authors of the former take the
    norm over the whole batch of the gradient of the mean loss; that is this one's value divided by the square root of
    the batch size, so their weight is to be divided likewise. They also divide the sum by the batch size, which is left
    to the learning rate here. With `rho` above 0 it is trained with SAM, as their best surrogates were: both gradients
    of a step are of the whole loss. A step costs twice as many passes, with SAM four times; it takes longer than that
    where batch norm is, whose second derivative torch computes in small pieces (five to six times a plain step).

    Attributes:
        beta: Weight of the penalty, 0 to 1e4; 0 leaves it out, at no cost.
        rho: Radius of SAM, 0 to 100; 0 for the base optimizer.

    Raises:
        InputError: Out of range.
    """

    beta: float = 0.1
    rho: float = 0.0

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checked(self, "input gradient", beta=(0.0, 1e4), rho=(0.0, 100.0))

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, with another loss."""
        return adapted(base, self)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss, and with SAM another update."""
        del recipe

        def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
            x = x.detach().requires_grad_()
            with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
                value, logits = slots.loss(state, x, y)
            (gradient,) = torch.autograd.grad(value, x, create_graph=True)
            count_double_backward(state, len(x))
            # of the batch's mean loss, so each image's own gradient is as many times as large as there are images
            total = gradient.square().sum()
            size = (len(x) * total + _TINY).sqrt()
            return value + self.beta * size, logits.detach()

        return replace(
            slots,
            loss=loss if self.beta else slots.loss,
            update=sharpness_aware(self.rho, slots.update),
        )


_TINY = 1e-24  # the root of 0 has no derivative

PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    # the authors' 0.1, in this unit, at their batch size of 128. They also divide the whole loss by 128: theirs is a
    # recipe with a learning rate of 0.1 / 128 and a weight decay of 128 * 1e-4, which is for the scenario to say
    {"cifar10": MappingProxyType({"beta": 0.1 / 128**0.5})}
)


ENTRY = Entry(
    summary="Trained with a penalty on the loss's gradient in the image; with rho, at SAM's weights.",
    paper="Ross and Doshi-Velez 2018, arXiv:1711.09404; Zhang et al. 2024, arXiv:2307.07873",
    stages=(InputGradient(),),
    presets=PRESETS,
)
