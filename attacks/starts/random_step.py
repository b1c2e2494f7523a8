"""The start of R-FGSM: a step in a random direction."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomStep:
    """One step in a random direction, then clamped to [0, 1] (R-FGSM; Tramer et al. 2018, arXiv:1705.07204).

    The steepest direction of Gaussian noise: random signs for linf, as in the paper, a uniform direction for l2.

    Attributes:
        size: Of the step, in units of eps, in [0, 1]. An attack that is to use up its budget goes on with the rest.

    Raises:
        InputError: Out of this range.
    """

    size: Fraction = Fraction(1, 2)

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.size <= 1:
            raise InputError(f"start: size must be in [0, 1] (in units of eps), got {self.size}")

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        direction = budget.steepest(draws.normal("start", x.shape[1:]).to(x.dtype))
        return budget.project(x.add(direction, alpha=float(self.size * budget.eps)), x)
