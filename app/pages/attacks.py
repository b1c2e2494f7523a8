"""Attacks: what they reach, over their radius, their steps, their passes and how visible they are."""

from dataclasses import replace

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from carom.app.charts.radius import radii
from carom.app.queries import attacks as attack_queries
from carom.app.queries import cells as cell_queries
from carom.app.queries import methods as method_queries
from carom.app.queries import runs as run_queries
from carom.app.shell import parts, views, words
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, choices, show
from carom.scenarios.charts.curves import curves, eps_ticks, grown, traced
from carom.scenarios.charts.dots import dots
from carom.scenarios.charts.scatter import efficient, scatter
from carom.scenarios.tables.table import INTERVAL, interval_words

TABLES = ("equal-attack-cost", "by-attack", "sets")
SEEN = {"L2": "mean L2 of the change, pixels in [0, 1]", "SSIM": "mean SSIM with the clean image, 1 is equal"}
ANY = "any"


def page(opened: Opened) -> float:
    """What attacks reach, and at what cost."""
    view, seconds, there = views.begun(opened, "Attacks")
    if there:
        attacks(opened, view)
    return seconds


def attacks(opened: Opened, view: run_queries.View) -> None:
    """What attacks reach: in order, over their radius, their steps, their passes, and how visible they are."""
    tables = {t.name: t for t in view.tables}
    if "by-attack" not in tables:
        st.info("No surrogate's set has met a victim of other weights yet; without that no attack can be compared.")
        return
    budget = choices(opened, cell_queries.attacked(view.cells), attacks=False).budget
    aimed = budget.endswith(" targeted")
    of_goal = tables["by-attack"].frame
    if "targeted" in of_goal:  # the budget says the goal
        of_goal = of_goal[of_goal["targeted"].isin([True, "True"]) == aimed].reset_index(drop=True)
    frame, apart = method_queries.by_kind(replace(tables["by-attack"], frame=of_goal))
    line = st.container(horizontal=True)
    if apart:
        kinds = list(dict.fromkeys(frame["kind"]))
        kind = pick(line.selectbox, f"Rows ({', '.join(apart)})", kinds, "kind", kinds[0], help=KINDS, width=300)
        frame = frame[frame["kind"] == kind]
    here = frame[frame["budget"] == budget.removesuffix(" targeted")]
    met = method_queries.beside_sets(here, tables["sets"].frame) if "sets" in tables else here.iloc[:0]
    if here.empty:
        st.info("No attack of these rows has this budget; choose others.")
    else:
        in_order(here, met, budget, line)
    left, right = st.columns(2, gap="medium")
    with left:
        over_eps(attack_queries.without_snapshots(frame), budget)
        if len(met):
            against_passes(attack_queries.without_snapshots(met), budget)
    with right:
        over_steps(here, budget)
        if len(met):
            against_visibility(attack_queries.without_snapshots(met), budget)
            smallest_success(met, budget)
    parts.folded([tables[name] for name in TABLES if name in tables])
    words.papers(frame["attack"])


KINDS_OF_RANK = (attack_queries.TIED, attack_queries.BELOW)
KINDS = "Rows that no figure may mix: other goals, readers, recipes or defences of surrogate (s) and victim (v)."


def in_order(here: pd.DataFrame, met: pd.DataFrame, budget: str, line: DeltaGenerator) -> None:
    """Attacks by what they reach, of all or of those that take few passes."""
    limits = [str(cost) for cost in attack_queries.COSTS] if len(met) and (met["passes per image"] > 0).any() else []
    cost = pick(line.segmented_control, "Passes, at most", [ANY, *limits], "passes", ANY) if limits else ANY
    found = attack_queries.ranked(here if cost == ANY else met, None if cost == ANY else int(cost))
    if found.empty:
        st.info(f"No attack takes at most {cost} passes an image; allow more.")
        return
    drawn = found.assign(**{INTERVAL: interval_words(found["low"], found["high"])})
    parts.figure(
        dots(drawn, rows=list(drawn["label"]), across="ASR on victims of other weights", kinds=KINDS_OF_RANK),
        drawn,
        "attacks-ranked",
        f"ASR in percent, {budget}"
        + ("" if cost == ANY else f", of attacks that take at most {cost} passes an image")
        + f"; C0 excluded. {words.rests(found)}",
        title=attack_queries.finding(found),
        computed="k / n, pooled over all surrogates and victims of an attack. Tied are attacks whose interval meets "
        "that of the first; all met the same models and images, so a paired test may still tell them apart. The order "
        "is read off these very images: with validation victims the table of equal attack cost, under Data, chooses "
        "there and reports here. Snapshots of a trace are left out.",
    )


def over_eps(frame: pd.DataFrame, budget: str) -> None:
    """ASR over eps, where an attack met several."""
    rows = grown(frame)
    if rows.empty:
        st.caption(
            "ASR over eps: no attack of these rows met two radii; several `budgets` in a scenario draw the figure."
        )
        return
    norms = list(dict.fromkeys(rows["norm"]))
    norm = budget.split(" ")[0] if budget.split(" ")[0] in norms else norms[0]
    rows = rows[rows["norm"] == norm].reset_index(drop=True)
    parts.figure(
        curves(rows, line="attack", across="radius", title=f"eps ({norm}), pixels in [0, 1]", ticks=eps_ticks(rows)),
        rows,
        "asr-over-eps",
        f"ASR over the radius, {norm}; C0 excluded. {words.greys(rows, 'attack', 'radius')}"
        f"{words.rests(rows, 'bands')}",
        title="ASR over eps",
        width=parts.HALF,
    )


def over_steps(here: pd.DataFrame, budget: str) -> None:
    """ASR over the steps of a trace, where a scenario keeps some."""
    rows = traced(here)
    if rows.empty:
        st.caption("ASR over steps: no attack of these rows keeps its steps; `trace = [1, 2, 5]` of an attack does.")
        return
    parts.figure(
        curves(rows, line="trace", across="step", title="steps, log", log=True),
        rows,
        "asr-over-steps",
        f"ASR of the images after so many steps of one trace, {budget}; C0 excluded. "
        f"{words.greys(rows, 'trace', 'step')}{words.rests(rows, 'bands')}",
        title="ASR over steps",
        width=parts.HALF,
    )


def against_passes(met: pd.DataFrame, budget: str) -> None:
    """What an attack reaches for what it takes."""
    if not (met["passes per image"] > 0).any():
        return
    met = met.assign(**{"best within its passes": efficient(met, "passes per image")})
    parts.figure(
        scatter(
            met,
            name="attack",
            across="passes per image",
            title="forward and backward passes per image, log",
            log=True,
            told={"passes per image": ".0f", "n": ","},
            marked="best within its passes",
        ),
        met,
        "asr-against-passes",
        f"ASR over the passes that an image takes, {budget}; C0 excluded. {words.rests(met)}",
        title="ASR over passes",
        computed="Best within its passes: no attack here reaches as much for fewer. That is read off these very "
        "images, and says nothing of whether the next one is worse: see the intervals.",
        width=parts.HALF,
    )


def against_visibility(met: pd.DataFrame, budget: str) -> None:
    """Strength against visibility."""
    known = [c for c in SEEN if met[c].notna().any()]
    if not known:
        return
    seen = pick(st.segmented_control, "Visibility", known, "visibility", known[0])
    met = met.assign(**{"best for its visibility": efficient(met, seen, least=seen != "SSIM")})
    parts.figure(
        scatter(
            met,
            name="attack",
            across=seen,
            title=SEEN[seen],
            told={"L2": ".3g", "SSIM": ".3f", "n": ","},
            marked="best for its visibility",
        ),
        met,
        "strength-against-visibility",
        f"ASR over the {SEEN[seen]}, {budget}; C0 excluded; L2 and SSIM are means over the images of all sets of an "
        f"attack. {words.rests(met)}",
        title="Strength against visibility",
        width=parts.HALF,
    )


def smallest_success(met: pd.DataFrame, budget: str) -> None:
    """How far the smallest changes are that attacks found."""
    found = attack_queries.smallest(met)
    if found.empty:
        return
    best = found.iloc[0]
    parts.figure(
        radii(found, budget.split(" ")[0]),
        found,
        "smallest-success",
        f"Median distance, over images, of the smallest change that fools the surrogate, {budget}; mean over sets. "
        "Medians have no interval here.",
        title=f"{best['attack']} finds the smallest success: {best['radius']:.2g}",
        computed="Of attacks that look for the smallest perturbation instead of filling a ball. An image that was "
        "never fooled counts as farther than all others.",
        width=parts.HALF,
    )


show(page)
