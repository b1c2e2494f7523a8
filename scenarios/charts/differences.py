"""The chart of paired differences: two runs, row by row."""

import altair as alt
import pandas as pd

from . import theme
from .dots import ROW, row_axis


def differences(table: pd.DataFrame, *, rows: str, across: str) -> alt.LayerChart:
    """One row a difference in points, with its 95% interval, and a line at none.

    Args:
        table: Columns difference, low, high, from -1 to 1, and the one that names a row.
        rows: Its name.
        across: Title of the axis.
    """
    names = list(dict.fromkeys(table[rows].astype(str)))
    drawn = pd.DataFrame({"label": table[rows].astype(str)})
    for column in ("difference", "low", "high"):
        drawn[column] = 100 * table[column]
    axis = alt.Axis(labelExpr="datum.value === 0 ? '0' : format(datum.value, '+')", tickCount=10, tickMinStep=1)
    tooltip = [
        alt.Tooltip("label:N", title=rows),
        alt.Tooltip("difference:Q", title="points", format="+.1f"),
        alt.Tooltip("low:Q", title="at least", format="+.1f"),
        alt.Tooltip("high:Q", title="at most", format="+.1f"),
    ]
    none = alt.Chart(pd.DataFrame({"at": [0.0]})).mark_rule(strokeDash=[4, 3], color=theme.GREY).encode(x="at:Q")
    marks = theme.interval_marks(
        alt.Chart(drawn),
        alt.X("difference:Q", title=across, axis=axis),
        y=row_axis(names),
        color=alt.value(theme.PALETTE[0]),
        tooltip=tooltip,
    )
    return theme.whole(none, *marks, height=70 + ROW * len(names))
