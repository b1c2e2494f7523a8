"""What plugs in. Each protocol is one call, or nearly; everything configured is a frozen dataclass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

from carom.budget import Budget, Norm
from carom.draws import Draws
from carom.typing import Images, Labels, Logits

if TYPE_CHECKING:
    from carom.attacks.reading.gradients import Gradients

Combination = Literal["logits", "probabilities", "loss"]


@dataclass(frozen=True, slots=True)
class Passes:
    """Image passes: one image through one classifier.

    Attributes:
        forward: From image to logits.
        backward: From loss to image.
    """

    forward: int = 0
    backward: int = 0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(self.forward + other.forward, self.backward + other.backward)

    @property
    def total(self) -> int:
        """Forward and backward together."""
        return self.forward + self.backward


@runtime_checkable
class Classifier(Protocol):
    """Float images `n c h w` in [0, 1] to logits `n k`. Resizing and normalisation live inside."""

    def __call__(self, x: Images, /) -> Logits: ...


@runtime_checkable
class GradientSource(Protocol):
    """What an attack sees of a surrogate.

    Attributes:
        combination: How several active members become one loss: mean of logits, of probabilities, or of losses.
    """

    @property
    def combination(self) -> Combination: ...

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        """The classifiers that are active at this step for this copy of the images.

        Depends on (seed, step, copy) alone: never on an image, nor on how often somebody asked.
        """
        ...


@runtime_checkable
class DrawnSource(GradientSource, Protocol):
    """A gradient source whose members are other draws at each step, such as a victim that draws.

    An attack that reads it without counting steps gets a step of its own for each reading, or it would overfit the
    draws of the first.
    """

    def redraws(self) -> bool:
        """Whether it does."""
        ...


@runtime_checkable
class Attack(Protocol):
    """Proposes adversarial images. Loads no model, picks no device, decides no success.

    It may read its own target's answers and gradients, never another model's.

    Attributes:
        norms: The budgets it is defined for.
        targeted: Whether it can aim at a given class.
    """

    norms: ClassVar[tuple[Norm, ...]]
    targeted: ClassVar[bool]

    def passes(self, members: int = 1) -> Passes:
        """Forward and backward passes that an image costs at most, on a target of this many active classifiers."""
        ...

    def __call__(self, gradients: "Gradients", budget: Budget, draws: Draws) -> Images:
        """Images in the ball of `budget` around `gradients.x`, `n c h w`, detached.

        Args:
            gradients: The clean images, their classes (and target classes), and what the target says near them.
            budget: The allowed change.
            draws: The only source of randomness; image by image.
        """
        ...


@runtime_checkable
class Control(Protocol):
    """Changes images without any model: what an attack must beat."""

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        """Images in the ball of `budget` around `x`."""
        ...


@runtime_checkable
class Victim(Protocol):
    """Anything that answers images with scores `n k` or labels `n`."""

    def __call__(self, x: Images, /) -> Logits | Labels: ...
