"""Changes without any model: what an attack must beat.

A control knows no surrogate, so whatever fools a victim here is the size of the change, not what was learned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any, ClassVar, cast

import torch
from torch.nn import functional as F

from carom.budget import Budget, unit_l2
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Control
from carom.registry import build, lookup
from carom.typing import Images

from .filters import (
    BlackBoxFilter,
    BlurFilter,
    GrayscaleFilter,
    InvertFilter,
    NoiseFilter,
    SaltPepperFilter,
    SwapRgbFilter,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The clean images: what an attack with eps = 0 is."""

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "carom"

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        return x


@dataclass(frozen=True, kw_only=True, slots=True)
class SignNoise:
    """Random signs: no change of this size has a larger L2 norm.

    linf: every pixel moves by `scale * eps`, up or down at random, or the way that has more room where [0, 1] ends
    before. l2: along a uniform direction by `scale * eps`, each pixel turned to the other side where that has more
    room.

    Attributes:
        scale: Size in units of eps, in (0, 1].

    Raises:
        InputError: Out of this range.
    """

    scale: Fraction = Fraction(1)

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "carom"

    def __post_init__(self) -> None:
        if not 0 < self.scale <= 1:
            raise InputError(f"sign-noise: scale must be in (0, 1], in units of eps, got {self.scale}")

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        shape = x.shape[1:]
        if budget.norm == "linf":
            direction = torch.where(draws.bits("sign noise", shape) < 0, -1.0, 1.0).to(x.dtype)
        else:
            direction = unit_l2(draws.normal("sign noise", shape).to(x.dtype))
        change = float(self.scale * budget.eps) * direction
        up, down = torch.minimum(1 - x, change.abs()), torch.minimum(x, change.abs())
        change = torch.where(up == down, change.sign() * up, torch.where(up > down, up, -down))
        return budget.project(x + change, x)


@dataclass(frozen=True, kw_only=True, slots=True)
class GaussianNoise:
    """Normal noise of each pixel, projected into the ball.

    Attributes:
        sigma: In units of eps, more than 0: the standard deviation of a pixel (linf), or the typical length of the
            whole change (l2).

    Raises:
        InputError: Not positive.
    """

    sigma: Fraction = Fraction(1, 2)

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "carom"

    def __post_init__(self) -> None:
        if self.sigma <= 0:
            raise InputError(f"gaussian-noise: sigma must be more than 0, in units of eps, got {self.sigma}")

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        unit = 1.0 if budget.norm == "linf" else x.shape[1:].numel() ** -0.5
        noise = draws.normal("gaussian noise", x.shape[1:]).to(x.dtype)
        return budget.project(x + float(self.sigma * budget.eps) * unit * noise, x)


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxBlur:
    """The mean over a square around each pixel, projected into the ball.

    Attributes:
        radius: Of the square, which has 2 * radius + 1 pixels a side, cut off at the border; at least 1.

    Raises:
        InputError: A radius below 1.
    """

    radius: int = 1

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "carom"

    def __post_init__(self) -> None:
        if self.radius < 1:
            raise InputError(f"box-blur: radius must be at least 1, got {self.radius}")

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        side = 2 * self.radius + 1
        blurred = F.avg_pool2d(x, side, stride=1, padding=self.radius, count_include_pad=False)
        return budget.project(blurred, x)


CONTROLS: Mapping[str, type[Control]] = MappingProxyType(
    {
        "identity": Identity,
        "sign-noise": SignNoise,
        "gaussian-noise": GaussianNoise,
        "box-blur": BoxBlur,
        "filter-noise": NoiseFilter,
        "filter-blur": BlurFilter,
        "filter-grayscale": GrayscaleFilter,
        "filter-invert": InvertFilter,
        "filter-black-box": BlackBoxFilter,
        "filter-salt-pepper": SaltPepperFilter,
        "filter-swap-rgb": SwapRgbFilter,
    }
)


def parse_control(value: object, *, where: str = "control") -> Control:
    """The control that a user wrote: "sign-noise", or a table such as {name = "box-blur", radius = 2}.

    Raises:
        InputError: Unknown name or field; names `where`.
    """
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or "name" not in table:
        raise InputError(f'{where}: expected a name such as "sign-noise", or a table with a name, got {value!r}')
    cls = lookup(table["name"], CONTROLS, where=where, what="control")
    fields = {key: v for key, v in table.items() if key != "name"}
    return cast("Control", build(cast("Any", cls), fields, where=where))
