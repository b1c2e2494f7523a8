"""The chart of what defences keep: a row each, from clean accuracy down to the white box."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from . import theme

MARKS: Mapping[str, str] = {
    "clean": "clean",
    "average": "average",
    "strongest": "strongest",
    "white box": "white box",
}
"""Columns of rates, from left to right in the legend, and what they are called."""

ROW = 58  # pixels


def dumbbells(rows: pd.DataFrame, *, beside: Sequence[str]) -> alt.LayerChart:
    """Accuracy of each defence on clean images and under attacks, each with its 95% interval, joined by a line.

    Args:
        rows: From the top. Columns defence, and each of `MARKS` that is known with its limits `<rate>_low` and
            `<rate>_high`.
        beside: For each row what stands below its name: rank and ties, cost, alarms.
    """
    long = marks(rows)
    names = [str(name) for name in rows["defence"]]
    said = dict(zip(names, beside, strict=True))
    axis = alt.Axis(
        labelExpr=f"[datum.label, {json.dumps(said)}[datum.label]]",
        labelLimit=260,
        labelOverlap=False,
        ticks=False,
        domain=False,
        labelPadding=8,
        labelLineHeight=14,
    )
    y = alt.Y("defence:N", title=None, scale=alt.Scale(domain=names), axis=axis)
    kinds = [name for name in MARKS.values() if name in set(long["under"])]
    legend = alt.Legend(title=None, orient="top", labelLimit=200, columns=2, symbolOpacity=1)
    channels: dict[str, Any] = {
        "y": y,
        "yOffset": alt.YOffset("under:N", scale=alt.Scale(domain=kinds)),
        "color": alt.Color("under:N", scale=theme.colours(kinds), legend=legend),
        "shape": alt.Shape("under:N", scale=theme.shapes(kinds), legend=legend),
    }
    x = alt.X("accuracy:Q", title="accuracy, all images", axis=theme.percent_axis(tickCount=10), scale=theme.SHARE)
    tooltip = [
        alt.Tooltip("defence:N"),
        alt.Tooltip("under:N"),
        alt.Tooltip("accuracy:Q", format=".1%"),
        alt.Tooltip("interval:N", title="95% interval"),
    ]
    reach = long.groupby("defence", sort=False)["accuracy"].agg(["min", "max"]).reset_index()
    bar = alt.Chart(reach).mark_rule(color=theme.GREY, opacity=0.35, strokeWidth=4)
    joined = bar.encode(x=alt.X("min:Q", title="accuracy, all images", scale=theme.SHARE), x2="max:Q", y=y)
    drawn = theme.interval_marks(alt.Chart(long), x, tooltip=tooltip, **channels)
    return theme.whole(joined, *drawn, height=110 + ROW * len(names))


def marks(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a mark: defence, under (of `MARKS`), accuracy, low, high, interval."""
    parts = []
    for column, name in MARKS.items():
        if column not in rows:
            continue
        raw = column.replace(" ", "_")
        part = pd.DataFrame(
            {
                "defence": rows["defence"].astype(str),
                "under": name,
                "accuracy": rows[column].astype(float),
                "low": rows[f"{raw}_low"].astype(float),
                "high": rows[f"{raw}_high"].astype(float),
            }
        )
        parts.append(part[part["accuracy"].notna()])
    long = pd.concat(parts, ignore_index=True)
    words = [f"{100 * low:.1f}–{100 * high:.1f}%" for low, high in zip(long["low"], long["high"], strict=True)]
    return long.assign(interval=words)
