"""PGD adversarial training, and what trainings on attacked images share."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from carom.budget import Budget, Norm
from carom.errors import InputError
from carom.registry import checked
from carom.stages import Entry
from carom.typing import Images, Labels, Logits
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Loss, Slots
from carom.zoo.training.state import State

from .pgd import maximised, robust_accuracy, summed_cross_entropy


def ball(where: str, eps: Fraction, norm: Norm) -> Budget:
    """The ball that a defence trains in.

    Raises:
        InputError: No ball, or an empty one.
    """
    if eps == 0:
        raise InputError(f"{where}: eps is 0, so there is nothing to defend against; give a radius, or leave it out")
    return Budget(norm=norm, eps=eps)


@dataclass(frozen=True, kw_only=True)
class Adversarial(ABC):
    """Training on images that an attack makes of each batch; the base of PGD-AT, TRADES and MART.

    The attack reads the network in eval mode, as the authors of TRADES and MART do; AWP's program attacks in training
    mode, so that batch norm's statistics take in images on their way to the attacked ones, and here they do not. A step
    of it costs one pass forward and one backward an image. The best epoch is the one with the highest accuracy under
    PGD (10 steps of eps/4) on validation images, not under none.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.

    Raises:
        InputError: Out of range.
    """

    eps: Fraction = Fraction(16, 255)
    norm: Norm = "linf"
    steps: int = 10
    step: float = 0.25

    def __post_init__(self) -> None:
        self._check()

    def _check(self, **ranges: tuple[float, float]) -> None:
        """Hold these fields and those of every such training to their ranges."""
        checked(self, self._name, steps=(1.0, 1e4), step=(1e-6, 10.0), **ranges)
        ball(self._name, self.eps, self.norm)

    @property
    def _name(self) -> str:
        return type(self).__name__.lower()

    @property
    def multiple(self) -> float:
        """Passes of a step, in those of a plain one."""
        return 1.0 + self.steps

    @property
    def budget(self) -> Budget:
        """The ball."""
        return Budget(norm=self.norm, eps=self.eps)

    @abstractmethod
    def attacked(self, state: State, x: Images, y: Labels) -> Images:
        """What the batch is attacked to; leaves the classifier in training mode, adds passes to the state's."""

    @abstractmethod
    def loss(self, plain: Loss, state: State, x: Images, x_adv: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
        """What a step makes smaller, given clean and attacked images.

        One pass forward and backward is counted by the training loop; what is beyond is added to the state's.
        """

    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, on other images."""
        return adapted(base, self)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss, and the best epoch chosen under attack."""
        del recipe

        def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
            return self.loss(slots.loss, state, x, self.attacked(state, x, y), y)

        return replace(slots, loss=loss, robust=self.robust)

    def robust(self, state: State) -> float:
        """Accuracy under PGD on validation images."""
        return robust_accuracy(state, self.budget)


@dataclass(frozen=True, kw_only=True)
class PGDAT(Adversarial):
    """PGD adversarial training: learns from attacked images alone (Madry et al. 2018, arXiv:1706.06083).

    The attack climbs the cross-entropy from a uniform start in the ball. Training accuracy in the history is that on
    attacked images.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.

    Raises:
        InputError: Out of range.
    """

    version: ClassVar[int] = 1

    @override
    def attacked(self, state: State, x: Images, y: Labels) -> Images:
        return cross_entropy_attacked(self, state, x, y)

    @override
    def loss(self, plain: Loss, state: State, x: Images, x_adv: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
        del x
        return plain(state, x_adv, y)


def cross_entropy_attacked(settings: Adversarial, state: State, x: Images, y: Labels) -> Images:
    """PGD on the cross-entropy, from a uniform start."""
    return maximised(
        state.classifier,
        x,
        summed_cross_entropy(y),
        settings.budget,
        steps=settings.steps,
        step=settings.step,
        generator=state.generator,
        passes=state.passes,
    )


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"cifar10": MappingProxyType({"eps": Fraction(8, 255), "steps": 10, "step": 0.25})}
)


ENTRY = Entry(
    summary="Learns from what PGD makes of each batch.",
    paper="Madry, Makelov, Schmidt, Tsipras and Vladu 2018, arXiv:1706.06083",
    stages=(PGDAT(),),
    presets=PRESETS,
)
