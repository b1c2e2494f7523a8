"""The tables of a run with too many cells to read their predictions: from n and k alone."""

from dataclasses import replace

import numpy as np
import pandas as pd

from carom.scenarios.cases import case_of
from carom.scenarios.statistics import (
    ControlCheck,
    Outcomes,
    asking,
    controls,
    counted_knowledge,
    counted_table,
)
from carom.scenarios.statistics.outcomes import eps_value
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes

from .knowledge import knowledge_shown
from .table import INTERVAL, Form, Table, ranges_note, with_intervals
from .work import show_models

LARGE = 10_000  # cells; of a run with more, predictions are read for single cells only
LIVE = 2_000  # the same while a run writes, so that its tables keep up with it
FORMS: dict[str, Form] = {
    "cells": "count",
    "n": "count",
    "ASR": "percent",
    INTERVAL: "text",
    "clean accuracy": "percent",
}
OF_FEW = ("white box", "zero gradients", "size / eps")  # controls that rest on few predictions, or on none


def counted_tables(store: Store, run: str, cells: pd.DataFrame, *, images: int) -> list[Table]:
    """The tables of a run.

    Args:
        store: Where it is.
        run: Its id.
        cells: As from `read_rates`.
        images: Of each cell.
    """
    kinds = [column for column in ("targeted", "reads") if cells[column].nunique() > 1]
    fixed = ("norm", "eps", *kinds)
    transfer = cells[cells["case"] > 0]
    tables = [_cases(cells, fixed, run, images)]
    if cells.loc[~cells["control"], "attack"].nunique() > 1:
        tables.append(_cases(cells, ("attack", *fixed), run, images))
    few = _few(store, run, cells)
    tables.append(_controls(few, cells))
    tables += [_groups(transfer, column, fixed, images) for column in ("attack", "surrogate", "victim")]
    tables.append(
        replace(knowledge_shown(counted_knowledge(cells, asking(few.sets), images=images)), notes=tables[0].notes[1:])
    )
    tables.append(show_models(store, run))
    return [table for table in tables if len(table.frame)]


def _cases(cells: pd.DataFrame, by: tuple[str, ...], run: str, images: int) -> Table:
    table = _words(counted_table(cells, (*by, "case"), images=images)).rename(columns={"case": "case_number"})
    cases = [case_of(int(number)) for number in table["case_number"]]
    table = table.assign(case=[c.name for c in cases], mismatch=[c.mismatch for c in cases])
    per_attack = "attack" in by
    return Table(
        name="cases-by-attack" if per_attack else "cases",
        title=f"{run}: attack success by case" + ("" if per_attack else ", all attacks"),
        frame=table,
        forms={**{c: "text" for c in by}, "case": "text", "mismatch": "text", **FORMS},
        notes=[
            "mismatch of the trainings of surrogate and victim: D source of the images, B balance, M architecture.",
            *_notes(table),
        ],
    )


def _groups(cells: pd.DataFrame, column: str, fixed: tuple[str, ...], images: int) -> Table:
    table = _words(counted_table(cells, (column, *fixed), images=images)) if len(cells) else pd.DataFrame()
    return Table(
        name=f"by-{column}",
        title=f"Transfer by {column} (C0 excluded)",
        frame=table,
        forms={**{c: "text" for c in (column, *fixed)}, **FORMS},
        notes=_notes(table) if len(table) else [],
    )


def _words(table: pd.DataFrame) -> pd.DataFrame:
    table = with_intervals(table)
    table["clean accuracy"] = table["clean_accuracy"]
    return table.astype({c: object for c in table if isinstance(table[c].dtype, pd.CategoricalDtype)})


def _notes(table: pd.DataFrame) -> list[str]:
    return [
        f"A run of more than {LARGE:,} cells, or of more than {LIVE:,} that still runs: from n and k of each cell, "
        "without its predictions. So there is no robust accuracy, lift, relative transfer, effect of a mismatch or "
        "rate by class or source of the images; a single cell has them.",
        f"{ranges_note(table)}; the images are taken as given.",
    ]


def _few(store: Store, run: str, cells: pd.DataFrame) -> Outcomes:
    """The predictions of models that were attacked with their own weights or answers; of one victim where none was."""
    own = np.unique(cells.loc[cells["case"] == 0, "victim_id"])
    met = own if len(own) else cells["victim_id"][:1]
    few = read_outcomes(store, run, only_victims=[int(row) for row in met])
    return few.where((few.cells["case"] == 0).to_numpy(dtype=bool)) if len(own) else few


def _controls(few: Outcomes, cells: pd.DataFrame) -> Table:
    """Whether the run can be trusted, from counts, and from the predictions of the surrogates' own models."""
    checks = [_no_budget(cells), *(check for check in controls(few) if check.name in OF_FEW)]
    rows = [{"control": c.name, "status": c.status, "expected": c.expected, "came": c.came} for c in checks]
    return Table(
        name="controls",
        title="Controls",
        frame=pd.DataFrame(rows),
        forms={"control": "text", "status": "text", "expected": "text", "came": "text"},
        notes=["Controls that compare predictions image by image are not run for a run of this size."],
    )


def _no_budget(cells: pd.DataFrame) -> ControlCheck:
    """As `controls` has it: at eps = 0 nothing changes, so nothing succeeds."""
    zero = cells[np.asarray(cells["eps"].astype(object).map(eps_value) == 0) & ~cells["targeted"].to_numpy()]
    k, n = int(zero["k"].sum()), int(zero["n"].sum())
    return ControlCheck(
        name="eps = 0",
        expected="ASR 0 exactly",
        came=f"{k} of {n} clean answers changed, {len(zero)} cells" if len(zero) else "no cell at eps 0",
        status=("failed" if k else "passed") if len(zero) else "not run",
    )
