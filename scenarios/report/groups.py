"""Rows of a table as a report speaks of them: the largest eps, and what their groups are called."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from carom.scenarios.charts.names import short
from carom.scenarios.statistics.outcomes import eps_value
from carom.scenarios.tables.table import Table, records

READS = {"surrogate": "", "victim": "made on the victim", "both": "victim asked too"}  # the first is what is usual


def columns_before(table: Table) -> list[str]:
    """The columns that name a row of rates: those of words before the counts, but the case itself."""
    names = list(table.forms)
    until = names.index("cells")
    return [c for c in names[:until] if c not in ("case", "mismatch")]


def attacked(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The rows of cases whose group has more than surrogate-free sets; all where no group has."""
    met = (frame["case_number"] >= 0).groupby([frame[c] for c in by], dropna=False).transform("any")
    return frame[met] if met.any() else frame


def headline(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows at the largest eps of each norm."""
    size = frame["eps"].map(eps_value)
    return frame[size == size.groupby(frame["norm"]).transform("max")]


def group_names(frame: pd.DataFrame, by: Sequence[str]) -> dict[tuple[Any, ...], str]:
    """Each combination of levels in words, without what all share, norm and eps apart."""
    keys = [tuple(row[c] for c in by) for row in records(frame[list(by)].drop_duplicates())]
    columns = {column: [key[i] for key in keys] for i, column in enumerate(by)}
    words: dict[str, list[str]] = {}
    for column, values in columns.items():
        levels = short(map(str, values), 30)
        said = [levels[str(value)] or "unknown" for value in values]
        axis, side = column[:-2], column[-2:]
        if column in ("norm", "eps"):
            words[column] = [str(value) for value in values]
        elif len(levels) == 1:
            continue
        elif column == "targeted":
            words[column] = ["targeted" if value else "untargeted" for value in values]
        elif column == "reads":
            words[column] = [READS[value] for value in values]
        elif side == "_v" and f"{axis}_s" in words:
            words[f"{axis}_s"] = [f"{s} → {v}" for s, v in zip(words[f"{axis}_s"], said, strict=True)]
        elif side in ("_s", "_v"):
            both = len(set(columns.get(f"{axis}_v", ()))) > 1
            whose = "victim's " if side == "_v" else "" if both else "surrogate's "
            words[column] = [f"{whose}{axis} {level}" for level in said]
        else:
            words[column] = said
    named = {}
    for i, key in enumerate(keys):
        told = {column: of[i] for column, of in words.items()}
        budget = " ".join(told.pop(c) for c in ("norm", "eps") if c in told)
        named[key] = ", ".join(w for w in (budget, *told.values()) if w) or "made on the surrogate"
    return named
