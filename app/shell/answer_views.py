"""What page My model reads of one model, kept while the store does not change."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from carom.app.queries import model as model_queries
from carom.app.queries import runs as run_queries
from carom.scenarios.tables.table import Table

from .frame import Opened


@st.cache_data(show_spinner="Reading answers …", max_entries=16)
def _known_of(folder: str, run: str, counter: str, _cells: pd.DataFrame, victims: Sequence[str], attack: str) -> Table:
    del counter  # read again only when the store's change counter has moved
    return model_queries.known_of(Path(folder), run, _cells, victims, attack)


def known_of(opened: Opened, view: run_queries.View, victims: Sequence[str], attack: str) -> Table:
    """As `model_queries.known_of`."""
    return _known_of(str(opened.folder), opened.run.id, opened.counter, view.cells, list(victims), attack)


@st.cache_data(show_spinner="Reading answers …", max_entries=16)
def _exposed(folder: str, run: str, counter: str, asked: tuple[int, ...], _cells: pd.DataFrame) -> pd.DataFrame:
    del counter, asked
    return model_queries.exposed_classes(Path(folder), run, _cells)


def exposed(opened: Opened, cells: pd.DataFrame) -> pd.DataFrame:
    """As `model_queries.exposed_classes`."""
    asked = (int(cells["victim_id"].iloc[0]), *map(int, cells["set_id"]))
    return _exposed(str(opened.folder), opened.run.id, opened.counter, asked, cells)


@st.cache_data(show_spinner=False, max_entries=16)
def _loaded_by(folder: str, run: str, counter: str, text: str, label: str) -> dict[str, Any] | None:
    del counter
    return model_queries.loaded_by(Path(folder), run, text, label)


def loaded_by(opened: Opened, label: str) -> dict[str, Any] | None:
    """As `model_queries.loaded_by`."""
    return _loaded_by(str(opened.folder), opened.run.id, opened.counter, opened.run.text, label)
