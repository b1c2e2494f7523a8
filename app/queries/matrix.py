"""Who fools whom, along any two axes: levels, their order and their names, and ASR of each pair."""

from typing import Literal

import numpy as np
import pandas as pd
from scipy.cluster import hierarchy

from carom.scenarios.statistics.outcomes import poolable

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
Order = Literal["run", "mean", "clustered"]
ORDERS: dict[Order, str] = {"run": "as in the run", "mean": "by mean ASR", "clustered": "alike beside alike"}
MOST_LEVELS = 150  # along an axis; more are not drawn
MOST_CLUSTERED = 1_000  # along an axis; distances of all pairs take too long above


def axes(cells: pd.DataFrame) -> list[str]:
    """The axes along which these cells differ, and surrogate and victim whether they do or not."""
    return [a for a in AXES if a in ("surrogate", "victim") or len({*cells[a].unique()} - {""}) > 1]


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
    mask = (cells["n"] > 0) & ~cells["control"].astype(bool)
    for column, level in (("attack", attack), ("budget", budget)):
        if level is not None:
            mask &= cells[column] == level
    if not white_box:
        mask &= cells["case"] != 0
    if attack is None:
        mask &= poolable(cells, (rows, columns))
    chosen = cells.loc[mask & (cells[rows] != "") & (cells[columns] != ""), [rows, columns, "n", "k"]]
    keys = chosen.groupby([rows, columns], sort=False, observed=True)
    table = keys.agg(n=("n", "sum"), k=("k", "sum"), cells=("n", "size")).reset_index()
    for axis in (rows, columns):
        found = set(table[axis])
        order = [level for level in levels(cells, axis) if level in found]
        table[axis] = pd.Categorical(table[axis].astype(object), order, ordered=True)
    return table.assign(ASR=table["k"] / table["n"]).sort_values([rows, columns], ignore_index=True)


def levels(cells: pd.DataFrame, axis: str) -> list[str]:
    """What stands along an axis, in the order of the run; a surrogate's own model as a victim comes last."""
    return list(dict.fromkeys([*cells.loc[cells["case"] != 0, axis].unique(), *cells[axis].unique()]))


def ordered(table: pd.DataFrame, rows: str, columns: str, order: Order) -> pd.DataFrame:
    """A matrix with its axes in another order.

    Args:
        table: As from `matrix`.
        rows: Name of its first axis.
        columns: Name of its second.
        order: "run" leaves it; "mean" puts the highest mean of the ASR of an axis's fields first; "clustered" puts what
            is alike side by side: average linkage of Euclidean distances of ASR, a missing field taken as the mean of
            its column. Axes of more than `MOST_CLUSTERED` levels are put in the order of their means instead.
    """
    if order == "run":
        return table
    wide = table.assign(**{a: table[a].astype(str) for a in (rows, columns)}).pivot(
        index=rows, columns=columns, values="ASR"
    )
    for axis, matrix_ in ((rows, wide), (columns, wide.T)):
        means = matrix_.mean(axis=1).sort_values(ascending=False, kind="stable")
        names = [str(name) for name in means.index]
        if order == "clustered" and 2 < len(names) <= MOST_CLUSTERED:
            values = matrix_.loc[means.index]
            filled = values.fillna(values.mean()).to_numpy(dtype=np.float64)
            tree = hierarchy.linkage(filled, "average", optimal_ordering=len(names) <= 200)
            names = [names[i] for i in hierarchy.leaves_list(tree)]
        table = table.assign(**{axis: pd.Categorical(table[axis].astype(str), names, ordered=True)})
    return table.sort_values([rows, columns], ignore_index=True)


def limited(table: pd.DataFrame, rows: str, columns: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """The first `MOST_LEVELS` levels of each axis, and how many levels an axis that lost some had."""
    cut = {}
    for axis in (rows, columns):
        levels_ = table[axis].cat.categories
        if len(levels_) > MOST_LEVELS:
            cut[axis] = len(levels_)
            table = table[table[axis].isin(levels_[:MOST_LEVELS])]
            table = table.assign(**{axis: table[axis].cat.set_categories(levels_[:MOST_LEVELS])})
    return table.reset_index(drop=True), cut
