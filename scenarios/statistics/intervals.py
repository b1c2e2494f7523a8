"""Intervals and tests of proportions and differences, in arrays."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .outcomes import Floats, Ints, ratio

LEVEL = 0.95
DRAWS = 2000
DRAW_SEED = 20230616
RARE = 10  # fewer images than this with a success (or a failure): Wilson on the images holds the interval open
FLIPPED = 12  # images that differ by unequal amounts: up to so many, all ways to turn their signs are tried
IMAGES = "images, these models"


@dataclass(frozen=True, kw_only=True)
class VarianceComponents:
    """Independent sources of variance of one estimate, each known with its own degrees of freedom.

    The interval of each source alone would be t(df) * sqrt(variance); the half-widths add in quadrature. One source
    alone gives the t interval. With several, this is never narrower than Cochran's rule for unequal variances, so two
    seeds that happen to agree do not buy a narrow interval for free, and certain sources are not inflated by
    uncertain ones.

    Attributes:
        parts: (variance, degrees of freedom) of each source.
        least: The same of variances that overlap with those: the interval is never narrower than that of any one of
            these alone.
    """

    parts: tuple[tuple[float, float], ...]
    least: tuple[tuple[float, float], ...] = ()

    @property
    def variance(self) -> float:
        return sum(v for v, _ in self.parts)

    def half_width(self, level: float = LEVEL) -> float:
        """Half the length of the two-sided interval."""
        return self._reach(1 - level)

    def _reach(self, p: float) -> float:
        squares, least = (
            [v * float(special.stdtrit(df, p / 2)) ** 2 for v, df in some] for some in (self.parts, self.least)
        )
        return math.sqrt(max(sum(squares), *least) if least else sum(squares))

    def p_value(self, distance: float) -> float:
        """Two-sided p of an estimate this far from the hypothesis: the level at which the interval just reaches it.

        Never below 1e-12. Without any variance: 1 at distance 0, else the least.
        """
        least = 1e-12
        if distance == 0:
            return 1.0
        if self._reach(least) <= abs(distance):
            return least
        low, high = math.log(least), 0.0
        while high - low > 1e-9:  # the half-width falls as p grows
            middle = (low + high) / 2
            low, high = (middle, high) if self._reach(math.exp(middle)) > abs(distance) else (low, middle)
        return math.exp((low + high) / 2)

    def equivalence_p(self, estimate: float, margin: float) -> float:
        """The p of two one-sided tests (Schuirmann 1987): small if the estimate is surely within +-margin."""
        inside = margin - abs(estimate)
        two_sided = self.p_value(inside)
        return two_sided / 2 if inside > 0 else 1 - two_sided / 2

    def equivalence_power(self, margin: float, level: float) -> float:
        """Probability of an `equivalence_p` below `level` where the truth is 0, if this is the true variance."""
        inside = margin - self._reach(2 * level)
        if inside <= 0:
            return 0.0
        if self.variance == 0:
            return 1.0
        return 1 - 2 * float(special.ndtr(-inside / math.sqrt(self.variance)))


def normal_reach(level: float) -> float:
    """Standard deviations that a two-sided normal interval reaches: 1.96 for 0.95."""
    return -float(special.ndtri((1 - level) / 2))


def wilson(k: NDArray[np.generic], n: NDArray[np.generic], level: float = LEVEL) -> tuple[Floats, Floats]:
    """Wilson's score interval of k of n, elementwise; NaN where n is 0.

    scipy.stats.binomtest(k, n).proportion_ci(method="wilson") for whole columns at once.
    """
    z2 = normal_reach(level) ** 2
    p, m = ratio(k, n), np.asarray(n, dtype=np.float64)
    total = np.where(m > 0, m, 1.0)
    centre = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = np.sqrt(z2 * (p * (1 - p) / total + z2 / (4 * total**2))) / (1 + z2 / total)
    low, high = np.where(p == 0, 0.0, centre - half), np.where(p == 1, 1.0, centre + half)
    return np.where(m > 0, low, np.nan), np.where(m > 0, high, np.nan)


def paired_wald(gained: Ints, lost: Ints, n: Ints, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Interval of (gained - lost) / n on paired images: the adjusted Wald interval of Bonett and Price (2012).

    Args:
        gained: Pairs in which only the first succeeds.
        lost: Pairs in which only the second does.
        n: All pairs.
        level: Nominal coverage.
    """
    up, down = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    half = normal_reach(level) * np.sqrt((up + down - (up - down) ** 2) / (n + 2))
    low, high = np.maximum(up - down - half, -1.0), np.minimum(up - down + half, 1.0)
    return np.where(n > 0, low, np.nan), np.where(n > 0, high, np.nan)


def paired_sums(d: Floats, n: Floats, level: float = LEVEL) -> tuple[Floats, Floats, Floats]:
    """Interval and p of sum(d) / sum(n), where each image brings all of its cells: no difference is 0.

    Bonett and Price's interval, with two images added that gain and lose as much as an image that differs does (the
    root of the mean square). Where all of these differ by equally much, such as in one cell, p is McNemar's exact one,
    and the interval holds that of Clopper and Pearson for the share of them that gain. Where up to `FLIPPED` differ by
    unequal amounts, p is not below that of the exact test that turns their signs (Fisher 1935). Otherwise p is that of
    the interval. At 95% p and interval always agree.

    Args:
        d: What each image gains, `rows images`.
        n: Cells of each image that count, `rows images`.
        level: Nominal coverage.
    """
    images, total, gain = (n > 0).sum(1), n.sum(1), d.sum(1)
    differ = (d != 0).sum(1)
    each = ratio(total, images)
    size = np.where(differ > 0, np.sqrt(ratio((d**2).sum(1), differ)), each)
    centre = gain / (each * (images + 2))
    squares = ((d - centre[:, None] * n) ** 2).sum(1) + 2 * size**2 + 2 * (centre * each) ** 2
    deviation = np.sqrt(squares) / (each * (images + 2))
    reach = normal_reach(level) * deviation
    low, high = centre - reach, centre + reach
    p = 2 * special.ndtr(-np.abs(centre) / deviation)

    largest = np.abs(d).max(1)
    alike = (np.abs(d) == np.where(d == 0, 0, largest[:, None])).all(1)
    up, down = (d > 0).sum(1), (d < 0).sum(1)
    shares = special.betaincinv(up, down + 1, (1 - level) / 2), special.betaincinv(up + 1, down, (1 + level) / 2)
    shares = np.where(up > 0, shares[0], 0.0), np.where(down > 0, shares[1], 1.0)
    moved = largest * differ / np.where(total > 0, total, np.nan)
    low = np.where(alike, np.fmin(low, moved * (2 * shares[0] - 1)), low)
    high = np.where(alike, np.fmax(high, moved * (2 * shares[1] - 1)), high)
    p = np.where(alike, mcnemar(up, down), p)
    for row in np.flatnonzero(~alike & (differ <= FLIPPED)):
        p[row] = max(p[row], _flipped(d[row][d[row] != 0]))
        if p[row] >= 1 - level:
            low[row], high[row] = min(low[row], 0.0), max(high[row], 0.0)
    known = total > 0
    return (
        np.where(known, np.maximum(low, -1.0), np.nan),
        np.where(known, np.minimum(high, 1.0), np.nan),
        np.where(known, p, np.nan),
    )


def _flipped(d: Floats) -> float:
    """Share of the ways to give these numbers signs that leave a sum as far from 0."""
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums + value, sums - value])
    return float((np.abs(sums) >= abs(d.sum()) - 1e-9).mean())


def mcnemar(gained: Ints, lost: Ints) -> Floats:
    """Exact two-sided McNemar p of paired images: scipy.stats.binomtest(gained, gained + lost) for whole columns."""
    return np.asarray(np.minimum(1.0, 2 * special.bdtr(np.minimum(gained, lost).astype(float), gained + lost, 0.5)))


def holm(p: Floats) -> Floats:
    """Holm's adjusted p of one family; NaN stays out of the family."""
    out = np.full(len(p), np.nan)
    real = np.flatnonzero(~np.isnan(p))
    order = real[np.argsort(p[real], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return out


def resampled_ratios(tops: Floats, bottoms: Floats, strata: Ints, draws: int = DRAWS, seed: int = DRAW_SEED) -> Floats:
    """Sums of tops over sums of bottoms in bootstrap samples of the images, `draws rows`; NaN where a sum is 0.

    Images are drawn with replacement within their stratum (the image source: a scenario fixes how many come from
    each), so an image brings all of its cells along. The same samples serve every call, so that rows of one call and
    of two are paired.

    Args:
        tops: What each image adds above, `rows images`.
        bottoms: What each image adds below, `rows images`.
        strata: Stratum of each image.
        draws: Bootstrap samples.
        seed: Of the samples.
    """
    sums = resampled_sums(np.concatenate([tops, bottoms]), strata, draws, seed)
    return ratio(sums[:, : len(tops)], sums[:, len(tops) :])


def resampled_sums(values: Floats, strata: Ints, draws: int = DRAWS, seed: int = DRAW_SEED) -> Floats:
    """Sums over images in the bootstrap samples of `resampled_ratios`, `draws rows`, of values `rows images`."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    columns = np.ascontiguousarray(values.T, dtype=np.float64)
    sums = np.empty((draws, len(values)))
    step = 250  # a slab of weights at a time: 250 x 10,000 images are 20 MB
    for start in range(0, draws, step):
        rows = min(step, draws - start)
        weights = np.zeros((rows, len(strata)))
        for images in members:
            # Counting uniform draws is the multinomial, an order of magnitude faster than rng.multinomial.
            drawn = rng.integers(len(images), size=(rows, len(images))) + len(images) * np.arange(rows)[:, None]
            weights[:, images] = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(rows, -1)
        sums[start : start + rows] = weights @ columns
    return sums


def quantiles(draws: Floats, level: float = LEVEL) -> tuple[Floats, Floats]:
    """Percentile limits of each column; draws without a denominator (NaN) do not count."""
    if draws.shape[1] == 0:
        return np.zeros(0), np.zeros(0)
    tails = [(1 - level) / 2, (1 + level) / 2]
    if not np.isnan(draws).any():
        low, high = np.quantile(draws, tails, axis=0)
        return low, high
    limits = np.array([np.quantile(d[~np.isnan(d)], tails) if (~np.isnan(d)).any() else [np.nan] * 2 for d in draws.T])
    return limits[:, 0], limits[:, 1]


def draw_variance(draws: Floats) -> Floats:
    """Variance of each column; draws without a denominator (NaN) do not count, fewer than two give 0."""
    real = ~np.isnan(draws)
    count = real.sum(0)
    mean = np.where(real, draws, 0.0).sum(0) / np.maximum(count, 1)
    return np.asarray(np.where(real, (draws - mean) ** 2, 0.0).sum(0) / np.maximum(count - 1, 1))


def widened_where_rare(low: Floats, high: Floats, k: Floats, n: Floats, *, difference: bool) -> tuple[Floats, Floats]:
    """Limits of sum(k) / sum(n) that are never narrower than those of the images alone, where few images speak.

    A bootstrap of a row without a success, or of a difference without a differing image, is a point. Where fewer than
    `RARE` images carry the answer, each image counts once, however many cells it is in: wide rather than narrow.

    Args:
        low: Limits of each row.
        high: Limits of each row.
        k: Successes, or differences of successes, `rows images`.
        n: Denominators, `rows images`.
        difference: k are differences.
    """
    images = (n > 0).sum(1)
    up, down = (k > 0).sum(1), (k < 0).sum(1)
    if difference:
        rare = up + down < RARE
        wide_low, wide_high = paired_wald(up, down, images)
    else:
        rare = np.minimum(up, (k < n).sum(1)) < RARE
        wide_low, wide_high = wilson(ratio(k.sum(1), n.sum(1)) * images, images)
    return np.where(rare, np.fmin(low, wide_low), low), np.where(rare, np.fmax(high, wide_high), high)
