"""The difference in success of two surrogates, paired."""

from dataclasses import dataclass

import numpy as np

from carom.errors import InputError

from .intervals import LEVEL, Spread, draw_variance, quantiles, resampled_sums
from .outcomes import Bools, Floats, Outcomes, ratio


@dataclass(frozen=True, kw_only=True)
class Difference:
    """ASR of one surrogate minus that of another, on the same images, victims, attacks and seeds.

    Attributes:
        value: The mean over seeds of the differences of pooled ASR.
        low: Of the 95% interval.
        high: Of the 95% interval.
        first: ASR of the first.
        second: ASR of the second.
        n: Denominator of each rate, over cells.
        seeds: Trained with so many seeds each.
        ranges_over: What the interval ranges over.
    """

    value: float
    low: float
    high: float
    first: float
    second: float
    n: int
    seeds: int
    ranges_over: str

    @property
    def verdict(self) -> str:
        """Whether the first transfers better: "holds", "does not hold", or "undecided"."""
        return "holds" if self.low > 0 else "does not hold" if self.high < 0 else "undecided"


def between(
    outcomes: Outcomes,
    first: str,
    second: str,
    *,
    among: Bools | None = None,
    of: str = "surrogate_config",
) -> Difference:
    """How much more often the first surrogate's images fool than the second's.

    Only cells that both have take part: equal attack, budget, attack seed, victim and training seed. With one seed the
    interval is a bootstrap over images, drawn with all cells that met them; with several, the variance over seeds (t)
    adds to it, half-widths in quadrature.

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
    chosen = outcomes.transfer if among is None else outcomes.transfer & among
    if "reads" in cells:  # what was made from a victim's own answers is no transfer
        chosen = chosen & (cells["reads"] == "surrogate").to_numpy(dtype=bool)
    keys = ["attack", "norm", "eps", "attack_seed", "victim", "surrogate_seed"]
    mine, other = (cells[chosen & (cells[of] == name).to_numpy()] for name in (first, second))
    pairs = mine.merge(other, on=keys, suffixes=("", "_b"))
    if not len(pairs):
        raise InputError(f"difference of surrogates: {first!r} and {second!r} share no attack, victim and seed")
    seeds = sorted(set(pairs["surrogate_seed"]))
    right = outcomes.right[outcomes.victim_index[pairs["_row"].to_numpy()]]
    won = [(outcomes.success[pairs[column].to_numpy()] & right).astype(np.float64) for column in ("_row", "_row_b")]
    by_seed = [pairs["surrogate_seed"].to_numpy() == seed for seed in seeds]
    tops = np.stack([w[rows].sum(0) for w in won for rows in by_seed])
    bottoms = np.stack([right[rows].sum(0).astype(np.float64) for _ in won for rows in by_seed])

    def difference(k: Floats, n: Floats) -> Floats:
        rates = ratio(k, n)
        return rates[..., : len(seeds)] - rates[..., len(seeds) :]

    of_seeds = difference(tops.sum(1), bottoms.sum(1))
    sums = resampled_sums(np.concatenate([tops, bottoms]), outcomes.image_source)
    draws = difference(sums[:, : len(tops)], sums[:, len(tops) :]).mean(1, keepdims=True)
    value = float(of_seeds.mean())
    if len(seeds) == 1:
        low, high = (float(limit[0]) for limit in quantiles(draws))
    else:
        images = (float(draw_variance(draws)[0]), float(len(outcomes.labels) - 1))
        trained = (float(of_seeds.var(ddof=1)) / len(seeds), float(len(seeds) - 1))
        half = Spread(parts=(images, trained)).half_width(LEVEL)
        low, high = value - half, value + half
    rates = ratio(tops.sum(1), bottoms.sum(1))
    return Difference(
        value=value,
        low=low,
        high=high,
        first=float(rates[: len(seeds)].mean()),
        second=float(rates[len(seeds) :].mean()),
        n=int(right.sum()),
        seeds=len(seeds),
        ranges_over="images, these models" if len(seeds) == 1 else "images and surrogate seeds, these victims",
    )
