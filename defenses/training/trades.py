"""TRADES: accuracy and smoothness traded by one weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from carom.stages import Entry
from carom.typing import Images, Labels, Logits, PerImage
from carom.zoo.training.slots import Loss
from carom.zoo.training.state import State

from .pgd import evaluating, maximised
from .pgd_at import Adversarial


def divergence(p: Logits, q: Logits) -> PerImage:
    """KL(softmax(p) || softmax(q)) of each image: summed over classes; gradients flow to both.

    Its mean over images is what PyTorch calls "batchmean", not its "mean", which divides by the classes besides.
    """
    log_p, log_q = p.log_softmax(1), q.log_softmax(1)
    return (log_p.exp() * (log_p - log_q)).sum(1)


@dataclass(frozen=True, kw_only=True)
class TRADES(Adversarial):
    """TRADES: cross-entropy on clean images, and clean and attacked answers alike (Zhang et al. 2019).

    Loss: `CE(f(x), y) + beta mean KL(p(x) || p(x'))`, KL summed over classes and averaged over images, with gradients
    through both its arguments. The attack climbs the same KL, with p(x) of the network in eval mode, from Gaussian
    noise of deviation 0.001, as at the image itself the KL has no slope. Clean and attacked images go through the
    network in two batches. A step costs steps + 3 passes forward and steps + 2 backward an image. arXiv:1901.08573.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.
        beta: Weight of robustness, 0 to 1000.

    Raises:
        InputError: Out of range.
    """

    beta: float = 6.0

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self._check(beta=(0.0, 1e3))

    @override
    def attacked(self, state: State, x: Images, y: Labels) -> Images:
        del y
        return divergence_attacked(self, state, x)

    @override
    def loss(self, plain: Loss, state: State, x: Images, x_adv: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
        clean, logits = plain(state, x, y)
        apart = divergence(logits, state.classifier(x_adv)).mean()
        state.passes.forward += len(x)
        state.passes.backward += len(x)
        return clean + self.beta * apart, logits


def divergence_attacked(settings: Adversarial, state: State, x: Images) -> Images:
    """PGD on the KL between the clean and the attacked answer."""
    with evaluating(state.classifier):
        with torch.no_grad():
            clean = state.classifier(x)
        state.passes.forward += len(x)
        return maximised(
            state.classifier,
            x,
            lambda logits: divergence(clean, logits),
            settings.budget,
            steps=settings.steps,
            step=settings.step,
            start="gaussian",
            generator=state.generator,
            passes=state.passes,
        )


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    # the code's 0.031 and 0.007
    {"cifar10": MappingProxyType({"eps": Fraction(31, 1000), "steps": 10, "step": 7 / 31, "beta": 6.0})}
)


ENTRY = Entry(
    summary="Clean cross-entropy, and a like answer near each image.",
    paper="Zhang, Yu, Jiao, Xing, El Ghaoui and Jordan 2019, arXiv:1901.08573",
    stages=(TRADES(),),
    presets=PRESETS,
)
