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
    rows = []
    for i in range(count):
        mine = order[edges[i] : edges[i + 1]]
        rows.append((len(mine), *_pooled(k[mine], n[mine], (surrogate[mine], victim[mine]), weights)))
    found = pd.DataFrame(rows, columns=["cells", "n", "k", "asr", "low", "high", "ranges_over"])
    found["clean_accuracy"] = ratio(found["n"].to_numpy(), found["cells"].to_numpy() * images)
    return arrange(pd.concat([table, found], axis=1), by)


def _pooled(
    k: Floats, n: Floats, sides: tuple[Ints, Ints], weights: Sequence[Floats]
) -> tuple[int, int, float, float, float, str]:
    """Sums, rate, its interval, and what that ranges over."""
    total_n, total_k = int(n.sum()), int(k.sum())
    if not total_n:
        return total_n, total_k, np.nan, np.nan, np.nan, "no image right clean"
    (rows, row), (columns, column) = (np.unique(side, return_inverse=True) for side in sides)
    shape, place = (len(rows), len(columns)), row * len(columns) + column
    if shape == (1, 1):
        low, high = wilson(np.array([total_k]), np.array([total_n]))
        return total_n, total_k, total_k / total_n, float(low[0]), float(high[0]), IMAGES
    # one model cannot be drawn from
    down, across = (
        w[:, at] if len(at) > 1 else np.ones((DRAWS, 1)) for w, at in zip(weights, (rows, columns), strict=True)
    )

    def drawn(values: Floats) -> Floats:
        whole = np.bincount(place, values, shape[0] * shape[1]).reshape(shape)
        return np.einsum("dc,dc->d", down @ whole, across)

    low, high = quantiles(ratio(drawn(k), drawn(n))[:, None])
    varied = [name for name, size in zip(("surrogates", "victims"), shape, strict=True) if size > 1]
    return total_n, total_k, total_k / total_n, float(low[0]), float(high[0]), f"trained {' and '.join(varied)}"


def _codes(values: pd.Series) -> Ints:
    return np.asarray(pd.factorize(values)[0], dtype=np.int64)
