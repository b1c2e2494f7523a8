"""Methods: what surrogates, attacks and defences buy, and at what cost."""

from collections.abc import Sequence

import streamlit as st

from carom.app import cost_chart, defense_chart, parts, queries, views
from carom.app.address import pick
from carom.app.frame import Opened, header, show
from carom.scenarios.show import Shown

SURROGATES = ("surrogates", "equal-training-cost", "equal-attack-cost", "geometry")
DEFENSES = (
    "defenses",
    "defenses-intervals",
    "defenses-by-attacker",
    "label-leaking",
    "public-sources",
    "masking",
    "white-box-attacks",
    "defenses-by-victim",
    "game",
)
ATTACKS = ("by-attack", "cases-by-attack", "sets")
TABS = ("surrogates", "attacks", "defences")


def page(opened: Opened) -> float:
    """Three tabs; which is open stands in the address."""
    header(opened, "Methods")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    if views.explained(opened, view):
        return seconds
    tab = pick(
        st.segmented_control,
        "Methods",
        TABS,
        "methods",
        TABS[0],
        format_func=str.capitalize,
        label_visibility="collapsed",
    )
    by_name = {t.name: t for t in view.tables}
    if tab == "surrogates":
        surrogates([by_name[n] for n in SURROGATES if n in by_name])
    elif tab == "attacks":
        attacks(view, [by_name[n] for n in ATTACKS if n in by_name])
    else:
        defenses([by_name[n] for n in DEFENSES if n in by_name])
    return seconds


def surrogates(tables: Sequence[Shown]) -> None:
    """What surrogates cost and what that buys."""
    if not tables or tables[0].name != "surrogates":
        st.info("This run does not compare ways of building a surrogate; `builder` in a scenario's surrogates does.")
        return
    frame = tables[0].frame.assign(budget=lambda t: t["norm"] + " " + t["eps"])
    first, second, third = st.columns(3)
    attack = pick(first.selectbox, "Attack", list(dict.fromkeys(frame["attack"])), "attack", frame["attack"].iloc[-1])
    budget = pick(second.selectbox, "Budget", list(dict.fromkeys(frame["budget"])), "budget", frame["budget"].iloc[-1])
    cost = pick(third.selectbox, "Cost", list(cost_chart.COSTS), "cost", "trainings")
    chosen = frame[(frame["attack"] == attack) & (frame["budget"] == budget)]
    if chosen.empty:
        st.info("No surrogate has this attack with this budget; choose others.")
    else:
        parts.figure(
            cost_chart.chart(chosen, cost),
            chosen,
            "surrogate-cost",
            "Points: ASR on all victims but a surrogate's own models; lines: 95% intervals, as in the table.",
        )
    for shown in tables:
        parts.table(shown)


def attacks(view: queries.View, tables: Sequence[Shown]) -> None:
    """What attacks reach."""
    del view
    for shown in tables:
        parts.table(shown)


def defenses(tables: Sequence[Shown]) -> None:
    """What defences keep, under whose attacks, and what they cost."""
    if not tables or tables[0].name != "defenses":
        st.info("This run has no defended victim; `defense` in a scenario's victims makes one.")
        return
    frame = tables[0].frame.assign(budget=lambda t: t["norm"] + " " + t["eps"])
    first, second, third = st.columns(3)
    budgets = list(dict.fromkeys(frame["budget"]))
    budget = pick(first.selectbox, "Budget", budgets, "budget", budgets[-1])
    chosen = frame[frame["budget"] == budget]
    ways = [way for way in defense_chart.TRANSFERS if chosen[way].notna().any()]
    if ways:
        transfer = pick(
            second.selectbox, "Transfer", ways, "transfer", ways[0], format_func=defense_chart.UNDER.__getitem__
        )
        costs = [*defense_chart.known_costs(chosen), "none"]
        cost = pick(third.selectbox, "Size of the points", costs, "size", costs[0])
        parts.figure(
            defense_chart.chart(chosen, transfer, None if cost == "none" else cost),
            chosen,
            "defenses",
            "Points: accuracy over all images, clean errors included; lines: 95% intervals, as in the table. A white "
            "box above transfer is a sign of masked gradients, and stands in the table of such signs.",
        )
    else:
        st.info("No transfer attack with this budget met a defence; choose another.")
    for shown in tables:
        parts.table(shown)


show(page)
