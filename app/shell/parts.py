"""Tables, figures and notices as every page shows them."""

import shlex
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
from .frame import stores
from .help import help_of
from .plain import plain

FORMATS: dict[str, Any] = {
    "count": "{:,.0f}",
    "percent": "{:.1%}",
    "points": lambda points: f"{round(points, 1) + 0.0:+.1f}",  # -0.0 is written as 0
    "number": "{:.3g}",
}
WIDTHS = {"as on the screen": None, "text, 174 mm": theme.TEXT, "column, 84 mm": theme.COLUMN}
ROW = 35  # pixels
WIDE, HALF, SLIM, FOLDED = 620, 505, 410, 370  # pixels of figures that stand beside others, or are folded there
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
    found = table_queries.displayed(shown)
    st.subheader(plain(heading(shown)), help=help_of(shown.name.replace("-", " ")))
    frame = found.frame
    words = frame.assign(**{c: [of.get(v, "") for v in frame[c]] for c, of in found.words.items()})
    links = cell_links(shown)
    if links is not None:
        frame.insert(0, "matrix", links)
    notes = [*([f"All rows: {', '.join(found.shared)}."] if found.shared else []), *shown.notes]
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
        frame = frame[holds(words, asked)]
        if frame.empty:
            st.info(f"No row holds {plain(asked)}. Clear the filter, or look for a part of a name.")
            return
    if len(frame) > MOST:
        notes.insert(0, f"The first {MOST:,} of {len(frame):,} rows; filter for others, or take all along as CSV.")
        frame = frame.head(MOST)
    st.dataframe(
        _styled(shown, found, frame.reset_index(drop=True)),
        hide_index=True,
        placeholder="–",
        height=ROW * (min(len(frame), 16) + 1) + 3,
        column_config=_columns(shown, found, frame),
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
        help=f"All columns of {shown.name}, as raw numbers.",
    )


def heading(shown: Table) -> str:
    """The title of a table; the run that it is of stands above all of them."""
    of, _, rest = shown.title.partition(": ")
    return rest[:1].upper() + rest[1:] if rest and of == st.query_params.get("run") else shown.title


def _styled(shown: Table, found: table_queries.Displayed, frame: pd.DataFrame) -> Any:
    """Numbers as they are, so that they sort as numbers, written as people read them."""
    written: dict[Any, Any] = {c: FORMATS[form] for c, form in found.forms.items()}
    written |= {c: of.__getitem__ for c, of in found.words.items()}
    styled = frame.style.format(written, na_rep="–")
    if "status" in frame:
        styled = styled.apply(status_style, axis=1)
    verdicts = [c for c in ("verdict", "latest verdict") if c in frame]
    for column in verdicts:
        styled = styled.map(verdict_style, subset=pd.IndexSlice[:, column])
    return styled


def _columns(shown: Table, found: table_queries.Displayed, frame: pd.DataFrame) -> dict[str, Any]:
    """What each column means, on hover."""
    columns: dict[str, Any] = {}
    for name in map(str, frame):
        if name == "matrix" and "matrix" not in found.column:
            columns[name] = st.column_config.LinkColumn(
                help="Opens the matrix at this row.", display_text=":material/grid_on:", width="small", pinned=True
            )
        else:
            columns[name] = st.column_config.Column(help=column_help(shown, found, name))
    return columns


def column_help(shown: Table, found: table_queries.Displayed, name: str) -> str | None:
    """What a column of a table as it is displayed means, or the one that it was made of."""
    return help_of(name, shown.name) or help_of(found.column.get(name, name), shown.name)


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
    command: str | None = None,
    width: int | None = None,
    **more: Any,
) -> Any:
    """A chart with its caption, and what can be taken along: files of the same picture, its data, its command.

    Args:
        chart: What is drawn, as wide as it is; in a window that is narrower it can be scrolled.
        data: What it shows, as raw numbers.
        name: For files.
        caption: One line: units, n, and what the intervals range over.
        title: Above it: what it shows, as a finding where one can be said; None for none.
        computed: How the numbers came about, for who asks.
        command: Prints the numbers in a terminal; None for `carom show` of the run in the address.
        width: Pixels of one that stands beside another; None for its own.
        more: For `st.altair_chart`; with `on_select` what was selected is returned.
    """
    if width is not None:
        chart = chart.properties(width=width)
    if title is not None:
        st.subheader(plain(title), help=help_of(title))
    with st.container(key=f"figure-{name}"):
        event = st.altair_chart(
            theme.dressed(chart), key=f"chart-{name}", alt=title or caption, width="content", theme=None, **more
        )
    st.caption(plain(caption))
    if computed is not None:
        with st.expander("How computed"):
            st.markdown(plain(computed))
    with st.popover("Take along", help="The figure as a file, its data, and the command that makes them."):
        _files(chart, data, name)
        said = command or told()
        if said is not None:
            st.caption("These numbers in a terminal, and as files:")
            st.code(said, language="bash")
    return event


def _files(chart: alt.LayerChart, data: pd.DataFrame, name: str) -> None:
    """A figure as files; drawn when one is asked for."""
    width = WIDTHS[
        st.segmented_control(
            "Width",
            list(WIDTHS),
            default=next(iter(WIDTHS)),
            key=f"width-{name}",
            help="In a paper's widths letters are about 7 points high.",
        )
        or next(iter(WIDTHS))
    ]
    files: list[tuple[str, str, Callable[[], bytes]]] = [
        ("PNG", "image/png", lambda: theme.png(chart, width)),
        ("SVG", "image/svg+xml", lambda: theme.svg(chart, width).encode()),
        ("PDF", "application/pdf", lambda: theme.pdf(chart, width)),
        ("CSV", "text/csv", lambda: data.to_csv(index=False).encode()),
    ]
    with st.container(horizontal=True):
        for kind, mime, content in files:
            suffix = kind.lower()
            size = "" if width is None or kind == "CSV" else f"-{width:g}mm"
            st.download_button(
                kind,
                content,
                file_name=f"{name}{size}.{suffix}",
                mime=mime,
                key=f"{suffix}-{name}",
                on_click="ignore",
            )


def told() -> str | None:
    """The commands that print and write what this page shows; None where it is about no run."""
    run = st.query_params.get("run")
    if run is None:
        return None
    store = shlex.quote(st.query_params.get("store") or str(stores()[0]))
    return f"carom show {shlex.quote(run)} --store {store}\ncarom export {shlex.quote(run)} --store {store} -o {run}"


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


def verdict_style(said: object) -> str:
    """Red behind the verdict of a gate that got weaker, amber where it cannot be told, green where it holds."""
    colours = {"weaker": "213, 94, 0, 0.35", "cannot tell": "230, 159, 0, 0.30", "holds": "0, 158, 115, 0.25"}
    found = next((colour for word, colour in colours.items() if word in str(said)), None)
    return f"background-color: rgba({found})" if found else ""
