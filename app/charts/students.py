"""The chart of an elastic network's students: how robust for what size."""

import altair as alt
import pandas as pd

from carom.scenarios.charts import labels, theme


def chart(table: pd.DataFrame) -> alt.LayerChart:
    """Robust accuracy over MACs, clean accuracy in colour; those on the front are large diamonds.

    Args:
        table: As from `queries.students`.
    """
    macs = alt.Scale(type="log", domain=labels.domain(table["MACs"].astype(float), log=True), nice=False)
    x = alt.X("MACs:Q", title="MACs of an image, log", scale=macs, axis=alt.Axis(format="~s"))
    up = alt.Scale(domain=labels.domain(table["robust accuracy"]), nice=False)
    y = alt.Y("robust accuracy:Q", axis=theme.percent_axis(), scale=up)
    base = alt.Chart(table)
    points = base.mark_point(filled=True).encode(
        x=x,
        y=y,
        color=alt.Color("accuracy:Q", scale=alt.Scale(scheme="viridis"), legend=alt.Legend(format=".0%")),
        shape=alt.Shape("on the front:N", scale=alt.Scale(domain=["yes", "no"], range=["diamond", "circle"])),
        size=alt.Size("on the front:N", scale=alt.Scale(domain=["yes", "no"], range=[170, 45]), legend=None),
        tooltip=[
            alt.Tooltip("student:N"),
            alt.Tooltip("accuracy:Q", format=".1%"),
            alt.Tooltip("robust accuracy:Q", format=".1%"),
            alt.Tooltip("MACs:Q", format=","),
            alt.Tooltip("parameters:Q", format=","),
        ],
    )
    return theme.whole(points, height=460)
