"""The charts of a gate: over time, and what one verdict judged."""

from typing import Any

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

    Colours say what these bounds say; other checks of the gate may have decided otherwise.

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
            alt.Tooltip("first:N", title="robust accuracy alone"),
            alt.Tooltip("verdict:N", title="whole gate"),
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
    points = base.mark_point(filled=True, size=110, opacity=1).encode(y=up, **_looks("first"))
    return theme.whole(reach, baseline, limit, *ticks, points, height=390)


def checks(judged: pd.DataFrame) -> alt.LayerChart:
    """One row a check: how far it is from its limit, with the bounds, coloured by its own verdict.

    Args:
        judged: As from `queries.gates.judged`.
    """
    rows = list(judged["what"])
    title = "points left before the limit"
    down = alt.Y("what:N", title=None, sort=rows, axis=alt.Axis(labelLimit=300, labelOverlap=False, ticks=False))
    axis = alt.Axis(labelExpr="datum.value === 0 ? 'limit' : format(datum.value, '+')", tickCount=10, tickMinStep=1)
    table = judged.rename(columns={"spare_low": "least", "spare_high": "most"})
    limit = alt.Chart(pd.DataFrame({"at": [0.0]})).mark_rule(strokeDash=[4, 3], color=theme.GREY).encode(x="at:Q")
    base = alt.Chart(table[["what", "verdict", "spare", "least", "most", "before", "now", "n"]])
    looks = _looks("verdict")
    reach = base.mark_rule(strokeWidth=3).encode(
        x=alt.X("least:Q", title=title, axis=axis), x2="most:Q", y=down, color=looks["color"]
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("spare:Q", title=title, axis=axis),
        y=down,
        **looks,
        tooltip=[
            alt.Tooltip("what:N", title="check"),
            alt.Tooltip("verdict:N"),
            alt.Tooltip("spare:Q", title="points left", format="+.1f"),
            alt.Tooltip("least:Q", title="at least", format="+.1f"),
            alt.Tooltip("most:Q", title="at most", format="+.1f"),
            alt.Tooltip("before:Q", format=".1%"),
            alt.Tooltip("now:Q", format=".1%"),
            alt.Tooltip("n:Q", title="images", format=","),
        ],
    )
    return theme.whole(limit, reach, points, height=90 + 24 * len(rows))


def _looks(column: str) -> dict[str, Any]:
    """Colour and shape of each verdict."""
    names = list(VERDICTS)
    colours, shapes = zip(*VERDICTS.values(), strict=True)
    return {
        "color": alt.Color(f"{column}:N", title="verdict", scale=alt.Scale(domain=names, range=list(colours))),
        "shape": alt.Shape(f"{column}:N", title="verdict", scale=alt.Scale(domain=names, range=list(shapes))),
    }
