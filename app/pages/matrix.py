"""Matrix: who fools whom, along any two axes, down to a single cell."""

from typing import Any

import pandas as pd
import streamlit as st

from carom.app.charts import cell as cell_charts
from carom.app.queries import cells as cell_queries
from carom.app.queries import images as image_queries
from carom.app.queries import matrix as matrix_queries
from carom.app.queries import runs as run_queries
from carom.app.shell import cell_views, parts, views
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, choices, show
from carom.app.shell.plain import plain
from carom.errors import CaromError
from carom.scenarios.cases import case_of
from carom.scenarios.charts import picture
from carom.scenarios.charts.matrix import CLICKED, WRITTEN, heat_map
from carom.scenarios.charts.names import short
from carom.scenarios.tables.table import interval, interval_words

NAMES, FIELD = 260, 27  # pixels of the names and the legend of a matrix, and of a field at least
STRIP = 12  # images that are shown of a cell
COMPUTED = {
    "ASR": "ASR: k / n, of the n images that a victim gets right clean the k on which the attack succeeds.",
    "robust accuracy": "Robust accuracy: adversarial images that are right.",
    "lift": "Lift: ASR less that of sign noise of at least the same mean L2, on the same images of the same victim.",
}
LIMITS = (
    "The interval on hover is Wilson's, 95%, over images, these models; of a field of several cells it is as wide as "
    "if an image were fooled in all of them or in none.",
    "The interval on hover is that of Bonett and Price, 95%, paired by image; a field of several cells has none.",
)
FOOLED, ALL_OF_THEM = "fooled", "all"


def page(opened: Opened) -> float:
    """A heat map of surrogates by victims, or of any two axes; a field leads to its cells, a cell to its images."""
    view, seconds, there = views.begun(opened, "Matrix")
    if there:
        matrix(opened, view)
    return seconds


def matrix(opened: Opened, view: run_queries.View) -> None:
    """Who fools whom, along any two axes, and beside it the field that was chosen."""
    cells = cell_queries.attacked(view.cells)
    if cells.empty:
        st.info(
            "No surrogate's set has an outcome yet; controls alone make no matrix."
            if run_queries.state(opened.run) != "published"
            else "Published rates make no matrix: they come without cells. Page Transfer has all there is."
        )
        return
    named = cell_queries.named_cell(cells, st.query_params.get("cell", ""))
    if named.count and "budget" not in st.query_params:
        st.query_params["budget"] = str(named.cells["budget"].iloc[0])
    known = matrix_queries.axes(cells)
    said = matrix_queries.AXES.__getitem__
    line = st.container(horizontal=True)
    rows = pick(line.selectbox, "Rows", known, "rows", "surrogate", format_func=said, width=170)
    others = [a for a in known if a != rows]
    second = "victim" if rows != "victim" else "surrogate"
    columns = pick(line.selectbox, "Columns", others, "columns", second, format_func=said, width=170)
    measures: list[str] = list(matrix_queries.measures(cells))
    measure = measures[0]
    if len(measures) > 1:
        measure = pick(line.segmented_control, "Measure", measures, "measure", measure)
    names = {str(name): words for name, words in matrix_queries.ORDERS.items()}
    asked = pick(
        line.selectbox, "Order", list(names), "order", "run", format_func=lambda name: names.get(name, name), width=190
    )
    white_box = pick(line.segmented_control, "White box (C0)", ["without", "with"], "white-box", "without") == "with"
    chosen = choices(opened, cells, attacks="attack" not in (rows, columns))
    attack, budget = chosen.attack, None if "budget" in (rows, columns) else chosen.budget
    whole = matrix_queries.matrix(
        view.cells,
        rows,
        columns,
        attack=attack,
        budget=budget,
        white_box=white_box,
        images=view.images,
        measure=next(each for each in matrix_queries.MEASURES if each == measure),
    )
    if whole.empty:
        st.info("No cell has both of these with this attack and budget; choose others.")
        return
    order = next(name for name in matrix_queries.ORDERS if name == asked)
    whole = matrix_queries.ordered(whole, rows, columns, order)
    found, cut = matrix_queries.limited(whole, rows, columns)
    for axis, levels in cut.items():
        st.warning(
            f"Of {levels:,} levels of {said(axis)} the first {matrix_queries.MOST_LEVELS} in this order are drawn; the "
            "CSV has all. A configuration or a condition as the axis pools them, and the order by mean ASR puts the "
            "highest first."
        )
    left, right = st.columns([3, 2], gap="medium")
    with right:
        row, column = field(whole, rows, columns, named)
    # a field that is narrower than its number is not read: the figure scrolls sideways where it has no room
    least = NAMES + (FIELD if len(found[columns].cat.categories) <= WRITTEN else FIELD // 2) * (
        len(found[columns].cat.categories) + 2
    )
    st.html(
        "<style>.st-key-wide {overflow-x: auto} "
        f".st-key-wide [data-testid=stVegaLiteChart] {{min-width: {least}px}}</style>"
    )
    with left, st.container(key="wide"):
        event = drawn(view, whole, found, (rows, columns), (row, column), measure, white_box, chosen.attack, budget)
    if take_click(event, whole, rows, columns):
        st.rerun()
    with right:
        if row and column:
            where = {rows: row, columns: column}
            pooled = cell_queries.field_cells(view.cells, where, attack=attack, budget=budget, white_box=white_box)
            if pooled.count:
                of_field(opened, pooled)
            else:
                st.info("No cell has this row and this column; click a field of the matrix, or choose another pair.")
        elif named.count:
            of_field(opened, named)
        else:
            if asked_cell := st.query_params.get("cell"):
                st.warning(f"The address asks for cell {plain(asked_cell)}, which is not here.")
            st.info("Click a field of the matrix, or choose a row and a column, to see the cells behind it.")


def drawn(
    view: run_queries.View,
    whole: pd.DataFrame,
    found: pd.DataFrame,
    axes: tuple[str, str],
    chosen: tuple[str, str],
    measure: str,
    white_box: bool,
    attack: str | None,
    budget: str | None,
) -> Any:
    """The heat map; what was clicked on it is returned."""
    rows, columns = axes
    what = f"{attack or 'all attacks'}, {budget or 'all budgets'}"
    unit = "points" if measure == "lift" else "percent"
    return parts.figure(
        heat_map(
            found,
            rows,
            columns,
            down=matrix_queries.AXES[rows],
            across=matrix_queries.AXES[columns],
            measure=measure,
            margins=matrix_queries.margins(found, rows, columns, measure),
            chosen=chosen,
        ),
        whole,
        "matrix",
        f"{measure} of {what}, in {unit}; {'with' if white_box else 'without'} white boxes (C0). "
        f"{len(found):,} fields pool {int(found['cells'].sum()):,} cells of {view.images:,} images.",
        title=matrix_queries.finding(found, rows, columns, measure),
        computed=f"{COMPUTED[measure]} n is {int(found['n'].min()):,} to {int(found['n'].max()):,} a field. "
        f"{LIMITS[measure == 'lift']} A field pools k and n of its cells, a margin those of its fields; all "
        "attacks: those that read the surrogate alone, without the snapshots of a trace. "
        "Dashed: C1, another seed of the same recipe. Blue: the chosen field. "
        "The axes leave out what all their names share.",
        on_select="rerun",
        selection_mode=CLICKED,
        width=parts.WIDE,
    )


def field(whole: pd.DataFrame, rows: str, columns: str, named: cell_queries.Pooled) -> tuple[str, str]:
    """The row and the column that are chosen, "" for none; a cell of the address stands in a field of its own."""
    levels = {axis: [str(level) for level in whole[axis].cat.categories] for axis in (rows, columns)}
    if named.count:
        one = named.cells.iloc[[0]]
        for axis, name in ((rows, "row"), (columns, "column")):
            level = str(cell_queries.along(one, axis).iloc[0])
            if st.query_params.get(name) is None and level in levels[axis]:
                st.query_params[name] = level
    found = []
    for box, axis, name in zip(st.columns(2), (rows, columns), ("row", "column"), strict=True):
        label = f"{name.capitalize()}: {matrix_queries.AXES[axis]}"
        words = short(levels[axis]) if axis != "budget" else {}
        found.append(
            pick(
                box.selectbox,
                label,
                ["", *levels[axis]],
                name,
                "",
                format_func=lambda level, words=words: words.get(level, level) or "–",
            )
        )
    return found[0], found[1]


def take_click(event: Any, whole: pd.DataFrame, rows: str, columns: str) -> bool:
    """Put the field that was clicked last into the address; whether that is another one."""
    points = event.selection.get(CLICKED, []) if event else []
    clicked = (str(points[0]["row"]), str(points[0]["column"])) if points else None
    new = clicked is not None and clicked != st.session_state.get("clicked")
    st.session_state["clicked"] = clicked
    if not new or clicked is None:
        return False
    if clicked[0] not in whole[rows].cat.categories or clicked[1] not in whole[columns].cat.categories:
        return False  # a margin
    st.query_params["row"], st.query_params["column"] = clicked
    return True


def of_field(opened: Opened, pooled: cell_queries.Pooled) -> None:
    """The cells of a field, one of them in full."""
    shown = pooled.cells
    if pooled.count > 1:
        more = f"; the {len(shown):,} with the highest ASR can be chosen" if pooled.count > len(shown) else ""
        asr = pooled.k / pooled.n
        st.text(f"{pooled.count:,} cells, pooled: ASR {asr:.1%}, k {pooled.k:,} of n {pooled.n:,}{more}.")
    varied = [c for c in ("surrogate", "victim", "attack", "budget") if shown[c].nunique() > 1] or ["attack", "budget"]
    words = {
        str(row["cell"]): f"{' · '.join(str(row[c]) for c in varied)} · ASR {row['asr']:.1%}"
        for row in shown.to_dict("records")
    }
    ids = list(words)
    chosen = pick(st.selectbox, "Cell", ids, "cell", ids[0], format_func=lambda name: words.get(name, name))
    of_cell(opened, shown[shown["cell"] == chosen].iloc[0])
    if pooled.count > 1:
        with st.expander("Cells"):
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
            height = parts.ROW * (min(len(listed), 8) + 1) + 3
            st.dataframe(listed.style.format(written), hide_index=True, height=height)
            st.caption("low and high: Wilson's 95% interval over images, these models.")


def of_cell(opened: Opened, cell: "pd.Series[Any]") -> None:
    """One adversarial set on one victim: rates, images, answers, classes."""
    try:
        found = cell_views.answered(opened, int(cell["set_id"]), [int(cell["victim_id"])])
    except CaromError as error:
        st.warning(plain(error))
        return
    rates, case = found.cells.iloc[0], case_of(int(cell["case"]))
    st.markdown(f"**{plain(cell['surrogate'])}** → **{plain(cell['victim'])}**")
    st.caption(f"{plain(cell['attack'])} · {plain(cell['budget'])} · {case.name}: {plain(case.description)}")
    line = st.container(horizontal=True)
    line.metric("ASR", f"{rates['asr']:.1%}", width="content")
    line.metric("Clean accuracy", f"{rates['clean_accuracy']:.1%}", width="content")
    line.metric("Robust accuracy", f"{rates['robust_accuracy']:.1%}", width="content")
    st.caption(
        f"k {int(rates['k']):,} of n {int(rates['n']):,}; {interval(rates['low'], rates['high'])}, Wilson's 95% "
        f"interval over images, these models. Accuracies are of all {len(found.images):,} images."
    )
    with st.expander("Answers: what became what", expanded=True):
        event = confusion_figure(found)
    if take_answer(event):
        st.rerun()
    strip(opened, cell, found)
    with st.expander("Classes"):
        classes_figure(found)


def take_answer(event: Any) -> bool:
    """Put the answers that were clicked last into the address; whether those are others."""
    points = event.selection.get(cell_charts.CLICKED, []) if event else []
    clicked = f"{points[0]['clean']} → {points[0]['adversarial']}" if points else None
    new = clicked is not None and clicked != st.session_state.get("clicked-answers")
    st.session_state["clicked-answers"] = clicked
    if new and clicked is not None:
        st.query_params["shown"] = clicked
    return new


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
        width=parts.FOLDED,
    )


def confusion_figure(found: cell_queries.Answered) -> Any:
    """What the victim answered before and after; what was clicked on it is returned."""
    table = cell_queries.confusion(found)
    classes = [*dict.fromkeys(found.by_class["class"]), cell_queries.NO_ANSWER]
    drawn, more = table, ""
    seen = pd.concat([found.images["label"], pd.Series([*found.clean[0], *found.adversarial[0]])]).value_counts()
    if len(set(table["clean"]) | set(table["adversarial"])) > cell_charts.MOST_CLASSES:
        often = set(seen.index[: cell_charts.MOST_CLASSES])
        drawn = table[table["clean"].isin(often) & table["adversarial"].isin(often)]
        more = f" Only the {cell_charts.MOST_CLASSES} most frequent classes are drawn."
    return parts.figure(
        cell_charts.confusion(drawn, classes),
        table,
        "cell-confusion",
        f"Images by the victim's answer to the clean and to the adversarial image, all {len(found.images):,} of them. "
        f"A click on a field shows its images.{more}",
        on_select="rerun",
        selection_mode=cell_charts.CLICKED,
        width=parts.FOLDED,
    )


def strip(opened: Opened, cell: "pd.Series[Any]", found: cell_queries.Answered) -> None:
    """Some of the images, clean beside adversarial: those on which the attack succeeded, or of one pair of answers."""
    fooled = cell_queries.filtered(found, outcome="fooled")
    pairs = {
        f"{row['clean']} → {row['adversarial']}": (str(row["clean"]), str(row["adversarial"]))
        for row in cell_queries.confusion(found)
        .sort_values("images", ascending=False, kind="stable")
        .to_dict("records")
    }
    words = {FOOLED: f"on which the attack succeeded ({len(fooled):,})", ALL_OF_THEM: f"all ({len(found.images):,})"}
    options = [FOOLED, ALL_OF_THEM, *pairs]
    chosen = pick(st.selectbox, "Images", options, "shown", FOOLED, format_func=lambda name: words.get(name, name))
    places = fooled if chosen == FOOLED else cell_queries.filtered(found, answers=pairs.get(chosen))
    shown = places[:STRIP]
    if shown:
        try:
            clean, adversarial = cell_views.pictures(opened, int(cell["set_id"]), shown)
        except CaromError as error:
            st.warning(plain(error))
        else:
            captions = [
                f"{int(found.images['id'].iloc[p])}: {plain(found.clean[0, p])} → {plain(found.adversarial[0, p])}"
                for p in shown
            ]
            both = [picture.png(picture.beside(*pair)) for pair in zip(clean, adversarial, strict=True)]
            st.image(both, caption=captions, width=132, output_format="PNG")
            st.caption(
                "Image, its clean and its adversarial version, and the victim's answers to them"
                + (f"; the first {STRIP} of {len(places):,}." if len(places) > STRIP else ".")
            )
    else:
        st.caption("The attack succeeded on no image." if chosen == FOOLED else "No image has these answers.")
    address: dict[str, str] = {
        **{name: value for name in ("store", "run") if (value := st.query_params.get(name)) is not None},
        **{name: str(cell[name]) for name in ("surrogate", "attack", "budget")},
        "set": image_queries.set_name(str(cell["attack_seed"]), str(cell["asked"])),
        "victims": str(cell["victim"]),
        "outcome": "fooled" if fooled else "any",
    }
    st.page_link("pages/images.py", label="All images of this cell", icon=":material/image:", query_params=address)


show(page)
