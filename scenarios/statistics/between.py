"""The difference in success of two surrogates, paired."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from carom.errors import InputError

from .outcomes import Bools, Outcomes
from .pooled import Pool, rate_intervals
from .seeds import Counts, trained


@dataclass(frozen=True, kw_only=True)
class Difference:
    """ASR of one surrogate minus that of another, on the same images, victims, attacks and seeds.

    Attributes:
        value: The difference of pooled ASR.
        low: Of the 95% interval.
        high: Of the 95% interval.
        first: ASR of the first.
        second: ASR of the second.
        n: Denominator of each rate, over cells.
        seeds: Training seeds that both have.
        ranges_over: What the interval ranges over.
        claim: About which models it speaks.
    """

    value: float
    low: float
    high: float
    first: float
    second: float
    n: int
    seeds: int
    ranges_over: str
    claim: str

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

    Only cells that both have take part: equal attack, budget, attack seed, victim and training seed. The interval is
    that of a pooled row, `rate_intervals`, of the differences.

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
    rows, others = (pairs[column].to_numpy(dtype=np.int64) for column in ("_row", "_row_b"))
    won = [outcomes.success[of_cells].astype(np.int8) for of_cells in (rows, others)]
    n = int(outcomes.n[rows].sum())
    pooled = Pool(
        keys=pd.DataFrame(index=range(1)),
        rows=rows,
        group=np.zeros(len(rows), dtype=np.int64),
        made_by=trained(pairs),
        itself=np.zeros(1, dtype=bool),
    )
    counts = Counts(k=won[0] - won[1], n=outcomes.right, row=outcomes.victim_index[rows])
    interval = rate_intervals(pooled, counts, outcomes.image_source, difference=True).iloc[0]
    rates = [float(w.sum()) / n if n else np.nan for w in won]
    return Difference(
        value=rates[0] - rates[1],
        low=float(interval["low"]),
        high=float(interval["high"]),
        first=rates[0],
        second=rates[1],
        n=n,
        seeds=pairs["surrogate_seed"].nunique(),
        ranges_over=str(interval["ranges_over"]),
        claim=str(interval["claim"]),
    )
