"""What a run tells while it works, and when it is done."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from carom.scenarios.plan.cost import FIRST_GUESS


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
    """Expects the rest of a run from what image passes have cost so far, by kind of job."""

    units: dict[str, int]
    workers: int
    seconds: dict[str, float] = field(default_factory=dict)
    passes: dict[str, int] = field(default_factory=dict)

    def learn(self, kind: str, seconds: float, passes: int) -> None:
        """Count a job that was done."""
        self.seconds[kind] = self.seconds.get(kind, 0.0) + seconds
        self.passes[kind] = self.passes.get(kind, 0) + passes

    def done(self, kind: str, units: int) -> None:
        """Take a job's units off what is left."""
        self.units[kind] = max(0, self.units.get(kind, 0) - units)

    def expected(self) -> float:
        """Seconds that are left."""
        total = 0.0
        for kind, units in self.units.items():
            passes = self.passes.get(kind, 0)
            total += units * (self.seconds[kind] / passes if passes else FIRST_GUESS[kind])
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
