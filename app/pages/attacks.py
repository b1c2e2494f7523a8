"""Attacks: what they reach, over their radius, their steps, their passes and how visible they are."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from carom.app.queries import methods as method_queries
from carom.app.shell import parts, views, words
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, header, show
from carom.scenarios.charts.curves import curves, eps_ticks, grown, traced
from carom.scenarios.charts.scatter import efficient, scatter
from carom.scenarios.tables.table import Table

TABLES = ("equal-attack-cost", "by-attack", "sets")
SEEN = {"L2": "mean L2 of the change, pixels in [0, 1]", "SSIM": "mean SSIM with the clean image, 1 is equal"}


def page(opened: Opened) -> float:
    """What attacks reach, and at what cost."""
    header(opened, "Attacks")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    if not views.explained(opened, view):
        attacks({t.name: t for t in view.tables})
    return seconds


def attacks(tables: Mapping[str, Table]) -> None:
    """What attacks reach, over their radius, their steps, their passes and how visible they are."""
    if "by-attack" not in tables:
        st.info("No surrogate's set has met a victim of other weights yet; without that no attack can be compared.")
        return
    frame, apart = method_queries.by_kind(tables["by-attack"])
    if apart:
        first, second = st.columns(2)
        kinds = list(dict.fromkeys(frame["kind"]))
        kind = pick(first.selectbox, f"Rows ({', '.join(apart)})", kinds, "kind", kinds[0], help=KINDS)
        frame = frame[frame["kind"] == kind]
    else:
        second = st.container()
    budgets = list(dict.fromkeys(frame["budget"]))
    budget = pick(second.selectbox, "Budget", budgets, "budget", budgets[-1])
    here = frame[frame["budget"] == budget]
    over_eps(frame)
    over_steps(here, budget)
    if "sets" in tables:
        met = method_queries.beside_sets(here, tables["sets"].frame)
        against_passes(met, budget)
        against_visibility(met, budget)
    for name in TABLES:
        if name in tables:
            parts.table(tables[name])
    words.papers(frame["attack"])


KINDS = "Rows that no figure may mix: other goals, readers, recipes or defences of surrogate (s) and victim (v)."


def over_eps(frame: pd.DataFrame) -> None:
    """ASR over eps, where an attack met several."""
    rows = grown(frame)
    if rows.empty:
        st.caption(
            "ASR over eps: no attack of these rows met two radii; several `budgets` in a scenario draw the figure."
        )
        return
    norms = list(dict.fromkeys(rows["norm"]))
    norm = pick(st.segmented_control, "Norm", norms, "norm", norms[0]) if len(norms) > 1 else norms[0]
    rows = rows[rows["norm"] == norm].reset_index(drop=True)
    parts.figure(
        curves(rows, line="attack", across="radius", title=f"eps ({norm}), pixels in [0, 1]", ticks=eps_ticks(rows)),
        rows,
        "asr-over-eps",
        f"ASR over the radius, {norm}; C0 excluded. {words.greys(rows, 'attack', 'radius')}"
        f"{words.rests(rows, 'bands')}",
        title="ASR over eps",
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
        f"ASR over the passes that an image takes, {budget}; C0 excluded. Best within its passes: no attack here "
        "reaches as much for fewer. That is read off these very images; what is reported as the best within 10, 50 and "
        f"200 passes is chosen on validation, in the table of equal attack cost. {words.rests(met)}",
        title="Best within P passes",
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
    )


show(page)
