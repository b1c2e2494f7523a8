"""The runs of a store. Imports no torch, writes nothing."""

import json
from collections.abc import Sequence
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
        counter: Of what it shows: what was read of it at one count need not be read again at the same, whatever other
            runs write meanwhile.
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
    counter: str = ""


def change_counter(store: Store) -> int:
    """A counter that moves with every write: what was read at one count need not be read again at the same."""
    with store.reading() as connection:
        value = connection.execute(sa.select(meta.c.value).where(meta.c.name == "changes")).scalar()
    return int(value or 0)


def list_runs(store: Store, known: Sequence[Run] = ()) -> list[Run]:
    """All runs, the latest first; published ones after one's own.

    Args:
        store: Where they are.
        known: The same at an earlier look. The cells of those that were done, and still rest on what they rested on,
            are not counted again: of a million they take a while.
    """
    latest = sa.select(attempts.c.run, sa.func.max(attempts.c.id).label("latest")).group_by(attempts.c.run).subquery()
    query = sa.select(runs, latest.c.latest).outerjoin(latest, latest.c.run == runs.c.id)
    before = {run.id: run for run in known if run.status == "done" and run.done == run.cells}
    with store.reading() as connection:
        order = (runs.c.status == "published", runs.c.started.desc(), runs.c.id)
        rows = connection.execute(query.order_by(*order)).all()
        replaced = connection.execute(sa.select(meta.c.value).where(meta.c.name == "replaced")).scalar()
        stands = {row.id: (row.status, row.started, row.finished, row.latest, replaced) for row in rows}
        counted = {
            id_: (run.cells, run.done, run.failed)
            for id_, run in before.items()
            if id_ in stands and run.counter == _counter(stands[id_], (run.cells, run.done, run.failed))
        }
        counts = (
            sa.select(run_cells.c.run, sa.func.count(), sa.func.count(cells.c.n), sa.func.count(run_cells.c.failure))
            .select_from(planned_cells)
            .where(run_cells.c.run.in_([row.id for row in rows if row.id not in counted]))
            .group_by(run_cells.c.run)
        )
        counted |= {run: (planned, done, failed) for run, planned, done, failed in connection.execute(counts)}
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
            cells=planned,
            done=done,
            failed=failed,
            counter=_counter(stands[row.id], (planned, done, failed)),
        )
        for row in rows
        for planned, done, failed in [counted.get(row.id, (0, 0, 0))]
    ]


def _counter(stands: Sequence[object], counted: Sequence[int]) -> str:
    """What moves with a run's own state, jobs and outcomes, and with whatever may have been taken from under it."""
    return " ".join(map(str, (*stands, *counted)))


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
