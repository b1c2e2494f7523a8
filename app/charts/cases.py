"""The charts of attack success by case, and of what a mismatch costs the attacker."""

from typing import Any

import altair as alt
import pandas as pd

from carom.scenarios.cases import CASES

# Okabe and Ito's colours, which people of all kinds of colour vision tell apart; black is left out for the dark theme
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999")
MOST_SERIES = len(COLOURS)
CONTROL = "no surrogate"
FEW = 2  # up to so many cases the empty ones are left out
MARGIN = 2.0  # points: effects that are surely smaller are called none
PERCENT = alt.Axis(format=".0%", tickMinStep=0.01)


def cases(points: pd.DataFrame, published: pd.DataFrame) -> alt.LayerChart:
    """ASR with its 95% interval in each case; the white box and surrogate-free changes stand apart on the left.

    Args:
        points: Columns case, mismatch, series, asr, low, high, n, cells, interval.
        published: Columns case, whose, asr; empty for none.
    """
    # others count the same weights as C1
    first = "same weights" if "same weights" in set(points.loc[points["case"] == "C1", "mismatch"]) else "another seed"
    left = [("C0", "same weights"), ("control", CONTROL)]
    right = [(c.name, first if c.number == 1 else c.mismatch) for c in CASES[1:]]
    # a word a line: names of ten cases stand side by side in a narrow window
    named = {name: "|".join((name, *words.split())) for name, words in (*left, *right)} | {"C?": "C?|unknown"}
    there = {*points["case"], *published.get("case", [])}
    if sum(name in there for name, _ in right) <= FEW:
        right = [(name, words) for name, words in right if name in there]
    apart = [named[name] for name, _ in left if name in there]
    domain = [*apart, *([" "] if apart else []), *(named[name] for name, _ in right)]
    domain += [named["C?"]] if "C?" in there else []
    series = list(dict.fromkeys(points["series"]))
    across = alt.X(
        "where:N",
        title="case, and in what surrogate and victim differ: D source, B balance, M architecture",
        scale=alt.Scale(domain=domain, paddingInner=0.25),
        axis=alt.Axis(
            labelExpr="split(datum.label, '|')", labelAngle=0, labelLimit=110, labelOverlap=False, ticks=False
        ),
    )
    base = alt.Chart(points.assign(where=points["case"].map(named))).encode(x=across)
    colour: Any = alt.value(COLOURS[0])
    aside: dict[str, Any] = {}
    if len(series) > 1:
        scale = alt.Scale(domain=series, range=list(COLOURS[: len(series)]))
        colour = alt.Color(
            "series:N", title="levels", scale=scale, legend=alt.Legend(orient="top", labelLimit=420, columns=2)
        )
        aside = {"xOffset": alt.XOffset("series:N", scale=alt.Scale(domain=series))}
    up = alt.Y("asr:Q", title="ASR", axis=PERCENT, scale=alt.Scale(domain=[0, 1]))
    reach = base.mark_rule(strokeWidth=2).encode(
        y=alt.Y("low:Q", title="ASR", scale=alt.Scale(domain=[0, 1])), y2="high:Q", color=colour, **aside
    )
    marks = base.mark_point(filled=True, size=90, opacity=1).encode(
        y=up,
        color=colour,
        tooltip=[
            alt.Tooltip("case:N"),
            alt.Tooltip("mismatch:N", title="differ in"),
            alt.Tooltip("asr:Q", title="ASR", format=".1%"),
            alt.Tooltip("interval:N", title="95% interval"),
            alt.Tooltip("n:Q", title="n, right on clean images", format=","),
            alt.Tooltip("cells:Q", format=","),
            *([alt.Tooltip("series:N", title="levels")] if len(series) > 1 else []),
        ],
        **aside,
    )
    layers = [reach, marks]
    if len(published):
        theirs = alt.Chart(published.assign(where=published["case"].map(named))).mark_point(size=80, strokeWidth=1.5)
        layers.append(
            theirs.encode(
                x=across,
                y=up,
                color=alt.value("#888888"),
                shape=alt.Shape("whose:N", title="published", legend=alt.Legend(orient="top", labelLimit=300)),
                tooltip=[
                    alt.Tooltip("whose:N", title="published"),
                    alt.Tooltip("their case:N"),
                    alt.Tooltip("asr:Q", title="ASR", format=".1%"),
                ],
            )
        )
    # Streamlit fits the legends into the height too
    height = 360 + (30 + 22 * ((len(series) + 1) // 2) if len(series) > 1 else 0) + (60 if len(published) else 0)
    whole: alt.LayerChart = alt.layer(*layers).properties(height=height).configure_view(strokeWidth=0)
    return whole


def effects(table: pd.DataFrame) -> alt.LayerChart:
    """Effect of each mismatch on ASR in points, with its interval, a line at none and a band that counts as none.

    Args:
        table: Columns name, effect, low, high (points; limits may be missing), interval, p, and `kind`.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    down = alt.Y("name:N", title=None, sort=list(dict.fromkeys(table["name"])), axis=alt.Axis(labelLimit=240))
    title = "effect of a mismatch on ASR, in points (mismatch minus match)"
    band = alt.Chart(pd.DataFrame({"low": [-MARGIN], "high": [MARGIN]})).mark_rect(opacity=0.15, color="#888888")
    none = alt.Chart(pd.DataFrame({"at": [0.0]})).mark_rule(strokeDash=[4, 3], color="#888888").encode(x="at:Q")
    colour: Any = alt.value(COLOURS[0])
    aside: dict[str, Any] = {}
    if len(kinds) > 1:
        scale = alt.Scale(domain=kinds, range=list(COLOURS[: len(kinds)]))
        colour = alt.Color("kind:N", title="attacks", scale=scale, legend=alt.Legend(orient="top"))
        aside = {"yOffset": alt.YOffset("kind:N", scale=alt.Scale(domain=kinds))}
    base = alt.Chart(table).encode(y=down, color=colour, **aside)
    marks = base.mark_point(filled=True, size=90, opacity=1).encode(
        x=alt.X("effect:Q", title=title, axis=alt.Axis(labelExpr="datum.value === 0 ? '0' : format(datum.value, '+')")),
        tooltip=[
            alt.Tooltip("name:N", title="mismatch in"),
            alt.Tooltip("effect:Q", title="effect, points", format="+.1f"),
            alt.Tooltip("interval:N", title="95% interval"),
            alt.Tooltip("p:Q", title="p (Holm)", format=".3g"),
            alt.Tooltip("kind:N", title="attacks"),
        ],
    )
    reach = base.transform_filter("isValid(datum.low)").mark_rule(strokeWidth=2)
    layers = [
        band.encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        none,
        reach.encode(x=alt.X("low:Q", title=title), x2="high:Q"),
        marks,
    ]
    height = 90 + 44 * table["name"].nunique() * max(1, (len(kinds) + 1) // 2)
    whole: alt.LayerChart = alt.layer(*layers).properties(height=height).configure_view(strokeWidth=0)
    return whole
