"""What the training seeds add to an interval: models that could have been trained instead of those that were.

One rule for every estimate that is made of cells: pooled rows, differences of surrogates, equivalents, defended
victims. `docs/statistics.md` derives it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from .intervals import IMAGES, LEVEL
from .outcomes import Bools, Floats, Ints, ratio

BORROWED = "a configuration with one seed is taken to vary as the others do"
_RANGES = {
    (False, False): (IMAGES, "these models; one seed makes no claim about recipes"),
    (True, False): ("images and surrogate seeds", "retrained surrogates, these victims"),
    (False, True): ("images and victim seeds", "retrained victims, these surrogates"),
    (True, True): ("images and seeds", "retrained surrogates and victims"),
}
_ITSELF = ("images and seeds", "retrained models")


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """What each cell adds to a rate, image by image.

    Attributes:
        k: What it adds above, `cells images`; below 0 too where it is a difference of two cells.
        n: What there is below, `rows images`, such as the images that each victim gets right.
        row: Of `n`, for each cell.
    """

    k: NDArray[np.generic]
    n: NDArray[np.generic]
    row: Ints

    def __getitem__(self, cells: Ints | slice) -> "Counts":
        """Of some cells."""
        return Counts(k=self.k[cells], n=self.n, row=self.row[cells])

    def sums(self, of: Ints, count: int) -> tuple[Floats, Floats]:
        """Above and below, summed over the cells of each of `count` parts, `count images`.

        Args:
            of: Part of each cell; none is empty.
            count: How many parts.
        """
        images = self.n.shape[1]
        if not len(of):
            return np.zeros((count, images)), np.zeros((count, images))
        order = np.argsort(of, kind="stable")
        starts = np.flatnonzero(np.diff(of[order], prepend=-1))
        k = np.add.reduceat(self.k[order], starts, axis=0, dtype=np.int64)
        met = np.bincount(of * len(self.n) + self.row, minlength=count * len(self.n)).reshape(count, -1)
        return k.astype(np.float64), np.rint(met @ self.n.astype(np.float64))

    def totals(self) -> tuple[Floats, Floats]:
        """Above and below of each cell, over the images."""
        return self.k.sum(1, dtype=np.float64), self.n.sum(1, dtype=np.float64)[self.row]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """Whose cells they are, as numbers, one of each for every cell.

    Attributes:
        stratum: Equal for cells that differ by their training seeds and attack seeds alone.
        surrogate: Configuration of the surrogate.
        surrogate_seed: Its training seed; -1 where nobody knows.
        victim: Configuration of the victim.
        victim_seed: Its training seed; -1 where nobody knows.
    """

    stratum: Ints
    surrogate: Ints
    surrogate_seed: Ints
    victim: Ints
    victim_seed: Ints

    def __getitem__(self, cells: Ints | slice) -> "Trained":
        """Of some cells."""
        return Trained(
            stratum=self.stratum[cells],
            surrogate=self.surrogate[cells],
            surrogate_seed=self.surrogate_seed[cells],
            victim=self.victim[cells],
            victim_seed=self.victim_seed[cells],
        )


def trained(cells: pd.DataFrame) -> Trained:
    """Of the rows of `Outcomes.cells`."""
    names = ["surrogate_config", "victim_config", "attack", "norm", "eps"]
    return Trained(
        stratum=np.asarray(cells.groupby(names, sort=False, dropna=False).ngroup(), dtype=np.int64),
        surrogate=np.asarray(pd.factorize(cells["surrogate_config"])[0], dtype=np.int64),
        surrogate_seed=cells["surrogate_seed"].to_numpy(dtype=np.int64),
        victim=np.asarray(pd.factorize(cells["victim_config"])[0], dtype=np.int64),
        victim_seed=cells["victim_seed"].to_numpy(dtype=np.int64),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """What one side's training seeds add to some rates.

    Attributes:
        covariance: Of the rates over training seeds, `rates rates`. It holds what one model gets wrong on one image.
        noise: The part of it that is such noise, which the images' part of an interval holds too.
        df: Degrees of freedom.
    """

    covariance: Floats
    noise: Floats
    df: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Seeds:
    """What training seeds add to some rates, and what may be said of them.

    Attributes:
        sides: Of the surrogates, the victims, both or neither: those with several seeds.
        surrogate_seeds: Seeds of the surrogates' configurations, the fewest where they differ.
        victim_seeds: The same of the victims.
        ranges_over: What the interval ranges over.
        claim: About which models it speaks.
    """

    sides: tuple[Side, ...]
    surrogate_seeds: int
    victim_seeds: int
    ranges_over: str
    claim: str

    def widen(
        self,
        estimate: Floats,
        low: Floats,
        high: Floats,
        over_images: Floats,
        weights: Floats | None = None,
        *,
        difference: bool,
    ) -> tuple[Floats, Floats]:
        """Limits over images and seeds, from those over images alone: squares of the distances add up.

        Never narrower than over images alone. What seeds add to a rate is symmetric in its logit, to a difference in
        itself.

        Args:
            estimate: Each a sum of the rates, by the weights.
            low: Limits over images alone.
            high: The same above.
            over_images: Variance over images.
            weights: Of the rates in each estimate, `rates estimates`; None for one estimate that is the one rate.
            difference: The estimates are differences.
        """
        if not self.sides:
            return low, high
        parts = np.ones((1, len(estimate))) if weights is None else weights
        below, above, twice = (np.zeros(len(estimate)) for _ in range(3))
        for side in self.sides:
            variance, noise = (
                np.einsum("pm,pq,qm->m", parts, matrix, parts).clip(0) for matrix in (side.covariance, side.noise)
            )
            reach = float(special.stdtrit(side.df, (1 + LEVEL) / 2)) * np.sqrt(variance)
            if difference:
                below, above = below + reach**2, above + reach**2
            else:
                inner = estimate * (1 - estimate)
                odds = np.divide(reach, inner, out=np.zeros_like(reach), where=inner > 0)
                below += (estimate - special.expit(special.logit(estimate) - odds)) ** 2
                above += (special.expit(special.logit(estimate) + odds) - estimate) ** 2
            twice += np.minimum(noise, variance)
        kept = np.clip(1 - np.divide(twice, over_images, out=np.zeros_like(twice), where=over_images > 0), 0, 1)
        low_part, high_part = np.maximum(estimate - low, 0), np.maximum(high - estimate, 0)
        wide_low, wide_high = (
            estimate - np.sqrt(kept * low_part**2 + below),
            estimate + np.sqrt(kept * high_part**2 + above),
        )
        return np.fmin(low, wide_low), np.fmax(high, wide_high)


def over_seeds(
    counts: Counts, made_by: Trained, strata: Ints, rate: Ints | None = None, *, itself: bool = False
) -> Seeds:
    """What the training seeds behind some cells add to the variance of their pooled rates.

    Each cell moves its rate by (k - rate * n) / N. What it moves beyond the mean of its stratum is due to the seeds; so
    no difference of configurations is ever in it, however many seeds each of them has. These are summed over the models
    of one seed, as configurations of one seed may share networks, and the squares of the sums are the variance. Models
    of S seeds vary by (S-1)/S too little about their mean, which is made good. A configuration with a single seed is
    taken to vary as much as the others; if none has two, or if a seed is not known, the models are taken as they are.

    Args:
        counts: Of the cells.
        made_by: Of the same.
        strata: Stratum of each image.
        rate: Which rate each cell belongs to; None for one.
        itself: Surrogate and victim are one model, so that there is one side.
    """
    rate = np.zeros(len(made_by.stratum), dtype=np.int64) if rate is None else rate
    rates = int(rate.max()) + 1
    sides = [(made_by.surrogate, made_by.surrogate_seed)]
    sides += [] if itself else [(made_by.victim, made_by.victim_seed)]
    fewest = [_fewest(rate, *side) for side in sides]
    if all(most < 2 for _, most in fewest):
        found: list[Side | None] = [None] * len(sides)
    else:
        k, n = counts.totals()
        total = np.bincount(rate, n, rates)
        value = np.nan_to_num(ratio(np.bincount(rate, k, rates), total))
        scale = ratio(np.ones(rates), total)
        moves = np.nan_to_num((k - value[rate] * n) * scale[rate])
        of_stratum = ratio(np.bincount(made_by.stratum, moves), np.bincount(made_by.stratum))
        apart = moves - of_stratum[made_by.stratum]
        shares = np.nan_to_num(n * scale[rate])
        found = [
            _side(counts, rate, config, seed, apart, shares, value, np.nan_to_num(scale), strata) if most > 1 else None
            for (config, seed), (_, most) in zip(sides, fewest, strict=True)
        ]
    several = [side is not None for side in found]
    if itself:
        seeds = (fewest[0][0], fewest[0][0])
        ranges_over, claim = _ITSELF if several[0] else _RANGES[False, False]
    else:
        seeds = (fewest[0][0], fewest[1][0])
        ranges_over, claim = _RANGES[several[0], several[1]]
    if any(there and least < 2 for there, (least, _) in zip(several, fewest, strict=True)):
        claim = f"{claim}; {BORROWED}"
    return Seeds(
        sides=tuple(side for side in found if side is not None),
        surrogate_seeds=seeds[0],
        victim_seeds=seeds[1],
        ranges_over=ranges_over,
        claim=claim,
    )


def _fewest(rate: Ints, config: Ints, seed: Ints) -> tuple[int, int]:
    """Seeds of the configuration that has the fewest, and the most that count: 1 if some are not known.

    Each rate needs a configuration with two; a surrogate with seeds is not compared with one that has none.
    """
    if (seed < 0).any():
        return 1, 1
    models = np.unique(np.stack([rate, config, seed]), axis=1)
    _, place, seeds = np.unique(models[:2], axis=1, return_index=True, return_counts=True)
    most = np.zeros(int(rate.max()) + 1, dtype=np.int64)
    np.maximum.at(most, models[0, place], seeds)
    return int(seeds.min()), int(most.min())


def _side(
    counts: Counts,
    rate: Ints,
    config: Ints,
    seed: Ints,
    apart: Floats,
    shares: Floats,
    value: Floats,
    scale: Floats,
    strata: Ints,
) -> Side:
    """Of the models of one side."""
    rates = len(value)
    (of_rate, of_config, of_seed), model = np.unique(np.stack([rate, config, seed]), axis=1, return_inverse=True)
    models = len(of_rate)
    _, place = np.unique(np.stack([of_rate, of_config]), axis=1, return_inverse=True)
    seeds, same = np.unique(of_seed, return_inverse=True)
    size = np.bincount(place)[place]
    stretch = np.where(size > 1, np.sqrt(size / np.maximum(size - 1, 1)), 0.0)
    weight = np.bincount(model, shares, models).astype(np.float64)
    stretch = stretch * _borrowed(of_rate, same, weight, size > 1)[of_rate]

    sums = np.zeros((rates, len(seeds)))
    np.add.at(sums, (of_rate, same), stretch * np.bincount(model, apart, models))

    k, n = counts.sums(model, models)
    moves = (k - value[of_rate, None] * n) * scale[of_rate, None]
    centre = np.zeros((place.max() + 1, moves.shape[1]))
    np.add.at(centre, place, moves)
    moves = (moves - centre[place] / size[:, None]) * stretch[:, None]
    by_seed = np.zeros((rates, len(seeds), moves.shape[1]))
    np.add.at(by_seed, (of_rate, same), moves)
    for stratum in np.unique(strata):
        images = strata == stratum
        of_images = by_seed[:, :, images]
        free = max(1, int(images.sum()) - 1)
        by_seed[:, :, images] = (of_images - of_images.mean(2, keepdims=True)) * np.sqrt(images.sum() / free)
    flat = by_seed.reshape(rates, -1)
    return Side(
        covariance=sums @ sums.T,
        noise=flat @ flat.T,
        df=min(_df(r, of_rate, place, same, weight, stretch, len(seeds)) for r in range(rates)),
    )


def _borrowed(of_rate: Ints, same: Ints, weight: Floats, known: Bools) -> Floats:
    """For each rate, by what to multiply deviations so that models without another seed count too.

    Whether models of one seed vary together is not known of them, so the larger of both answers.
    """
    factors = []
    for r in range(int(of_rate.max()) + 1):
        mine = of_rate == r
        alone = (weight[mine] ** 2).sum() / (weight[mine & known] ** 2).sum()
        together = (np.bincount(same[mine], weight[mine]) ** 2).sum() / (
            np.bincount(same[mine & known], weight[mine & known]) ** 2
        ).sum()
        factors.append(max(alone, together))
    return np.sqrt(np.array(factors, dtype=np.float64))


def _df(r: int, of_rate: Ints, place: Ints, same: Ints, weight: Floats, stretch: Floats, seeds: int) -> float:
    """Degrees of freedom of a variance over seeds (Satterthwaite 1946), if all models vary alike and by themselves.

    With S seeds of every configuration S - 1.
    """
    spread = np.zeros((seeds, seeds))
    for config in np.unique(place[of_rate == r]):
        mine = np.flatnonzero(place == config)
        centre = (np.eye(len(mine)) - 1 / len(mine)) * stretch[mine, None]
        at = np.ix_(same[mine], same[mine])
        spread[at] += (centre * weight[mine] ** 2) @ centre.T
    return float(np.trace(spread) ** 2 / max(float((spread**2).sum()), 1e-300))
