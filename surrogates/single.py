"""One network."""

from dataclasses import dataclass
from typing import ClassVar

from carom.zoo.recipes import Recipe

from .builder import Member
from .surrogate import Schedule


@dataclass(frozen=True, kw_only=True)
class Single:
    """One network, as it was trained."""

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "full"

    def members(self, seed: int) -> tuple[Member, ...]:
        """The one training."""
        return (Member(seed=seed),)

    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks."""
        return base

    def count(self) -> int:
        """One."""
        return 1
