"""What every kind of job owes, and that the driver finds it."""

import dataclasses
import inspect
from typing import Any

import pytest

from carom.scenarios.jobs.job import JobKind
from carom.scenarios.jobs.kinds import PHASES

KINDS = [(phase, kind) for phase, kinds in PHASES.items() for kind in kinds]


@pytest.mark.parametrize(("phase", "kind"), KINDS, ids=lambda of: getattr(of, "__name__", of))
def test_a_kind_has_one_job_that_is_counted_under_its_phase(phase: str, kind: JobKind) -> None:
    assert isinstance(kind, JobKind)
    classes: list[Any] = [c for _, c in inspect.getmembers(kind, inspect.isclass) if c.__module__ == kind.__name__]  # type: ignore[attr-defined]
    (job,) = [c for c in classes if hasattr(c, "work")]
    assert job.kind == phase
    assert job.__dataclass_params__.frozen  # it is pickled to a worker
    fields = {field.name for field in dataclasses.fields(job)}
    assert all(name in fields or hasattr(job, name) for name in ("label", "units", "lost"))


def test_a_kind_stands_in_one_phase() -> None:
    kinds = [kind for _, kind in KINDS]
    assert len(kinds) == len({id(kind) for kind in kinds})
