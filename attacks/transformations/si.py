"""SI: darker copies."""

from dataclasses import dataclass
from typing import ClassVar

from carom.attacks.slots import Averaged, View
from carom.errors import InputError
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class SI:
    """Scale invariance: averages over the copies x, x/2, x/4, ... (Lin et al. 2020, arXiv:1908.06281).

    It scales images in [0, 1], before any normalisation, which lives in the model. The gradient is that of
    `loss(x / 2**i)` with respect to x, so darker copies weigh less.

    Attributes:
        copies: How many scales, at least 1.

    Raises:
        InputError: Less than one copy.
    """

    copies: int = 5

    version: ClassVar[int] = 1
    averages: ClassVar[Averaged] = "gradients"

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise InputError(f"si: copies must be at least 1, got {self.copies}")

    def image(self, x: Images, view: View) -> Images:
        return x if view.index == 0 else x * 2.0**-view.index

    def gradient(self, gradient: Images) -> Images:
        return gradient
