"""Member rules: how several networks of a surrogate make one gradient."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from carom.attacks.slots import Look, Memory
from carom.typing import Images


@runtime_checkable
class MemberRule(Protocol):
    """One gradient of all active members."""

    def passes(self, members: int) -> int:
        """Gradients of single members that one reading costs."""
        ...

    def __call__(self, look: Look, at: Images, reading: int, memory: Memory) -> Images:
        """The gradient at `at`.

        Args:
            look: The step; `look.read_members` reads one member, or all as the surrogate combines them.
            at: Where, `n c h w`.
            reading: Which of the readings of this step.
            memory: What this rule kept at earlier steps.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Mean:
    """All members at once, as the surrogate combines them: mean of logits, probabilities or losses."""

    version: ClassVar[int] = 1

    def passes(self, members: int) -> int:
        return members

    def __call__(self, look: Look, at: Images, reading: int, memory: Memory) -> Images:
        return look.read_members(at, reading, None)
