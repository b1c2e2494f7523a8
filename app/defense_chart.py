"""The chart of what defences keep under attack beside what they keep clean, and what they cost."""

import altair as alt
import pandas as pd

UNDER = {
    "best": "best transfer pair",
    "average": "average transfer pair",
    "worst": "any transfer pair, worst of each image",
    "white box": "white box",
}
TRANSFERS = ("best", "average", "worst")
COSTS = {"training passes": "training passes", "parameters": "parameters", "MACs": "MACs of an image"}


def known_costs(table: pd.DataFrame) -> list[str]:
    """The costs that differ between defences, so that a size shows something."""
    return [cost for cost in COSTS if cost in table and table[cost].nunique() > 1]


def chart(table: pd.DataFrame, transfer: str, cost: str | None) -> alt.LayerChart:
    """Accuracy under attack over clean accuracy: two points a defence, transfer and white box, joined and named.

    Args:
        table: Rows of the table "defenses" of one budget.
        transfer: One of `TRANSFERS`.
        cost: A column of it that the points are as large as; None for points of one size.
    """
    marks = points(table, transfer)
    across = alt.X("clean:Q", title="clean accuracy", axis=alt.Axis(format=".0%"), scale=alt.Scale(zero=False))
    up = alt.Y("accuracy:Q", title="accuracy under attack", axis=alt.Axis(format=".0%"))
    tooltip = [
        alt.Tooltip("name:N", title="defence"),
        alt.Tooltip("attack:N", title="under"),
        alt.Tooltip("accuracy:Q", format=".1%"),
        alt.Tooltip("interval:N", title="95% interval"),
        alt.Tooltip("clean:Q", format=".1%"),
        *(alt.Tooltip(f"{c}:Q", format=",") for c in COSTS if c in marks),
        alt.Tooltip("seeds:Q"),
        alt.Tooltip("alarms:Q", title="signs of masked gradients"),
    ]
    size = alt.value(90) if cost is None else alt.Size(f"{cost}:Q", title=COSTS[cost], scale=alt.Scale(range=[40, 600]))
    base = alt.Chart(marks).encode(x=across)
    joined = base.mark_line(opacity=0.35, color="gray").encode(y=up, detail="name:N")
    reach = base.mark_rule(opacity=0.5).encode(y=alt.Y("low:Q"), y2="high:Q")
    shown = base.mark_point(filled=True, opacity=0.8).encode(
        y=up,
        size=size,
        color=alt.Color("attack:N", title="under", scale=alt.Scale(scheme="category10")),
        shape=alt.Shape("attack:N", title="under"),
        tooltip=tooltip,
    )
    names = base.transform_filter(alt.datum.named).mark_text(align="left", dx=9, fontSize=11, limit=220)
    named = names.encode(y=up, text="name:N")
    whole: alt.LayerChart = alt.layer(joined, reach, shown, named).properties(height=480).configure_view(strokeWidth=0)
    return whole


def points(table: pd.DataFrame, transfer: str) -> pd.DataFrame:
    """One row a point: defence, what it is under, accuracy with limits, clean accuracy, costs; the upper is named."""
    several = table["configuration"].nunique() > table["defense"].nunique()
    name = table["defense"] + " · " + table["configuration"] if several else table["defense"]
    parts = []
    for column in (transfer, "white box"):
        raw = column.replace(" ", "_")
        part = table[["clean", "seeds", "alarms", *(c for c in COSTS if c in table)]].assign(
            name=name,
            attack=UNDER[column],
            accuracy=table[column],
            low=table[f"{raw}_low"],
            high=table[f"{raw}_high"],
            interval=table[f"{column} 95%"],
        )
        parts.append(part)
    marks = pd.concat(parts, ignore_index=True)
    marks = marks[marks["accuracy"].notna()].reset_index(drop=True)
    top = marks.groupby("name")["accuracy"].transform("max")
    first = ~marks.assign(_top=marks["accuracy"] == top).duplicated(["name", "_top"])
    return marks.assign(named=(marks["accuracy"] == top) & first)
