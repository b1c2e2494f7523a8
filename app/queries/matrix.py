"""Who fools whom, along any two axes: levels, their order and their names, and ASR of each pair."""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.cluster import hierarchy

from carom.scenarios.charts.names import short
from carom.scenarios.statistics import wilson

from .cells import along, budgets_in_order, counted

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
    "case": "case",
}
Measure = Literal["ASR", "robust accuracy", "lift"]
MEASURES: tuple[Measure, ...] = ("ASR", "robust accuracy", "lift")
Order = Literal["run", "mean", "clustered"]
ORDERS: dict[Order, str] = {"run": "as in the scenario", "mean": "by mean ASR", "clustered": "alike beside alike"}
MOST_LEVELS = 150  # along an axis; more are not drawn
MOST_CLUSTERED = 1_000  # along an axis; distances of all pairs take too long above


def axes(cells: pd.DataFrame) -> list[str]:
    """The axes along which these cells differ, and surrogate and victim whether they do or not."""
    return [a for a in AXES if a in ("surrogate", "victim") or len({*cells[a].unique()} - {""}) > 1]


def measures(cells: pd.DataFrame) -> list[Measure]:
    """What can be drawn of these cells; of a large run nobody read what the adversarial answers are."""
    there = {"ASR": True, "robust accuracy": "robust_accuracy" in cells, "lift": "noise_k" in cells}
    there["lift"] = there["lift"] and bool(cells["noise_k"].notna().any())
    return [measure for measure in MEASURES if there[measure]]


def finding(table: pd.DataFrame, rows: str, columns: str, measure: str = "ASR") -> str:
    """What a matrix shows, in a sentence: its rows of the highest and of the lowest rate.

    Args:
        table: As from `matrix`.
        rows: Its first axis.
        columns: Its second.
        measure: What its column ASR holds.
    """
    down, _ = margins(table, rows, columns, measure)
    words = short([*map(str, table[rows].cat.categories)]) if rows != "budget" else {}
    if len(down) < 2:
        return f"{measure} by {AXES[rows]} and {AXES[columns]}"
    most, least = (down.sort_values("ASR", kind="stable").iloc[i] for i in (-1, 0))
    one, other = (words.get(str(row[rows]), str(row[rows])) for row in (most, least))
    if measure == "lift":
        return f"{one} gains {100 * most['ASR']:.0f} points over noise of its size, {other} {100 * least['ASR']:.0f}"
    if most["ASR"] - least["ASR"] < 0.005:
        return f"{measure} hardly differs by {AXES[rows]}: {most['ASR']:.0%}"
    if rows == "surrogate" and measure == "ASR":
        return f"{one} fools most ({most['ASR']:.0%}), {other} least ({least['ASR']:.0%})"
    return f"{measure} by {AXES[rows]}: {one} {most['ASR']:.0%}, {other} {least['ASR']:.0%}"


def matrix(
    cells: pd.DataFrame,
    rows: str,
    columns: str,
    *,
    attack: str | None = None,
    budget: str | None = None,
    white_box: bool = False,
    images: int = 0,
    measure: Measure = "ASR",
) -> pd.DataFrame:
    """ASR of each pair of levels, pooled over its cells: k / n of their sums. Pairs without a clean right answer drop.

    Of robust accuracy k are the images that are right adversarial, and n all of them. Of lift k are the images that are
    turned less those that the matched control turns, and cells without one drop.

    Args:
        cells: As `View.cells`.
        rows: A name in `AXES`.
        columns: Another one.
        attack: Only this one; None pools all that read the surrogate alone.
        budget: Only this one; None pools all.
        white_box: Also cells whose victim is the surrogate's own model (C0).
        images: Of each cell; for robust accuracy.
        measure: What the column "ASR" holds.

    Returns:
        The columns `rows`, `columns`, n, k, cells, ASR, low, high (`over_images`; of a lift those of the one cell,
        paired by image, else NaN) and one_case (the number of the case that all cells of a field have, else -1); the
        first two are categories in the order of the plan.
    """
    mask = counted(cells, (rows, columns), attack=attack, budget=budget, white_box=white_box)
    down, across = along(cells, rows), along(cells, columns)
    mask &= (down != "") & (across != "")
    chosen = pd.DataFrame({c: cells.loc[mask, c].to_numpy() for c in ("n", "k")})
    chosen = chosen.assign(number=cells.loc[mask, "case"].to_numpy(), down=down[mask].array, across=across[mask].array)
    if measure == "robust accuracy":
        right = (cells.loc[mask, "robust_accuracy"].to_numpy() * images).round()
        chosen = chosen.assign(n=images, k=right.astype(np.int64))
    if measure == "lift":
        of = cells.loc[mask, ["noise_k", "lift_low", "lift_high"]].reset_index(drop=True)
        chosen = chosen.assign(k=chosen["k"] - of["noise_k"], low=of["lift_low"], high=of["lift_high"])
        chosen = chosen.dropna(subset="k").astype({"k": np.int64})
    keys = chosen.groupby(["down", "across"], sort=False, observed=True)
    table = keys.agg(
        n=("n", "sum"), k=("k", "sum"), cells=("n", "size"), first=("number", "min"), last=("number", "max")
    ).reset_index()
    table = table.rename(columns={"down": rows, "across": columns})
    for axis in (rows, columns):
        found = set(table[axis])
        order = [level for level in levels(cells, axis) if level in found]
        table[axis] = pd.Categorical(table[axis].astype(object), order, ordered=True)
    alone = np.where(table["first"] == table["last"], table["first"], -1)
    if measure == "lift":
        low, high = (keys[side].first().where(keys.size() == 1).to_numpy(np.float64) for side in ("low", "high"))
    else:
        low, high = over_images(table)
    table = table.drop(columns=["first", "last"]).assign(
        ASR=table["k"] / table["n"], low=low, high=high, one_case=alone
    )
    return table.sort_values([rows, columns], ignore_index=True)


def over_images(table: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's 95% limits of k / n over images, these models.

    The cells of a field meet the same images, so n counts each image once: the limits are as wide as if an image were
    fooled in all cells or in none, which is the widest they can be.
    """
    return wilson((table["k"] / table["cells"]).to_numpy(), (table["n"] / table["cells"]).to_numpy())


def margins(table: pd.DataFrame, rows: str, columns: str, measure: str = "ASR") -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a matrix pooled, and its columns: k / n of the sums of their fields, with limits `over_images`.

    A lift, which is the difference of two rates, has none.
    """
    found = []
    for axis in (rows, columns):
        sums = table.groupby(axis, sort=False, observed=True)[["n", "k", "cells"]].sum().reset_index()
        low, high = over_images(sums) if measure != "lift" else (np.nan, np.nan)
        found.append(sums.assign(ASR=sums["k"] / sums["n"], low=low, high=high))
    return found[0], found[1]


def levels(cells: pd.DataFrame, axis: str) -> list[str]:
    """What stands along an axis, in the order of the plan, budgets by their radius; white boxes come last."""
    if axis == "budget":
        return budgets_in_order(cells)
    names = along(cells, axis)
    if axis == "case":
        present = set(names.dropna().unique())
        return [name for name in names.cat.categories if name in present]
    found: list[str] = []
    for rows in (np.flatnonzero(cells["case"] != 0), np.arange(len(cells))):
        if axis == "victim" or axis.endswith("_v") or axis == "victim_config":  # not every set meets every victim
            rows = rows[np.unique(cells["victim_index"].to_numpy()[rows], return_index=True)[1]]
        found += [str(name) for name in names.iloc[rows].unique()]
    return list(dict.fromkeys(found))


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
