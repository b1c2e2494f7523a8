"""The chart of a gate over time."""

import altair as alt
import pandas as pd

from carom.scenarios.charts import theme

VERDICTS = {
    "holds": (theme.PALETTE[2], "circle"),
    "cannot tell": (theme.PALETTE[4], "diamond"),
    "weaker": (theme.PALETTE[1], "cross"),
}


def chart(verdicts: pd.DataFrame) -> alt.LayerChart:
    """Robust accuracy over time: each verdict's point with its bounds, the baseline, and how low it may fall.

    Args:
        verdicts: Rows of one gate of `queries.Gates.verdicts`.
    """
    table = verdicts.assign(
        most=verdicts["before"] - verdicts["low"],
        least=verdicts["before"] - verdicts["high"],
        limit=verdicts["before"] - verdicts["allowed"],
    ).sort_values("time")
    brief = (table["time"].max() - table["time"].min()) < pd.Timedelta(days=2)
    written = "%m-%d %H:%M:%S" if brief else "%Y-%m-%d"
    base = alt.Chart(table).encode(
        x=alt.X("time:T", title="time, UTC", axis=alt.Axis(format=written, tickCount=6, labelOverlap=True)),
        tooltip=[
            alt.Tooltip("time:T", format="%Y-%m-%d %H:%M:%S"),
            alt.Tooltip("verdict:N"),
            alt.Tooltip("now:Q", title="robust accuracy", format=".1%"),
            alt.Tooltip("before:Q", title="baseline", format=".1%"),
            alt.Tooltip("least:Q", title="at least", format=".1%"),
            alt.Tooltip("most:Q", title="at most", format=".1%"),
            alt.Tooltip("limit:Q", title="lowest that is allowed", format=".1%"),
            alt.Tooltip("clean_now:Q", title="clean accuracy", format=".1%"),
            alt.Tooltip("commit:N"),
        ],
    )
    up = alt.Y("now:Q", title="robust accuracy", axis=theme.percent_axis(), scale=alt.Scale(zero=False))
    baseline = base.mark_line(interpolate="step-after", color="gray", opacity=0.8).encode(y=alt.Y("before:Q"))
    limit = base.mark_line(interpolate="step-after", color="gray", strokeDash=[5, 4], opacity=0.8).encode(y="limit:Q")
    ticks = [
        base.mark_tick(orient="horizontal", size=26, color="gray", opacity=opacity).encode(y=f"{column}:Q")
        for column, opacity in (("before", 0.9), ("limit", 0.5))  # a line of one verdict would not be seen
    ]
    reach = base.mark_rule(opacity=0.5, color="gray").encode(y="least:Q", y2="most:Q")
    names = list(VERDICTS)
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        y=up,
        color=alt.Color(
            "verdict:N", title="verdict", scale=alt.Scale(domain=names, range=[VERDICTS[n][0] for n in names])
        ),
        shape=alt.Shape("verdict:N", scale=alt.Scale(domain=names, range=[VERDICTS[n][1] for n in names])),
    )
    return theme.whole(reach, baseline, limit, *ticks, points, height=340)
