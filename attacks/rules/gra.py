"""GRA: a gradient corrected by its neighbours, as far as they disagree."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from carom.attacks.slots import Look, Memory
from carom.budget import unit_l2
from carom.typing import Images, per_image

from .neighbours import check_neighbours
from .vmi import variance


@dataclass(frozen=True, kw_only=True, slots=True)
class GRA:
    """Gradient relevance: `s g + (1 - s) m` of the gradient g and the mean gradient m of random neighbours.

    Zhu et al. 2023, ICCV pp. 4741-4750, proceedings doi:10.1109/ICCV51070.2023. The weight s is the cosine of g and m,
    image by image; where one of them is zero it is 0. The attack of this name has momentum and the step rule
    `DecayIndicator` too. Neighbours are drawn as those of `VMI`.

    Attributes:
        neighbours: How many, at least 1.
        radius: Of the neighbourhood, in units of eps, at least 0; 0 leaves the gradient as it is.

    Raises:
        InputError: Out of these ranges.
    """

    neighbours: int = 20
    radius: float = 3.5

    version: ClassVar[int] = 1
    needs_momentum: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_neighbours("gra", self.neighbours, self.radius)

    @property
    def reads(self) -> int:
        return 1 + self.neighbours

    def __call__(self, look: Look, memory: Memory) -> Images:
        gradient = look.read(look.x_adv)
        excess = variance(look, look.x_adv, gradient, self.neighbours, self.radius)
        cosine = (unit_l2(gradient) * unit_l2(gradient + excess)).flatten(1).sum(1)
        # s g + (1 - s) (g + excess), without rounding where there is no excess
        return torch.addcmul(gradient, per_image(1 - cosine), excess)
