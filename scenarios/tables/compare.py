"""The tables of two runs compared, on the cells and images that they share."""

import pandas as pd

from carom.scenarios.statistics import compare, compare_pooled
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes

from .table import Form, Table, points_words, ranges_note


def compare_runs(store: Store, first: str, second: str) -> list[Table]:
    """What differs between two runs, on the cells and images that they share.

    Raises:
        InputError: A run without outcomes, or two that share no cell.
    """
    a, b = read_outcomes(store, first), read_outcomes(store, second)
    cells = compare(a, b)
    forms: dict[str, Form] = {
        "cells": "count",
        "robust_a": "percent",
        "robust_b": "percent",
        "robust_difference": "points",
        "robust interval": "text",
        "robust_p_holm": "number",
        "both_right": "count",
        "asr_a": "percent",
        "asr_b": "percent",
        "asr_difference": "points",
        "ASR interval": "text",
        "asr_p_holm": "number",
    }
    notes = [
        f"a: {first}; b: {second}; differences b - a in points, on the cells and images that both have.",
        "robust accuracy is over all images, ASR over the images that both victims get right clean.",
    ]
    shown = []
    for by in (("attack",), ("victim",)):
        table = _differences(compare_pooled(a, b, by=by))
        shown.append(
            Table(
                name=f"compare-by-{by[0]}",
                title=f"By {by[0]}",
                frame=table,
                forms={by[0]: "text", **forms},
                notes=[*notes, f"{ranges_note(table)}."],
            )
        )
    worst = _differences(cells).sort_values("robust_p_holm", kind="stable").head(10)
    names: dict[str, Form] = {"surrogate": "text", "attack": "text", "eps": "text", "victim": "text"}
    title = f"The ten cells that differ most, of {len(cells)}"
    paired = "Exact McNemar tests on the images of a cell, Holm over all cells."
    shown.append(
        Table(name="compare-cells", title=title, frame=worst, forms={**names, **forms}, notes=[*notes, paired])
    )
    return shown


def _differences(table: pd.DataFrame) -> pd.DataFrame:
    """Intervals beside the numbers."""
    return table.assign(
        **{
            "robust interval": points_words(table["robust_low"], table["robust_high"]),
            "ASR interval": points_words(table["asr_low"], table["asr_high"]),
        }
    )
