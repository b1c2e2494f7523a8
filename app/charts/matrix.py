"""The chart of who fools whom."""

import json

import altair as alt
import pandas as pd

from carom.app.queries.matrix import AXES, shortened

DARK = 0.45  # below it white is read better on viridis, above it black
LONGEST = 240  # pixels of a name
CLICKED = "field"  # name of the selection of a click: its row and column
WRITTEN = 14  # up to so many columns, each field also says its number


def chart(table: pd.DataFrame, rows: str, columns: str) -> alt.LayerChart:
    """A heat map of ASR, viridis from 0 to 1, with n, k and ASR in the tooltip.

    Args:
        table: As from `matrix_queries.matrix`.
        rows: Name of its first axis.
        columns: Name of its second.
    """
    down, across = list(table[rows].cat.categories), list(table[columns].cat.categories)
    size = 11 if max(len(down), len(across)) <= 2 * WRITTEN else 9
    axis = alt.Axis(
        labelLimit=LONGEST,
        maxExtent=LONGEST + 10,
        labelFontSize=size,
        titleFontSize=12,
        labelOverlap=False,
        labelFlush=False,
        labelExpr=_shorter(down),
    )
    upright = alt.Axis(**{**axis.to_dict(), "labelExpr": _shorter(across)}, labelAngle=-90)
    base = alt.Chart(table.astype({rows: str, columns: str}).rename(columns={rows: "row", columns: "column"})).encode(
        x=alt.X("column:N", title=AXES[columns], sort=across, axis=upright),
        y=alt.Y("row:N", title=AXES[rows], sort=down, axis=axis),
        tooltip=[
            alt.Tooltip("row:N", title=AXES[rows]),
            alt.Tooltip("column:N", title=AXES[columns]),
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
    if len(across) <= WRITTEN:
        ink = alt.condition(alt.datum.ASR > DARK, alt.value("black"), alt.value("white"))
        layers.append(base.mark_text(fontSize=11).encode(text=alt.Text("ASR:Q", format=".0%"), color=ink))
    # Streamlit fits the axes into the height too, so the names below the columns need theirs.
    names = min(LONGEST, 0.6 * size * max(len(name) for name in shortened(across))) + 40
    field = 26 if len(across) <= WRITTEN else 16
    height = max(120, field * len(down)) + int(names)
    whole: alt.LayerChart = alt.layer(*layers).properties(height=height).configure_view(strokeWidth=0)
    return whole


def _shorter(levels: list[str]) -> str:
    """The expression that writes a level without what all levels share."""
    return f"{json.dumps(dict(zip(levels, shortened(levels), strict=True)))}[datum.label]"
