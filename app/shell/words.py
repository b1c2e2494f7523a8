"""Words that several pages say of rows: what their intervals are, how many images, and the papers behind methods."""

import re

import pandas as pd
import streamlit as st

from carom.scenarios.charts.curves import strongest

from . import help
from .address import pick


def papers(labels: "pd.Series[str]") -> None:
    """What the methods of this page are, and the papers behind them; on demand, as registries take a moment to load."""
    asked = pick(st.segmented_control, "Methods and papers", ["hidden", "shown"], "papers", "hidden")
    if asked == "hidden":
        return
    with st.spinner("Reading the registries …"):
        found = help.methods(dict.fromkeys(labels))
    links = found["paper"].map(link)
    st.subheader("Methods and papers")
    st.dataframe(
        found.assign(link=links),
        hide_index=True,
        placeholder="–",
        column_config={
            "what it is": st.column_config.TextColumn(width="large"),
            "link": st.column_config.LinkColumn(display_text="open", width="small", help="Opens the paper."),
        },
    )


PAPER = re.compile(r"(arXiv:\s?|doi:)(\S+?)[.,;)]*(?=\s|$)", re.IGNORECASE)
WEB = re.compile(r"https?://\S+")


def link(paper: str) -> str | None:
    """Where a paper is: the address that its reference has, or that of its number at arXiv or of its doi."""
    if found := WEB.search(paper):
        return found[0].rstrip(".,;)")
    if found := PAPER.search(paper):
        return ("https://arxiv.org/abs/" if found[1].lower().startswith("arxiv") else "https://doi.org/") + found[2]
    return None


def rests(rows: pd.DataFrame, drawn: str = "lines") -> str:
    """What the intervals are, and n."""
    ranges = list(dict.fromkeys(rows["ranges_over"].dropna().astype(str))) if "ranges_over" in rows else []
    over = f", which range over {' or, where there is one seed, '.join(sorted(ranges, key=len, reverse=True))}"
    over = over if ranges else ""
    n = f" n is {count(rows['n'])} a row, right on clean images." if "n" in rows else ""
    return f"{drawn.capitalize()}: 95% intervals{over}.{n}"


def count(values: "pd.Series[float]") -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def greys(rows: pd.DataFrame, line: str, across: str) -> str:
    first = strongest(rows, line, across)
    more = rows[line].nunique() - len(first)
    return f"Coloured are the {len(first)} strongest, {more} others are grey. " if more else ""
