"""Matrix: who fools whom, along any two axes, down to a single cell."""

from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from carom.app.charts import cell as cell_charts
from carom.app.queries import cells as cell_queries
from carom.app.queries import matrix as matrix_queries
from carom.app.queries import runs as run_queries
from carom.app.shell import cell_views, parts, views
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, header, show
from carom.app.shell.plain import plain
from carom.errors import CaromError
from carom.scenarios.cases import case_of
from carom.scenarios.charts import picture
from carom.scenarios.charts.matrix import CLICKED, heat_map
from carom.scenarios.tables.table import interval, interval_words

STRIP = 12  # images that are shown of a cell


def page(opened: Opened) -> float:
    """A heat map of surrogates by victims, or of any two axes; a field leads to its cells, a cell to its images."""
    header(opened, "Matrix")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    if not views.explained(opened, view):
        matrix(opened, view)
    return seconds


def matrix(opened: Opened, view: run_queries.View) -> None:
    """Who fools whom, along any two axes."""
    cells = cell_queries.attacked(view.cells)
    if cells.empty:
        st.info("No surrogate's set has an outcome yet; controls alone make no matrix.")
        return
    known = matrix_queries.axes(cells)
    left, right, fifth = st.columns(3)
    third, fourth, last = st.columns(3)
    rows = pick(left.selectbox, "Rows", known, "rows", "surrogate", format_func=matrix_queries.AXES.__getitem__)
    others = [a for a in known if a != rows]
    second = "victim" if rows != "victim" else "surrogate"
    columns = pick(right.selectbox, "Columns", others, "columns", second, format_func=matrix_queries.AXES.__getitem__)
    attack = only(third, "Attack", cells, "attack", (rows, columns))
    of_attack = cells if attack is None else cells[cells["attack"] == attack]
    budget = only(fourth, "Budget", of_attack, "budget", (rows, columns))
    names = {str(name): said for name, said in matrix_queries.ORDERS.items()}
    asked = pick(fifth.selectbox, "Order", list(names), "order", "run", format_func=lambda name: names.get(name, name))
    order = next(name for name in matrix_queries.ORDERS if name == asked)
    white_box = pick(last.segmented_control, "White box (C0)", ["without", "with"], "white-box", "without") == "with"
    whole = matrix_queries.matrix(view.cells, rows, columns, attack=attack, budget=budget, white_box=white_box)
    if whole.empty:
        st.info("No cell has both of these with this attack and budget; choose others.")
        return
    whole = matrix_queries.ordered(whole, rows, columns, order)
    found, cut = matrix_queries.limited(whole, rows, columns)
    for axis, levels in cut.items():
        st.warning(
            f"Of {levels:,} levels of {matrix_queries.AXES[axis]} the first {matrix_queries.MOST_LEVELS} in this order "
            "are drawn; the CSV has all. A configuration or a condition as the axis pools them, and the order by mean "
            "ASR puts the highest first."
        )
    what = f"{attack or 'all attacks'}, {budget or 'all budgets'}"
    event = parts.figure(
        heat_map(found, rows, columns, down=matrix_queries.AXES[rows], across=matrix_queries.AXES[columns]),
        whole,
        "matrix",
        f"ASR of {what}, in percent: k / n, of the n images that a victim gets right clean the k on which the attack "
        f"succeeds. {len(found):,} fields pool {int(found['cells'].sum()):,} cells of {view.images:,} images; n is "
        f"{int(found['n'].min()):,} to {int(found['n'].max()):,} a field. "
        + ("With" if white_box else "Without")
        + " white boxes (C0: the victim is the surrogate's own model). The axes leave out what all their names share. "
        "A click on a field opens its cells below; there each has its interval.",
        on_select="rerun",
        selection_mode=CLICKED,
    )
    take_click(event)
    st.subheader("Cells of a field")
    one, two = st.columns(2)
    levels_of = {axis: [str(level) for level in whole[axis].cat.categories] for axis in (rows, columns)}
    row = choose(one, f"Row: {matrix_queries.AXES[rows]}", levels_of[rows], "row")
    column = choose(two, f"Column: {matrix_queries.AXES[columns]}", levels_of[columns], "column")
    if row and column:
        where = {rows: row, columns: column}
        pooled = cell_queries.field_cells(view.cells, where, attack=attack, budget=budget, white_box=white_box)
        if not pooled.count:
            st.info("No cell has this row and this column; click a field of the matrix, or choose another pair.")
            return
    else:
        pooled = cell_queries.named_cell(cells, st.query_params.get("cell", ""))
        if not pooled.count:
            st.info("Click a field of the matrix, or choose a row and a column, to see the cells behind it.")
            return
    of_field(opened, pooled)


def only(box: DeltaGenerator, label: str, cells: pd.DataFrame, name: str, axes: tuple[str, str]) -> str | None:
    """One attack or budget; None where it is an axis, as all of them are shown then."""
    if name in axes:
        box.text(f"{label}: along an axis")
        return None
    options = [str(option) for option in cells[name].unique()]
    # what reads the victim itself, or aims at one class, is not what one looks at first
    usual = cells.loc[(cells["case"] != 0) & (cells["reads"] == "surrogate") & ~cells["targeted"].astype(bool), name]
    return pick(box.selectbox, label, options, name, str(usual.unique()[-1]) if len(usual) else options[-1])


def choose(box: DeltaGenerator, label: str, levels: list[str], name: str) -> str:
    """One level of an axis, or "" for none."""
    return pick(box.selectbox, label, ["", *levels], name, "", format_func=lambda level: level or "–")


def take_click(event: Any) -> None:
    """Put the field that was clicked last into the address, from where the choices below take it."""
    points = event.selection.get(CLICKED, []) if event else []
    clicked = (str(points[0]["row"]), str(points[0]["column"])) if points else None
    if clicked and clicked != st.session_state.get("clicked"):
        st.query_params["row"], st.query_params["column"] = clicked
    st.session_state["clicked"] = clicked


def of_field(opened: Opened, pooled: cell_queries.Pooled) -> None:
    """The cells of a field, one of them in full."""
    shown = pooled.cells
    if pooled.count > 1:
        more = f"; the {len(shown):,} with the highest ASR are listed" if pooled.count > len(shown) else ""
        asr = pooled.k / pooled.n
        st.text(f"{pooled.count:,} cells, pooled: ASR {asr:.1%}, k {pooled.k:,} of n {pooled.n:,}{more}.")
        listed = pd.DataFrame(
            {
                **{c: shown[c] for c in ("surrogate", "victim", "attack", "budget")},
                "case": [case_of(int(c)).name for c in shown["case"]],
                **{c: shown[c] for c in ("n", "k")},
                "ASR": shown["asr"],
                "low": shown["low"],
                "high": shown["high"],
            }
        )
        written: dict[Any, Any] = {c: "{:.1%}" for c in ("ASR", "low", "high")}
        st.dataframe(listed.style.format(written), hide_index=True, height=parts.ROW * (min(len(listed), 8) + 1) + 3)
        st.caption("low and high: Wilson's 95% interval over images, these models.")
    words = {
        str(row.cell): f"{row.surrogate} → {row.victim} · {row.attack} · {row.budget} · ASR {row.asr:.1%}"
        for row in shown.itertuples()
    }
    ids = list(words)
    chosen = pick(st.selectbox, "Cell", ids, "cell", ids[0], format_func=lambda id_: words.get(id_, id_))
    of_cell(opened, shown[shown["cell"] == chosen].iloc[0])


def of_cell(opened: Opened, cell: "pd.Series[Any]") -> None:
    """One adversarial set on one victim: rates, classes, answers, images."""
    try:
        found = cell_views.answered(opened, int(cell["set_id"]), [int(cell["victim_id"])])
    except CaromError as error:
        st.warning(plain(error))
        return
    rates, case = found.cells.iloc[0], case_of(int(cell["case"]))
    st.markdown(f"**{plain(cell['surrogate'])}** → **{plain(cell['victim'])}**")
    st.caption(f"{plain(cell['attack'])} · {plain(cell['budget'])} · {case.name}: {plain(case.description)}")
    boxes = st.columns(3)
    boxes[0].metric("ASR", f"{rates['asr']:.1%}")
    boxes[0].caption(
        f"k {int(rates['k']):,} of n {int(rates['n']):,}; {interval(rates['low'], rates['high'])}, "
        "Wilson's 95% interval over images, these models"
    )
    boxes[1].metric("Clean accuracy", f"{rates['clean_accuracy']:.1%}")
    boxes[1].caption(f"right on the clean image, of all {len(found.images):,}")
    boxes[2].metric("Robust accuracy", f"{rates['robust_accuracy']:.1%}")
    boxes[2].caption("right on the adversarial image, of all")
    left, right = st.columns(2)
    with left:
        classes_figure(found)
    with right:
        confusion_figure(found)
    strip(opened, cell, found)


def classes_figure(found: cell_queries.Answered) -> None:
    """ASR within each class."""
    table = found.by_class[found.by_class["n"] > 0]
    table = table.assign(interval=interval_words(table["low"], table["high"]))
    drawn, more = table, ""
    if len(table) > cell_charts.MOST_CLASSES:
        drawn = table.sort_values("asr", ascending=False, kind="stable").head(cell_charts.MOST_CLASSES)
        more = f" Of {len(table):,} classes the {len(drawn)} with the highest ASR."
    if table.empty:
        st.info("The victim gets no clean image right, so there is no class to attack.")
        return
    parts.figure(
        cell_charts.by_class(drawn),
        table.drop(columns="cell"),
        "cell-classes",
        f"ASR within each true class, in percent: k / n, n {int(table['n'].min()):,} to {int(table['n'].max()):,} a "
        f"class. Bars: Wilson's 95% intervals over images, these models.{more}",
    )


def confusion_figure(found: cell_queries.Answered) -> None:
    """What the victim answered before and after."""
    table = cell_queries.confusion(found)
    classes = [*dict.fromkeys(found.by_class["class"]), cell_queries.NO_ANSWER]
    drawn, more = table, ""
    seen = pd.concat([found.images["label"], pd.Series([*found.clean[0], *found.adversarial[0]])]).value_counts()
    if len(set(table["clean"]) | set(table["adversarial"])) > cell_charts.MOST_CLASSES:
        often = set(seen.index[: cell_charts.MOST_CLASSES])
        drawn = table[table["clean"].isin(often) & table["adversarial"].isin(often)]
        more = f" Only the {cell_charts.MOST_CLASSES} most frequent classes are drawn."
    parts.figure(
        cell_charts.confusion(drawn, classes),
        table,
        "cell-confusion",
        f"Images by the victim's answer to the clean and to the adversarial image, all {len(found.images):,} of them; "
        f"off the diagonal the answer changed. Colour: share of the row; counts have no interval.{more}",
    )


def strip(opened: Opened, cell: "pd.Series[Any]", found: cell_queries.Answered) -> None:
    """Some of the images on which the attack succeeded."""
    fooled = cell_queries.filtered(found, outcome="fooled")
    st.subheader(f"{len(fooled):,} images on which the attack succeeded")
    places = fooled[:STRIP]
    if places:
        try:
            _, adversarial = cell_views.pictures(opened, int(cell["set_id"]), places)
        except CaromError as error:
            st.warning(plain(error))
        else:
            captions = [f"{plain(found.clean[0, p])} → {plain(found.adversarial[0, p])}" for p in places]
            st.image([picture.png(image) for image in adversarial], caption=captions, width=112, output_format="PNG")
            st.caption(
                "Adversarial images, with the victim's answer to the clean and to the adversarial one"
                + (f"; the first {STRIP}." if len(fooled) > STRIP else ".")
            )
    address = {
        **{name: value for name in ("store", "run") if (value := st.query_params.get(name)) is not None},
        **{name: str(cell[name]) for name in ("surrogate", "attack", "budget")},
        "set": str(cell["set_id"]),
        "victims": str(cell["victim"]),
        "outcome": "fooled" if fooled else "any",
    }
    st.page_link("pages/images.py", label="All images of this cell", icon=":material/image:", query_params=address)


show(page)
