"""Two runs, or two victims, side by side on the same images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from carom.errors import InputError

from .intervals import IMAGES, holm, paired_sums
from .outcomes import CELL, Bools, Floats, Ints, Outcomes, arrange, ratio


def compare(a: Outcomes, b: Outcomes, on: Sequence[str] = CELL) -> pd.DataFrame:
    """Differences b - a of every pair of cells that agree in `on`; cells without a partner take no part.

    Two runs are compared `on=CELL`; two victims of one run, each picked by `Outcomes.where`, `on=SET`. Never on two
    denominators: robust accuracy is over all images, ASR over the images that both victims get right. Columns:

    - those of `on`; `images`, `robust_a`, `robust_b`, `robust_difference`, `robust_low`, `robust_high` (95%, see
      `paired_sums`, each image its own pair); `b_only`, `a_only`: images right on one side only; `robust_p`,
      `robust_p_holm`: exact McNemar on them, and Holm over the rows.
    - `both_right`: images that both get right when clean; `asr_a`, `asr_b`, `asr_difference`, `asr_low`, `asr_high`,
      `asr_p`, `asr_p_holm`: the same on those.
    - `ranges_over`.

    Raises:
        InputError: The two are not on the same images, or no cell of one is in the other.
    """
    left, right, names = _pairs(a, b, on)
    kept_a, kept_b = ~a.wrong[left], ~b.wrong[right]
    b_only, a_only = (kept_b & ~kept_a).sum(1), (kept_a & ~kept_b).sum(1)
    everything = np.full(len(names), len(a.labels))
    both = a.right[a.victim_index[left]] & b.right[b.victim_index[right]]
    hit_a, hit_b = a.success[left] & both, b.success[right] & both
    common = both.sum(1)
    gained, lost = (hit_b & ~hit_a).sum(1), (hit_a & ~hit_b).sum(1)
    robust_low, robust_high, robust_p = _paired(kept_b, kept_a, np.ones_like(both))
    asr_low, asr_high, asr_p = _paired(hit_b, hit_a, both)
    return names.assign(
        images=len(a.labels),
        robust_a=ratio(kept_a.sum(1), everything),
        robust_b=ratio(kept_b.sum(1), everything),
        robust_difference=ratio(b_only - a_only, everything),
        robust_low=robust_low,
        robust_high=robust_high,
        b_only=b_only,
        a_only=a_only,
        robust_p=robust_p,
        robust_p_holm=holm(robust_p),
        both_right=common,
        asr_a=ratio(hit_a.sum(1), common),
        asr_b=ratio(hit_b.sum(1), common),
        asr_difference=ratio(gained - lost, common),
        asr_low=asr_low,
        asr_high=asr_high,
        asr_p=asr_p,
        asr_p_holm=holm(asr_p),
        ranges_over=IMAGES,
    )


def compare_pooled(a: Outcomes, b: Outcomes, by: Sequence[str] = (), on: Sequence[str] = CELL) -> pd.DataFrame:
    """Differences b - a pooled over the matched cells within each value of `by`, a subset of `on`.

    Columns as `compare`, with `cells`. Pooled cells share images, so each image counts once with all of its cells; p
    and interval are those of `paired_sums`, of one cell those of `compare`.

    Raises:
        InputError: As `compare`, or `by` is not part of `on`.
    """
    if not set(by) <= set(on):
        raise InputError(
            f"compare: by {', '.join(by)}: expected a part of {', '.join(on)}, which name the matched cells"
        )
    a, b = (side.where(side.pooled(by)) for side in (a, b))
    left, right, names = _pairs(a, b, on)
    names = names.assign(_pair=np.arange(len(names)))
    groups = names.groupby(list(by), sort=False, dropna=False)["_pair"] if by else [((), names["_pair"])]
    rows: list[dict[str, object]] = []
    sums: list[tuple[Floats, Floats, Floats, Floats]] = []
    for key, members in groups:
        pair = members.to_numpy()
        i, j = left[pair], right[pair]
        both = a.right[a.victim_index[i]] & b.right[b.victim_index[j]]
        kept_a, kept_b = (~a.wrong[i]).sum(0), (~b.wrong[j]).sum(0)
        hit_a, hit_b = (a.success[i] & both).sum(0), (b.success[j] & both).sum(0)
        count, common = len(pair) * len(a.labels), int(both.sum())
        rows.append(
            {
                **dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True)),
                "cells": len(pair),
                "images": len(a.labels),
                "robust_a": kept_a.sum() / count,
                "robust_b": kept_b.sum() / count,
                "both_right": common,
                "asr_a": hit_a.sum() / common if common else np.nan,
                "asr_b": hit_b.sum() / common if common else np.nan,
            }
        )
        weights = np.full(len(a.labels), float(len(pair)))
        sums.append((kept_b - kept_a, weights, hit_b - hit_a, both.sum(0)))
    table = pd.DataFrame(rows)
    for name, top, bottom in (("robust", 0, 1), ("asr", 2, 3)):
        tops, bottoms = (np.array([s[part] for s in sums], dtype=np.float64) for part in (top, bottom))
        table[f"{name}_difference"] = table[f"{name}_b"] - table[f"{name}_a"]
        table[f"{name}_low"], table[f"{name}_high"], p = paired_sums(tops, bottoms)
        table[f"{name}_p"], table[f"{name}_p_holm"] = p, holm(p)
    return table.assign(ranges_over=IMAGES)


def _pairs(a: Outcomes, b: Outcomes, on: Sequence[str]) -> tuple[Ints, Ints, pd.DataFrame]:
    """Rows of a and of b that are one cell, and the columns that name them."""
    if len(a.labels) != len(b.labels) or (a.labels != b.labels).any():
        raise InputError(
            f"compare: the two are on different images ({len(a.labels)} and {len(b.labels)}, or other labels); "
            "compare runs of one task with the same number of images"
        )
    sources = [np.array(o.image_sources, dtype=object)[o.image_source] for o in (a, b)]
    ids_differ = a.image_ids is not None and b.image_ids is not None and (a.image_ids != b.image_ids).any()
    if ids_differ or (sources[0] != sources[1]).any():
        raise InputError("compare: the two have the same labels but other images; compare runs of one image set")
    keys = [o.cells[list(on)].assign(**{f"_{side}": np.arange(len(o.cells))}) for o, side in ((a, "a"), (b, "b"))]
    for frame, side in zip(keys, "ab", strict=True):
        if frame.duplicated(list(on)).any():
            raise InputError(
                f"compare: {', '.join(on)} names several cells of run {side}; add a column or pick one victim"
            )
    merged = keys[0].merge(keys[1], on=list(on), how="inner")
    if merged.empty:
        raise InputError(f"compare: no cell of one run is in the other; they are matched on {', '.join(on)}")
    merged = arrange(merged, on)
    return merged["_a"].to_numpy(), merged["_b"].to_numpy(), merged[list(on)]


def _paired(b: Bools, a: Bools, n: Bools) -> tuple[Floats, Floats, Floats]:
    """Interval and p of the difference of each row of cells, b - a."""
    return paired_sums(b.astype(np.float64) - a, n.astype(np.float64))
