"""Tables, figures and notices as every page shows them."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import altair as alt
import pandas as pd
import streamlit as st

from carom.app.queries import tables as table_queries
from carom.scenarios.cases import CONTROL
from carom.scenarios.charts import theme
from carom.scenarios.tables.table import Table

from .address import write
from .help import help_of
from .plain import plain

FORMATS = {"count": "{:,.0f}", "percent": "{:.1%}", "points": "{:+.1f}", "number": "{:.3g}"}
ROW = 35  # pixels
FILTERED = 10  # tables of more rows have a box to filter them
MOST = 2_000  # rows that are shown; a browser gets slow with more, and pandas styles no more than 262,144 fields
LINKED = {
    "by-attack": {"rows": "surrogate", "columns": "victim"},
    "by-surrogate": {"rows": "surrogate", "columns": "attack"},
    "by-victim": {"rows": "victim", "columns": "attack"},
    "cases-by-attack": {"rows": "surrogate", "columns": "victim"},
    "surrogates": {"rows": "surrogate_config", "columns": "victim"},
    "equal-attack-cost": {"rows": "surrogate_config", "columns": "victim"},
    "equal-training-cost": {"rows": "surrogate_config", "columns": "victim"},
    "compare-cells": {"rows": "surrogate", "columns": "victim"},
    "white-box-attacks": {"rows": "surrogate", "columns": "victim", "white-box": "with"},
}
"""Tables whose rows pool cells, and the axes of the matrix that shows these."""


def table(shown: Table) -> None:
    """A table with its notes, sorted by a click and filtered by words; all columns, as raw numbers, can be taken along.

    Each column says what it is on hover, and rows that name an attack, a surrogate or a victim lead to the matrix.
    """
    frame, shared = table_queries.displayed(shown)
    title = shown.title.split(": ", 1)[-1]
    st.subheader(plain(title[:1].upper() + title[1:]), help=help_of(shown.name.replace("-", " ")))
    links = cell_links(shown)
    if links is not None:
        frame.insert(0, "matrix", links)
    notes = [*([f"All rows: {', '.join(shared)}."] if shared else []), *shown.notes]
    if len(frame) > FILTERED:
        asked = write(
            st.text_input,
            f"Filter {shown.name}",
            f"filter-{shown.name}",
            label_visibility="collapsed",
            placeholder=f"Filter {len(frame):,} rows: words that a row has to hold",
            icon=":material/filter_alt:",
            help="Rows that hold all of these words in a column of words, whatever their case.",
        )
        frame = frame[holds(frame.drop(columns="matrix", errors="ignore"), asked)]
        if frame.empty:
            st.info(f"No row holds {plain(asked)}. Clear the filter, or look for a part of a name.")
            return
    if len(frame) > MOST:
        notes.insert(0, f"The first {MOST:,} of {len(frame):,} rows; filter for others, or take all along as CSV.")
        frame = frame.head(MOST)
    written: dict[Any, Any] = {c: FORMATS[f] for c, f in shown.forms.items() if f != "text" and c in frame}
    styled = frame.reset_index(drop=True).style.format(written, na_rep="–")
    if shown.name == "controls":
        styled = styled.apply(status_style, axis=1)
    explained: dict[str, Any] = {str(c): st.column_config.Column(help=help_of(str(c), shown.name)) for c in frame}
    if links is not None:
        explained["matrix"] = st.column_config.LinkColumn(
            help="Opens the matrix at this row.", display_text=":material/grid_on:", width="small", pinned=True
        )
    st.dataframe(
        styled,
        hide_index=True,
        placeholder="–",
        height=ROW * (min(len(frame), 16) + 1) + 3,
        column_config=explained,
    )
    if notes:
        st.caption("  \n".join(plain(note) for note in notes))
    st.download_button(
        "CSV",
        lambda: shown.frame.to_csv(index=False),
        file_name=f"{shown.name}.csv",
        mime="text/csv",
        key=f"csv-{shown.name}",
        on_click="ignore",
    )


def holds(frame: pd.DataFrame, words: str) -> "pd.Series[bool]":
    """Which rows hold every one of these words, in any of their columns of words."""
    text = [frame[c].astype(str).str.casefold() for c in frame if not pd.api.types.is_numeric_dtype(frame[c])]
    found = pd.Series(True, index=frame.index)
    for word in words.casefold().split():
        here = pd.Series(False, index=frame.index)
        for column in text:
            here |= column.str.contains(word, regex=False)
        found &= here
    return found


def cell_links(shown: Table) -> list[str | None] | None:
    """For each row the matrix that it pools, as an address; None for a table whose rows stand for no cells.

    A row of a control has none, as no surrogate made it; one that names a single pair opens that pair's cells.
    """
    frame = shown.frame
    if shown.name not in LINKED or not {"norm", "eps"} <= set(frame):
        return None
    place = {name: value for name in ("store", "run") if (value := st.query_params.get(name)) is not None}
    links: list[str | None] = []
    for row in frame.to_dict(orient="records"):
        number = row.get("case_number", 1)
        if number == CONTROL or row.get("surrogate") == "":
            links.append(None)
            continue
        budget = f"{row['norm']} {row['eps']}" + (" targeted" if row.get("targeted") in (True, "True") else "")
        where = {**place, "budget": budget, **LINKED[shown.name]}
        if "attack" in row:
            where["attack"] = str(row["attack"])
        if number == 0:
            where["white-box"] = "with"
        if shown.name == "compare-cells":
            where |= {"row": str(row["surrogate"]), "column": str(row["victim"])}
        links.append(f"matrix?{urlencode(where, quote_via=quote)}")
    return links


def folded(tables: Sequence[Table]) -> None:
    """Tables under one word, for who wants the numbers behind a page."""
    if tables:
        with st.expander("Data"):
            for shown in tables:
                table(shown)


def figure(
    chart: alt.LayerChart,
    data: pd.DataFrame,
    name: str,
    caption: str,
    *,
    title: str | None = None,
    computed: str | None = None,
    **more: Any,
) -> Any:
    """A chart with its caption, as PNG and SVG, and its data as CSV, to take along.

    Args:
        chart: What is drawn.
        data: What it shows, as raw numbers.
        name: For files.
        caption: One line: units, n, and what the intervals range over.
        title: Above it: what it shows, as a finding where one can be said; None for none.
        computed: How the numbers came about, for who asks.
        more: For `st.altair_chart`; with `on_select` what was selected is returned.
    """
    if title is not None:
        st.subheader(plain(title), help=help_of(title))
    event = st.altair_chart(chart, key=f"chart-{name}", alt=caption, **more)
    st.caption(plain(caption))
    if computed is not None:
        with st.expander("How computed"):
            st.markdown(plain(computed))
    files: list[tuple[str, str, Callable[[], bytes]]] = [
        ("PNG", "image/png", lambda: theme.png(chart)),
        ("SVG", "image/svg+xml", lambda: theme.svg(chart).encode()),
        ("CSV", "text/csv", lambda: data.to_csv(index=False).encode()),
    ]
    with st.container(horizontal=True):
        for kind, mime, content in files:
            suffix = kind.lower()
            st.download_button(
                kind, content, file_name=f"{name}.{suffix}", mime=mime, key=f"{suffix}-{name}", on_click="ignore"
            )
    return event


def controls_notice(tables: Sequence[Table]) -> None:
    """Controls that did not pass, above everything that rests on them."""
    bad = table_queries.troubles(tables)
    for status, notice, icon in (
        ("failed", st.error, ":material/error:"),
        ("warned", st.warning, ":material/warning:"),
    ):
        lines = [
            f"{status.capitalize()}: **{plain(row.control)}**. Expected {plain(row.expected)}; came {plain(row.came)}."
            for row in bad[bad["status"] == status].itertuples()
        ]
        if lines:
            advice = "Do not trust the numbers of this run before this is explained." if status == "failed" else ""
            notice("\n\n".join([*lines, advice]).strip(), icon=icon)


def status_style(row: "pd.Series[str]") -> list[str]:
    """Red behind a control that failed, amber behind one that warned; the word stands there too."""
    colour = {"failed": "rgba(214, 39, 40, 0.35)", "warned": "rgba(255, 170, 0, 0.30)"}.get(row["status"])
    return [f"background-color: {colour}" if colour else ""] * len(row)
