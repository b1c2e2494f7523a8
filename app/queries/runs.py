"""The runs of a store: which there are, how far each is, and what one shows."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import pandas as pd
import sqlalchemy as sa

from carom.errors import CaromError
from carom.scenarios.statistics import CELL, Outcomes, cell_rates, lift
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import count_images, read_outcomes, read_rates
from carom.scenarios.store.runs import Run, change_counter, list_runs, run_size
from carom.scenarios.store.schema import artifacts, attempts, cells, planned_cells, run_cells, run_models, run_sets
from carom.scenarios.tables.compare import compare_runs
from carom.scenarios.tables.counted import LARGE, counted_tables
from carom.scenarios.tables.table import Table
from carom.scenarios.tables.which import show_run, too_many_to_read
from carom.scenarios.tables.work import show_failed_jobs, show_failures, show_jobs, show_trained

from .cells import budgets

State = Literal["waiting", "running", "interrupted", "failed", "partial", "done", "published"]


@dataclass(frozen=True, kw_only=True)
class View:
    """One run as the page shows it; `problem` says why there is nothing more."""

    tables: Sequence[Table] = ()
    cells: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: int = 0  # of each cell
    problem: str | None = None


def counter(folder: Path) -> int:
    """Moves with every write to the store.

    Raises:
        CaromError: No store, or one that cannot be read.
    """
    with Store(folder) as store:
        return change_counter(store)


def runs(folder: Path, known: Sequence[Run] = ()) -> list[Run]:
    """The runs, the latest first. One whose process died without a word is interrupted, not running.

    Args:
        folder: Of the store.
        known: As for `list_runs`.

    Raises:
        CaromError: No store, or one that cannot be read.
    """
    with Store(folder) as store:
        found = list_runs(store, known)
    gone = any(r.status == "running" for r in found) and writer_is_gone(folder)
    return [replace(r, status="interrupted") if gone and r.status == "running" else r for r in found]


def progress(folder: Path, run: str) -> tuple[int, int]:
    """How many cells of a run have an outcome, of how many.

    Raises:
        CaromError: No store, or one that cannot be read.
    """
    query = (
        sa.select(sa.func.count(cells.c.n), sa.func.count()).select_from(planned_cells).where(run_cells.c.run == run)
    )
    with Store(folder) as store, store.reading() as connection:
        done, planned = connection.execute(query).one()
    return int(done), int(planned)


def writer_is_gone(folder: Path) -> bool:
    """Whether the process that last wrote the store has ended; False where that cannot be known from this machine."""
    try:
        words = (folder / "lock").read_text(encoding="utf-8").split()
        _, process, _, host = words  # process PID on HOST
        if host != platform.node():
            return False
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False


def state(run: Run) -> State:
    """Where a run stands: `partial` has ended with cells that lack an outcome, `failed` with none at all.

    `published` is one of others, which has no cells.
    """
    if run.status == "running":
        return "running" if run.done else "waiting"
    if run.status == "interrupted":
        return "interrupted"
    if run.status == "published":
        return "published"
    if run.status == "failed":
        return "partial" if run.done else "failed"
    return "done"


def view(folder: Path, run: str) -> View:
    """Tables and cells of a run; a run without outcomes yet is a view with a problem, not an error."""
    try:
        with Store(folder) as store:
            status, planned = run_size(store, run)
            if status == "published":
                return View(tables=show_run(store, run))
            aside = [t for t in (show_failures(store, run), show_failed_jobs(store, run)) if len(t.frame)]
            if too_many_to_read(status, planned):
                return _large_view(store, run, aside)
            try:
                outcomes = read_outcomes(store, run)
                tables = [t for t in show_run(store, run) if t.name != "failures"]
            except CaromError as error:
                return View(tables=[*aside, *show_trained(store, run)], problem=str(error))
            cells = cell_rates(outcomes)
            cells = cells.assign(budget=budgets(cells)).join(above_noise(outcomes))
            return View(tables=[*tables, *aside], cells=cells, images=len(outcomes.labels))
    except CaromError as error:
        return View(problem=str(error))


def above_noise(outcomes: Outcomes) -> pd.DataFrame:
    """Of each cell `noise_k`, the images that its matched control turns, and `lift_low`, `lift_high`; NaN without one.

    The index is that of `outcomes.cells`.
    """
    gained = lift(outcomes)
    turned = (gained["control_asr"] * gained["n"]).round()
    found = gained.assign(noise_k=turned, lift_low=gained["low"], lift_high=gained["high"]).set_index([*CELL])
    keys = pd.MultiIndex.from_frame(outcomes.cells[[*CELL]])
    return found[["noise_k", "lift_low", "lift_high"]].reindex(keys).set_index(outcomes.cells.index)


def _large_view(store: Store, run: str, aside: Sequence[Table]) -> View:
    """The view of a run whose predictions are too many to be read at once: from n and k of its cells."""
    try:
        cells = read_rates(store, run)
        images = count_images(store, run)
        tables = counted_tables(store, run, cells, images=images)
    except CaromError as error:
        return View(tables=[*aside, *show_trained(store, run)], problem=str(error))
    return View(
        tables=[*tables, *aside], cells=cells.assign(asr=cells["k"] / cells["n"], budget=budgets(cells)), images=images
    )


def about(folder: Path, run: str) -> list[Table]:
    """What failed in a run, its jobs and its models; empty tables are left out."""
    with Store(folder) as store:
        if run_size(store, run)[0] == "published":
            return []
        tables = [show_failures(store, run), show_failed_jobs(store, run), show_jobs(store, run)]
        return [*(t for t in tables if len(t.frame)), *show_trained(store, run)]


def phases(folder: Path, run: Run) -> pd.DataFrame:
    """How far each phase of a run is: phase, done, planned, seconds (of one such, as it came), left (expected seconds).

    What is left is expected from what those that are done took, over as many jobs at once as there were so far; nan if
    none is done yet.
    """
    with Store(folder) as store, store.reading() as connection:
        counted: list[tuple[str, int, int, float]] = []
        for phase, made in (("models", run_models), ("adversarial sets", run_sets)):
            ids = sa.select(made.c.artifact).where(made.c.run == run.id).distinct()
            took = sa.func.avg(sa.func.json_extract(artifacts.c.record, "$.seconds"))
            query = sa.select(sa.func.count(artifacts.c.digest), sa.func.count(), took).where(artifacts.c.id.in_(ids))
            done, planned, seconds = connection.execute(query).one()
            counted.append((phase, done, planned, float("nan") if seconds is None else float(seconds)))
        busy = sa.select(attempts.c.job, sa.func.sum(attempts.c.seconds), sa.func.max(attempts.c.finished))
        jobs = {
            job: (seconds, last)
            for job, seconds, last in connection.execute(busy.where(attempts.c.run == run.id).group_by(attempts.c.job))
        }
    asked = jobs.get("evaluate", (0.0, ""))[0]
    counted.append(("cells", run.done, run.cells, asked / run.done if asked and run.done else float("nan")))
    table = pd.DataFrame(counted, columns=["phase", "done", "planned", "seconds"])
    total, last = sum(seconds for seconds, _ in jobs.values()), max((last for _, last in jobs.values()), default="")
    at_once = 1.0
    if last:
        at_once = max(
            1.0, total / max(1.0, (datetime.fromisoformat(last) - datetime.fromisoformat(run.started)).total_seconds())
        )
    left = (table["planned"] - table["done"]) * table["seconds"] / at_once
    return table.assign(left=left.where(table["planned"] > table["done"], 0.0))


def comparison(folder: Path, first: str, second: str) -> View:
    """What differs between two runs, on the cells and images that both have; or the problem with that."""
    try:
        with Store(folder) as store:
            for run in (first, second):
                if (size := run_size(store, run)[1]) > LARGE:
                    return View(problem=f"{run}: {size:,} cells; expected at most {LARGE:,} to compare image by image")
            return View(tables=compare_runs(store, first, second))
    except CaromError as error:
        return View(problem=str(error))
