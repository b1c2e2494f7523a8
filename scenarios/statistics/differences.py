"""Differences of pooled rates on the same images, such as the success of two surrogates."""

from dataclasses import dataclass

import numpy as np

from carom.errors import InputError

from .intervals import draw_variance, quantiles, resampled_ratios, widened_where_rare
from .outcomes import Bools, Floats, Ints, Outcomes, ratio
from .seeds import Counts, Trained, over_seeds, trained

_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One pooled rate minus another, on the same images.

    Attributes:
        value: The difference, first - second.
        low: Of the 95% interval.
        high: Of the 95% interval.
        first: The first rate; of four, the difference of the first two.
        second: The second rate; of four, the difference of the last two.
        n: Denominator of the first rate, over cells.
        surrogate_seeds: Training seeds of the surrogates, of the configuration with the fewest.
        victim_seeds: The same of the victims.
        df: Degrees of freedom of what the interval knows least, surrogate or victim seeds; infinite over images alone.
        ranges_over: What the interval ranges over.
        claim: About which models it speaks.
    """

    value: float
    low: float
    high: float
    first: float
    second: float
    n: int
    surrogate_seeds: int
    victim_seeds: int
    df: float
    ranges_over: str
    claim: str

    @property
    def verdict(self) -> str:
        """Whether the first is above: "holds", "does not hold", or "undecided"."""
        return "holds" if self.low > 0 else "does not hold" if self.high < 0 else "undecided"


def difference_of_rates(counts: Counts, made_by: Trained, rate: Ints, signs: Floats, image_source: Ints) -> Difference:
    """One pooled rate minus another, or one difference of rates minus another.

    The interval is that of a pooled row. Over images: the percentile bootstrap, an image bringing all cells of all
    rates. Several training seeds widen it, by `over_seeds`: models of one seed together, whatever rates they are in.
    Where few images tell the rates apart, `widened_where_rare`.

    Args:
        counts: Of the cells.
        made_by: Of the same.
        rate: Which rate each cell belongs to; none is empty.
        signs: Of each rate: 1, -1, or 1, -1, -1, 1.
        image_source: Stratum of each image.
    """
    k, n = counts.sums(rate, len(signs))
    rates = ratio(k.sum(1), n.sum(1))
    value = np.array([rates @ signs])
    draws = (resampled_ratios(k, n, image_source) @ signs)[:, None]
    seeds = over_seeds(counts, made_by, image_source, rate)
    low, high = seeds.widen(value, *quantiles(draws), draw_variance(draws), signs[:, None], difference=True)
    gain = signs @ np.nan_to_num(ratio(k, n.sum(1, keepdims=True)))
    gain[np.abs(gain) < _ROUNDING] = 0.0
    low, high = widened_where_rare(low, high, gain[None], n.sum(0)[None], difference=True)
    first, second = (float(adds) for adds in (rates * signs).reshape(2, -1).sum(1))
    most = len(signs) / 2
    return Difference(
        value=float(value[0]),
        low=float(np.maximum(low, -most)[0]),
        high=float(np.minimum(high, most)[0]),
        first=first,
        second=-second,
        n=int(n[0].sum()),
        surrogate_seeds=seeds.surrogate_seeds,
        victim_seeds=seeds.victim_seeds,
        df=min((side.df for side in seeds.sides), default=float("inf")),
        ranges_over=seeds.ranges_over,
        claim=seeds.claim,
    )


def difference(outcomes: Outcomes, first: Ints, second: Ints) -> Difference:
    """ASR pooled over some cells minus that over others: `difference_of_rates`.

    Args:
        outcomes: The run.
        first: Rows of `cells`, at least one.
        second: The same.
    """
    rows = np.concatenate([first, second])
    return difference_of_rates(
        Counts(k=outcomes.success[rows], n=outcomes.right, row=outcomes.victim_index[rows]),
        trained(outcomes.cells.iloc[rows]),
        np.repeat(np.arange(2), [len(first), len(second)]),
        np.array([1.0, -1.0]),
        outcomes.image_source,
    )


def surrogate_difference(
    outcomes: Outcomes,
    first: str,
    second: str,
    *,
    among: Bools | None = None,
    of: str = "surrogate_config",
) -> Difference:
    """How much more often the first surrogate's images fool than the second's.

    Only cells that both have take part: equal attack, budget, attack seed, victim and training seed. The interval is
    that of `difference_of_rates`.

    Args:
        outcomes: The run.
        first: A value of the column `of`.
        second: Another one.
        among: Cells that may take part; None for all of transfer.
        of: Column that names surrogates without their seeds.

    Raises:
        InputError: They share no cell.
    """
    cells = outcomes.cells.assign(_row=np.arange(len(outcomes.cells)))
    chosen = outcomes.transfer & outcomes.pooled()
    if among is not None:
        chosen &= among
    if "reads" in cells:  # what was made from a victim's own answers is no transfer
        chosen = chosen & (cells["reads"] == "surrogate").to_numpy(dtype=bool)
    keys = ["attack", "norm", "eps", "attack_seed", "victim", "surrogate_seed"]
    mine, other = (cells[chosen & (cells[of] == name).to_numpy()] for name in (first, second))
    pairs = mine.merge(other, on=keys, suffixes=("", "_b"))
    if not len(pairs):
        raise InputError(f"difference of surrogates: {first!r} and {second!r} share no attack, victim and seed")
    return difference(outcomes, *(pairs[column].to_numpy(dtype=np.int64) for column in ("_row", "_row_b")))
