"""The chart of what attackers achieve against a model, by what they know: a rung for each level, noise at the foot."""

from collections.abc import Mapping

import altair as alt
import pandas as pd

from carom.scenarios.statistics.knowledge import ANSWERS, KNOWN, NOTHING, WEIGHTS

from . import dots, theme
from .cases import ACROSS

RUNGS: Mapping[str, str] = {
    WEIGHTS: "its weights",
    ANSWERS: "its answers",
    "C1": "C1 · same training",
    "C2": "C2 · other balance",
    "C3": "C3 · other network",
    "C4": "C4 · balance, network",
    "C5": "C5 · other source",
    "C6": "C6 · source, balance",
    "C7": "C7 · source, network",
    "C8": "C8 · all three",
    "C?": "unknown training",
    NOTHING: "noise of that size",
}
"""What each level of knowledge is called on the axis, the highest first."""


def ladder(table: pd.DataFrame) -> alt.LayerChart:
    """ASR with its 95% interval at each level of what an attacker knows, of one model or of some beside each other.

    Args:
        table: Rows of the table "by-knowledge", with the column series (a short name of the model), at most
            `theme.SERIES` of them.
    """
    rows = rungs(table["knows"])
    drawn = table.assign(label=table["knows"].map(RUNGS))
    series = list(dict.fromkeys(drawn["series"]))
    place = alt.X("asr:Q", title=ACROSS, axis=theme.percent_axis(tickCount=10), scale=theme.SHARE)
    joined = []
    if len(series) == 1:  # lines of several would cross between the rows
        order = drawn.assign(rank=drawn["knows"].map(KNOWN.index)).sort_values("rank")
        line = alt.Chart(order[["label", "asr", "rank"]]).mark_line(color=theme.GREY, opacity=0.5, strokeWidth=1)
        joined = [line.encode(x=place, y=dots.row_axis(rows), order="rank:Q")]
    return theme.whole(*joined, *dots.layers(drawn, rows, ACROSS), height=dots.height(drawn, rows))


def rungs(levels: "pd.Series[str]") -> list[str]:
    """The names of the levels that are there, the highest first."""
    there = set(levels)
    return [name for level, name in RUNGS.items() if level in there]
