"""What a transformation is."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from carom.attacks.reading.partners import Partners
from carom.budget import Budget
from carom.draws import Draws
from carom.typing import Images, Labels

Averaged = Literal["gradients", "logits"]


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Which version of the images is asked for.

    Attributes:
        draws: The only source of randomness; image by image.
        budget: Of the attack; radii of transformations are in units of its eps.
        step: The step of the attack.
        index: Which of this transformation's own `copies`.
        copy: Which pass of the step, over all transformations and readings: draws belong to (step, copy).
        y: The images' classes, `n`.
        partners: A fixed pool of images to mix in; None where the attack was given none.
        reading: Which of the step's readings of the gradient; it has a pass for each copy of all transformations.
    """

    draws: Draws
    budget: Budget
    step: int
    index: int
    copy: int
    y: Labels
    partners: Partners | None
    reading: int = 0


@runtime_checkable
class Transformation(Protocol):
    """One of the transformations of an attack; they apply in the written order.

    Attributes:
        copies: How many versions of each image it makes. Copies of several transformations multiply.
        averages: What is averaged over its copies: the gradients, or the logits before the one loss of them all.
    """

    averages: ClassVar[Averaged]

    @property
    def copies(self) -> int: ...

    def image(self, x: Images, view: View) -> Images:
        """The images, `n c h w`, as the model is to see them: of the same shape, differentiable. May be `x` itself."""
        ...

    def gradient(self, gradient: Images) -> Images:
        """What becomes of a gradient that was read, the average over the copies; most leave it as it is."""
        ...
