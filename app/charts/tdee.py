"""The chart of how many networks trained apart a surrogate is worth."""

import altair as alt
import pandas as pd

from carom.scenarios.charts import theme


def worths(table: pd.DataFrame) -> alt.LayerChart:
    """T-DEE as bars, in words beside them: "<1" and ">8" are ends of the ladder that it was read off.

    Args:
        table: Columns surrogate, worth, T-DEE, "T-DEE interval" and trainings, in the order that they are drawn in.
    """
    names = list(dict.fromkeys(table["surrogate"]))
    drawn = table.rename(columns={"T-DEE": "said", "T-DEE interval": "interval"})
    base = alt.Chart(drawn[["surrogate", "worth", "said", "interval", "trainings"]]).encode(
        x=alt.X("worth:Q", title="T-DEE, networks trained apart that transfer as well"),
        y=alt.Y(
            "surrogate:N",
            title=None,
            scale=alt.Scale(domain=names),
            axis=alt.Axis(labelLimit=260, ticks=False, domain=False),
        ),
        tooltip=[
            alt.Tooltip("surrogate:N"),
            alt.Tooltip("said:N", title="T-DEE"),
            alt.Tooltip("interval:N", title="95% interval"),
            alt.Tooltip("trainings:Q", format=".2f"),
        ],
    )
    bars = base.mark_bar(height=12, color=theme.PALETTE[0])
    cost = base.mark_tick(thickness=3, size=18, color=theme.PALETTE[1]).encode(x="trainings:Q")
    words = base.mark_text(align="left", dx=8, color=theme.GREY).encode(text="said:N")
    return theme.whole(bars, cost, words, height=70 + 26 * len(names))
