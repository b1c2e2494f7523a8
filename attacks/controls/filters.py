"""Image filters as controls: what anybody can do to a picture, at the size of an attack.

The filters of the DUMB testbed (Alecci, Conti, Marchiori, Martinelli and Pajola 2023, arXiv:2306.15363), without the
defects of its code. A filter is far larger than a budget, so the image goes only a part of the way: along the straight
line from x to the filtered image f(x) until it is eps away in the budget's norm, or to f(x) itself where that is
nearer. [0, 1] is convex, so nothing has to be clamped, and the change keeps its shape. What a filter does to a victim
is then comparable with what an attack of the same size does.
"""

from dataclasses import dataclass
from math import floor
from typing import ClassVar

import torch

from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.typing import Images, per_image

DUMB = "Alecci et al. 2023, arXiv:2306.15363"


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseFilter:
    """Normal noise of mean 0 on each pixel and channel, cut off at black and white.

    (DUMB's noise has its variance as its mean too, so it brightens.)

    Attributes:
        sigma: Standard deviation in pixel units, in (0, 10]. DUMB: 0.07 to 1.

    Raises:
        InputError: Out of this range.
    """

    sigma: float = 0.25

    version: ClassVar[int] = 1
    paper: ClassVar[str] = DUMB

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= 10:
            raise InputError(f"filter-noise: sigma must be in (0, 10], in pixel units, got {self.sigma:g}")

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        return _towards((x + self.sigma * draws.normal("filter noise", x.shape[1:]).to(x.dtype)).clamp(0, 1), x, budget)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlurFilter:
    """The mean over a square around each pixel; the border's pixels go on outside.

    Attributes:
        radius: Of the square, 2 * radius + 1 pixels wide, in (0, 100]. A fraction weighs the outermost pixels. DUMB:
            0.5 to 10 at 300 pixels.

    Raises:
        InputError: Out of this range.
    """

    radius: float = 2.0

    version: ClassVar[int] = 2
    paper: ClassVar[str] = DUMB

    def __post_init__(self) -> None:
        if not 0 < self.radius <= 100:
            raise InputError(f"filter-blur: radius must be in (0, 100] pixels, got {self.radius:g}")

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        return _towards(self._along(self._along(x, 2), 3).clamp(0, 1), x, budget)

    def _along(self, x: Images, side: int) -> Images:
        """The mean along one side, in a fixed order; a matrix product's can depend on the place in the batch."""
        whole = floor(self.radius)
        last = x.shape[side] - 1
        pixel = torch.arange(last + 1, device=x.device)

        def shifted(by: int) -> Images:
            return x.index_select(side, (pixel + by).clamp(0, last))

        total = (shifted(-whole - 1) + shifted(whole + 1)) * (self.radius - whole)
        for offset in range(-whole, whole + 1):
            total = total + shifted(offset)
        return total / (2 * self.radius + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class GrayscaleFilter:
    """Every channel becomes the luminance 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); the identity on one channel.

    Raises:
        InputError: When called with images of other than one or three channels.
    """

    version: ClassVar[int] = 1
    paper: ClassVar[str] = DUMB

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        if _colourless(x, "filter-grayscale"):
            return x
        weights = torch.tensor([0.299, 0.587, 0.114], dtype=x.dtype, device=x.device)
        return _towards((x * weights[:, None, None]).sum(1, keepdim=True).clamp(0, 1).expand_as(x), x, budget)


@dataclass(frozen=True, kw_only=True, slots=True)
class InvertFilter:
    """The negative, 1 - x."""

    version: ClassVar[int] = 1
    paper: ClassVar[str] = DUMB

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        return _towards(1 - x, x, budget)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlackBoxFilter:
    """A black rectangle somewhere in the image; every place that holds it is equally likely.

    Attributes:
        share: Of each side of the image, in (0, 1], rounded to whole pixels and at least one. DUMB: 1/30 to 2/3, at
            300 x 300 a square.

    Raises:
        InputError: Out of this range.
    """

    share: float = 1 / 3

    version: ClassVar[int] = 1
    paper: ClassVar[str] = DUMB

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise InputError(f"filter-black-box: share must be in (0, 1], of each side, got {self.share:g}")

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        covered = []
        for name, side in (("row", x.shape[2]), ("column", x.shape[3])):
            length = max(1, round(self.share * side))
            first = draws.integers(f"filter black box {name}", side - length + 1)[:, None]
            place = torch.arange(side, device=x.device)
            covered.append((place >= first) & (place < first + length))
        rows, columns = covered
        return _towards(x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0), x, budget)


@dataclass(frozen=True, kw_only=True, slots=True)
class SaltPepperFilter:
    """Some pixels turn black or white, all channels together, half of them each.

    (DUMB turns the image grey first, and its salt is almost black.)

    Attributes:
        amount: Probability of a pixel to turn, in (0, 1]. DUMB: 0.005 to 1.

    Raises:
        InputError: Out of this range.
    """

    amount: float = 0.1

    version: ClassVar[int] = 1
    paper: ClassVar[str] = DUMB

    def __post_init__(self) -> None:
        if not 0 < self.amount <= 1:
            raise InputError(f"filter-salt-pepper: amount must be in (0, 1], got {self.amount:g}")

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        u = draws.uniform("filter salt pepper", (1, *x.shape[2:]))
        return _towards(x.masked_fill(u < self.amount, 1.0).masked_fill(u < self.amount / 2, 0.0), x, budget)


@dataclass(frozen=True, kw_only=True, slots=True)
class SwapRgbFilter:
    """Red and green change places (DUMB's SplitMergeRGB); the identity on one channel.

    Raises:
        InputError: When called with images of other than one or three channels.
    """

    version: ClassVar[int] = 1
    paper: ClassVar[str] = DUMB

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        return _towards(x if _colourless(x, "filter-swap-rgb") else x[:, [1, 0, 2]], x, budget)


def _towards(full: Images, x: Images, budget: Budget) -> Images:
    """On the way from x to f(x), eps away or there."""
    share = (float(budget.eps) / budget.size(full, x).clamp_min(1e-12)).clamp_max(1.0)
    return budget.project(x + per_image(share) * (full - x), x)  # only rounding is left to project


def _colourless(x: Images, name: str) -> bool:
    """Whether the images have one channel.

    Raises:
        InputError: Neither one nor three.
    """
    if x.shape[1] not in (1, 3):
        raise InputError(f"{name}: expected images of 1 or 3 channels, got {x.shape[1]}; leave it out for this task")
    return x.shape[1] == 1
