"""The points of the figure of cases, one's own and published ones."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from carom.errors import InputError
from carom.scenarios.statistics import case_table
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import (
    read_outcomes,
)
from carom.scenarios.tables.table import INTERVAL, Table

from .cells import attacked, budgets

MOST_READ = 5_000  # cells whose answers are read one by one for a figure


def case_points(tables: Sequence[Table], cells: pd.DataFrame, *, attack: str | None = None) -> pd.DataFrame:
    """The table of cases as points of a figure: the columns of `case_table`, a budget, and in which `series` each is.

    A series is one combination of the further levels (whose answers were read, recipe, defence, ...) that cases are
    not pooled over; "" where there is one only.

    Args:
        tables: Of the run.
        cells: As `View.cells`.
        attack: Only this one, beside the controls of all; None pools all.
    """
    named = {table.name: table for table in tables}
    if "cases" not in named:
        return pd.DataFrame()
    frame, by_attack = named["cases"].frame, named.get("cases-by-attack")
    if attack is not None and by_attack is not None:
        controls = frame[frame["case_number"] < 0]
        frame = pd.concat([by_attack.frame[by_attack.frame["attack"] == attack], controls], ignore_index=True)
    return _points_of(frame, fixed_axes(named["cases"]), cells)


def fixed_axes(table: Table) -> list[str]:
    """The columns that a table of cases is not pooled over, beside norm, eps and goal."""
    pooled = ("case", "mismatch", INTERVAL, "norm", "eps", "targeted", "attack")
    return [c for c in table.forms if c in table.frame and table.is_text(c) and c not in pooled]


def some_case_points(
    folder: Path,
    run: str,
    cells: pd.DataFrame,
    fixed: Sequence[str],
    *,
    attack: str | None = None,
    config: str | None = None,
) -> pd.DataFrame:
    """As `case_points`, of one configuration of surrogates or of one attack, or both, read from their answers.

    Raises:
        CaromError: More than `MOST_READ` cells, none, or a store that cannot be read.
    """
    mask = ~cells["control"].astype(bool)
    for column, value in (("attack", attack), ("surrogate_config", config)):
        if value is not None:
            mask &= cells[column] == value
    mask |= cells["control"].astype(bool)
    if mask.sum() > MOST_READ:
        raise InputError(
            f"run {run}: {int(mask.sum()):,} cells are to be read; expected at most {MOST_READ:,} for a figure; choose "
            "an attack too, or all surrogates"
        )
    with Store(folder) as store:
        outcomes = read_outcomes(store, run, only_sets=[int(i) for i in cells.loc[mask, "set_id"].unique()])
    if attack is not None:  # what was asked for by name stands alone, be it a snapshot
        outcomes = replace(outcomes, cells=outcomes.cells.assign(snapshot=False))
    table = case_table(outcomes, by=("norm", "eps", "targeted", *fixed))
    return _points_of(table.rename(columns={"case": "case_number", "name": "case"}), fixed, cells)


def _points_of(table: pd.DataFrame, fixed: Sequence[str], cells: pd.DataFrame) -> pd.DataFrame:
    if "targeted" not in table:
        table = table.assign(targeted=bool(attacked(cells)["targeted"].any()))
    table = table.assign(budget=budgets(table))
    met = table[table["case_number"] > 0]
    varied = [c for c in fixed if met.loc[met[c] != "", c].nunique() > 1]
    table = table.assign(series=_joined(table, varied))
    # on its own model a surrogate has levels that it meets nowhere else
    twins = table.duplicated(["budget", "case_number", "series"], keep=False)
    if twins.any():
        table.loc[twins, "series"] = _joined(table[twins], fixed)
    return table.reset_index(drop=True)


def _joined(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    return [" · ".join(str(w) for w in row if w) for row in table[list(columns)].itertuples(index=False)]


def published_points(tables: Sequence[Table]) -> pd.DataFrame:
    """The published columns of the table that sets them beside one's own: case (one's own), their case, whose, asr."""
    for table in tables:
        if table.name == "published":
            own = {"n", "ASR", *(c for c in table.forms if table.is_text(c))}
            theirs = [c for c in table.forms if c not in own]
            long = table.frame.melt(["case", "their case"], theirs, "whose", "asr")
            return long[long["asr"].notna()].drop_duplicates(ignore_index=True)
    return pd.DataFrame(columns=["case", "their case", "whose", "asr"])


def series_of(points: pd.DataFrame) -> list[str]:
    """The series of some points that surrogates made; what transfers comes first.

    On its own model a surrogate has other levels than elsewhere.
    """
    found = points[points["case_number"] >= 0]
    return list(dict.fromkeys([*found.loc[found["case_number"] > 0, "series"], *found["series"]]))


def published_case_points(table: pd.DataFrame) -> pd.DataFrame:
    """The cases of a published run as points, which come without intervals; n and cells are rows."""
    points = table.assign(series=table["attacks"], low=float("nan"), high=float("nan"), asr=table["ASR"])
    return points.assign(n=points["rows"], cells=points["rows"], **{INTERVAL: "not published"})


def effect_points(table: pd.DataFrame) -> pd.DataFrame:
    """The table of effects as points of a figure, in points of ASR; of a published run those of its first task."""
    drawn = pd.DataFrame(
        {
            "name": table["mismatch in"],
            "effect": 100 * table["effect"],
            "low": 100 * table["low"] if "low" in table else float("nan"),
            "high": 100 * table["high"] if "high" in table else float("nan"),
            "interval": table.get(INTERVAL, "not published"),
            "p": table.get("p_holm", float("nan")),
            "kind": table.get("attacks", "all"),
        }
    )
    return drawn[(table["task"] == table["task"].iloc[0]).to_numpy()] if "task" in table else drawn
