"""No change at all."""

from dataclasses import dataclass
from typing import ClassVar

from carom.budget import Budget
from carom.draws import Draws
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The clean images: what an attack with eps = 0 is."""

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "carom"

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        return x
