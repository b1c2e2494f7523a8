"""The chart of ASR against something: what it costs, how visible it is, how flat the loss is."""

from collections.abc import Mapping

import altair as alt
import numpy as np
import pandas as pd

from . import labels, theme

OTHERS, BEST = theme.PALETTE[:2]


def scatter(
    table: pd.DataFrame,
    *,
    name: str,
    across: str,
    title: str,
    log: bool = False,
    told: Mapping[str, str] | None = None,
    marked: str | None = None,
    band: tuple[float, float] | None = None,
) -> alt.LayerChart:
    """One point a row with its 95% interval; names where there is room, the others on hover.

    Args:
        table: With columns asr, low and high, from 0 to 1, "95% interval", and those that are named here.
        name: Column that names a point.
        across: Column of the other axis.
        title: Of that axis, with its unit.
        log: Whether it is logarithmic; rows of 0 or less then drop.
        told: Further columns of the tooltip, with their format; "" for words.
        marked: Column that says which points are best, drawn apart; its name is the legend's title.
        band: Of ASR, shaded from side to side.
    """
    rows = table[np.isfinite(table[across].astype(float)) & table["asr"].notna()].reset_index(drop=True)
    if log:
        rows = rows[rows[across] > 0].reset_index(drop=True)
    places = rows[across].astype(float)
    best = rows[marked].astype(bool) if marked else pd.Series(False, index=rows.index)
    at = (pd.Series(np.log(places)) if log else places, rows["asr"], rows[name], best)
    spot, narrow = labels.placed(*at), labels.placed(*at, width=labels.NARROW)
    rows = rows.assign(place=spot, narrow=narrow, best=best.map({True: "yes", False: "no"}))
    scale = alt.Scale(type="log" if log else "linear", domain=labels.domain(places, log=log), nice=False)
    x = alt.X(f"{across}:Q", title=title, scale=scale)
    reach = labels.domain(pd.concat([rows["asr"], rows["low"], rows["high"]]))
    percent = theme.percent_axis()
    up = alt.Scale(domain=reach, nice=False)
    y = alt.Y("asr:Q", title="ASR", axis=percent, scale=up)
    base = alt.Chart(rows)
    pointed = alt.selection_point(on="pointerover", clear="pointerout", fields=[name], empty=False)
    tooltip = [
        alt.Tooltip(f"{name}:N"),
        alt.Tooltip("asr:Q", title="ASR", format=".1%"),
        alt.Tooltip("95% interval:N"),
        *(alt.Tooltip(f"{c}:{'Q' if f else 'N'}", format=f) for c, f in (told or {}).items() if c in rows),
    ]
    lines, points = theme.interval_marks(base, y, faint=True, x=x, tooltip=tooltip)
    if marked:
        kinds, colours = ["yes", "no"], [BEST, OTHERS]
        legend = alt.Legend(title=marked, orient="top")
        points = points.encode(
            color=alt.Color("best:N", scale=alt.Scale(domain=kinds, range=colours), legend=legend),
            shape=alt.Shape("best:N", scale=alt.Scale(domain=kinds, range=["diamond", "circle"]), legend=legend),
        )
    else:
        points = points.encode(color=alt.value(OTHERS))
    points = points.add_params(pointed)
    hovered = base.mark_text(align="left", dx=9, dy=-9, fontSize=11, fontWeight="bold", color=theme.GREY).encode(
        x=x, y=y, text=f"{name}:N", opacity=alt.condition(pointed, alt.value(1), alt.value(0))
    )
    hovered = hovered.transform_filter(alt.datum.place == "")
    named = labels.texts(base, x, y, name)
    shade = alt.Chart(pd.DataFrame({"low": [band[0]], "high": [band[1]]})) if band is not None else None
    layers = [lines, points, *named, hovered]
    if shade is not None:
        behind = alt.Y("low:Q", title="ASR", axis=percent, scale=up)
        layers.insert(0, shade.mark_rect(opacity=0.18, color=theme.GREY).encode(y=behind, y2="high:Q"))
    return theme.whole(*layers, height=480)


def efficient(table: pd.DataFrame, cost: str, *, least: bool = True) -> "pd.Series[bool]":
    """Rows that no other beats: none has at least the ASR for at most the cost, and one of the two better.

    Args:
        table: With columns asr and the cost; a row without either is not efficient.
        cost: A column.
        least: Whether less of it is better; else more, as of SSIM.
    """
    costs = table[cost].astype(float) * (1 if least else -1)
    rates = table["asr"].astype(float)
    found = []
    for c, r in zip(costs, rates, strict=True):
        beaten = (rates >= r) & (costs <= c) & ((rates > r) | (costs < c))
        found.append(bool(np.isfinite(c) and np.isfinite(r) and not beaten.any()))
    return pd.Series(found, index=table.index, dtype=bool)
