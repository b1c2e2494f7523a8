"""Rates of victims, or of defences over their seeds, within each norm and eps: one row each, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .attackers import column_of
from .intervals import wilson
from .outcomes import Ints, Outcomes, arrange, ratio
from .pairs import BUDGET
from .pooled import Pool, rate_intervals
from .seeds import Counts, Trained

By = Literal["victim", "defense"]
NAMES: Mapping[By, tuple[str, ...]] = {
    "victim": ("defense", "victim_config", "victim"),
    "defense": ("defense", "victim_config"),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Tally:
    """Of one victim at one budget: what adds to a rate, image by image.

    Attributes:
        row: Victim, norm, eps, and what else tells rows apart.
        rate: Its name.
        k: What each image adds above.
        n: What each image adds below.
    """

    row: tuple[str, ...]
    rate: str
    k: Ints
    n: Ints


def tally(row: tuple[str, ...], rate: str, k: NDArray[Any], n: NDArray[Any] | int = 1) -> Tally:
    whole = np.asarray(k, dtype=np.int64)
    return Tally(row=row, rate=rate, k=whole, n=np.broadcast_to(np.asarray(n, dtype=np.int64), whole.shape))


def victim_names(outcomes: Outcomes) -> pd.DataFrame:
    """Defence, configuration and seed of each victim by its label."""
    cells = outcomes.cells.assign(defense=column_of(outcomes.cells, "defense_v", ""))
    return cells.drop_duplicates("victim").set_index("victim")[["defense", "victim_config", "victim_seed"]]


def rate_table(
    outcomes: Outcomes,
    counts: Sequence[Tally],
    words: Mapping[tuple[str, ...], Mapping[str, object]],
    rates: Sequence[str],
    by: By,
    further: tuple[str, ...] = (),
) -> pd.DataFrame:
    """One row a victim or defence and budget; rates beside their limits."""
    keys = [*NAMES[by], *BUDGET, *further]
    names = victim_names(outcomes)
    notes = pd.DataFrame([{**_named(row, names, further), **words[row]} for row in words])
    if notes.empty:
        return pd.DataFrame(columns=[*keys, "victims", "images", *rates])
    found = _rates([c for c in counts if c.n.any()], outcomes, names, keys, further)
    groups = notes.groupby(keys, sort=False)
    table = groups.agg(victims=("victim", "nunique")).assign(images=len(outcomes.labels))
    for column in notes.columns.difference([*keys, "victim", "victim_seed", *NAMES["victim"]], sort=False):
        if pd.api.types.is_numeric_dtype(notes[column]):
            table[column] = groups[column].max()
        else:
            table[column] = groups[column].agg(lambda told: "; ".join(dict.fromkeys(filter(None, told))))
    for rate in rates:
        of = found[found["rate"] == rate].set_index(keys)
        for column, name in (("value", rate), ("low", f"{rate}_low"), ("high", f"{rate}_high")):
            table[name] = of[column].reindex(table.index)
    told = found.drop_duplicates(keys).set_index(keys)[["ranges_over", "victim_seeds", "claim"]]
    return arrange(table.join(told).reset_index(), [*BUDGET, *NAMES[by], *further])


def _named(row: tuple[str, ...], names: pd.DataFrame, further: tuple[str, ...]) -> dict[str, object]:
    victim, norm, eps, *more = row
    of = {str(name): value for name, value in names.loc[victim].to_dict().items()}
    return {**of, "victim": victim, "norm": norm, "eps": eps, **dict(zip(further, more, strict=True))}


def _rates(
    counts: Sequence[Tally], outcomes: Outcomes, names: pd.DataFrame, keys: Sequence[str], further: tuple[str, ...]
) -> pd.DataFrame:
    """Each rate of each row of a table with its interval; all rows meet the same bootstrap samples."""
    frame = pd.DataFrame([{**_named(c.row, names, further), "rate": c.rate} for c in counts])
    frame["_group"] = frame.groupby([*keys, "rate"], sort=False).ngroup()
    frame = frame.iloc[np.argsort(frame["_group"].to_numpy(), kind="stable")]
    order = frame.index.to_numpy()
    group = frame["_group"].to_numpy(dtype=np.int64)
    k, n = (np.stack([getattr(counts[i], side) for i in order]) for side in ("k", "n"))
    kept = frame.drop_duplicates("_group")[[*keys, "rate"]].reset_index(drop=True)
    fixed = np.zeros(len(frame), dtype=np.int64)
    pooled = Pool(
        keys=kept,
        rows=np.arange(len(frame)),
        group=group,
        made_by=Trained(
            stratum=group,
            surrogate=fixed,
            surrogate_seed=fixed,
            victim=fixed,
            victim_seed=frame["victim_seed"].to_numpy(dtype=np.int64),
        ),
        itself=np.zeros(len(kept), dtype=bool),
    )
    of_cells = Counts(k=k, n=n, row=np.arange(len(frame)))
    intervals = rate_intervals(pooled, of_cells, outcomes.image_source)
    top, bottom = of_cells.sums(group, len(kept))
    low, high = wilson(top.sum(1), bottom.sum(1))
    once = (bottom.max(1) <= 1) & (np.bincount(group) == 1)  # trials of their own: nothing to resample
    return kept.assign(
        value=ratio(top.sum(1), bottom.sum(1)),
        low=np.where(once, low, intervals["low"]),
        high=np.where(once, high, intervals["high"]),
        **{column: intervals[column] for column in ("ranges_over", "victim_seeds", "claim")},
    )
