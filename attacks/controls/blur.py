"""A blur of the size of an attack."""

from dataclasses import dataclass
from typing import ClassVar

from torch.nn import functional as F

from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.typing import Images


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
