"""Several networks of other seeds or architectures, read together or in turn."""

from dataclasses import dataclass
from typing import ClassVar

from carom.errors import InputError
from carom.stages import Entry
from carom.surrogates.builder import SEED_STRIDE, Member
from carom.surrogates.surrogate import Schedule
from carom.zoo.training.recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Networks trained apart, attacked as one (Liu et al. 2017; Lakshminarayanan et al. 2017 for seeds).

    Attributes:
        size: Networks per architecture, differing in their training seed.
        architectures: Names of architectures; empty for the surrogate's own.
    """

    size: int = 3
    architectures: tuple[str, ...] = ()

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "full"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"ensemble: size={self.size}; expected at least 1")

    def members(self, seed: int) -> tuple[Member, ...]:
        """`size` trainings for each architecture; the first has the surrogate's own seed."""
        names: tuple[str | None, ...] = self.architectures or (None,)
        return tuple(Member(seed=seed + i * SEED_STRIDE, architecture=name) for name in names for i in range(self.size))

    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks."""
        return base

    def count(self) -> int:
        """One weight set each."""
        return 1


ENTRY = Entry(
    summary="Networks of other seeds or architectures, read together or in turn.",
    paper="Lakshminarayanan, Pritzel and Blundell 2017, arXiv:1612.01474; Liu et al. 2017, arXiv:1611.02770",
    stages=(Ensemble(),),
)
