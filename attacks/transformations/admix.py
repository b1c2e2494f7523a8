"""Admix: a little of other classes' images mixed in, at several scales."""

import math
from dataclasses import dataclass
from typing import ClassVar

from carom.attacks.slots import Averaged, View
from carom.errors import InputError
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class Admix:
    """Admix: averages over the copies (x + strength x') / 2**i (Wang et al. 2021, arXiv:2102.00436).

    The partners x' are drawn for each image, uniform over those images of a fixed pool that are of another class than
    the image; each is mixed in at all scales, and every reading draws new ones. Nothing is taken from the batch. Scales
    are of images in [0, 1], before any normalisation, as in SI; with strength 0 and one partner this is SI.

    Attributes:
        scales: How many, at least 1: 1, 1/2, 1/4, ...
        partners: Of each image in one reading, at least 1.
        strength: Weight of a partner, at least 0.

    Raises:
        InputError: Out of these ranges; when used, no pool of partners, one of other shape, or of no other class.
    """

    scales: int = 5
    partners: int = 3
    strength: float = 0.2

    version: ClassVar[int] = 1
    averages: ClassVar[Averaged] = "gradients"

    def __post_init__(self) -> None:
        if self.scales < 1:
            raise InputError(f"admix: scales must be at least 1, got {self.scales}")
        if self.partners < 1:
            raise InputError(f"admix: partners must be at least 1, got {self.partners}")
        if not 0 <= self.strength < math.inf:
            raise InputError(f"admix: strength must be at least 0, got {self.strength:g}")

    @property
    def copies(self) -> int:
        return self.scales * self.partners

    def image(self, x: Images, view: View) -> Images:
        pool = view.partners
        if pool is None:
            raise InputError("admix: it mixes in images of other classes and was given none; give partners")
        if pool.images.shape[1:] != x.shape[1:]:
            raise InputError(
                f"admix: partners of shape {tuple(pool.images.shape[1:])} for images of shape {tuple(x.shape[1:])}; "
                "give partners of the images' shape"
            )
        if view.step == view.copy == 0:  # once an attack: looking waits for a GPU
            pool.check(view.y)
        partner, scale = divmod(view.index, self.scales)
        # not `view.copy`: all scales of a reading see the same partner
        u = view.draws.uniform("admix partner", step=view.step, copy=view.reading * self.partners + partner)
        mixed = x + self.strength * pool.images[pool.of_other_classes(u, view.y)]
        return mixed if scale == 0 else mixed * 2.0**-scale

    def gradient(self, gradient: Images) -> Images:
        return gradient
