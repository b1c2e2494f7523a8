"""The start of PGD: a random point of the ball."""

from dataclasses import dataclass
from typing import ClassVar

from carom.budget import Budget, noise_in_ball
from carom.draws import Draws
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class Uniform:
    """Uniform in the ball, then clamped to [0, 1] (Madry et al. 2018, arXiv:1706.06083)."""

    version: ClassVar[int] = 1

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        noise = noise_in_ball(x, budget.norm, float(budget.eps), draws, "start")
        return budget.project(noise.add_(x), x)
