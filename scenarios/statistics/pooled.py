"""Cells pooled into the rows of a table, and what the interval of a row ranges over."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .intervals import draw_variance, quantiles, resampled_ratios, widened_where_rare
from .outcomes import Bools, Floats, Ints, Outcomes, arrange, ratio
from .seeds import Counts, Trained, over_seeds, trained

INTERVAL_COLUMNS = ("low", "high", "ranges_over", "surrogate_seeds", "victim_seeds", "claim")


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Chosen cells in groups, the rows of a table.

    Attributes:
        keys: The values that name each group, one row a group.
        rows: The chosen cells, sorted by group.
        group: Group of each of them.
        made_by: Whose they are.
        itself: Groups of C0, whose surrogate and victim are one model.
    """

    keys: pd.DataFrame
    rows: Ints
    group: Ints
    made_by: Trained
    itself: Bools

    def __len__(self) -> int:
        return len(self.keys)

    def cells(self) -> Ints:
        """Cells of each group."""
        return np.bincount(self.group, minlength=len(self))

    def total(self, of_cells: NDArray[np.generic]) -> Floats:
        """Sums of a number of each cell over the cells of each group."""
        return np.bincount(self.group, of_cells, len(self)).astype(np.float64)

    def counts(self, k: NDArray[np.generic], outcomes: Outcomes) -> Counts:
        """What the cells `rows` add to an ASR, `k` above, and below the images that their victim gets right."""
        return Counts(k=k, n=outcomes.right, row=outcomes.victim_index[self.rows])


def pool(outcomes: Outcomes, chosen: Bools, by: Sequence[str]) -> Pool:
    """Groups of the chosen cells by columns of `cells`."""
    cells = outcomes.cells.assign(_row=np.arange(len(outcomes.cells)))[chosen]
    cells = arrange(cells, by) if len(cells) else cells
    group = np.zeros(len(cells), dtype=np.int64)
    if by and len(cells):
        group[:] = cells.groupby(list(by), sort=False, dropna=False, observed=True).ngroup()
    order = np.argsort(group, kind="stable")
    cells, group = cells.iloc[order], group[order]
    first = np.flatnonzero(np.diff(group, prepend=-1))
    keys = cells.iloc[first][list(by)].reset_index(drop=True)
    if not by:
        keys = pd.DataFrame(index=range(min(1, len(cells))))
    itself = np.ones(len(keys), dtype=bool)
    np.logical_and.at(itself, group, cells["case"].to_numpy() == 0)
    return Pool(
        keys=keys, rows=cells["_row"].to_numpy(dtype=np.int64), group=group, made_by=trained(cells), itself=itself
    )


def rate_intervals(pooled: Pool, counts: Counts, image_source: Ints, *, difference: bool = False) -> pd.DataFrame:
    """Intervals of sum(k) / sum(n) of each group, as `INTERVAL_COLUMNS`.

    Over images: the percentile bootstrap, an image bringing all cells of the row. Several training seeds widen it, by
    `over_seeds`. Where few images carry the answer, `widened_where_rare`.

    Args:
        pooled: The groups.
        counts: Of the cells `pooled.rows`.
        image_source: Stratum of each image.
        difference: k are differences of successes, so that the limits are in [-1, 1].
    """
    k, n = counts.sums(pooled.group, len(pooled))
    estimate = ratio(k.sum(1), n.sum(1))
    draws = resampled_ratios(k, n, image_source)
    low, high = quantiles(draws)
    over_images = draw_variance(draws)
    ends = np.append(np.flatnonzero(np.diff(pooled.group, prepend=-1)), len(pooled.rows))
    rows: list[tuple[str, int, int, str]] = []
    for g in range(len(pooled)):
        mine = slice(ends[g], ends[g + 1])
        seeds = over_seeds(counts[mine], pooled.made_by[mine], image_source, itself=bool(pooled.itself[g]))
        one = slice(g, g + 1)
        low[one], high[one] = seeds.widen(estimate[one], low[one], high[one], over_images[one], difference=difference)
        rows.append((seeds.ranges_over, seeds.surrogate_seeds, seeds.victim_seeds, seeds.claim))
    low, high = np.maximum(low, -1.0 if difference else 0.0), np.minimum(high, 1.0)
    low, high = widened_where_rare(low, high, k, n, difference=difference)
    told = pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS[2:]))
    return told.assign(low=low, high=high)[list(INTERVAL_COLUMNS)]
