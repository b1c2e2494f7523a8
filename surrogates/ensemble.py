"""Several networks of other seeds or architectures, read together or in turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from carom.errors import InputError
from carom.protocols import Classifier, Combination

from .surrogate import Member, Schedule, Surrogate

SEED_STRIDE = 1_000_000  # seeds of one scenario lie below it, so members of different surrogates never share one


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Networks trained apart, attacked as one (Liu et al. 2017; Lakshminarayanan et al. 2017 for seeds).

    Attributes:
        size: Networks per architecture, differing in their training seed.
        architectures: Names of architectures; empty for the surrogate's own.
        combination: Mean of logits, of probabilities, or of losses.
        schedule: "full" (all at every step) or "light" (`per_step` at a step, in turn).
        per_step: Members a step of the light schedule.
    """

    size: int = 3
    architectures: tuple[str, ...] = ()
    combination: Combination = "logits"
    schedule: Schedule = "full"
    per_step: int = 1

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Liu et al. 2017, arXiv:1611.02770"

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"ensemble: size={self.size}; expected at least 1")
        if not 1 <= self.per_step <= self.size * max(1, len(self.architectures)):
            raise InputError(f"ensemble: per_step={self.per_step}; expected 1 to the number of members")

    def members(self, seed: int) -> tuple[Member, ...]:
        """`size` trainings for each architecture; the first has the surrogate's own seed."""
        names: tuple[str | None, ...] = self.architectures or (None,)
        return tuple(Member(seed=seed + i * SEED_STRIDE, architecture=name) for name in names for i in range(self.size))

    def surrogate(self, classifiers: Sequence[Classifier], seed: int) -> Surrogate:
        """All networks as one gradient source."""
        return Surrogate(
            tuple(classifiers),
            combination=self.combination,
            schedule=self.schedule,
            per_step=self.per_step,
            seed=seed,
        )
