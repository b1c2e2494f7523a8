"""The explorer: which runs there are, attack success by case, and who fools whom.

Started by `carom app`, which names the store in the environment; reads, never writes.
"""

import os
from pathlib import Path

import altair as alt
import pandas as pd
import streamlit as st

from carom.app import queries
from carom.errors import CaromError
from carom.scenarios.reader import Run
from carom.scenarios.show import Shown

AXES = ("surrogate", "surrogate_config", "source_s", "balance_s", "architecture_s")
OTHER = ("victim", "victim_config", "source_v", "balance_v", "architecture_v")
NAMES = {
    "surrogate": "surrogate",
    "surrogate_config": "surrogate's configuration",
    "source_s": "surrogate's source",
    "balance_s": "surrogate's balance",
    "architecture_s": "surrogate's architecture",
    "victim": "victim",
    "victim_config": "victim's configuration",
    "source_v": "victim's source",
    "balance_v": "victim's balance",
    "architecture_v": "victim's architecture",
}
STATUS = {"done": "done", "running": "running", "failed": "some jobs failed", "interrupted": "interrupted"}


@st.cache_data(show_spinner="Reading the run …", max_entries=8)
def read_view(folder: str, run: str, counter: int) -> queries.View:
    """A run; read again only when the store's change counter has moved."""
    del counter
    return queries.view(Path(folder), run)


def main() -> None:
    """The page."""
    st.set_page_config(page_title="carom", layout="wide")
    st.title("carom")
    folder = Path(os.environ.get("CAROM_STORE", ".carom"))
    try:
        counter, runs = queries.counter(folder), queries.runs(folder)
    except CaromError as error:
        st.info(str(error))
        return
    if not runs:
        st.info(f"{folder} holds no run yet. Run a scenario first, such as `carom demo`.")
        return
    run = choose(runs)
    header(run)
    view = read_view(str(folder), run.id, counter)
    if view.problem is not None:
        st.info(view.problem)
    else:
        cases, matrix, rest = st.tabs(["Cases", "Matrix", "More tables"])
        tables = {t.name: t for t in view.tables}
        with cases:
            for name in ("cases", "effects", "controls", "cases-by-attack"):
                if name in tables:
                    show(tables[name])
        with matrix:
            heat_map(view.cells, view.images)
        with rest:
            for name, table in tables.items():
                if name not in ("cases", "effects", "controls", "cases-by-attack"):
                    show(table)
    watch(str(folder), counter)


def choose(runs: list[Run]) -> Run:
    """The run that the address or the user names."""
    ids = [r.id for r in runs]
    asked = st.query_params.get("run")
    if asked is not None and asked not in ids:
        st.warning(f"This store has no run {asked!r}; showing the latest.")
    chosen = st.sidebar.selectbox("Run", ids, index=ids.index(asked) if asked in ids else 0)
    st.query_params["run"] = chosen
    with st.sidebar.expander("All runs"):
        table = pd.DataFrame(
            [{"run": r.id, "status": r.status, "cells": f"{r.done} of {r.cells}", "started": r.started} for r in runs]
        )
        st.dataframe(table, hide_index=True)
    return runs[ids.index(chosen)]


def header(run: Run) -> None:
    """What the run is and how far it is."""
    if run.description:
        st.text(run.description)
    environment = run.environment
    where = f"{environment.get('host', '?')}, {', '.join(environment.get('devices', []))}"
    columns = st.columns(4)
    columns[0].metric("Task", run.task)
    columns[1].metric("Status", STATUS.get(run.status, run.status))
    columns[2].metric("Cells with outcome", f"{run.done:,} of {run.cells:,}")
    columns[3].metric("Started", run.started.replace("T", " ").split("+")[0], help=f"on {where}")
    if run.done + run.failed < run.cells and run.status == "running":
        st.progress((run.done + run.failed) / run.cells)
    if run.failed:
        st.warning(f"{run.failed:,} cells have no outcome because something failed; see the table of failures.")
    with st.expander("Scenario file"):
        st.code(run.text, language="toml")


def show(shown: Shown) -> None:
    """A table with its notes; the raw numbers can be taken along."""
    st.subheader(shown.title)
    st.dataframe(shown.formatted(), hide_index=True)
    for note in shown.notes:
        st.caption(note)
    st.download_button("CSV", shown.frame.to_csv(index=False), file_name=f"{shown.name}.csv", key=f"csv-{shown.name}")


def heat_map(cells: pd.DataFrame, images: int) -> None:
    """Who fools whom."""
    attacks = list(dict.fromkeys(cells.loc[~cells["control"], "attack"]))
    if not attacks:
        st.info("This run has no adversarial set with an outcome yet.")
        return
    left, middle, right, last = st.columns(4)
    attack = left.selectbox("Attack", attacks)
    eps = middle.selectbox("eps", list(dict.fromkeys(cells.loc[cells["attack"] == attack, "eps"])))
    rows = right.selectbox("Rows", AXES, format_func=NAMES.__getitem__)
    columns = last.selectbox("Columns", OTHER, format_func=NAMES.__getitem__)
    table = queries.matrix(cells, attack, eps, rows, columns)
    if table.empty:
        st.info("No cell has both of these; choose others.")
        return
    chart = (
        alt.Chart(table)
        .mark_rect()
        .encode(
            x=alt.X(f"{columns}:N", title=NAMES[columns], sort=None),
            y=alt.Y(f"{rows}:N", title=NAMES[rows], sort=None),
            color=alt.Color("ASR:Q", scale=alt.Scale(scheme="viridis", domain=[0, 1]), title="ASR"),
            tooltip=[
                alt.Tooltip(f"{rows}:N"),
                alt.Tooltip(f"{columns}:N"),
                alt.Tooltip("ASR:Q", format=".1%"),
                alt.Tooltip("k:Q", title="fooled"),
                alt.Tooltip("n:Q", title="right on clean images"),
                alt.Tooltip("cells:Q"),
                alt.Tooltip("white_box:N", title="holds a white box"),
            ],
        )
        .properties(height=max(200, 22 * table[rows].nunique()))
    )
    st.altair_chart(chart)
    st.caption(
        f"ASR of {attack} at eps {eps}: fooled / right on clean images, {len(table)} fields over "
        f"{int(table['cells'].sum())} cells of {images} images; a surrogate on its own model "
        "is a white box."
    )
    st.download_button("CSV", table.to_csv(index=False), file_name="matrix.csv", key="csv-matrix")


@st.fragment(run_every=3)
def watch(folder: str, counter: int) -> None:
    """Show a run's new cells as they come."""
    try:
        moved = queries.counter(Path(folder)) != counter
    except CaromError:
        return
    if moved:
        st.rerun()


main()
