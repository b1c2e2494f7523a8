"""What a run tells while it works, and when it is done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from carom.scenarios.plan.prices import FIRST_GUESS

Work = int | float  # passes of images, or the seconds that they are expected to take

Price = Callable[[str, str], float]
"""Seconds that an image pass of a kind of job is expected to take, by the kind and the label of the job's model."""


@runtime_checkable
class Progress(Protocol):
    """Told what a run is doing."""

    def say(self, text: str) -> None:
        """A line for the user."""
        ...

    def begin(self, phase: str, units: int, left: "TimeLeft") -> None:
        """A phase of so many units begins."""
        ...

    def advance(self, units: int, label: str) -> None:
        """So many units are done."""
        ...


class Silent:
    """Tells nobody."""

    def say(self, text: str) -> None:
        """Nothing."""

    def begin(self, phase: str, units: int, left: "TimeLeft") -> None:
        """Nothing."""

    def advance(self, units: int, label: str) -> None:
        """Nothing."""


@dataclass
class TimeLeft:
    """Expects the rest of a run from what image passes have cost so far, by kind of job.

    Where somebody has measured what a pass of each model takes, work is counted in those seconds instead of in passes,
    and what is learned is by how much the jobs differ from them: models of unlike sizes are then told apart.
    """

    work: Mapping[str, Work]  # that is left, by kind
    workers: int
    price: Price | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    worked: dict[str, Work] = field(default_factory=dict)

    def worth(self, kind: str, label: str, passes: int) -> Work:
        """The work of so many passes of a model."""
        return passes * self.price(kind, label) if passes and self.price is not None else passes

    def learn(self, kind: str, seconds: float, work: Work) -> None:
        """Count a job that was done."""
        self.seconds[kind] = self.seconds.get(kind, 0.0) + seconds
        self.worked[kind] = self.worked.get(kind, 0) + work

    def done(self, kind: str, work: Work) -> None:
        """Take a job's work off what is left."""
        self.work = {**self.work, kind: max(0, self.work.get(kind, 0) - work)}

    def expected(self) -> float:
        """Seconds that are left."""
        total = 0.0
        for kind, work in self.work.items():
            worked = self.worked.get(kind, 0)
            guess = FIRST_GUESS[kind] if self.price is None else 1.0
            total += work * (self.seconds[kind] / worked if worked else guess)
        return total / max(1, self.workers)


@dataclass(kw_only=True)
class Report:
    """What a run did."""

    run: str
    status: str = "done"
    trained: int = 0
    crafted: int = 0
    evaluated: int = 0  # cells
    cells: int = 0
    jobs: int = 0
    failures: list[str] = field(default_factory=list)
    input_at_fault: bool = False
    seconds: float = 0.0
    busy: dict[str, float] = field(default_factory=dict)  # seconds of all workers in jobs, by kind of job
    inside: dict[str, float] = field(default_factory=dict)  # of those, in forward and backward passes
    workers: int = 0

    @property
    def nothing_to_do(self) -> bool:
        """The store held everything already."""
        return self.jobs == 0 and not self.failures
