"""The gradient where the attack stands."""

from dataclasses import dataclass
from typing import ClassVar

from carom.attacks.slots import Look, Memory
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    """The gradient where the attack stands."""

    version: ClassVar[int] = 1
    needs_momentum: ClassVar[bool] = False

    @property
    def reads(self) -> int:
        return 1

    def __call__(self, look: Look, memory: Memory) -> Images:
        return look.read(look.x_adv)
