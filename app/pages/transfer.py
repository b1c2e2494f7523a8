"""Transfer: attack success by mismatch of attacker and victim, and what each mismatch costs."""

import pandas as pd
import streamlit as st

from carom.app.charts import effects as effect_chart
from carom.app.queries import cases as case_queries
from carom.app.queries import cells as cell_queries
from carom.app.queries import runs as run_queries
from carom.app.shell import cell_views, parts, views
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, choices, header, show
from carom.app.shell.plain import plain
from carom.errors import CaromError
from carom.scenarios.charts import theme
from carom.scenarios.charts.cases import cases
from carom.scenarios.tables.table import INTERVAL, interval_words

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
    """ASR by case, effects, controls; published results beside one's own."""
    header(opened, "Transfer")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    if views.explained(opened, view):
        return seconds
    tables = {table.name: table for table in view.tables}
    if run_queries.state(opened.run) == "published":
        published_figure(tables["cases"].frame)
    else:
        cases_figure(opened, view)
    if "effects" in tables:
        effects_figure(tables["effects"].frame)
    for name in TABLES:
        if name in tables:
            parts.table(tables[name])
    return seconds


def cases_figure(opened: Opened, view: run_queries.View) -> None:
    """C0 to C8 with intervals, of all attacks and surrogates or of some."""
    cells = cell_queries.attacked(view.cells)
    if cells.empty:
        st.info("No surrogate's set has an outcome yet; controls alone make no case.")
        return
    beside = case_queries.published_points(view.tables)
    chosen = choices(opened, cells)
    of, budget = chosen.attack, chosen.budget
    left, right = st.columns(2)
    of_attack = cells if of is None else cells[cells["attack"] == of]
    configs = [ALL, *(c for c in of_attack["surrogate_config"].unique() if c)]
    config = pick(left.selectbox, "Surrogates", configs, "surrogates", ALL)
    points = case_queries.case_points(view.tables, view.cells, attack=of)
    if config != ALL:
        fixed = case_queries.fixed_axes(next(t for t in view.tables if t.name == "cases"))
        try:
            points = cell_views.case_points(opened, view, fixed, of, config)
        except CaromError as error:
            st.warning(plain(error))
            return
    points = points[(points["budget"] == budget) & points["asr"].notna()]
    series = case_queries.series_of(points)
    if not series:
        st.info("No cell has this attack, budget and surrogate together; choose others.")
        return
    if len(series) > 1:
        level = pick(right.selectbox, "Levels", [ALL, *series], "levels", ALL)
        series = [level] if level != ALL else series
    points = points[points["series"].isin(series[: theme.SERIES])]
    points = points.sort_values("series", key=lambda s: s.map(series.index), kind="stable", ignore_index=True)
    if len(series) > theme.SERIES:
        st.caption(f"Of {len(series)} combinations of levels the first {theme.SERIES} are drawn; choose one.")
    points = points.assign(**{INTERVAL: interval_words(points["low"], points["high"])})
    drawn = beside if of is None and config == ALL else beside.iloc[:0]
    whose = f"{of or 'all attacks'}, {budget}"
    whose += "" if config == ALL else f", surrogates {config}"
    ranges = "; ".join(dict.fromkeys(str(r) for r in points["ranges_over"]))
    n = points["n"]
    parts.figure(
        cases(points, drawn),
        points,
        "cases-figure",
        f"ASR in percent of {whose}: k / n, pooled over the cells of a case; n, the images right on clean, is "
        f"{int(n.min()):,} to {int(n.max()):,} a point. Bars: 95% intervals over {ranges}. C0, the surrogate's own "
        "weights, is no transfer and stands apart, as do changes that no surrogate made."
        + (" Grey: published means of other tasks, networks and attacks; only the order compares." * bool(len(drawn))),
    )


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


def effects_figure(table: pd.DataFrame) -> None:
    """What each mismatch costs the attacker, in points."""
    drawn = case_queries.effect_points(table)
    ranges = "; ".join(dict.fromkeys(str(r) for r in table.get("ranges_over", [])))
    st.subheader("What a mismatch costs the attacker")
    parts.figure(
        effect_chart.effects(drawn),
        drawn,
        "effects-figure",
        "Points of ASR, mismatch minus match, C0 and controls excluded; negative: the mismatch protects. "
        + (f"Bars: 95% intervals over {ranges}. " if ranges else "No intervals were published. ")
        + f"Grey band: within {effect_chart.MARGIN:g} points of none.",
    )


show(page)
