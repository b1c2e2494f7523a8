"""Noise of the size of an attack."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch

from carom.budget import Budget, unit_l2
from carom.draws import Draws
from carom.errors import InputError
from carom.typing import Images


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
