"""The charts of one cell: ASR within each class, and what the victim answered before and after."""

import altair as alt
import pandas as pd

from carom.scenarios.charts import theme

CLICKED = "answers"  # name of the selection of a click: the clean and the adversarial answer
MOST_CLASSES = 40  # drawn; the data to take along has all
WRITTEN = 10  # up to so many classes each field also says its number


def by_class(table: pd.DataFrame) -> alt.LayerChart:
    """ASR with its 95% interval within each true class.

    Args:
        table: Rows of one cell of `class_rates`, with a column interval.
    """
    base = alt.Chart(table).encode(
        x=alt.X("class:N", title="true class", sort=list(table["class"]), axis=alt.Axis(labelAngle=-90, labelLimit=140))
    )
    marks = theme.interval_marks(
        base,
        alt.Y("asr:Q", title="ASR", scale=theme.SHARE, axis=theme.percent_axis()),
        size=70,
        color=alt.value(theme.PALETTE[0]),
        tooltip=[
            alt.Tooltip("class:N", title="true class"),
            alt.Tooltip("asr:Q", title="ASR", format=".1%"),
            alt.Tooltip("interval:N", title="95% interval"),
            alt.Tooltip("k:Q", title="k, fooled", format=","),
            alt.Tooltip("n:Q", title="n, right on clean images", format=","),
        ],
    )
    return theme.whole(*marks, height=340)


def confusion(table: pd.DataFrame, classes: list[str]) -> alt.LayerChart:
    """How often a victim's answer to the clean image became another one to the adversarial image.

    Args:
        table: As from `queries.confusion`.
        classes: Their order.
    """
    there = [c for c in classes if c in {*table["clean"], *table["adversarial"]}]
    base = alt.Chart(table).encode(
        x=alt.X("adversarial:N", title="answer to the adversarial image", sort=there, axis=_axis(-90)),
        y=alt.Y("clean:N", title="answer to the clean image", sort=there, axis=_axis(0)),
        tooltip=[
            alt.Tooltip("clean:N", title="clean"),
            alt.Tooltip("adversarial:N"),
            alt.Tooltip("images:Q", format=","),
            alt.Tooltip("share:Q", title="of this clean answer", format=".1%"),
        ],
    )
    scale = alt.Scale(scheme="viridis", domain=[0, 1])
    legend = alt.Legend(format=".0%", title="of the row", gradientLength=120, orient="top")
    clicked = alt.selection_point(name=CLICKED, fields=["clean", "adversarial"], on="click", clear="dblclick")
    fields = base.mark_rect(cursor="pointer").encode(color=alt.Color("share:Q", scale=scale, legend=legend))
    layers: list[alt.Chart] = [fields.add_params(clicked)]
    if len(there) <= WRITTEN:
        ink = alt.condition(alt.datum.share > 0.45, alt.value("black"), alt.value("white"))
        layers.append(base.mark_text(fontSize=11).encode(text="images:Q", color=ink))
    return theme.whole(*layers, height=420)


def _axis(angle: int) -> alt.Axis:
    return alt.Axis(labelLimit=140, labelOverlap=False, labelAngle=angle)
