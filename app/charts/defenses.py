"""The chart of what defences keep under attack beside what they keep clean, and what they cost."""

import altair as alt
import pandas as pd

from carom.scenarios.charts import labels, theme
from carom.scenarios.tables.defenses import defense_names

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
    """Accuracy under attack over clean accuracy: two points a defence, transfer and white box, joined.

    The upper one is named where there is room, else on hover.

    Args:
        table: Rows of the table "defenses" of one budget.
        transfer: One of `TRANSFERS`.
        cost: A column of it that the points are as large as; None for points of one size.
    """
    marks = points(table, transfer)
    spot = labels.placed(marks["clean"], marks["accuracy"], marks["name"], marks["named"])
    marks["place"] = [place if named else "" for place, named in zip(spot, marks["named"], strict=True)]
    reach = labels.domain(pd.concat([marks["accuracy"], marks["low"], marks["high"]]))
    percent = theme.percent_axis()
    clean = alt.Scale(domain=labels.domain(marks["clean"]), nice=False)
    x = alt.X("clean:Q", title="clean accuracy", axis=percent, scale=clean)
    y = alt.Y("accuracy:Q", title="accuracy under attack", axis=percent, scale=alt.Scale(domain=reach, nice=False))
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
    grey = alt.Legend(symbolFillColor=theme.GREY, symbolStrokeWidth=0)
    size = (
        alt.value(90)
        if cost is None
        else alt.Size(f"{cost}:Q", title=COSTS[cost], scale=alt.Scale(range=[40, 300]), legend=grey)
    )
    base = alt.Chart(marks)
    joined = base.mark_line(opacity=0.35, color="gray").encode(x=x, y=y, detail="name:N")
    lines = base.mark_rule(opacity=0.5, color="gray").encode(
        x=x, y=alt.Y("low:Q", title="accuracy under attack", scale=alt.Scale(domain=reach, nice=False)), y2="high:Q"
    )
    under = [UNDER[transfer], UNDER["white box"]]
    pointed = alt.selection_point(on="pointerover", clear="pointerout", fields=["name"], empty=False)
    shown = base.mark_point(filled=True, opacity=0.85).encode(
        x=x,
        y=y,
        size=size,
        color=alt.Color("attack:N", title="under", scale=alt.Scale(domain=under, range=list(theme.PALETTE[:2]))),
        shape=alt.Shape("attack:N", title="under", scale=alt.Scale(domain=under, range=["circle", "square"])),
        tooltip=tooltip,
    )
    hovered = base.transform_filter("datum.named && datum.place == ''").mark_text(
        align="left", dx=9, dy=-9, fontSize=11, fontWeight="bold", color=theme.GREY
    )
    hovered = hovered.encode(x=x, y=y, text="name:N", opacity=alt.condition(pointed, alt.value(1), alt.value(0)))
    layers = [joined, lines, shown.add_params(pointed), *labels.texts(base, x, y, "name"), hovered]
    return theme.whole(*layers, height=480)


def points(table: pd.DataFrame, transfer: str) -> pd.DataFrame:
    """One row a point: defence, what it is under, accuracy with limits, clean accuracy, costs; the upper is named."""
    name = defense_names(table)
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
