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
from carom.scenarios.charts.differences import differences
from carom.scenarios.store.runs import Run
from carom.scenarios.tables.table import Form, Table

NONE = "no other run"
MOST = 40  # rows of a figure


def page(opened: Opened) -> float:
    """All runs of the store, then the chosen one, and how it differs from another."""
    header(opened, "Runs")
    overview(opened)
    about, seconds = views.about(opened)
    phases(opened)
    failed = [shown for shown in about if shown.name in ("failures", "failed-jobs")]
    for shown in failed:
        parts.table(shown)
    parts.folded([shown for shown in about if shown not in failed])
    seconds += compared(opened)
    st.subheader("Scenario file")
    st.code(opened.run.text, language="toml", height=400)
    st.subheader("Where it ran")
    environment = {**opened.run.environment, **opened.run.environment.get("versions", {})}
    environment.pop("versions", None)
    words = [(str(k), ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for k, v in environment.items()]
    st.dataframe(pd.DataFrame(words, columns=["what", "value"]), hide_index=True, placeholder="–")
    return seconds


def phases(opened: Opened) -> None:
    """How far each phase of the chosen run is, and what is left at the pace so far."""
    if run_queries.state(opened.run) == "published":
        return
    found = views.phases(opened)
    going = run_queries.state(opened.run) in ("waiting", "running")
    frame = found.assign(left=[span(left) if going else "–" for left in found["left"]])
    forms: dict[str, Form] = {"phase": "text", "done": "count", "planned": "count", "seconds": "number"}
    if going:
        forms["left"] = "text"
    notes = ["seconds: of one model, set or cell, as it came; what an earlier run had made counts as done."]
    if going:
        notes.append("left: at that pace, with as many jobs at once as so far; – where none is done yet.")
    parts.table(Table(name="phases", title="Phases", frame=frame, forms=forms, notes=notes))


def span(seconds: float) -> str:
    """Seconds in words, such as "about 12 min"."""
    if pd.isna(seconds):
        return "–"
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def overview(opened: Opened) -> None:
    """Every run; a click on a row chooses it."""
    runs = opened.runs
    table = pd.DataFrame(
        [
            {
                "chosen": "▶" if run.id == opened.run.id else "",
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
    others = [
        run
        for run in opened.runs
        if run.id != opened.run.id and run.task == opened.run.task and run_queries.state(run) != "published"
    ]
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
    tables = {shown.name: shown for shown in found.tables}
    for by in ("victim", "attack"):
        if (shown := tables.get(f"compare-by-{by}")) is not None:
            paired(shown, by, opened.run.id, other)
    parts.folded(found.tables)
    return seconds


def paired(shown: Table, by: str, first: str, second: str) -> None:
    """The differences of one table of a comparison."""
    frame = shown.frame
    if not frame["robust_difference"].abs().max() > 0:
        st.info(f"By {by}: no difference on the cells that both runs have.")
        return
    table = frame.rename(
        columns={"robust_difference": "difference", "robust_low": "low", "robust_high": "high"}
    ).sort_values("difference", kind="stable")
    parts.figure(
        differences(table.head(MOST), rows=by, across="difference of robust accuracy, in points"),
        table,
        f"compare-by-{by}",
        f"{second} minus {first}, on the cells and images that both have; bars: 95% intervals over images."
        + (f" The {MOST} lowest of {len(table):,}." if len(table) > MOST else ""),
        title=f"Robust accuracy by {by}, {_finding(table, by)}",
    )


def _finding(table: pd.DataFrame, by: str) -> str:
    """How many rows surely differ, and to which side."""
    less, more = int((table["high"] < 0).sum()), int((table["low"] > 0).sum())
    if not less and not more:
        return "none told apart"
    return " and ".join(f"{n} of {len(table)} {word}" for n, word in ((less, "lower"), (more, "higher")) if n)


show(page, every=True)
