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
POOLED = "pooled"  # what the margins are called
GAP = " "  # what keeps the margins apart
CHOSEN = theme.PALETTE[0]


def heat_map(
    table: pd.DataFrame,
    rows: str,
    columns: str,
    *,
    down: str = "surrogate",
    across: str = "victim",
    measure: str = "ASR",
    margins: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    chosen: tuple[str, str] | None = None,
) -> alt.LayerChart:
    """A heat map of ASR, or of lift in points of it, viridis from 0 to 1, with n, k and ASR in the tooltip.

    Args:
        table: Columns n, k, cells and ASR, and two of categories: what stands on the axes, in the order of theirs. With
            low and high the tooltip says an interval; where `one_case` is 1 a field is outlined in dashes: its models
            are two seeds of one recipe.
        rows: Name of the first of these.
        columns: Name of the second.
        down: Title of the rows.
        across: Title of the columns.
        measure: What the column ASR holds, in words.
        margins: Rows and columns pooled, with the column of their axis and the numbers of `table`.
        chosen: Row and column of a field that is outlined in blue.
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
        "ticks": False,
        "domain": False,
    }
    usual |= {"labelOverlap": False, "labelFlush": False}
    more = [GAP, POOLED] if margins is not None else []
    beside = alt.Axis(**usual, labelExpr=_said([*first, *more], [*written[rows], *more]))
    above = alt.Axis(
        **usual,
        labelExpr=_said([*second, *more], [*written[columns], *more]),
        orient="top",
        labelAngle=0 if straight else SLANT,
    )
    x = alt.X("column:N", title=across, scale=alt.Scale(domain=[*second, *more]), axis=above)
    y = alt.Y("row:N", title=down, scale=alt.Scale(domain=[*first, *more]), axis=beside)
    shown, number, precise = ("points", ".0f", "+.1f") if measure == "lift" else ("ASR", ".0%", ".1%")
    kind = {"ASR": ("fooled", "right on clean images"), "lift": ("fooled beyond noise", "right on clean images")}
    of_k, of_n = kind.get(measure, ("right", "images"))
    told = [
        alt.Tooltip("row:N", title=down),
        alt.Tooltip("column:N", title=across),
        alt.Tooltip(f"{shown}:Q", title=measure, format=precise),
        *([alt.Tooltip("interval:N", title="95% interval")] if "low" in table else []),
        alt.Tooltip("k:Q", title=f"k, {of_k}", format=","),
        alt.Tooltip("n:Q", title=f"n, {of_n}", format=","),
        alt.Tooltip("cells:Q", format=","),
    ]
    drawn = _fields(table, rows, columns, measure)
    base = alt.Chart(drawn).encode(x=x, y=y, tooltip=told)
    scale = alt.Scale(scheme="viridis", domain=[0, 1], clamp=True)
    said = "format(100 * datum.value, '.0f')" if measure == "lift" else "format(datum.value, '.0%')"
    legend = alt.Legend(labelExpr=said, title=measure, gradientLength=160, labelOffset=6)
    colour = alt.Color("ASR:Q", scale=scale, legend=legend)
    clicked = alt.selection_point(name=CLICKED, fields=["row", "column"], on="click", clear="dblclick")
    layers = [base.mark_rect(cursor="pointer").encode(color=colour).add_params(clicked)]
    ink = alt.condition(alt.datum.ASR > DARK, alt.value("black"), alt.value("white"))
    written_in = alt.Text(f"{shown}:Q", format=number)
    few = len(second) <= WRITTEN
    if few:
        layers.append(base.mark_text(fontSize=11).encode(text=written_in, color=ink))
    if margins is not None:
        sums = pd.concat(
            [
                _fields(margins[0].assign(**{columns: POOLED}), rows, columns, measure),
                _fields(margins[1].assign(**{rows: POOLED}), rows, columns, measure),
            ],
            ignore_index=True,
        )
        around = alt.Chart(sums).encode(x=x, y=y, tooltip=told)
        layers.append(around.mark_rect().encode(color=colour))
        if few:
            layers.append(around.mark_text(fontSize=11).encode(text=written_in, color=ink))
    if "one_case" in drawn and (drawn["one_case"] == 1).any() and not (drawn["one_case"] == 1).all():
        twins = base.transform_filter(alt.datum.one_case == 1)
        layers.append(_outline(twins, "white", 2.5))
        layers.append(_outline(twins, "black", 1.2, [4, 3]))
    if chosen is not None and chosen[0] in first and chosen[1] in second:
        here = alt.Chart(pd.DataFrame([{"row": chosen[0], "column": chosen[1]}])).encode(x=x, y=y)
        layers += [_outline(here, "white", 6.0), _outline(here, CHOSEN, 3.5)]
    names = 20 if straight else 0.75 * min(LONGEST, LETTER * size * max(map(len, written[columns])))
    field = 26 if few else 16
    return theme.whole(*layers, height=max(130, field * (len(first) + len(more))) + int(names) + 110)


def _fields(table: pd.DataFrame, rows: str, columns: str, measure: str) -> pd.DataFrame:
    kept = ["ASR", "k", "n", "cells", *(c for c in ("one_case",) if c in table)]
    drawn = table[[rows, columns, *kept]].astype({rows: str, columns: str}).assign(points=100 * table["ASR"])
    if "low" in table:
        limits = zip(table["low"], table["high"], strict=True)
        said = "{:.1f} to {:.1f} points" if measure == "lift" else "{:.1f}–{:.1f}%"
        drawn["interval"] = ["–" if pd.isna(low) else said.format(100 * low, 100 * high) for low, high in limits]
    return drawn.rename(columns={rows: "row", columns: "column"})


def _outline(base: alt.Chart, colour: str, width: float, dash: list[int] | None = None) -> alt.Chart:
    """A frame around fields, which lets clicks through to them."""
    style: dict[str, Any] = {} if dash is None else {"strokeDash": dash}
    outlined: alt.Chart = base.mark_rect(
        filled=False, fillOpacity=0, stroke=colour, strokeWidth=width, strokeOpacity=1, **style
    )
    return outlined.encode(color=alt.value(colour))


def _said(levels: list[str], words: list[str]) -> str:
    """The expression that writes a level in these words."""
    return f"{json.dumps(dict(zip(levels, words, strict=True)))}[datum.label]"
