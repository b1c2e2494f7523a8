"""The chart of what surrogates cost and what they transfer."""

import altair as alt
import pandas as pd

NAMED = 12  # up to so many points, each has its name beside it; of more, those that are best at their cost


def chart(table: pd.DataFrame, cost: str) -> alt.LayerChart:
    """ASR over a cost, logarithmic, one point a surrogate with its name and its 95% interval.

    Args:
        table: Rows of the table "surrogates" of one attack and budget.
        cost: A column of it, above 0: "trainings", "training passes", "parameters".
    """
    across = alt.X(f"{cost}:Q", title=COSTS[cost], scale=alt.Scale(type="log", nice=False, padding=40))
    percent = alt.Axis(format=".0%")
    base = alt.Chart(table).encode(
        x=across,
        tooltip=[
            alt.Tooltip("surrogate:N"),
            alt.Tooltip("asr:Q", title="ASR", format=".1%"),
            alt.Tooltip("95% interval:N"),
            alt.Tooltip("trainings:Q", format=".2f"),
            alt.Tooltip("training passes:Q", format=","),
            alt.Tooltip("parameters:Q", format=","),
            alt.Tooltip("n:Q", title="n, right on clean images", format=","),
            alt.Tooltip("seeds:Q"),
        ],
    )
    reach = base.mark_rule(opacity=0.5).encode(
        y=alt.Y("low:Q", title="ASR", axis=percent, scale=alt.Scale(zero=False)), y2="high:Q"
    )
    points = base.mark_circle(size=70).encode(
        y="asr:Q", color=alt.Color("efficient:N", title="best at its cost", scale=alt.Scale(scheme="category10"))
    )
    names = base.mark_text(align="left", dx=7, fontSize=11, limit=220).encode(y="asr:Q", text="surrogate:N")
    if len(table) > NAMED:
        names = names.transform_filter(alt.datum.efficient)
    whole: alt.LayerChart = alt.layer(reach, points, names).properties(height=480).configure_view(strokeWidth=0)
    return whole


COSTS = {
    "trainings": "trainings of a single network, log",
    "training passes": "training passes, log",
    "parameters": "parameters to store, log",
}
