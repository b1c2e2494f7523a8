"""The runs of a store. Imports no torch, writes nothing."""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from carom.errors import InputError
from carom.registry import did_you_mean

from .database import Store
from .schema import attempts, cells, meta, planned_cells, run_cells, runs


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a store.

    Attributes:
        id: Name of the scenario and a piece of its content key.
        status: running, done, failed or interrupted; or published, for rates of others, which have no cells.
        cells: Planned cells.
        done: Cells that have an outcome.
        failed: Cells that have none because something failed.
    """

    id: str
    scenario: str
    description: str
    task: str
    status: str
    started: str
    finished: str | None
    environment: dict[str, Any]
    text: str
    cells: int
    done: int
    failed: int


def change_counter(store: Store) -> int:
    """A counter that moves with every write: what was read at one count need not be read again at the same."""
    with store.reading() as connection:
        value = connection.execute(sa.select(meta.c.value).where(meta.c.name == "changes")).scalar()
    return int(value or 0)


def list_runs(store: Store) -> list[Run]:
    """All runs, the latest first; published ones after one's own."""
    counts = (
        sa.select(
            run_cells.c.run,
            sa.func.count().label("cells"),
            sa.func.count(cells.c.n).label("done"),
            sa.func.count(run_cells.c.failure).label("failed"),
        )
        .select_from(planned_cells)
        .group_by(run_cells.c.run)
        .subquery()
    )
    query = sa.select(runs, counts.c.cells, counts.c.done, counts.c.failed).outerjoin(counts, counts.c.run == runs.c.id)
    with store.reading() as connection:
        order = (runs.c.status == "published", runs.c.started.desc(), runs.c.id)
        rows = connection.execute(query.order_by(*order)).all()
    return [
        Run(
            id=row.id,
            scenario=row.scenario,
            description=row.description,
            task=row.task,
            status=row.status,
            started=row.started,
            finished=row.finished,
            environment=json.loads(row.environment),
            text=row.text,
            cells=row.cells or 0,
            done=row.done or 0,
            failed=row.failed or 0,
        )
        for row in rows
    ]


def run_size(store: Store, run: str) -> tuple[str, int]:
    """Status of a run and its planned cells: what of `Run` is there at once in a run of a million cells.

    Raises:
        InputError: No such run.
    """
    with store.reading() as connection:
        status = connection.execute(sa.select(runs.c.status).where(runs.c.id == run)).scalar()
        count = sa.select(sa.func.count()).select_from(run_cells).where(run_cells.c.run == run)
        planned = connection.execute(count).scalar_one()
    if status is None:
        raise InputError(f"{store.folder}: no run {run!r}; `carom show` lists them")
    return str(status), int(planned)


def find_run(store: Store, name: str | None = None) -> Run:
    """A run by its id, the start of its id, or its scenario's name (the latest); without a name the latest of all.

    Raises:
        InputError: No run, or none of this name.
    """
    known = list_runs(store)
    if not known:
        raise InputError(f"{store.folder}: no run yet; run a scenario first, such as `carom demo`")
    if name is None:
        return known[0]
    for match in (
        [r for r in known if r.id == name],
        [r for r in known if r.scenario == name],
        [r for r in known if r.id.startswith(name)],
    ):
        if match:
            return match[0]
    names = [r.id for r in known]
    raise InputError(f"{store.folder}: no run {name!r}{did_you_mean(name, names)} (runs: {', '.join(names[:10])})")


def spent(store: Store) -> list[tuple[str, float, int]]:
    """Seconds and image passes of all jobs that were done, by kind of job."""
    query = sa.select(attempts.c.job, sa.func.sum(attempts.c.seconds), sa.func.sum(attempts.c.passes)).where(
        attempts.c.failure.is_(None), attempts.c.passes > 0
    )
    with store.reading() as connection:
        rows = connection.execute(query.group_by(attempts.c.job)).all()
    return [(kind, seconds, passes) for kind, seconds, passes in rows]
