"""Fewer grey levels before a classifier."""

from dataclasses import dataclass
from typing import ClassVar

from carom.draws import Draws
from carom.registry import checked
from carom.stages import Entry
from carom.typing import Images
from carom.zoo.models.classifier import Classifier

from .wrapped import straight_through, wrapped


@dataclass(frozen=True, kw_only=True)
class BitDepth:
    """Each pixel rounded to the nearest of `2 ** bits` levels from 0 to 1 (Xu, Evans and Qi 2018, arXiv:1704.01155).

    `round(x (2^b - 1)) / (2^b - 1)`, halves to the even level. Backward it is the identity (BPDA, arXiv:1802.00420).

    Attributes:
        bits: 1 to 8.

    Raises:
        InputError: Out of range.
    """

    bits: int = 4

    version: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    differentiable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self, "bit-depth", bits=(1.0, 8.0))

    def wrap(self, classifier: Classifier) -> Classifier:
        """The classifier behind it."""
        return wrapped(classifier, self)

    def __call__(self, x: Images, draws: Draws, /) -> Images:
        """Images of so many levels."""
        del draws
        top = 2**self.bits - 1
        return straight_through(x, (x.detach() * top).round().clamp(0, top) / top)


ENTRY = Entry(
    summary="The image is rounded to fewer bits first.",
    paper="Xu, Evans and Qi 2018, arXiv:1704.01155",
    stages=(BitDepth(),),
)
