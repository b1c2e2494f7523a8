"""Jacobian regularisation: logits that change little with the images."""

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

from .input_gradient import count_double_backward


@dataclass(frozen=True, kw_only=True)
class Jacobian(Single):
    """Adds half the squared norm of the logits' Jacobian in the images, estimated (Hoffman, Roberts and Yaida 2019).

    The loss is `l + beta / 2 mean |J_i|^2` over the images i of a batch, pixels in [0, 1], and the squared Frobenius
    norm of a Jacobian of k classes is k times the mean over unit vectors v of `|v J|^2`; `projections` random ones are
    drawn for each image and step. A step costs `1 + projections` times as many passes; with SAM twice that.
    arXiv:1908.02729; as a surrogate: Zhang et al. 2024, arXiv:2307.07873.

    Attributes:
        beta: Weight of the penalty, 0 to 1e4; 0 leaves it out, at no cost.
        projections: Random directions for each image, at least 1.
        rho: Radius of SAM, 0 to 100; 0 for the base optimizer.

    Raises:
        InputError: Out of range.
    """

    beta: float = 0.01
    projections: int = 1
    rho: float = 0.0

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checked(self, "jacobian", beta=(0.0, 1e4), projections=(1.0, 1e4), rho=(0.0, 100.0))

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
            n, classes = logits.shape
            total = torch.zeros((), device=x.device)
            for _ in range(self.projections):
                directions = torch.randn(n, classes, generator=state.generator).to(x.device)
                directions = directions / directions.norm(dim=1, keepdim=True).clamp_min(1e-12)
                (product,) = torch.autograd.grad(logits, x, directions.to(logits.dtype), create_graph=True)
                total = total + product.square().sum()
                count_double_backward(state, n)
            squared = classes * total / (n * self.projections)
            return value + self.beta / 2 * squared, logits.detach()

        return replace(
            slots,
            loss=loss if self.beta else slots.loss,
            update=sharpness_aware(self.rho, slots.update),
        )


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    # the authors divide the whole loss by their batch size of 128: theirs is a recipe with a learning rate of 0.1 / 128
    # and a weight decay of 128 * 1e-4, which is for the scenario to say
    {"cifar10": MappingProxyType({"beta": 0.05, "projections": 1})}
)


ENTRY = Entry(
    summary="Trained with a penalty on the logits' Jacobian in the image.",
    paper="Hoffman, Roberts and Yaida 2019, arXiv:1908.02729; Zhang et al. 2024, arXiv:2307.07873",
    stages=(Jacobian(),),
    presets=PRESETS,
)
