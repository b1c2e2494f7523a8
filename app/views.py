"""What pages read of a run, kept while the store does not change."""

import time
from pathlib import Path

import streamlit as st

from carom.app import parts, queries
from carom.app.frame import Opened
from carom.app.plain import plain


@st.cache_data(show_spinner="Reading the run …", max_entries=8)
def _read(folder: str, run: str, counter: int) -> tuple[queries.View, float]:
    del counter  # read again only when the store's change counter has moved
    start = time.perf_counter()
    return queries.view(Path(folder), run), time.perf_counter() - start


def of_run(opened: Opened) -> tuple[queries.View, float]:
    """The tables and cells of the chosen run, and the seconds that reading them took."""
    return _read(str(opened.folder), opened.run.id, opened.counter)


def explained(opened: Opened, view: queries.View) -> bool:
    """Say why there is no table of outcomes yet, and show what there is instead; False where there is one."""
    if view.problem is None:
        return False
    if queries.state(opened.run) == "waiting":
        st.info("No outcome yet. Tables appear here by themselves as soon as the first victims have answered.")
    elif opened.run.done:
        st.warning(plain(view.problem))
    else:
        st.info("This run has no outcome to show.")
    for shown in view.tables:
        parts.table(shown)
    return True
