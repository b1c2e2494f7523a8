"""Tables, figures and notices as every page shows them."""

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from carom.app import queries
from carom.app.plain import plain
from carom.scenarios.show import Shown

FORMATS = {"count": "{:,.0f}", "percent": "{:.1%}", "points": "{:+.1f}", "number": "{:.3g}"}
ROW = 35  # pixels


def table(shown: Shown) -> None:
    """A table with its notes; all columns, as raw numbers, can be taken along."""
    frame, shared = queries.displayed(shown)
    title = shown.title.split(": ", 1)[-1]
    st.subheader(plain(title[:1].upper() + title[1:]))
    written: dict[Any, Any] = {c: FORMATS[f] for c, f in shown.forms.items() if f != "text" and c in frame}
    styled = frame.style.format(written, na_rep="–")
    if shown.name == "controls":
        styled = styled.apply(status_style, axis=1)
    st.dataframe(styled, hide_index=True, placeholder="–", height=ROW * (min(len(frame), 16) + 1) + 3)
    notes = [*([f"All rows: {', '.join(shared)}."] if shared else []), *shown.notes]
    if notes:
        st.caption("  \n".join(plain(note) for note in notes))
    csv = shown.frame.to_csv(index=False)
    st.download_button(
        "CSV", csv, file_name=f"{shown.name}.csv", mime="text/csv", key=f"csv-{shown.name}", on_click="ignore"
    )


def figure(chart: alt.TopLevelMixin, data: pd.DataFrame, name: str, caption: str, **more: Any) -> Any:
    """A chart with its caption, as PNG and SVG, and its data as CSV, to take along.

    Args:
        chart: What is drawn.
        data: What it shows, as raw numbers.
        name: For files.
        caption: Units, n, interval and what it ranges over.
        more: For `st.altair_chart`; with `on_select` what was selected is returned.
    """
    event = st.altair_chart(chart, key=f"chart-{name}", alt=caption, **more)
    st.caption(plain(caption))
    files: list[tuple[str, str, Callable[[], bytes] | str]] = [
        ("PNG", "image/png", lambda: drawn(chart, "png")),
        ("SVG", "image/svg+xml", lambda: drawn(chart, "svg")),
        ("CSV", "text/csv", data.to_csv(index=False)),
    ]
    with st.container(horizontal=True):
        for kind, mime, content in files:
            suffix = kind.lower()
            st.download_button(
                kind, content, file_name=f"{name}.{suffix}", mime=mime, key=f"{suffix}-{name}", on_click="ignore"
            )
    return event


def drawn(chart: alt.TopLevelMixin, form: str) -> bytes:
    """The chart as a file of this form, drawn when it is asked for."""
    out = BytesIO()
    chart.save(out, format=form, **({"ppi": 200} if form == "png" else {}))
    return out.getvalue()


def controls_notice(tables: Sequence[Shown]) -> None:
    """Controls that did not pass, above everything that rests on them."""
    bad = queries.troubles(tables)
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
