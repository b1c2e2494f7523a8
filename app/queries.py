"""What the explorer asks of a store; knows nothing of Streamlit."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pandas as pd
import sqlalchemy as sa

from carom.errors import CaromError
from carom.scenarios.reader import (
    Run,
    changes,
    find_run,
    list_attempts,
    list_failures,
    list_models,
    list_runs,
    read_outcomes,
)
from carom.scenarios.show import Form, Shown, show_run
from carom.scenarios.statistics import cell_rates
from carom.scenarios.store import Store, cells, planned_cells, run_cells

AXES = {
    "surrogate": "surrogate",
    "surrogate_config": "surrogate's configuration",
    "source_s": "surrogate's source",
    "samples_s": "surrogate's samples",
    "balance_s": "surrogate's balance",
    "architecture_s": "surrogate's architecture",
    "recipe_s": "surrogate's recipe",
    "pool": "surrogate's public pool",
    "group": "surrogate's group",
    "victim": "victim",
    "victim_config": "victim's configuration",
    "source_v": "victim's source",
    "samples_v": "victim's samples",
    "balance_v": "victim's balance",
    "architecture_v": "victim's architecture",
    "recipe_v": "victim's recipe",
    "defense_v": "victim's defence",
    "attack": "attack",
    "budget": "budget",
}

State = Literal["waiting", "running", "interrupted", "failed", "partial", "done", "published"]


@dataclass(frozen=True, kw_only=True)
class View:
    """One run as the page shows it; `problem` says why there is nothing more."""

    tables: Sequence[Shown] = ()
    cells: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: int = 0  # of each cell
    problem: str | None = None


def counter(folder: Path) -> int:
    """Moves with every write to the store.

    Raises:
        CaromError: No store, or one that cannot be read.
    """
    with Store(folder) as store:
        return changes(store)


def runs(folder: Path) -> list[Run]:
    """The runs, the latest first. One whose process died without a word is interrupted, not running.

    Raises:
        CaromError: No store, or one that cannot be read.
    """
    with Store(folder) as store:
        found = list_runs(store)
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
            if find_run(store, run).status == "published":
                return View(tables=show_run(store, run))
            aside = [t for t in (failures_shown(store, run), attempts_shown(store, run)) if len(t.frame)]
            try:
                outcomes = read_outcomes(store, run)
                tables = [t for t in show_run(store, run) if t.name != "failures"]
            except CaromError as error:
                return View(tables=[*aside, *models_shown(store, run)], problem=str(error))
            cells = cell_rates(outcomes)
            return View(
                tables=[*tables, *aside], cells=cells.assign(budget=budgets(cells)), images=len(outcomes.labels)
            )
    except CaromError as error:
        return View(problem=str(error))


def failures_shown(store: Store, run: str) -> Shown:
    """Why cells have no outcome."""
    frame = list_failures(store, run)
    return Shown(
        name="failures",
        title=f"{int(frame['cells'].sum()) if len(frame) else 0:,} cells have no outcome",
        frame=frame,
        forms={"cells": "count", "reason": "text"},
        notes=["Run the scenario again to try these once more."],
    )


def attempts_shown(store: Store, run: str) -> Shown:
    """The jobs that failed, the latest first."""
    frame = list_attempts(store, run)
    if len(frame):
        frame = frame[frame["failure"].notna()]
    return Shown(
        name="failed-jobs",
        title="Jobs that failed, the latest first",
        frame=frame,
        forms={"finished": "text", "job": "text", "label": "text", "seconds": "number", "failure": "text"},
        notes=["A job that failed once and then succeeded stands here too."],
    )


def models_shown(store: Store, run: str) -> list[Shown]:
    """How far the models of a run without outcomes are."""
    frame = list_models(store, run)
    forms: dict[str, Form] = {
        "role": "text",
        "model": "text",
        "trained": "text",
        "passes": "count",
        "seconds": "number",
    }
    return [Shown(name="models", title="Models", frame=frame, forms=forms)] if len(frame) else []


# ------------------------------------------------------------------------------------------------------------- tables


def displayed(shown: Shown) -> tuple[pd.DataFrame, list[str]]:
    """What a sortable table shows: the numbers of the shown columns, and words.

    Returns:
        The table, with rates from 0 to 1 and differences in points; and what all rows share, such as "norm linf", which
        is said once below it instead of in a column.
    """
    frame = pd.DataFrame(index=range(len(shown.frame)))
    shared: list[str] = []
    for column, form in shown.forms.items():
        if column not in shown.frame:
            continue
        values = shown.frame[column].reset_index(drop=True)
        words = values.map(_words) if form == "text" else pd.to_numeric(values)
        if form == "points":
            words = 100 * words
        if column in SAID_ONCE and len(words) > 1 and words.nunique() == 1:
            shared.append(f"{column} {words.iloc[0]}")
        else:
            frame[column] = words
    if "ranges_over" in shown.frame and shown.frame["ranges_over"].nunique() > 1:
        frame["interval ranges over"] = list(shown.frame["ranges_over"])
    return frame, shared


SAID_ONCE = ("norm", "eps", "targeted")


def _words(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def troubles(tables: Sequence[Shown]) -> pd.DataFrame:
    """The controls that failed, then those that warned."""
    for table in tables:
        if table.name == "controls":
            bad = table.frame[table.frame["status"].isin(["failed", "warned"])]
            return bad.sort_values("status", kind="stable").reset_index(drop=True)
    return pd.DataFrame(columns=["control", "status", "expected", "came"])


# ------------------------------------------------------------------------------------------------------------- matrix


def budgets(cells: pd.DataFrame) -> pd.Series:
    """What an attack was allowed: "linf 48/255", or "linf 48/255 targeted"."""
    return cells["norm"] + " " + cells["eps"] + cells["targeted"].map({True: " targeted", False: ""})


def attacked(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of surrogates: no controls."""
    return cells if cells.empty else cells[~cells["control"].astype(bool)]


def axes(cells: pd.DataFrame) -> list[str]:
    """The axes along which these cells differ, and surrogate and victim whether they do or not."""
    return [a for a in AXES if a in ("surrogate", "victim") or cells.loc[cells[a] != "", a].nunique() > 1]


def matrix(
    cells: pd.DataFrame,
    rows: str,
    columns: str,
    *,
    attack: str | None = None,
    budget: str | None = None,
    white_box: bool = False,
) -> pd.DataFrame:
    """ASR of each pair of levels, pooled over its cells: k / n of their sums. Pairs without a clean right answer drop.

    Args:
        cells: As `View.cells`.
        rows: A name in `AXES`.
        columns: Another one.
        attack: Only this one; None pools all.
        budget: Only this one; None pools all.
        white_box: Also cells whose victim is the surrogate's own model (C0).

    Returns:
        The columns `rows`, `columns`, n, k, cells and ASR; the first two are categories in the order of the run.
    """
    chosen = attacked(cells)
    chosen = chosen[(chosen[rows] != "") & (chosen[columns] != "")]
    if attack is not None:
        chosen = chosen[chosen["attack"] == attack]
    if budget is not None:
        chosen = chosen[chosen["budget"] == budget]
    if not white_box:
        chosen = chosen[chosen["case"] != 0]
    table = chosen.groupby([rows, columns], sort=False).agg(n=("n", "sum"), k=("k", "sum"), cells=("n", "size"))
    table = table[table["n"] > 0].reset_index()
    for axis in (rows, columns):
        found = set(table[axis])
        table[axis] = pd.Categorical(
            table[axis], [level for level in levels(cells, axis) if level in found], ordered=True
        )
    return table.assign(ASR=table["k"] / table["n"]).sort_values([rows, columns], ignore_index=True)


def levels(cells: pd.DataFrame, axis: str) -> list[str]:
    """What stands along an axis, in the order of the run; a surrogate's own model as a victim comes last."""
    return list(dict.fromkeys([*cells.loc[cells["case"] != 0, axis], *cells[axis]]))


# -------------------------------------------------------------------------------------------------------------- gates

GATES = "gates"  # folder of the store that the pytest plugin writes to


def has_gates(folder: Path) -> bool:
    """Whether a gate has ever recorded what it judged here."""
    return any((folder / GATES).glob("*/*.json"))


def gates_counter(folder: Path) -> int:
    """Moves when a gate records another verdict: files are added, never changed."""
    return sum(1 for _ in (folder / GATES).glob("*/*.json"))
