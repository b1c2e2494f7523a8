"""Cells, sets and their images as pages show them, kept while the store does not change."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from carom.app.queries import cases as case_queries
from carom.app.queries import cells as cell_queries
from carom.app.queries import images as image_queries
from carom.app.queries import runs as run_queries
from carom.scenarios.store.lists import Pictures

from .frame import Opened


@st.cache_data(show_spinner="Reading answers …", max_entries=16)
def _case_points(
    folder: str,
    run: str,
    counter: int,
    _cells: pd.DataFrame,
    fixed: Sequence[str],
    attack: str | None,
    config: str | None,
) -> pd.DataFrame:
    del counter  # read again only when the store's change counter has moved
    return case_queries.some_case_points(Path(folder), run, _cells, fixed, attack=attack, config=config)


def case_points(
    opened: Opened, view: run_queries.View, fixed: Sequence[str], attack: str | None, config: str | None
) -> pd.DataFrame:
    """As `case_queries.some_case_points`."""
    return _case_points(str(opened.folder), opened.run.id, opened.counter, view.cells, list(fixed), attack, config)


@st.cache_data(show_spinner=False, max_entries=4)
def _sets(folder: str, run: str, counter: int) -> pd.DataFrame:
    del counter
    return image_queries.adversarial_sets(Path(folder), run)


def adversarial_sets(opened: Opened) -> pd.DataFrame:
    """As `image_queries.adversarial_sets`."""
    return _sets(str(opened.folder), opened.run.id, opened.counter)


@st.cache_data(show_spinner=False, max_entries=16)
def _answering(folder: str, run: str, counter: int, adversarial_set: int) -> pd.DataFrame:
    del counter
    return cell_queries.answering(Path(folder), run, adversarial_set)


def answering(opened: Opened, adversarial_set: int) -> pd.DataFrame:
    """As `cell_queries.answering`."""
    return _answering(str(opened.folder), opened.run.id, opened.counter, adversarial_set)


@st.cache_data(show_spinner="Reading answers …", max_entries=16)
def _answered(
    folder: str, run: str, counter: int, adversarial_set: int, victims: tuple[int, ...]
) -> cell_queries.Answered:
    del counter
    return cell_queries.answered(Path(folder), run, adversarial_set, victims)


def answered(opened: Opened, adversarial_set: int, victims: Sequence[int]) -> cell_queries.Answered:
    """As `cell_queries.answered`."""
    return _answered(str(opened.folder), opened.run.id, opened.counter, adversarial_set, tuple(victims))


@st.cache_data(show_spinner="Reading images …", max_entries=32)
def _pictures(
    folder: str, run: str, counter: int, adversarial_set: int, places: tuple[int, ...]
) -> tuple[Pictures, Pictures]:
    del counter
    return image_queries.pictures(Path(folder), run, adversarial_set, places)


def pictures(opened: Opened, adversarial_set: int, places: Sequence[int]) -> tuple[Pictures, Pictures]:
    """As `image_queries.pictures`."""
    return _pictures(str(opened.folder), opened.run.id, opened.counter, adversarial_set, tuple(places))
