"""Surrogates: what ways of building them cost, and what that buys."""

import math
from collections.abc import Mapping

import pandas as pd
import streamlit as st

from carom.app.queries import methods as method_queries
from carom.app.shell import parts, views, words
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, header, show
from carom.scenarios.charts.costs import COSTS, costs
from carom.scenarios.charts.scatter import scatter
from carom.scenarios.tables.table import Table

TABLES = ("surrogates", "equal-training-cost", "geometry")


def page(opened: Opened) -> float:
    """What surrogates cost, what that buys, and how flat their loss is."""
    header(opened, "Surrogates")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    if not views.explained(opened, view):
        surrogates({t.name: t for t in view.tables})
    return seconds


def surrogates(tables: Mapping[str, Table]) -> None:
    """What surrogates cost, what that buys, and how flat their loss is."""
    if "surrogates" not in tables:
        st.info("This run does not compare ways of building a surrogate; `builder` in a scenario's surrogates does.")
        for name in ("geometry", "by-surrogate"):
            if name in tables:
                parts.table(tables[name])
        return
    frame = method_queries.with_budget(tables["surrogates"].frame)
    first, second, third = st.columns(3)
    attack = pick(first.selectbox, "Attack", list(dict.fromkeys(frame["attack"])), "attack", frame["attack"].iloc[-1])
    budget = pick(second.selectbox, "Budget", list(dict.fromkeys(frame["budget"])), "budget", frame["budget"].iloc[-1])
    cost = pick(third.selectbox, "Cost", list(COSTS), "cost", "trainings")
    chosen = frame[(frame["attack"] == attack) & (frame["budget"] == budget)].reset_index(drop=True)
    if chosen.empty:
        st.info("No surrogate has this attack with this budget; choose others.")
    else:
        rests = f"{attack}, {budget}. {words.rests(chosen)}"
        if (chosen[cost] > 0).any():
            parts.figure(
                costs(chosen, cost),
                chosen,
                "surrogate-cost",
                f"ASR on all victims but a surrogate's own models, over its cost. {rests}",
                title="ASR against cost",
            )
        if "T-DEE" in chosen:
            parts.table(method_queries.worth(tables["surrogates"], chosen))
        if "geometry" in tables:
            flatness(tables["geometry"].frame, chosen, rests)
    for name in TABLES:
        if name in tables:
            parts.table(tables[name])
    words.papers(frame["surrogate"])


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
