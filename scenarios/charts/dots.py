"""The chart of rates in rows: a mark of each series at its rate, its interval as a line."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from . import theme

ROW, SERIES = 24, 13  # pixels of a row with one mark, and of each mark of a row with several
AXIS, LEGEND = 60, 24  # pixels that the axis across and a line of the legend take
KINDS = [theme.PALETTE[0], theme.OTHERS]  # what is meant, and what is not
NAME = 420  # pixels of a name, which is cut there


def dots(
    table: pd.DataFrame,
    *,
    rows: Sequence[str],
    across: str,
    tooltip: Sequence[alt.Tooltip] | None = None,
    kinds: Sequence[str] = (),
) -> alt.LayerChart:
    """One row a label.

    Args:
        table: Columns label, series, asr, low, high; "95% interval" and n are said on hover. A row of the figure may
            have one mark of each series, at most `theme.SERIES` of them, in the order that they come in.
        rows: Every label, from the top.
        across: Title of the axis from 0 to 100%.
        tooltip: What is said on hover instead.
        kinds: The series where a row has one mark, of one of them: the first in colour, what is not it in grey.
    """
    figure = layers(table, rows, across, tooltip, kinds=kinds)
    return theme.whole(*figure, height=height(table, rows) if not kinds else AXIS + 2 * LEGEND + 28 + ROW * len(rows))


def layers(
    table: pd.DataFrame,
    rows: Sequence[str],
    across: str,
    tooltip: Sequence[alt.Tooltip] | None = None,
    *,
    lowest: float = 0.0,
    kinds: Sequence[str] = (),
) -> list[alt.Chart]:
    """The lines and the marks of `dots`; the axis begins at the lowest."""
    series = list(kinds) or list(dict.fromkeys(table["series"]))
    channels: dict[str, Any] = {"y": row_axis(rows), "color": alt.value(theme.PALETTE[0])}
    legend = alt.Legend(title=None, orient="top", labelLimit=NAME, columns=_columns(series))
    if len(series) > 1:
        colours = alt.Scale(domain=series, range=KINDS) if kinds else theme.colours(series)
        channels |= {
            "color": alt.Color("series:N", scale=colours, legend=legend),
            "shape": alt.Shape("series:N", scale=theme.shapes(series), legend=legend),
        }
        if not kinds:
            channels["yOffset"] = alt.YOffset("series:N", scale=alt.Scale(domain=series))
    usual = [
        alt.Tooltip("label:N", title="row"),
        *([alt.Tooltip("series:N")] if len(series) > 1 else []),
        alt.Tooltip("asr:Q", title=across.split(",", 1)[0], format=".1%"),
        alt.Tooltip("95% interval:N"),
        alt.Tooltip("n:Q", format=","),
    ]
    x = alt.X("asr:Q", title=across, axis=theme.percent_axis(tickCount=10), scale=_from(lowest))
    told = usual if tooltip is None else list(tooltip)
    columns = ["label", "series", "asr", "low", "high", "95% interval", "n", *(tip.shorthand[:-2] for tip in told)]
    drawn = table.loc[table["asr"].notna(), list(dict.fromkeys(columns))]
    return theme.interval_marks(alt.Chart(drawn), x, tooltip=told, **channels)


def _from(lowest: float) -> alt.Scale:
    return theme.SHARE if lowest == 0 else alt.Scale(domain=[lowest, 1])


def row_axis(rows: Sequence[str]) -> alt.Y:
    """The names of the rows."""
    axis = alt.Axis(labelLimit=NAME, labelOverlap=False, ticks=False, domain=False, labelPadding=8)
    return alt.Y("label:N", title=None, scale=alt.Scale(domain=list(rows)), axis=axis)


def height(table: pd.DataFrame, rows: Sequence[str]) -> int:
    """Pixels that the figure takes."""
    series = list(dict.fromkeys(table["series"]))
    legend = LEGEND * -(-len(series) // _columns(series)) + 8 if len(series) > 1 else 0
    return AXIS + legend + len(rows) * max(ROW, 8 + SERIES * len(series))


def _columns(series: Sequence[str]) -> int:
    """How many names stand side by side."""
    return max(1, min(len(series), 110 // max(12, max(map(len, series), default=0) + 4)))
