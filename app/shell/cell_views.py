"""Cells, sets and their images as pages show them, kept while the run does not change."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from carom.app.queries import cases as case_queries
from carom.app.queries import cells as cell_queries
from carom.app.queries import images as image_queries
from carom.app.queries import runs as run_queries
from carom.app.queries import surrogates as surrogate_queries
from carom.scenarios.store.lists import Pictures
from carom.scenarios.tables.table import Table

from .frame import Opened


@st.cache_data(show_spinner="Reading answers …", max_entries=16)
def _case_points(
    folder: str,
    run: str,
    counter: str,
    _cells: pd.DataFrame,
    fixed: Sequence[str],
    attack: str | None,
    config: str | None,
    measure: case_queries.Measure,
) -> pd.DataFrame:
    del counter  # read again only when what the run shows has changed
    return case_queries.some_case_points(
        Path(folder), run, _cells, fixed, attack=attack, config=config, measure=measure
    )


def case_points(
    opened: Opened,
    view: run_queries.View,
    fixed: Sequence[str],
    attack: str | None,
    config: str | None,
    measure: case_queries.Measure,
) -> pd.DataFrame:
    """As `case_queries.some_case_points`."""
    return _case_points(
        str(opened.folder), opened.run.id, opened.counter, view.cells, list(fixed), attack, config, measure
    )


@st.cache_data(show_spinner="Reading answers …", max_entries=16)
def _effects(
    folder: str, run: str, counter: str, _cells: pd.DataFrame, budget: str, attack: str | None, config: str | None
) -> Table:
    del counter
    return case_queries.some_effects(Path(folder), run, _cells, budget=budget, attack=attack, config=config)


def effects(opened: Opened, view: run_queries.View, budget: str, attack: str | None, config: str | None) -> Table:
    """As `case_queries.some_effects`."""
    return _effects(str(opened.folder), opened.run.id, opened.counter, view.cells, budget, attack, config)


@st.cache_data(show_spinner="Reading answers …", max_entries=16)
def _compared(
    folder: str,
    run: str,
    counter: str,
    _cells: pd.DataFrame,
    _costs: pd.DataFrame,
    budget: str,
    attack: str | None,
) -> surrogate_queries.Compared:
    del counter
    return surrogate_queries.compared(Path(folder), run, _cells, _costs, budget=budget, attack=attack)


def compared(
    opened: Opened, view: run_queries.View, costs: pd.DataFrame, budget: str, attack: str | None
) -> surrogate_queries.Compared:
    """As `surrogate_queries.compared`."""
    return _compared(str(opened.folder), opened.run.id, opened.counter, view.cells, costs, budget, attack)


@st.cache_data(show_spinner=False, max_entries=4)
def _sets(folder: str, run: str, counter: str) -> pd.DataFrame:
    del counter
    return image_queries.adversarial_sets(Path(folder), run)


def adversarial_sets(opened: Opened) -> pd.DataFrame:
    """As `image_queries.adversarial_sets`."""
    return _sets(str(opened.folder), opened.run.id, opened.counter)


@st.cache_data(show_spinner=False, max_entries=16)
def _answering(folder: str, run: str, counter: str, adversarial_set: int) -> pd.DataFrame:
    del counter
    return cell_queries.answering(Path(folder), run, adversarial_set)


def answering(opened: Opened, adversarial_set: int) -> pd.DataFrame:
    """As `cell_queries.answering`."""
    return _answering(str(opened.folder), opened.run.id, opened.counter, adversarial_set)


@st.cache_data(show_spinner="Reading answers …", max_entries=16)
def _answered(
    folder: str, run: str, counter: str, adversarial_set: int, victims: tuple[int, ...]
) -> cell_queries.Answered:
    del counter
    return cell_queries.answered(Path(folder), run, adversarial_set, victims)


def answered(opened: Opened, adversarial_set: int, victims: Sequence[int]) -> cell_queries.Answered:
    """As `cell_queries.answered`."""
    return _answered(str(opened.folder), opened.run.id, opened.counter, adversarial_set, tuple(victims))


@st.cache_data(show_spinner="Reading images …", max_entries=32)
def _pictures(
    folder: str, run: str, counter: str, adversarial_set: int, places: tuple[int, ...]
) -> tuple[Pictures, Pictures]:
    del counter
    return image_queries.pictures(Path(folder), run, adversarial_set, places)


def pictures(opened: Opened, adversarial_set: int, places: Sequence[int]) -> tuple[Pictures, Pictures]:
    """As `image_queries.pictures`."""
    return _pictures(str(opened.folder), opened.run.id, opened.counter, adversarial_set, tuple(places))


@st.cache_data(show_spinner="Reading the image …", max_entries=16)
def _one_image(folder: str, run: str, counter: str, sets: pd.DataFrame, image: int) -> image_queries.OneImage:
    del counter
    return image_queries.one_image(Path(folder), run, sets, image)


def one_image(opened: Opened, sets: pd.DataFrame, image: int) -> image_queries.OneImage:
    """As `image_queries.one_image`."""
    return _one_image(str(opened.folder), opened.run.id, opened.counter, sets, image)
