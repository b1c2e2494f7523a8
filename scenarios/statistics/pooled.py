"""Cells pooled into the rows of a table, and what the interval of a row ranges over."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .intervals import (
    DRAW_SEED,
    DRAWS,
    IMAGES,
    LEVEL,
    Spread,
    draw_variance,
    hold_open,
    normal_reach,
    quantiles,
    resampled_ratios,
    resampled_sums,
)
from .outcomes import Bools, Floats, Ints, Outcomes, arrange, ratio

FEW_SEEDS = 5  # a bootstrap over fewer seeds than this says too little: t over seeds instead
INTERVAL_COLUMNS = ("low", "high", "ranges_over", "surrogate_seeds", "victim_seeds", "claim")
_RANGES = {
    (False, False): (IMAGES, "these models; one seed makes no claim about recipes"),
    (True, False): ("images and surrogate seeds", "retrained surrogates, these victims"),
    (False, True): ("images and victim seeds", "retrained victims, these surrogates"),
    (True, True): ("images and seeds", "retrained surrogates and victims"),
}
_ITSELF = ("images and seeds", "retrained models")


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Chosen cells in groups (rows of a table), each group in blocks of one surrogate seed x one victim seed.

    Attributes:
        keys: The values that name each group, one row a group.
        rows: The chosen cells, sorted by block.
        starts: Where each block starts in `rows`.
        group: Group of each block.
        surrogate: Replicate of the surrogates of each block.
        victim: Replicate of the victims of each block.
        itself: Groups of C0, whose surrogate and victim are one model: one side of seeds, kept in `surrogate`.
    """

    keys: pd.DataFrame
    rows: Ints
    starts: Ints
    group: Ints
    surrogate: Ints
    victim: Ints
    itself: Bools

    def __len__(self) -> int:
        return len(self.keys)

    def per_block(self, values: NDArray[np.generic]) -> Ints:
        """Sums of whole numbers over the cells of each block; first axis as the chosen cells, `rows`."""
        if not len(self.rows):
            return np.zeros((0, *values.shape[1:]), dtype=np.int64)
        return np.asarray(np.add.reduceat(values, self.starts, axis=0, dtype=np.int64))

    def per_group(self, blocks: NDArray[np.generic]) -> Floats:
        """Sums over the blocks of each group."""
        if not len(self):
            return np.zeros((0, *blocks.shape[1:]))
        first = np.flatnonzero(np.diff(self.group, prepend=-1))
        return np.asarray(np.add.reduceat(blocks, first, axis=0, dtype=np.float64))

    def cells(self) -> Ints:
        """Cells of each group."""
        return np.asarray(self.per_group(self.per_block(np.ones(len(self.rows), dtype=np.int64))), dtype=np.int64)

    def denominators(self, outcomes: Outcomes) -> Ints:
        """Cells of each block whose victim is right on each image, `blocks images`."""
        block = np.repeat(np.arange(len(self.starts)), np.diff(np.append(self.starts, len(self.rows))))
        blocks, victims = len(self.starts), len(outcomes.right)
        count = np.bincount(block * victims + outcomes.victim_index[self.rows], minlength=blocks * victims)
        return np.asarray(np.rint(count.reshape(blocks, victims) @ outcomes.right.astype(np.float64)), dtype=np.int64)


def pool(outcomes: Outcomes, chosen: Bools, by: Sequence[str]) -> Pool:
    """Groups of the chosen cells by columns of `cells`.

    Seeds are compared by rank within a configuration: the first seed of every configuration is replicate 0, and so
    on, so that a replicate holds all configurations and its rate differs from another's by the seeds alone. There are
    as many replicates as the configuration with the fewest seeds has; further seeds join them in turn. One unknown
    seed makes one replicate.
    """
    cells = outcomes.cells.assign(_row=np.arange(len(outcomes.cells)))[chosen]
    cells = arrange(cells, by) if len(cells) else cells
    if by and len(cells):
        group = cells.groupby(list(by), sort=False, dropna=False, observed=True).ngroup().to_numpy(dtype=np.int64)
    else:
        group = np.zeros(len(cells), dtype=np.int64)
    cells = cells.assign(_group=group)
    keys = cells.drop_duplicates("_group")[list(by)].reset_index(drop=True)
    if not by:
        keys = pd.DataFrame(index=range(min(1, len(cells))))
    surrogate = _replicates(cells, "surrogate")
    victim = _replicates(cells, "victim")
    itself = np.ones(len(keys), dtype=bool)
    np.logical_and.at(itself, group, cells["case"].to_numpy() == 0)
    victim = np.where(itself[group], 0, victim) if len(cells) else victim
    order = np.lexsort((victim, surrogate, group))
    names = np.stack([group, surrogate, victim], axis=1)[order]
    starts = np.flatnonzero(np.any(np.diff(names, axis=0, prepend=-1) != 0, axis=1))
    return Pool(
        keys=keys,
        rows=cells["_row"].to_numpy(dtype=np.int64)[order],
        starts=starts,
        group=names[starts, 0],
        surrogate=names[starts, 1],
        victim=names[starts, 2],
        itself=itself,
    )


def _replicates(cells: pd.DataFrame, side: str) -> Ints:
    """Replicate of each cell's model on one side."""
    if not len(cells):
        return np.zeros(0, dtype=np.int64)
    seed, config = f"{side}_seed", f"{side}_config"
    rank = cells.groupby(["_group", config], dropna=False)[seed].rank("dense").astype(np.int64) - 1
    seeds = rank.groupby([cells["_group"], cells[config]], dropna=False).transform("max") + 1
    seeds = seeds.where(cells[seed] >= 0, 1)
    fewest = seeds.groupby(cells["_group"]).transform("min")
    return np.asarray(rank % fewest, dtype=np.int64)


def rate_intervals(pooled: Pool, k: Ints, n: Ints, image_source: Ints, *, difference: bool = False) -> pd.DataFrame:
    """Intervals of sum(k) / sum(n) of each group, as `INTERVAL_COLUMNS`.

    One seed: percentile bootstrap over images, an image bringing all cells of the row. 2 to 4 seeds on a side: the
    variance over images, and over the replicates of each side that has two, as a `Spread`. From 5 on every side that
    has two: images and replicates drawn together (the pigeonhole bootstrap, Owen 2007), its percentiles stretched to
    the `Spread`, since R draws from R seeds spread too little by (R-1)/R and have no t tails.

    Args:
        pooled: The groups and blocks.
        k: Successes of each block and image, `blocks images`.
        n: Denominator of each block and image.
        image_source: Stratum of each image.
        difference: The sums are differences of successes, so that the limits are in [-1, 1].
    """
    group_k, group_n = pooled.per_group(k), pooled.per_group(n)
    estimate = ratio(group_k.sum(1), group_n.sum(1))
    draws = resampled_ratios(group_k, group_n, image_source)
    low, high = quantiles(draws)
    over_images = draw_variance(draws)
    rows: list[tuple[float, float, str, int, int, str]] = []
    for g in range(len(pooled)):
        blocks = np.flatnonzero(pooled.group == g)
        sides = [side for side in (pooled.surrogate[blocks], pooled.victim[blocks]) if side.max() > 0]
        if sides:
            spread = Spread(
                parts=(
                    (float(over_images[g]), float(max(1, (group_n[g] > 0).sum() - 1))),
                    *(_over_seeds(side, k[blocks], n[blocks]) for side in sides),
                )
            )
            if min(side.max() + 1 for side in sides) >= FEW_SEEDS and spread.variance > 0:
                crossed = _crossed(sides, k[blocks], n[blocks], image_source)
                lower, upper = (float(q[0]) - estimate[g] for q in quantiles(crossed[:, None]))
                plain = normal_reach(LEVEL) * float(np.sqrt(draw_variance(crossed[:, None])[0]))
                stretch = spread.half_width() / plain
                low[g], high[g] = estimate[g] + stretch * lower, estimate[g] + stretch * upper
            else:
                low[g], high[g] = estimate[g] - spread.half_width(), estimate[g] + spread.half_width()
        floor = -1.0 if difference else 0.0
        low[g], high[g] = max(low[g], floor), min(high[g], 1.0)
        seeds = (int(pooled.surrogate[blocks].max()) + 1, int(pooled.victim[blocks].max()) + 1)
        names = _RANGES[seeds[0] > 1, seeds[1] > 1]
        if pooled.itself[g]:
            seeds = (seeds[0], seeds[0])
            names = _ITSELF if seeds[0] > 1 else names
        rows.append((low[g], high[g], names[0], *seeds, names[1]))
    frame = pd.DataFrame(rows, columns=list(INTERVAL_COLUMNS))
    low, high = hold_open(low, high, group_k, group_n, difference=difference)
    return frame.assign(low=low, high=high)


def _over_seeds(side: Ints, k: Ints, n: Ints) -> tuple[float, float]:
    """Variance of the mean over replicates of one side, and its degrees of freedom.

    The other side and the images are pooled within each replicate, so what they add to the differences is counted
    here and again on their own side: with few seeds the interval errs to the wide.
    """
    count = int(side.max()) + 1
    tops, bottoms = np.bincount(side, k.sum(1), count), np.bincount(side, n.sum(1), count)
    rates = ratio(tops, bottoms)
    return float(np.nan_to_num(rates.var(ddof=1))) / count, float(count - 1)


def _crossed(sides: Sequence[Ints], k: Ints, n: Ints, image_source: Ints) -> Floats:
    """Pigeonhole bootstrap: images and the replicates of each side drawn independently, weights multiplied."""
    rng = np.random.default_rng(DRAW_SEED + 1)
    weights = np.ones((DRAWS, len(k)))
    for side in sides:
        count = int(side.max()) + 1
        weights *= rng.multinomial(count, np.full(count, 1 / count), size=DRAWS)[:, side]
    sums = resampled_sums(np.concatenate([k, n]).astype(np.float64), image_source)
    top, bottom = ((weights * half).sum(1) for half in np.split(sums, 2, axis=1))
    return ratio(top, bottom)
