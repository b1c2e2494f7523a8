"""What the images go through before the model reads them, and what its gradient goes through after.

To add one: write the file, import it here, and name it in `ATTACKS` of `carom.attacks`.
"""

from typing import Protocol, runtime_checkable

from carom.draws import Draws
from carom.typing import Images

from .di import DI
from .si import SI
from .ti import TI

__all__ = ["DI", "SI", "TI", "Transformation"]


@runtime_checkable
class Transformation(Protocol):
    """One of the transformations of an attack; they apply in the written order.

    Attributes:
        copies: How many versions of each image it makes. Copies of several transformations multiply, and the
            gradients of all copies are averaged.
    """

    @property
    def copies(self) -> int: ...

    def image(self, x: Images, draws: Draws, *, step: int, index: int, copy: int) -> Images:
        """The images as the model is to see them: of the same shape, differentiable. May be `x` itself.

        Args:
            x: Images, `n c h w`.
            draws: The only source of randomness; image by image.
            step: The step of the attack.
            index: Which of this transformation's own `copies`.
            copy: Which pass of the step, over all transformations: draws belong to (step, copy).
        """
        ...

    def gradient(self, gradient: Images) -> Images:
        """What becomes of the averaged gradient; most leave it as it is."""
        ...
