"""Rates and intervals of runs whose predictions are too many to be read: from n and k of their cells alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .intervals import DRAW_SEED, IMAGES, quantiles, wilson
from .outcomes import Floats, Ints, arrange, ratio

DRAWS = 200
COLUMNS = ("cells", "n", "k", "asr", "low", "high", "ranges_over", "clean_accuracy")


def counted_table(cells: pd.DataFrame, by: tuple[str, ...], *, images: int) -> pd.DataFrame:
    """Cells pooled within each value of `by`: columns of `by`, and `COLUMNS`.

    The interval ranges over trained models, by a pigeonhole bootstrap (Owen: "The pigeonhole bootstrap", Annals of
    Applied Statistics 2007) in its Bayesian form (Owen and Eckles: "Bootstrapping data arrays of arbitrary order",
    2012): in each of 200 draws every surrogate and every victim gets a weight from the exponential
    distribution, a cell the product of its two. Images are taken as given, as they are not read. A group of one cell
    has Wilson's interval, which ranges over images.

    Args:
        cells: With `surrogate`, `victim`, `n`, `k` and the columns of `by`; controls have no surrogate, so their
            attack stands for it.
        by: Columns.
        images: Of each cell.
    """
    keys = cells.groupby(list(by), sort=False, observed=True, dropna=False)
    group = np.asarray(keys.ngroup(), dtype=np.int64)
    _, first = np.unique(group, return_index=True)
    table = cells[list(by)].iloc[first].reset_index(drop=True)
    count = len(table)
    n, k = cells["n"].to_numpy(dtype=np.float64), cells["k"].to_numpy(dtype=np.float64)
    made_by, attack, victim = (_codes(cells[side]) for side in ("surrogate", "attack", "victim"))
    surrogate = np.where(cells["control"], made_by.max(initial=0) + 1 + attack, made_by)
    order = np.argsort(group, kind="stable")
    edges = np.searchsorted(group[order], np.arange(count + 1))
    rng = np.random.default_rng(DRAW_SEED)
    weights = [rng.exponential(size=(DRAWS, 1 + side.max(initial=0))) for side in (surrogate, victim)]
    drawn = np.empty((DRAWS, count))
    ranges = []
    for i in range(count):
        mine = order[edges[i] : edges[i + 1]]
        drawn[:, i], words = _drawn(k[mine], n[mine], (surrogate[mine], victim[mine]), weights)
        ranges.append(words)
    table["cells"] = np.diff(edges)
    for name, values in (("n", n), ("k", k)):
        table[name] = np.bincount(group, values, count).astype(np.int64)
    table["asr"] = ratio(table["k"].to_numpy(), table["n"].to_numpy())
    alone = np.array(ranges) == IMAGES
    table["low"], table["high"] = (
        np.where(alone, one, several)
        for one, several in zip(wilson(table["k"].to_numpy(), table["n"].to_numpy()), quantiles(drawn), strict=True)
    )
    table["ranges_over"] = ranges
    table["clean_accuracy"] = ratio(table["n"].to_numpy(), table["cells"].to_numpy() * images)
    return arrange(table, by)


def _drawn(k: Floats, n: Floats, sides: tuple[Ints, Ints], weights: Sequence[Floats]) -> tuple[Floats, str]:
    """The rate of some cells in each draw, and what the draws range over."""
    (rows, row), (columns, column) = (_present(side) for side in sides)
    shape, place = (len(rows), len(columns)), row * len(columns) + column
    varied = [name for name, size in zip(("surrogates", "victims"), shape, strict=True) if size > 1]
    if not varied:  # one model cannot be drawn from
        return np.full(DRAWS, np.nan), IMAGES
    down, across = (
        w[:, at] if len(at) > 1 else np.ones((DRAWS, 1)) for w, at in zip(weights, (rows, columns), strict=True)
    )

    def summed(values: Floats) -> Floats:
        whole = np.bincount(place, values, shape[0] * shape[1]).reshape(shape)
        return np.asarray(((down @ whole) * across).sum(1), dtype=np.float64)

    return ratio(summed(k), summed(n)), f"trained {' and '.join(varied)}"


def _present(side: Ints) -> tuple[Ints, Ints]:
    """Which models there are, and the place of each cell's among them."""
    there = np.bincount(side) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[side]


def _codes(values: pd.Series) -> Ints:
    return np.asarray(pd.factorize(values)[0], dtype=np.int64)
