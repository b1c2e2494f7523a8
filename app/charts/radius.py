"""The chart of how far the smallest successes are."""

import altair as alt
import pandas as pd

from carom.scenarios.charts import theme


def radii(table: pd.DataFrame, norm: str) -> alt.LayerChart:
    """The median distance of the smallest change that each attack found; shorter is stronger.

    Args:
        table: Columns attack, radius and sets, in the order that they are drawn in.
        norm: Of the distance.
    """
    names = list(dict.fromkeys(table["attack"]))
    axis = alt.Axis(labelLimit=260, ticks=False, domain=False)
    base = alt.Chart(table[["attack", "radius", "sets"]]).encode(
        x=alt.X("radius:Q", title=f"median {norm} distance of the smallest success, pixels in [0, 1]"),
        y=alt.Y("attack:N", title=None, scale=alt.Scale(domain=names), axis=axis),
        tooltip=[
            alt.Tooltip("attack:N"),
            alt.Tooltip("radius:Q", title="median distance", format=".3g"),
            alt.Tooltip("sets:Q", title="adversarial sets", format=","),
        ],
    )
    bars = base.mark_bar(height=12, color=theme.PALETTE[0])
    words = base.mark_text(align="left", dx=5, color=theme.GREY).encode(text=alt.Text("radius:Q", format=".3g"))
    return theme.whole(bars, words, height=70 + 26 * len(names))
