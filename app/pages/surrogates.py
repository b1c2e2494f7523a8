"""Surrogates: what ways of building them cost, and what that buys."""

import math

import pandas as pd
import streamlit as st

from carom.app.charts.effects import effects
from carom.app.charts.tdee import worths
from carom.app.queries import cells as cell_queries
from carom.app.queries import methods as method_queries
from carom.app.queries import runs as run_queries
from carom.app.queries import surrogates as surrogate_queries
from carom.app.shell import cell_views, parts, views, words
from carom.app.shell.address import pick
from carom.app.shell.frame import Chosen, Opened, choices, show
from carom.app.shell.plain import plain
from carom.errors import CaromError
from carom.scenarios.charts.costs import COSTS, costs
from carom.scenarios.charts.scatter import scatter

TABLES = ("surrogates", "equal-training-cost", "geometry")


def page(opened: Opened) -> float:
    """What surrogates cost, what that buys, and how flat their loss is."""
    view, seconds, there = views.begun(opened, "Surrogates")
    if there:
        surrogates(opened, view)
    return seconds


def surrogates(opened: Opened, view: run_queries.View) -> None:
    """What surrogates cost, what that buys, and how flat their loss is."""
    tables = {t.name: t for t in view.tables}
    if "surrogates" not in tables:
        st.info("This run does not compare ways of building a surrogate; `builder` in a scenario's surrogates does.")
        parts.folded([tables[name] for name in ("geometry", "by-surrogate") if name in tables])
        return
    frame = method_queries.with_budget(tables["surrogates"].frame)
    cells = cell_queries.attacked(view.cells)
    chosen = choices(opened, cells[cells["reads"] == "surrogate"])
    known = [cost for cost in COSTS if (frame[cost] > 0).any()]
    cost = pick(st.segmented_control, "Cost", known, "cost", known[0]) if known else ""
    whose = f"{chosen.attack or 'all attacks'}, {chosen.budget}"
    try:
        found = cell_views.compared(opened, view, tables["surrogates"].frame, chosen.budget, chosen.attack)
    except CaromError as error:
        st.warning(plain(error))
    else:
        left, right = st.columns([3, 2], gap="medium")
        with left:
            if known:
                against_cost(found, cost, whose)
            else:
                st.caption("What these surrogates cost is not known, so nothing is drawn over it.")
        with right:
            differences(found, whose)
            worth(frame, chosen)
        if "geometry" in tables:
            flatness(tables["geometry"].frame, found.rates, f"{whose}. {words.rests(found.rates)}")
    parts.folded([tables[name] for name in TABLES if name in tables])
    words.papers(frame["surrogate"])


def against_cost(found: surrogate_queries.Compared, cost: str, whose: str) -> None:
    """ASR over what a surrogate costs."""
    rates = found.rates[found.rates[cost] > 0].reset_index(drop=True)
    if rates.empty:
        st.info(f"No surrogate of this choice has known {cost}; choose another cost.")
        return
    single = rates[rates["surrogate"] == found.single]
    band = (float(single["low"].iloc[0]), float(single["high"].iloc[0])) if len(single) else None
    parts.figure(
        costs(
            rates, cost, marked=surrogate_queries.BETTER if len(found.differences) else "best at its cost", band=band
        ),
        rates,
        "surrogate-cost",
        f"ASR on all victims but a surrogate's own models, {whose}, over its cost."
        + (f" Shaded: the interval of {found.single}, a single network." if band else ""),
        title=surrogate_queries.finding(found),
        computed=f"{words.rests(rates)} Drawn apart is what is better than a single network of the same base for sure: "
        "its paired difference, beside, is above 0. A point within the shade may still be told apart in pairs, as "
        "all met the same images and victims.",
        width=parts.WIDE,
    )


def differences(found: surrogate_queries.Compared, whose: str) -> None:
    """Each surrogate minus a single network, in pairs."""
    if found.differences.empty:
        st.caption("No single network was read beside these surrogates, so there is no difference to draw.")
        return
    ranges = "; ".join(dict.fromkeys(found.differences["ranges over"]))
    parts.figure(
        effects(found.differences, title="points of ASR more than a single network", row="surrogate"),
        found.differences,
        "surrogate-differences",
        f"ASR minus that of a single network of the same base, {whose}. Bars: 95% intervals over {ranges}.",
        title="Paired differences from a single network",
        computed="Only cells that both have: the same attack, budget, seed, victim and images.",
        width=parts.SLIM,
    )


def worth(frame: pd.DataFrame, chosen: Chosen) -> None:
    """How many networks each surrogate is worth."""
    if "T-DEE" not in frame:
        return
    if chosen.attack is None:
        st.caption("T-DEE is read off a ladder of networks under one attack; choose an attack to see it.")
        return
    found = surrogate_queries.worths(frame[(frame["attack"] == chosen.attack) & (frame["budget"] == chosen.budget)])
    if found.empty:
        return
    built = found[found["T-DEE interval"] != "–"]  # the ladder itself is worth what it is
    title = f"{built['surrogate'].iloc[0]} is worth {built['T-DEE'].iloc[0]} networks" if len(built) else "T-DEE"
    parts.figure(
        worths(found),
        found,
        "t-dee",
        f"How many networks trained apart transfer as well, {chosen.attack}, {chosen.budget}; the tick: trainings "
        "that it takes. The interval stands on hover.",
        title=title,
        computed="T-DEE, the equivalent size of an ensemble: read off the ASR of ensembles of one base by their size; "
        "below one network it says <1, beyond the largest that was trained a >.",
        width=parts.SLIM,
    )


def flatness(geometry: pd.DataFrame, chosen: pd.DataFrame, rests: str) -> None:
    """Whether surrogates of a flatter loss transfer better."""
    measured, known = method_queries.measured(geometry, chosen)
    if not known:
        return
    measure = pick(st.selectbox, "Geometry measure", known, "geometry", known[0])
    found = measured[measured[measure].notna()].reset_index(drop=True)
    ranks = method_queries.rank_correlation(found, measure)
    said = f"Spearman's rank correlation {ranks:+.2f}" if math.isfinite(ranks) else "No rank correlation"
    parts.figure(
        scatter(
            found,
            name="surrogate",
            across=measure,
            title=f"{measure}, on training images" + (", log" if (found[measure] > 0).all() else ""),
            log=bool((found[measure] > 0).all()),
            told={measure: ".3g", "trainings": ".2f", "n": ",", "seeds": ","},
        ),
        found,
        "flatness",
        f"ASR over the {measure} of the surrogates' loss, mean over seeds. {said} over these {len(found)} "
        f"surrogates: a description of them, no claim about others. {rests}",
        title="Flatness against transfer",
    )


show(page)
