"""The chart of who fools whom."""

import json
from typing import Any

import altair as alt
import pandas as pd

from . import theme
from .names import short

DARK = 0.45  # below it white is read better on viridis, above it black
LONGEST = 240  # pixels of a name
CLICKED = "field"  # name of the selection of a click: its row and column
WRITTEN = 14  # up to so many columns, each field also says its number
SLANT = -45  # degrees of names that have no room side by side
LETTER = 0.6  # width of a letter, of its size
FIELDS = 600  # pixels that the fields have across, about


def heat_map(
    table: pd.DataFrame, rows: str, columns: str, *, down: str = "surrogate", across: str = "victim"
) -> alt.LayerChart:
    """A heat map of ASR, viridis from 0 to 1, with n, k and ASR in the tooltip.

    Args:
        table: Columns n, k, cells and ASR, and two of categories: what stands on the axes, in the order of theirs.
        rows: Name of the first of these.
        columns: Name of the second.
        down: Title of the rows.
        across: Title of the columns.
    """
    first, second = list(table[rows].cat.categories), list(table[columns].cat.categories)
    size = 11 if max(len(first), len(second)) <= 2 * WRITTEN else 9
    written = {
        axis: levels if axis == "budget" else [short(levels)[level] for level in levels]  # "48/255" is one word
        for axis, levels in ((rows, first), (columns, second))
    }
    straight = max(map(len, written[columns])) * size * LETTER < FIELDS / len(second)
    usual: dict[str, Any] = {
        "labelLimit": LONGEST,
        "maxExtent": LONGEST + 10,
        "labelFontSize": size,
        "titleFontSize": 12,
    }
    usual |= {"labelOverlap": False, "labelFlush": False}
    beside = alt.Axis(**usual, labelExpr=_said(first, written[rows]))
    above = alt.Axis(
        **usual, labelExpr=_said(second, written[columns]), orient="top", labelAngle=0 if straight else SLANT
    )
    drawn = table[[rows, columns, "ASR", "k", "n", "cells"]].astype({rows: str, columns: str})
    base = alt.Chart(drawn.rename(columns={rows: "row", columns: "column"})).encode(
        x=alt.X("column:N", title=across, sort=second, axis=above),
        y=alt.Y("row:N", title=down, sort=first, axis=beside),
        tooltip=[
            alt.Tooltip("row:N", title=down),
            alt.Tooltip("column:N", title=across),
            alt.Tooltip("ASR:Q", format=".1%"),
            alt.Tooltip("k:Q", title="k, fooled", format=","),
            alt.Tooltip("n:Q", title="n, right on clean images", format=","),
            alt.Tooltip("cells:Q", format=","),
        ],
    )
    scale = alt.Scale(scheme="viridis", domain=[0, 1])
    legend = alt.Legend(format=".0%", title="ASR", gradientLength=160, labelOffset=6)
    clicked = alt.selection_point(name=CLICKED, fields=["row", "column"], on="click", clear="dblclick")
    fields = base.mark_rect(cursor="pointer").encode(color=alt.Color("ASR:Q", scale=scale, legend=legend))
    layers = [fields.add_params(clicked)]
    if len(second) <= WRITTEN:
        ink = alt.condition(alt.datum.ASR > DARK, alt.value("black"), alt.value("white"))
        layers.append(base.mark_text(fontSize=11).encode(text=alt.Text("ASR:Q", format=".0%"), color=ink))
    names = 20 if straight else 0.75 * min(LONGEST, LETTER * size * max(map(len, written[columns])))
    field = 26 if len(second) <= WRITTEN else 16
    return theme.whole(*layers, height=max(180, field * len(first)) + int(names) + 40)


def _said(levels: list[str], words: list[str]) -> str:
    """The expression that writes a level in these words."""
    return f"{json.dumps(dict(zip(levels, words, strict=True)))}[datum.label]"
