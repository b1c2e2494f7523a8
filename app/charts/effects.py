"""The chart of what a mismatch costs the attacker."""

import math
from typing import Any

import altair as alt
import pandas as pd

from carom.scenarios.charts import theme

MARGIN = 2.0  # points: effects that are surely smaller are called none


MISMATCH = "points of ASR"


def effects(table: pd.DataFrame, *, title: str = MISMATCH, row: str = "mismatch in") -> alt.LayerChart:
    """Effect of each mismatch on ASR in points, with its interval, a line at none and a band that counts as none.

    Args:
        table: Columns name, effect, low, high (points; limits may be missing), interval, `kind`, and p where known.
        title: Of the axis across.
        row: What a row is.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    down = alt.Y("name:N", title=None, sort=list(dict.fromkeys(table["name"])), axis=alt.Axis(labelLimit=240))
    band = alt.Chart(pd.DataFrame({"low": [-MARGIN], "high": [MARGIN]})).mark_rect(opacity=0.15, color=theme.GREY)
    none = alt.Chart(pd.DataFrame({"at": [0.0]})).mark_rule(strokeDash=[4, 3], color=theme.GREY).encode(x="at:Q")
    channels: dict[str, Any] = {"y": down, "color": alt.value(theme.PALETTE[0])}
    if len(kinds) > 1:
        legend = alt.Legend(title="attacks", orient="top")
        channels |= {
            "color": alt.Color("kind:N", scale=theme.colours(kinds), legend=legend),
            "yOffset": alt.YOffset("kind:N", scale=alt.Scale(domain=kinds)),
        }
    at = ticks(table)
    axis = alt.Axis(labelExpr="datum.value === 0 ? '0' : format(datum.value, '+')", values=at)
    marks = theme.interval_marks(
        alt.Chart(table),
        alt.X("effect:Q", title=title, axis=axis, scale=alt.Scale(domain=[at[0], at[-1]])),
        size=90,
        tooltip=[
            alt.Tooltip("name:N", title=row),
            alt.Tooltip("effect:Q", title="points", format="+.1f"),
            alt.Tooltip("interval:N", title="95% interval"),
            *([alt.Tooltip("p:Q", title="p (Holm)", format=".3g")] if "p" in table else []),
            *([alt.Tooltip("kind:N", title="attacks")] if len(kinds) > 1 else []),
        ],
        **channels,
    )
    return theme.whole(
        band.encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        none,
        *marks,
        height=90 + 44 * table["name"].nunique() * max(1, (len(kinds) + 1) // 2),
    )


def ticks(table: pd.DataFrame) -> list[float]:
    """Every 1, 2, 5, 10 or 20 points, such that about ten of them span the effects and their intervals."""
    ends = pd.concat([table["effect"], table["low"], table["high"]]).dropna()
    low, high = min(float(ends.min()), -MARGIN), max(float(ends.max()), MARGIN)
    step = next((s for s in (1, 2, 5, 10) if (high - low) / s <= 10), 20)
    return [float(step * i) for i in range(math.floor(low / step), math.ceil(high / step) + 1)]
