"""Gradient rules: where and how often a step reads the gradient."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from carom.typing import Images


@runtime_checkable
class Rule(Protocol):
    """One step's gradient.

    Attributes:
        reads: How often one step calls `read`.
    """

    @property
    def reads(self) -> int: ...

    def __call__(self, read: Callable[[Images], Images], x_adv: Images, ahead: Images | None) -> Images:
        """The gradient to follow from `x_adv`.

        Args:
            read: The gradient anywhere, averaged over the copies of the transformations.
            x_adv: Where the attack stands.
            ahead: Where its momentum alone would move it, in pixel units; None at the first step or without momentum.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    """The gradient where the attack stands."""

    version: ClassVar[int] = 1

    @property
    def reads(self) -> int:
        return 1

    def __call__(self, read: Callable[[Images], Images], x_adv: Images, ahead: Images | None) -> Images:
        return read(x_adv)


@dataclass(frozen=True, kw_only=True, slots=True)
class LookAhead:
    """NI: the gradient where the momentum alone would lead (Lin et al. 2020, arXiv:1908.06281).

    The point looked at is clipped neither to the ball nor to [0, 1], as in the paper.
    """

    version: ClassVar[int] = 1

    @property
    def reads(self) -> int:
        return 1

    def __call__(self, read: Callable[[Images], Images], x_adv: Images, ahead: Images | None) -> Images:
        return read(x_adv if ahead is None else x_adv + ahead)
