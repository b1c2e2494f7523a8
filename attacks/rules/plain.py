"""Gradient rules: where and how often a step reads the gradient."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from carom.attacks.slots import Look, Memory
from carom.typing import Images


@runtime_checkable
class Rule(Protocol):
    """One step's gradient. To add one: a frozen dataclass here or in a file of its own, and its `Part` in `ATTACKS`.

    Attributes:
        reads: How often one step calls `look.read`.
        needs_momentum: Whether it makes no sense without momentum.
    """

    needs_momentum: ClassVar[bool]

    @property
    def reads(self) -> int: ...

    def __call__(self, look: Look, memory: Memory) -> Images:
        """The gradient to follow from `look.x_adv`.

        Args:
            look: The step, and how to read gradients.
            memory: What this rule kept at earlier steps of this attack on these images; empty at the first.
        """
        ...


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
