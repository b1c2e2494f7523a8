"""Matrix: who fools whom, along any two axes."""

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from carom.app import heat_map, parts, queries, views
from carom.app.address import pick
from carom.app.frame import Opened, header, show


def page(opened: Opened) -> float:
    """A heat map of surrogates by victims, or of any two axes."""
    header(opened, "Matrix")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    if not views.explained(opened, view):
        matrix(view)
    return seconds


def matrix(view: queries.View) -> None:
    """Who fools whom, along any two axes."""
    cells = queries.attacked(view.cells)
    if cells.empty:
        st.info("No surrogate's set has an outcome yet; controls alone make no matrix.")
        return
    known = queries.axes(cells)
    left, right, third, fourth, last = st.columns([2, 2, 2, 2, 1.4])
    rows = pick(left.selectbox, "Rows", known, "rows", "surrogate", format_func=queries.AXES.__getitem__)
    others = [a for a in known if a != rows]
    second = "victim" if rows != "victim" else "surrogate"
    columns = pick(right.selectbox, "Columns", others, "columns", second, format_func=queries.AXES.__getitem__)
    attack = only(third, "Attack", cells, "attack", (rows, columns))
    budget = only(fourth, "Budget", cells, "budget", (rows, columns))
    asked = pick(last.segmented_control, "White box (C0)", ["without", "with"], "white-box", "without")
    found = queries.matrix(view.cells, rows, columns, attack=attack, budget=budget, white_box=asked == "with")
    if found.empty:
        st.info("No cell has both of these with this attack and budget; choose others.")
        return
    what = f"{attack or 'all attacks'}, {budget or 'all budgets'}"
    parts.figure(
        heat_map.chart(found, rows, columns),
        found,
        "matrix",
        f"ASR of {what}, in percent: k / n, of the n images that a victim gets right clean the k on which the attack "
        f"succeeds. {len(found):,} fields pool {int(found['cells'].sum()):,} cells of {view.images:,} images; n is "
        f"{int(found['n'].min()):,} to {int(found['n'].max()):,} a field. "
        + ("With" if asked == "with" else "Without")
        + " white boxes (C0: the victim is the surrogate's own model).",
    )


def only(box: DeltaGenerator, label: str, cells: pd.DataFrame, name: str, axes: tuple[str, str]) -> str | None:
    """One attack or budget; None where it is an axis, as all of them are shown then."""
    if name in axes:
        box.text(f"{label}: along an axis")
        return None
    options = list(dict.fromkeys(cells[name]))
    return pick(box.selectbox, label, options, name, options[-1])


show(page)
