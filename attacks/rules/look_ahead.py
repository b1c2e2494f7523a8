"""NI: the gradient where the momentum leads."""

from dataclasses import dataclass
from typing import ClassVar

from carom.attacks.slots import Look, Memory
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class LookAhead:
    """NI: the gradient where the momentum alone would lead (Lin et al. 2020, arXiv:1908.06281).

    The point looked at is clipped neither to the ball nor to [0, 1], as in the paper.
    """

    version: ClassVar[int] = 1
    needs_momentum: ClassVar[bool] = True

    @property
    def reads(self) -> int:
        return 1

    def __call__(self, look: Look, memory: Memory) -> Images:
        return look.read(look.x_adv if look.ahead is None else look.x_adv + look.ahead)
