"""The start of most attacks: the clean images."""

from dataclasses import dataclass
from typing import ClassVar

from carom.budget import Budget
from carom.draws import Draws
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class Clean:
    """The clean images themselves."""

    version: ClassVar[int] = 1

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        return x
