"""How many independently trained networks a surrogate is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from carom.errors import InputError

from .intervals import draw_variance, quantiles, resampled_sums, widened_where_rare
from .outcomes import Floats, Ints, Outcomes, arrange, ratio
from .seeds import Counts, Seeds, over_seeds, trained

BY = ("attack", "norm", "eps")
SAME = ("attack", "norm", "eps", "attack_seed", "victim")  # a surrogate and the ladder are compared on these alone
_GRID = 80  # steps between the ends of the ladder in which an interval is looked for


def tdee(
    outcomes: Outcomes, ladder: Mapping[int, str], by: Sequence[str] = BY, *, of: str = "surrogate_config"
) -> pd.DataFrame:
    """Transferability as a number of networks: the size of ensemble that has the surrogate's ASR.

    The deep-ensemble equivalent of Ashukha et al. 2020 (arXiv:2002.06470), with success rates in the place of
    likelihoods, as Gubri et al. 2022 (arXiv:2011.05074) use it for transfer. The ladder is the ASR of ensembles of 1,
    2, ... networks, made to rise by isotonic regression and drawn through by straight lines; the equivalent is the
    smallest size at which it reaches the surrogate's ASR. Outside of the ladder there is none: "<1" and ">K".

    A surrogate is compared with the ladder on the cells that both have: equal attacks, budgets, attack seeds and
    victims. Where there are none, its row has no `cells` and NaN. C0, controls, and what was made from a victim's own
    answers take no part.

    Columns beside those of `by`:

    - that of `of`; `cells`, `n`, `k`, `asr`: of the surrogate's cells that are compared.
    - `tdee`; `below`, `above`: outside of the ladder, where `tdee` is the end that was passed; `shown`: as text.
    - `low`, `high` (95%), `low_open`, `high_open`: the sizes at which the difference of ASR is not told from 0; open
      where they may go on beyond the ladder.
    - `adjusted`: the ladder as measured falls somewhere, and was flattened there.
    - `ranges_over`, `surrogate_seeds`, `victim_seeds`, `claim`: as in the tables of pooled rates.

    The interval inverts that of the difference of ASR between the surrogate and a point of the ladder: images drawn
    with all that met them, surrogate and ladder alike; with several seeds, also seeds, of both at once, by the rules of
    `rate_intervals`. Where the ladder is flat, it is wide, as it should be.

    Args:
        outcomes: The run.
        ladder: Size of ensemble to its value in the column `of`; at least two, the single network as 1.
        by: Columns of `cells`, one row for each of their values and each other value of `of`.
        of: Column that names surrogates without their seeds.

    Raises:
        InputError: Not a ladder, no such column, or a rung that has no cell at all.
    """
    sizes = _sizes(outcomes, ladder, of)
    rungs = [ladder[size] for size in sizes]
    chosen = outcomes.transfer & outcomes.pooled(by)
    if "reads" in outcomes.cells:
        chosen &= (outcomes.cells["reads"] == "surrogate").to_numpy(dtype=bool)
    if missing := [rung for rung in rungs if rung not in set(outcomes.cells.loc[chosen, of])]:
        raise InputError(f"T-DEE: {of} {missing[0]!r} of the ladder has no cell of transfer; run every rung")
    cells = arrange(outcomes.cells.assign(_row=np.arange(len(chosen)))[chosen], by)
    by = list(by)
    group = cells.groupby(by, sort=False, dropna=False, observed=True).ngroup() if by else pd.Series(0, cells.index)
    rows: list[dict[str, object]] = []
    for _, members in cells.groupby(group.to_numpy(), sort=False):
        names = {column: members[column].iloc[0] for column in by}
        for surrogate in dict.fromkeys(members[of]):
            if surrogate in rungs:
                continue
            compared = _compared(members, of, [surrogate, *rungs])
            if not len(compared):
                rows.append({**names, of: surrogate, **_NOTHING})
                continue
            rates = _rates(outcomes, compared, of, [surrogate, *rungs])
            rows.append({**names, of: surrogate, **_row(rates, np.array(sizes, dtype=np.float64), outcomes)})
    return pd.DataFrame(rows, columns=[*by, of, *_NOTHING])


_NOTHING: Mapping[str, object] = {  # in the order of the columns
    **dict.fromkeys(("cells", "n", "k"), 0),
    **dict.fromkeys(("asr", "tdee"), np.nan),
    "shown": "",
    **dict.fromkeys(("below", "above"), False),
    **dict.fromkeys(("low", "high"), np.nan),
    **dict.fromkeys(("low_open", "high_open", "adjusted"), False),
    "ranges_over": "",
    **dict.fromkeys(("surrogate_seeds", "victim_seeds"), 0),
    "claim": "",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Rates:
    """Successes of a surrogate (first) and of each rung.

    Attributes:
        k: Successes, `1+rungs images`.
        n: Denominators of the same.
        cells: Of the surrogate.
        seeds: What training seeds add to each rate.
    """

    k: Floats
    n: Floats
    cells: int
    seeds: Seeds


def _sizes(outcomes: Outcomes, ladder: Mapping[int, str], of: str) -> list[int]:
    if of not in outcomes.cells:
        raise InputError(f"T-DEE: no column {of!r}; expected one of the cells' columns, such as surrogate_config")
    sizes = sorted(ladder)
    if len(sizes) < 2 or sizes[0] != 1 or len(set(ladder.values())) < len(sizes):
        raise InputError(
            f"T-DEE: a ladder of sizes {sizes}; expected at least two different surrogates, the single network as 1"
        )
    return sizes


def _compared(cells: pd.DataFrame, of: str, values: Sequence[str]) -> pd.DataFrame:
    """The cells of these surrogates on what all of them met."""
    mine = cells[cells[of].isin(list(values))]
    met = mine.groupby(list(SAME), sort=False, dropna=False)[of].transform("nunique")
    return mine[met == len(values)]


def _rates(outcomes: Outcomes, compared: pd.DataFrame, of: str, values: Sequence[str]) -> _Rates:
    rows = compared["_row"].to_numpy(dtype=np.int64)
    which = np.asarray(pd.Index(values).get_indexer(pd.Index(compared[of])), dtype=np.int64)
    counts = Counts(k=outcomes.success[rows], n=outcomes.right, row=outcomes.victim_index[rows])
    k, n = counts.sums(which, len(values))
    seeds = over_seeds(counts, trained(compared), outcomes.image_source, which)
    return _Rates(k=k, n=n, cells=int((which == 0).sum()), seeds=seeds)


def _row(rates: _Rates, sizes: Floats, outcomes: Outcomes) -> dict[str, object]:
    """The equivalent of one surrogate, with its interval."""
    asr = ratio(rates.k.sum(1), rates.n.sum(1))
    value, below, above = equivalent(asr[0], asr[1:], sizes)
    grid = np.union1d(np.linspace(sizes[0], sizes[-1], _GRID + 1), sizes)
    low, high = _differences(rates, sizes, grid, outcomes.image_source)
    known = not np.isnan(value)
    return {
        "cells": rates.cells,
        "n": int(rates.n[0].sum()),
        "k": int(rates.k[0].sum()),
        "asr": asr[0],
        "tdee": value,
        "shown": "" if not known else f"<{sizes[0]:g}" if below else f">{sizes[-1]:g}" if above else f"{value:.2f}",
        "below": below,
        "above": above,
        # the difference falls as the ladder rises
        "low": min(_first(low, grid), value) if known else np.nan,
        "high": max(-_first(-high[::-1], -grid[::-1]), value) if known else np.nan,
        # at an end of the ladder, the rates beyond it are not known: open if the end itself is not ruled out
        "low_open": bool(low[0] <= 0),
        "high_open": bool(high[-1] >= 0),
        "adjusted": bool((np.diff(asr[1:]) < 0).any()),
        "ranges_over": rates.seeds.ranges_over,
        "surrogate_seeds": rates.seeds.surrogate_seeds,
        "victim_seeds": rates.seeds.victim_seeds,
        "claim": rates.seeds.claim,
    }


def _first(limit: Floats, grid: Floats) -> float:
    """Where a falling limit first comes to 0, by straight lines; the end of the grid if it never does."""
    at = int(np.argmax(limit <= 0)) if (limit <= 0).any() else len(grid) - 1
    if at == 0 or limit[at] > 0:
        return float(grid[at])
    return float(grid[at] + (grid[at - 1] - grid[at]) * limit[at] / (limit[at] - limit[at - 1]))


def equivalent(asr: float, ladder: Floats, sizes: Floats) -> tuple[float, bool, bool]:
    """Size at which the rising ladder first reaches `asr`, and whether that is below or above all of it.

    NaN where a rate is not known.
    """
    rising = isotonic(ladder[None])[0]
    if np.isnan(asr) or np.isnan(rising).any():
        return float("nan"), False, False
    if asr < rising[0]:
        return float(sizes[0]), True, False
    if asr > rising[-1]:
        return float(sizes[-1]), False, True
    at = int(np.searchsorted(rising, asr))  # the first rung that is at least as strong
    if rising[at] == asr or at == 0:
        return float(sizes[at]), False, False
    share = (asr - rising[at - 1]) / (rising[at] - rising[at - 1])
    return float(sizes[at - 1] + share * (sizes[at] - sizes[at - 1])), False, False


def isotonic(rows: Floats) -> Floats:
    """The nearest rows (least squares) that never fall: scipy.optimize.isotonic_regression, for many rows at once."""
    count = rows.shape[1]
    sums = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    out = np.full(rows.shape, -np.inf)
    for i in range(count):  # the largest over starts i <= k of the smallest over ends j >= k of means from i to j
        means = (sums[:, i + 1 :] - sums[:, i : i + 1]) / np.arange(1, count - i + 1)
        smallest = np.minimum.accumulate(means[:, ::-1], axis=1)[:, ::-1]
        out[:, i:] = np.maximum(out[:, i:], smallest)
    # a row that rises already stays as it is, to the last digit
    return np.where((np.diff(rows, axis=1) >= 0).all(1, keepdims=True), rows, out)


def _differences(rates: _Rates, sizes: Floats, grid: Floats, image_source: Ints) -> tuple[Floats, Floats]:
    """Interval of the surrogate's ASR minus the ladder's at each point of the grid."""
    k, n = rates.k, rates.n
    rungs = np.arange(len(sizes))
    right = np.clip(np.searchsorted(sizes, grid, side="right"), 1, len(sizes) - 1)
    share = (grid - sizes[right - 1]) / (sizes[right] - sizes[right - 1])
    weights = np.where(rungs[:, None] == right, share, 0.0) + np.where(rungs[:, None] == right - 1, 1 - share, 0.0)

    def difference(asr: Floats) -> Floats:
        """Of rows `surrogate, rungs`, at each point."""
        return np.asarray(asr[:, :1] - isotonic(asr[:, 1:]) @ weights)

    asr = ratio(k.sum(1), n.sum(1))
    estimate = difference(asr[None])[0]
    count = len(k)
    sums = resampled_sums(np.concatenate([k, n]), image_source)
    draws = difference(ratio(sums[:, :count], sums[:, count:]))
    low, high = quantiles(draws)
    pieces = np.eye(count - 1)
    if (np.diff(asr[1:]) < 0).any():  # where the ladder was flattened, a rung that moves takes the whole piece along
        rising = isotonic(asr[None, 1:])[0]
        pieces = ratio(rising[:, None] == rising, (rising[:, None] == rising).sum(1))
    of_rates = np.concatenate([np.ones((1, len(grid))), -pieces @ weights])
    low, high = rates.seeds.widen(estimate, low, high, draw_variance(draws), of_rates, difference=True)
    # per image, the surrogate's share of successes beyond that of the rungs between which the point lies
    shares = ratio(k, n.sum(1, keepdims=True))
    gain = shares[0] - weights.T @ shares[1:]
    gain[np.abs(gain) < 1e-12] = 0.0
    return widened_where_rare(low, high, gain, np.broadcast_to(n[0], gain.shape), difference=True)
