"""Tables of pooled cells: by case, by surrogate, attack or victim, by whose samples."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from carom.scenarios.cases import case_of

from .lift import lift_counts
from .outcomes import Bools, Outcomes, ratio
from .pooled import INTERVAL_COLUMNS, Pool, pool, rate_intervals
from .rates import white_box_asr

BY = ("attack", "norm", "eps")
SOURCE_LEVELS = ("same samples", "overlapping samples", "disjoint samples", "other source", "unknown")


def case_table(outcomes: Outcomes, by: Sequence[str] = BY) -> pd.DataFrame:
    """Rows C0 to C8 within each value of `by`; sets without a surrogate are rows of their own, case "control".

    Columns: those of `by`, `case` (number), `name`, `mismatch`, and those of `summary`.
    """
    table = summary(outcomes, np.ones(len(outcomes.cells), dtype=bool), (*by, "case"))
    cases = [case_of(int(number)) for number in table["case"]]
    place = list(table.columns).index("case") + 1
    table.insert(place, "name", [c.name for c in cases])
    table.insert(place + 1, "mismatch", [c.mismatch for c in cases])
    return table


def group_table(outcomes: Outcomes, by: Sequence[str]) -> pd.DataFrame:
    """Transfer averages within each value of `by`, such as ("surrogate",) or ("victim", "eps").

    C0 and controls are excluded: a white box is no transfer, and an average that holds it rewards a surrogate for
    fooling itself.
    """
    return summary(outcomes, outcomes.transfer, by)


def source_levels(outcomes: Outcomes, by: Sequence[str] = ()) -> pd.DataFrame:
    """Transfer averages by whose training samples the surrogate had: the column `source_level`, in `SOURCE_LEVELS`.

    Within one source, equal pools are "same samples", the pool "all" overlaps with any other, and two other pools are
    disjoint. A column `source_level` of the cells overrides this.
    """
    cells = outcomes.cells
    if "source_level" not in cells:
        known = (cells["source_s"] != "") & (cells["source_v"] != "")
        one_source = known & (cells["source_s"] == cells["source_v"])
        level = np.select(
            [
                known & ~one_source,
                ~one_source | (cells["samples_s"] == "") | (cells["samples_v"] == ""),
                cells["samples_s"] == cells["samples_v"],
                (cells["samples_s"] == "all") | (cells["samples_v"] == "all"),
            ],
            ["other source", "unknown", "same samples", "overlapping samples"],
            "disjoint samples",
        )
        cells = cells.assign(source_level=level)
    levels = pd.Categorical(cells["source_level"], categories=SOURCE_LEVELS, ordered=True)
    return summary(replace(outcomes, cells=cells.assign(source_level=levels)), outcomes.transfer, (*by, "source_level"))


def summary(outcomes: Outcomes, chosen: Bools, by: Sequence[str]) -> pd.DataFrame:
    """Chosen cells pooled within each value of `by`; snapshots of a trace in rows of their own attack alone.

    Columns beside those of `by`:

    - `cells`; `n` and `k`, summed over them; `asr` = k / n.
    - `low`, `high`, `ranges_over`, `surrogate_seeds`, `victim_seeds` (of the configuration with the fewest), `claim`:
      see `rate_intervals`.
    - `clean_accuracy`, `robust_accuracy`: over all images, mean over the cells.
    - `lift`, `lift_low`, `lift_high`: ASR minus that of the matched control, on the same images; the interval ranges
      over what `ranges_over` says. NaN unless every cell has a control.
    - `relative_transfer`: ASR / the white-box ASR of the very same sets, each weighted by its n here. NaN unless every
      set was judged on its surrogate's own model too.
    - `n:<source>`, `k:<source>`, `asr:<source>`: on the images of one source.
    """
    pooled = pool(outcomes, chosen & outcomes.pooled(by), by)
    counts = pooled.counts(outcomes.success[pooled.rows], outcomes)
    k, n = counts.sums(pooled.group, len(pooled))
    cells = pooled.cells()
    all_images = cells * len(outcomes.labels)
    stays_right = pooled.total((~outcomes.wrong[pooled.rows]).sum(1))
    table = pooled.keys.assign(
        cells=cells, n=n.sum(1).astype(np.int64), k=k.sum(1).astype(np.int64), asr=ratio(k.sum(1), n.sum(1))
    )
    intervals = rate_intervals(pooled, counts, outcomes.image_source)
    table = table.assign(**{c: intervals[c] for c in INTERVAL_COLUMNS})
    table["clean_accuracy"] = ratio(n.sum(1), all_images)
    table["robust_accuracy"] = ratio(stays_right, all_images)
    table = table.assign(**_lifts(outcomes, pooled))
    table["relative_transfer"] = table["asr"] / _white_box(outcomes, pooled)
    for i, source in enumerate(outcomes.image_sources):
        images = outcomes.image_source == i
        table[f"n:{source}"] = n[:, images].sum(1).astype(np.int64)
        table[f"k:{source}"] = k[:, images].sum(1).astype(np.int64)
        table[f"asr:{source}"] = ratio(k[:, images].sum(1), n[:, images].sum(1))
    return table


def _lifts(outcomes: Outcomes, pooled: Pool) -> dict[str, pd.Series]:
    gain, have = lift_counts(outcomes)
    whole = pooled.total(~have[pooled.rows]) == 0
    counts = pooled.counts(gain[pooled.rows], outcomes)
    value = ratio(*(pooled.total(of_cells) for of_cells in counts.totals()))
    if whole.any():
        limits = rate_intervals(pooled, counts, outcomes.image_source, difference=True)
        low, high = limits["low"].to_numpy(), limits["high"].to_numpy()
    else:
        low = high = value
    return {
        name: pd.Series(np.where(whole, column, np.nan))
        for name, column in (("lift", value), ("lift_low", low), ("lift_high", high))
    }


def _white_box(outcomes: Outcomes, pooled: Pool) -> pd.Series:
    """White-box ASR of the sets of each group, weighted by n; NaN if one is unknown or the group holds a control."""
    white, n = white_box_asr(outcomes)[pooled.rows], outcomes.n[pooled.rows]
    value = ratio(pooled.total(n * white), pooled.total(n))
    return pd.Series(np.where(value > 0, value, np.nan))
