"""One network."""

from dataclasses import dataclass
from typing import ClassVar

from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.surrogate import Schedule
from carom.zoo.training.recipes import Recipe


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


ENTRY = Entry(
    summary="One network, as it was trained.",
    paper="Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572",
    stages=(Single(),),
)
