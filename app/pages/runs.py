"""Runs: what ran, when, how far, on what, and what failed and why; two runs compared."""

from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from carom.app.queries import runs as run_queries
from carom.app.shell import parts, views
from carom.app.shell.address import pick
from carom.app.shell.frame import STANDS, Opened, header, moment, show
from carom.app.shell.plain import plain
from carom.scenarios.store.runs import Run

NONE = "no other run"


def page(opened: Opened) -> float:
    """All runs of the store, then the chosen one, and how it differs from another."""
    header(opened, "Runs")
    overview(opened.runs)
    about, seconds = views.about(opened)
    for shown in about:
        parts.table(shown)
    seconds += compared(opened)
    st.subheader("Scenario file")
    st.code(opened.run.text, language="toml", height=400)
    st.subheader("Where it ran")
    environment = {**opened.run.environment, **opened.run.environment.get("versions", {})}
    environment.pop("versions", None)
    words = [(str(k), ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for k, v in environment.items()]
    st.dataframe(pd.DataFrame(words, columns=["what", "value"]), hide_index=True)
    return seconds


def overview(runs: list[Run]) -> None:
    """Every run; a click on a row chooses it."""
    table = pd.DataFrame(
        [
            {
                "run": run.id,
                "state": STANDS[run_queries.state(run)],
                "outcomes": run.done / run.cells if run.cells else float("nan"),
                "cells": run.cells,
                "failed": run.failed,
                "task": run.task,
                "started (UTC)": moment(run.started),
                "took": took(run),
            }
            for run in runs
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        key="runs",
        selection_mode="single-row",
        on_select=lambda: chosen(st.session_state["runs"], [run.id for run in runs]),
        column_config={
            "outcomes": st.column_config.ProgressColumn(
                min_value=0,
                max_value=1,
                format="percent",
                color="gray",
                help="Share of the planned cells that have an outcome.",
            ),
            "failed": st.column_config.NumberColumn(help="Cells without an outcome since something failed."),
        },
    )
    if len(runs) > 1:
        st.caption("A click at the left of a row chooses that run, here and on every page.")


def chosen(table: Any, ids: list[str]) -> None:
    """Put the run of a clicked row into the address."""
    rows = table["selection"]["rows"]
    if rows:
        st.query_params["run"] = ids[rows[0]]


def took(run: Run) -> str:
    """From start to end, in words; nothing for a run that goes on or was imported."""
    if run.finished is None or run_queries.state(run) == "published":
        return "–"
    seconds = int((datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)).total_seconds())
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return (
        f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds % 60:02} s" if minutes else f"{seconds} s"
    )


def compared(opened: Opened) -> float:
    """How the chosen run differs from another one."""
    others = [run for run in opened.runs if run.id != opened.run.id and run_queries.state(run) != "published"]
    if not others or run_queries.state(opened.run) == "published":
        return 0.0
    st.subheader("Compared with another run")
    other = pick(
        st.selectbox,
        "Compare with",
        [NONE, *(run.id for run in others)],
        "other",
        NONE,
        help="The cells and images that both runs have, cell by cell: a is this one, b the run above.",
    )
    if other == NONE:
        return 0.0
    found, seconds = views.comparison(opened, other)
    if found.problem is not None:
        st.warning(plain(found.problem))
    for shown in found.tables:
        parts.table(shown)
    return seconds


show(page)
