"""Rates and intervals of runs whose predictions are too many to be read: from n and k of their cells alone."""

import numpy as np
import pandas as pd

from .intervals import IMAGES, VarianceComponents, wilson
from .outcomes import Floats, Ints, arrange, poolable, ratio

_ROUNDING = 1e-9
COLUMNS = ("cells", "n", "k", "asr", "low", "high", "ranges_over", "clean_accuracy")


def counted_table(cells: pd.DataFrame, by: tuple[str, ...], *, images: int) -> pd.DataFrame:
    """Cells pooled within each value of `by`: columns of `by`, and `COLUMNS`.

    The interval ranges over trained models: surrogates and victims are drawn independently, each bringing all of its
    cells. On each side of m models the linearised variance clustered by model, times m / (m - 1), has m - 1 degrees of
    freedom; half-widths add in quadrature (`VarianceComponents`). Where models are in both roles, as in C0, there is
    one side: such a model brings the cells of its sets and those that it met. Images are taken as given, as they are
    not read. A side with one model is taken as it is. A row of one model a side has Wilson's interval, which ranges
    over images, each counted once; so has a row whose models all agree, as where every attack succeeds.

    Snapshots of a trace count in rows of their own attack alone.

    Args:
        cells: With `surrogate`, `victim`, `n`, `k` and the columns of `by`; controls have no surrogate, so their
            attack stands for it.
        by: Columns.
        images: Of each cell.
    """
    cells = cells[poolable(cells, by)]
    keys = cells.groupby(list(by), sort=False, observed=True, dropna=False)
    group = np.asarray(keys.ngroup(), dtype=np.int64)
    _, first = np.unique(group, return_index=True)
    table = cells[list(by)].iloc[first].reset_index(drop=True)
    count = len(table)
    n, k = cells["n"].to_numpy(dtype=np.float64), cells["k"].to_numpy(dtype=np.float64)
    named = [pd.Categorical(cells[side]) for side in ("surrogate", "victim")]
    models = named[0].categories.union(named[1].categories, sort=False)
    made_by, victim = (np.asarray(models.get_indexer(of.categories), dtype=np.int64)[of.codes] for of in named)
    attack = np.asarray(pd.factorize(cells["attack"])[0], dtype=np.int64)
    surrogate = np.where(cells["control"], len(models) + attack, made_by)
    order = np.argsort(group, kind="stable")
    edges = np.searchsorted(group[order], np.arange(count + 1))
    table["cells"] = np.diff(edges)
    for name, values in (("n", n), ("k", k)):
        table[name] = np.bincount(group, values, count).astype(np.int64)
    table["asr"] = ratio(table["k"].to_numpy(), table["n"].to_numpy())
    half, ranges = np.zeros(count), np.empty(count, dtype=object)
    for i in range(count):
        mine = order[edges[i] : edges[i + 1]]
        half[i], ranges[i] = _half_width(k[mine], n[mine], (surrogate[mine], victim[mine]))
    asr, once = table["asr"].to_numpy(), table["n"].to_numpy() / table["cells"].to_numpy()
    low, high = wilson(asr * once, once)
    agree = half < _ROUNDING
    table["low"] = np.where(agree, low, np.maximum(asr - half, 0.0))
    table["high"] = np.where(agree, high, np.minimum(asr + half, 1.0))
    table["ranges_over"] = np.where(agree, IMAGES, ranges)
    table["clean_accuracy"] = ratio(table["n"].to_numpy(), table["cells"].to_numpy() * images)
    return arrange(table, by)


def _half_width(k: Floats, n: Floats, sides: tuple[Ints, Ints]) -> tuple[float, str]:
    """Half the length of the interval of some cells' rate, and what it ranges over."""
    total = max(float(n.sum()), 1.0)
    adds = (k - n * float(k.sum()) / total) / total  # what each cell adds to the linearised rate
    parts, varied = [], []
    clusters = {"surrogates": (sides[0], adds), "victims": (sides[1], adds)}
    if np.intersect1d(*sides).size:
        other = sides[0] != sides[1]  # a model on itself counts once
        clusters = {"models": (np.append(sides[0], sides[1][other]), np.append(adds, adds[other]))}
    for name, (side, moves) in clusters.items():
        models = np.unique(side)
        if len(models) > 1:
            scores = np.bincount(np.searchsorted(models, side), moves, len(models))
            parts.append((float((scores**2).sum()) * len(models) / (len(models) - 1), float(len(models) - 1)))
            varied.append(name)
    return VarianceComponents(parts=tuple(parts)).half_width(), f"trained {' and '.join(varied)}" if varied else IMAGES
