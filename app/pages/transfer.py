"""Transfer: attack success by mismatch of attacker and victim, and what each mismatch costs."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from carom.app.charts import effects as effect_chart
from carom.app.queries import cases as case_queries
from carom.app.queries import cells as cell_queries
from carom.app.queries import runs as run_queries
from carom.app.shell import cell_views, parts, views
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, choices, show
from carom.app.shell.plain import plain
from carom.errors import CaromError
from carom.scenarios.charts import theme
from carom.scenarios.charts.cases import cases
from carom.scenarios.tables.table import INTERVAL, Table, interval_words

TABLES = (
    "cases",
    "published",
    "effects",
    "controls",
    "cases-by-task",
    "by-training",
    "cases-by-attack",
    "by-attack",
    "by-surrogate",
    "by-victim",
    "by-samples",
    "architectures",
)
ALL = "all"


def page(opened: Opened) -> float:
    """ASR by case and what each mismatch costs, of the same choices; published results beside one's own."""
    view, seconds, there = views.begun(opened, "Transfer")
    if not there:
        return seconds
    tables = {table.name: table for table in view.tables}
    if run_queries.state(opened.run) == "published":
        published_figure(tables["cases"].frame)
        if "effects" in tables:
            effects_figure(tables["effects"], "all attacks, as published")
    else:
        figures(opened, view, tables)
    parts.folded([tables[name] for name in TABLES if name in tables])
    return seconds


def figures(opened: Opened, view: run_queries.View, tables: Mapping[str, Table]) -> None:
    """C0 to C8 with intervals, and what a mismatch costs, of all attacks and surrogates or of some."""
    cells = cell_queries.attacked(view.cells)
    if cells.empty:
        st.info("No surrogate's set has an outcome yet; controls alone make no case.")
        return
    beside = case_queries.published_points(view.tables)
    chosen = choices(opened, cells)
    of, budget = chosen.attack, chosen.budget
    every = case_queries.case_points(view.tables, view.cells, attack=of)
    line = st.container(horizontal=True)
    measures: list[str] = list(case_queries.measures(every, view.cells))
    asked = measures[0]
    if len(measures) > 1:
        asked = pick(line.segmented_control, "Measure", measures, "measure", asked)
    measure = next(each for each in case_queries.MEASURES if each == asked)
    of_attack = cells if of is None else cells[cells["attack"] == of]
    configs = [ALL, *(str(c) for c in of_attack["surrogate_config"].unique() if c)]
    config = pick(line.selectbox, "Surrogates", configs, "surrogates", ALL, width=260)
    picked = None if config == ALL else config
    if picked is not None or measure == "robust accuracy":
        fixed = case_queries.fixed_axes(tables["cases"])
        try:
            every = cell_views.case_points(opened, view, fixed, of, picked, measure)
        except CaromError as error:
            st.warning(plain(error))
            return
    every = case_queries.measured(every, measure)
    whose = f"{of or 'all attacks'}, {budget}" + ("" if picked is None else f", surrogates {picked}")
    left, right = st.columns([3, 2], gap="medium")
    with left:
        cases_figure(every, budget, line, beside if of is None and picked is None else beside.iloc[:0], whose, measure)
    with right:
        if "effects" in tables:
            mismatches(opened, view, tables["effects"], budget, of, picked, whose)


def cases_figure(
    every: pd.DataFrame,
    budget: str,
    line: DeltaGenerator,
    beside: pd.DataFrame,
    whose: str,
    measure: case_queries.Measure,
) -> None:
    """One measure by case, of one radius or of all."""
    points = every[(every["budget"] == budget) & every["asr"].notna()]
    series = case_queries.series_of(points)
    if not series:
        st.info("No cell has this attack, budget and surrogate together; choose others.")
        return
    level = series[0]
    if len(series) > 1:
        level = pick(line.selectbox, "Levels", [ALL, *series], "levels", ALL, width=300)
        series = [level] if level != ALL else series
    control = points["case_number"] < 0
    radii = "chosen"
    grown = case_queries.over_radii(every[every["series"].isin(series) | (every["case_number"] < 0)], budget)
    if len(series) == 1 and len(grown):
        radii = pick(line.segmented_control, "Radii", ["chosen", "all"], "radii", "chosen")
    published = "hidden"
    if len(beside):
        published = pick(line.segmented_control, "Published", ["hidden", "shown"], "published", "hidden")
    drawn = beside if published == "shown" else beside.iloc[:0]
    if radii == "all":
        points, whose = grown, whose.replace(budget, f"all radii of {budget.split(' ')[0]}")
    else:
        several = len(series) > theme.SERIES
        series = series[: theme.SERIES]
        points = points[points["series"].isin(series) | control].assign(
            series=lambda t: t["series"].where(t["series"].isin(series), series[0])
        )
        points = points.sort_values("series", key=lambda s: s.map(series.index), kind="stable", ignore_index=True)
        if several:
            st.caption(f"Of more combinations of levels the first {theme.SERIES} are drawn; choose one.")
    points = points.assign(**{INTERVAL: interval_words(points["low"], points["high"])})
    ranges = "; ".join(dict.fromkeys(str(r) for r in points["ranges_over"]))
    n = points["n"]
    own = measure if measure != "lift" else "Lift"
    parts.figure(
        cases(points, drawn, measure=measure),
        points,
        "cases-figure",
        f"{own[:1].upper()}{own[1:]} in percent of {whose}. Bars: 95% intervals over {ranges}."
        + (" Grey: published means of other tasks, networks and attacks; only the order compares." * bool(len(drawn))),
        title=case_queries.case_finding(points, measure),
        computed=HOW[measure]
        + f" n is {int(n.min()):,} to {int(n.max()):,} a point. C0, the surrogate's own weights, is no transfer and "
        "stands apart, as do changes that no surrogate made.",
        width=parts.WIDE,
    )


HOW: dict[case_queries.Measure, str] = {
    "ASR": "k / n, pooled over the cells of a case; n: the images that are right on clean.",
    "robust accuracy": "Images that are right adversarial, of all images, pooled over the cells of a case.",
    "lift": "ASR minus that of sign noise of at least the same mean L2, on the same images and victims; n: the images "
    "that are right on clean.",
}


def mismatches(
    opened: Opened,
    view: run_queries.View,
    usual: Table,
    budget: str,
    attack: str | None,
    config: str | None,
    whose: str,
) -> None:
    """What a mismatch costs, of the same cells as the cases."""
    one = cell_queries.attacked(view.cells)["budget"].nunique() == 1
    if attack is None and config is None and one:
        shown = usual
    else:
        try:
            shown = cell_views.effects(opened, view, budget, attack, config)
        except CaromError as error:
            st.warning(plain(error))
            return
    if len(shown.frame):
        effects_figure(shown, whose)
    else:
        st.info("No mismatch can be compared within this choice: no cells are alike but for one condition.")


def published_figure(table: pd.DataFrame) -> None:
    """The cases of a published run, which come without intervals."""
    points = case_queries.published_case_points(table)
    parts.figure(
        cases(points, pd.DataFrame()),
        points,
        "cases-figure",
        "ASR in percent as published: means over rows, each one attack, surrogate and victim; no intervals were "
        "published. Their C1 is the same weights, which carom calls C0. n and cells on hover are rows.",
    )


def effects_figure(shown: Table, whose: str) -> None:
    """What each mismatch costs the attacker, in points."""
    drawn = case_queries.effect_points(shown.frame)
    ranges = "; ".join(dict.fromkeys(str(r) for r in shown.frame.get("ranges_over", [])))
    parts.figure(
        effect_chart.effects(drawn),
        drawn,
        "effects-figure",
        f"Points of ASR, mismatch minus match, of {whose}; negative: the mismatch protects. "
        + (f"Bars: 95% intervals over {ranges}. " if ranges else "No intervals were published. ")
        + f"Grey band: within {effect_chart.MARGIN:g} points of none.",
        title=case_queries.finding(drawn),
        computed=" ".join(["C0 and controls are left out.", *shown.notes]),
        width=parts.SLIM,
    )


show(page)
