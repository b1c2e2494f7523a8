"""What pages read of a run, kept while the run does not change."""

import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from carom.app.queries import runs as run_queries
from carom.scenarios.store.runs import Run
from carom.scenarios.tables.table import Table

from . import parts
from .frame import Opened, header
from .plain import plain


# Resources are handed out as they are: a copy of a million cells for each look would cost seconds and memory.
@st.cache_resource(show_spinner="Reading the run …", max_entries=4)
def _read(folder: str, run: str, counter: str) -> tuple[run_queries.View, float]:
    del counter  # read again only when what the run shows has changed
    start = time.perf_counter()
    return run_queries.view(Path(folder), run), time.perf_counter() - start


def of_run(opened: Opened) -> tuple[run_queries.View, float]:
    """The tables and cells of the chosen run, not to be changed, and the seconds that reading them took."""
    return _read(str(opened.folder), opened.run.id, opened.counter)


@st.cache_resource(show_spinner=False, max_entries=8)
def _about(folder: str, run: str, counter: str) -> tuple[Sequence[Table], float]:
    del counter
    start = time.perf_counter()
    return run_queries.about(Path(folder), run), time.perf_counter() - start


def about(opened: Opened) -> tuple[Sequence[Table], float]:
    """What failed in the chosen run, its jobs and its models, and the seconds that reading them took."""
    return _about(str(opened.folder), opened.run.id, opened.counter)


@st.cache_data(show_spinner=False, max_entries=8)
def _phases(folder: str, run: str, counter: str, _run: Run) -> pd.DataFrame:
    del run, counter
    return run_queries.phases(Path(folder), _run)


def phases(opened: Opened) -> pd.DataFrame:
    """As `run_queries.phases`."""
    return _phases(str(opened.folder), opened.run.id, opened.counter, opened.run)


@st.cache_resource(show_spinner="Comparing the runs …", max_entries=4)
def _comparison(folder: str, first: str, second: str, counter: str) -> tuple[run_queries.View, float]:
    del counter
    start = time.perf_counter()
    return run_queries.comparison(Path(folder), first, second), time.perf_counter() - start


def comparison(opened: Opened, other: str) -> tuple[run_queries.View, float]:
    """How the chosen run differs from another, and the seconds that reading took."""
    counters = [run.counter for run in opened.runs if run.id in (opened.run.id, other)]
    return _comparison(str(opened.folder), opened.run.id, other, " ".join(counters))


def begun(opened: Opened, title: str) -> tuple[run_queries.View, float, bool]:
    """The head of a page about outcomes: its title, how far the run is, and the controls that did not pass.

    Returns:
        What the run has, not to be changed; the seconds that reading it took; whether there are outcomes to show. Where
        there are none, the page has said why.
    """
    header(opened, title)
    view, seconds = of_run(opened)
    parts.controls_notice(view.tables)
    return view, seconds, not explained(opened, view)


def explained(opened: Opened, view: run_queries.View) -> bool:
    """Say why there is no table of outcomes yet, and show what there is instead; False where there is one."""
    if view.problem is None:
        return False
    if run_queries.state(opened.run) == "waiting":
        st.info("No outcome yet. Tables appear here by themselves as soon as the first victims have answered.")
    elif opened.run.done:
        st.warning(plain(view.problem))
    else:
        st.info("This run has no outcome to show.")
    for shown in view.tables:
        parts.table(shown)
    return True
