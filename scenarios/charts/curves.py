"""The chart of rates over a number, one line a name: what attacks reach over their radius, and over their steps."""

import json
from collections.abc import Mapping

import altair as alt
import pandas as pd

from carom.scenarios.statistics.outcomes import eps_value
from carom.scenarios.traces import trace_of

from . import labels, theme


def traced(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose attack is one step of a trace, such as "mi steps=10 @5", with columns trace and step."""
    found = [trace_of(attack) for attack in table["attack"]]
    rows = table[[of is not None for of in found]].reset_index(drop=True)
    traced = [of for of in found if of is not None]
    return rows.assign(trace=[attack for attack, _ in traced], step=[float(step) for _, step in traced])


def grown(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of attacks that met several radii of one norm, with the column radius, in pixel units of [0, 1]."""
    rows = table.assign(radius=[float(eps_value(str(eps))) for eps in table["eps"]])
    several = rows.groupby(["attack", "norm"])["radius"].transform("nunique") > 1
    return rows[several].reset_index(drop=True)


def eps_ticks(grown: pd.DataFrame) -> dict[float, str]:
    """Where an axis of radii is marked, as scenarios write it: 0.03137 is "8/255"."""
    return dict(zip(grown["radius"], grown["eps"].astype(str), strict=True))


def strongest(table: pd.DataFrame, line: str, across: str, most: int = theme.SERIES) -> list[str]:
    """The lines of the highest ASR at their largest place across, at most so many."""
    ends = table.sort_values(across).groupby(line, sort=False)["asr"].last()
    return [str(name) for name in ends.sort_values(ascending=False).index[:most]]


def curves(
    table: pd.DataFrame,
    *,
    line: str,
    across: str,
    title: str,
    log: bool = False,
    ticks: Mapping[float, str] | None = None,
) -> alt.LayerChart:
    """ASR over a number, one line an attack with a band of its 95% interval.

    The strongest have colours and shapes of their own, others are grey.

    Args:
        table: With columns asr, low, high, "95% interval", n, and those that are named here.
        line: Column whose values are joined.
        across: Column of numbers; above 0 where logarithmic.
        title: Of that axis, with its unit.
        log: Whether it is logarithmic.
        ticks: Where the axis is marked, and with what; by default at round numbers.
    """
    strong = strongest(table, line, across)
    first = [name for name in dict.fromkeys(table[line].astype(str)) if name in strong]
    others = "others"
    shown = table.assign(drawn=table[line].where(table[line].isin(first), others))
    known = [*first, *([others] if (shown["drawn"] == others).any() else [])]
    colours = [*theme.PALETTE[: len(first)], theme.OTHERS][: len(known)]
    marks = [*theme.SHAPES[: len(first)], "stroke"][: len(known)]
    columns = max(1, min(4, 100 // (max(map(len, known)) + 4)))
    # the band is nearly transparent, which the legend must not be
    legend = alt.Legend(title=line, labelLimit=420, orient="top", columns=columns, symbolOpacity=1)
    colour = alt.Color("drawn:N", scale=alt.Scale(domain=known, range=colours), legend=legend)
    places = alt.Scale(type="log" if log else "linear", domain=labels.domain(table[across].astype(float), log=log))
    axis: alt.Axis | alt.utils.schemapi.UndefinedType = alt.Undefined
    if ticks is not None:
        places_, words = (json.dumps(list(of)) for of in (ticks, ticks.values()))
        axis = alt.Axis(values=list(ticks), labelExpr=f"{words}[indexof({places_}, datum.value)]")
    x = alt.X(f"{across}:Q", title=title, scale=places, axis=axis)
    percent = theme.percent_axis()
    reach = alt.Scale(domain=labels.domain(pd.concat([table["asr"], table["low"], table["high"]])), nice=False)
    y = alt.Y("asr:Q", title="ASR", axis=percent, scale=reach)
    base = alt.Chart(shown)
    whom = alt.Detail(f"{line}:N")
    band = base.mark_area(opacity=0.14).encode(
        x=x, y=alt.Y("low:Q", title="ASR", axis=percent, scale=reach), y2="high:Q", color=colour, detail=whom
    )
    joined = base.mark_line().encode(x=x, y=y, color=colour, detail=whom)
    points = base.mark_point(filled=True, size=60).encode(
        x=x,
        y=y,
        color=colour,
        shape=alt.Shape("drawn:N", scale=alt.Scale(domain=known, range=marks), legend=legend),
        tooltip=[
            alt.Tooltip(f"{line}:N"),
            alt.Tooltip(f"{across}:Q"),
            alt.Tooltip("asr:Q", title="ASR", format=".1%"),
            alt.Tooltip("95% interval:N"),
            alt.Tooltip("n:Q", format=","),
        ],
    )
    return theme.whole(band, joined, points, height=400 + 22 * -(-len(known) // columns))
