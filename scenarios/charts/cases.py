"""The chart of attack success by case."""

import altair as alt
import pandas as pd

from carom.scenarios.cases import CASES

from . import dots, theme

CONTROL = "no surrogate"
FEW = 2  # up to so many cases the empty ones are left out
ACROSS = "ASR, attack success rate"
MEASURES = {
    "ASR": ACROSS,
    "robust accuracy": "robust accuracy, of all images",
    "lift": "lift, points of ASR above noise of the same size",
}


def cases(points: pd.DataFrame, published: pd.DataFrame, *, measure: str = "ASR") -> alt.LayerChart:
    """ASR with its 95% interval in each case; the white box and surrogate-free changes stand apart.

    Args:
        points: Columns case, mismatch, series, asr, low, high, n, cells, and "95% interval".
        published: Columns case, whose, asr; empty for none.
        measure: What the column asr holds, a key of `MEASURES`.
    """
    named, rows = rows_of(points, published)
    table = points.assign(label=points["case"].map(named))
    several = points["series"].nunique() > 1
    tooltip = [
        alt.Tooltip("case:N"),
        alt.Tooltip("mismatch:N", title="differ in"),
        alt.Tooltip("asr:Q", title=measure, format=".1%"),
        alt.Tooltip("95% interval:N"),
        alt.Tooltip(
            "n:Q", title="n, images" if measure == "robust accuracy" else "n, right on clean images", format=","
        ),
        alt.Tooltip("cells:Q", format=","),
        *([alt.Tooltip("series:N", title="levels")] if several else []),
    ]
    lowest = min(0.0, float(points["low"].min()), float(points["asr"].min())) if measure == "lift" else 0.0
    layers = dots.layers(table, rows, MEASURES[measure], tooltip, lowest=lowest)
    height = dots.height(table, rows)
    if not len(published):
        return theme.whole(*layers, height=height)
    theirs = alt.Chart(published.assign(label=published["case"].map(named))).mark_point(size=80, strokeWidth=1.5)
    layers.append(
        theirs.encode(
            x=alt.X("asr:Q", title=ACROSS, axis=theme.percent_axis(tickCount=10), scale=theme.SHARE),
            y=dots.row_axis(rows),
            color=alt.value(theme.GREY),
            shape=alt.Shape("whose:N", legend=alt.Legend(title="published", orient="top", labelLimit=300, columns=3)),
            tooltip=[
                alt.Tooltip("whose:N", title="published"),
                alt.Tooltip("their case:N"),
                alt.Tooltip("asr:Q", title="ASR", format=".1%"),
            ],
        )
    )
    lines = 1 + -(-published["whose"].nunique() // 3)
    figure: alt.LayerChart = theme.whole(*layers, height=height + dots.LEGEND * lines)
    apart: alt.LayerChart = figure.resolve_scale(shape="independent")
    return apart


def rows_of(points: pd.DataFrame, published: pd.DataFrame) -> tuple[dict[str, str], list[str]]:
    """What each case is called, and the rows from the top: the white box, the cases that transfer, the controls."""
    # others count the same weights as C1
    first = "same weights" if "same weights" in set(points.loc[points["case"] == "C1", "mismatch"]) else "another seed"
    words = {"C0": "same weights", "C1": first, **{c.name: c.mismatch for c in CASES[2:]}, "C?": "unknown"}
    words["control"] = CONTROL
    named = {name: f"{name} · {said}" for name, said in words.items()}
    there = {*points["case"], *published.get("case", [])}
    met = [c.name for c in CASES[1:]]
    if sum(name in there for name in met) <= FEW:
        met = [name for name in met if name in there]
    groups = [["C0"] * ("C0" in there), [*met, *["C?"] * ("C?" in there)], ["control"] * ("control" in there)]
    rows: list[str] = []
    for i, group in enumerate(group for group in groups if group):
        rows += [" " * i] * bool(i) + [named[name] for name in group]  # a row without a name keeps them apart
    return named, rows
