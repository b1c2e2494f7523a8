"""Overview: what a run found, in sentences, and what to take along."""

import shlex
from collections.abc import Mapping

import pandas as pd
import streamlit as st

from carom.app.queries import answers as answer_queries
from carom.app.queries import cases as case_queries
from carom.app.queries import cells as cell_queries
from carom.app.queries import runs as run_queries
from carom.app.shell import findings, parts, views, words
from carom.app.shell.frame import Opened, choices, show
from carom.app.shell.plain import plain
from carom.scenarios.charts.cases import cases
from carom.scenarios.findings.overview import overview
from carom.scenarios.findings.words import Finding, times
from carom.scenarios.tables.table import INTERVAL, Table, interval_words
from carom.scenarios.tables.which import too_many_to_read

TILES = {"victim": "Most exposed victim", "attack": "Strongest attack", "defence": "Best defence"}


def page(opened: Opened) -> float:
    """What was found."""
    view, seconds, there = views.begun(opened, "Overview")
    if not there:
        return seconds
    tables = {table.name: table for table in view.tables}
    if run_queries.state(opened.run) == "published":
        published(tables)
    else:
        answers(opened, view, tables)
    take_along(opened, view)
    return seconds


def answers(opened: Opened, view: run_queries.View, tables: Mapping[str, Table]) -> None:
    """Sentences, tiles, and the figure of cases."""
    cells = cell_queries.attacked(view.cells)
    if cells.empty:
        st.info("No surrogate's set has an outcome yet; there are controls alone.")
        findings.told(overview(tables), here="overview")
        return
    budget = choices(opened, cells, attacks=False).budget
    found = overview(tables, budget)
    findings.told(found, here="overview")
    tiles(found)
    points = answer_queries.case_points(tables["cases"], budget)
    if points.empty:
        return
    cost = next((finding for finding in found if finding.kind == "effects"), None)
    title = "Who fools whom, by what the two have in common"
    if cost is not None and cost.name:
        title = f"{cost.name[:1].upper()}{cost.name[1:]} costs the attacker {cost.number}"
    points = points.assign(**{INTERVAL: interval_words(points["low"], points["high"])})
    parts.figure(
        cases(points, pd.DataFrame()),
        points,
        "cases-overview",
        f"ASR of all attacks at {budget}, by what surrogate and victim differ in: D source of the images, B balance of "
        f"classes, M network. {words.rests(points)}",
        title=title,
        computed="k / n, pooled over the cells of a case; n are the images that the victim gets right clean. C0, the "
        "surrogate's own weights, is no transfer and stands apart, as do changes that no surrogate made. What a "
        "mismatch costs is taken from like compared with like, see page Transfer.",
    )


def tiles(found: list[Finding]) -> None:
    """The most exposed victim, the strongest attack and the best defence, each with its interval."""
    shown = [(label, next((f for f in found if f.kind == kind and f.name), None)) for kind, label in TILES.items()]
    known = [(label, finding) for label, finding in shown if finding is not None]
    for box, (label, finding) in zip(st.columns(max(1, len(known))), known, strict=False):
        with box.container(border=True):
            st.caption(plain(f"{label} against {finding.against}" if finding.against else label))
            tie = f", tied with {times(finding.ties, 'other')}" if finding.ties else ""
            unit = "accuracy kept" if finding.against else "ASR"
            st.markdown(f"**{plain(finding.name)}**  \n{plain(finding.number)} {unit}{tie}")
            findings.link(finding.page)


def published(tables: Mapping[str, Table]) -> None:
    """The cases of a published run, which come without intervals."""
    points = case_queries.published_case_points(tables["cases"].frame)
    parts.figure(
        cases(points, pd.DataFrame()),
        points,
        "cases-overview",
        "ASR as published: means over rows, each one attack, surrogate and victim; no intervals were published. Their "
        "C1 is the same weights, which carom calls C0.",
        title="ASR by case, as published",
    )


def take_along(opened: Opened, view: run_queries.View) -> None:
    """The report and the tables as files, and the command that prints them."""
    run, folder = opened.run, opened.folder
    st.subheader("Take along")
    with st.container(horizontal=True):
        if run_queries.state(run) != "published" and not too_many_to_read(run.status, run.cells):
            st.download_button(
                "Report (HTML)",
                lambda: answer_queries.report(folder, run.id),
                file_name=f"{run.id}.html",
                mime="text/html",
                on_click="ignore",
                help="One file that needs nothing else: these sentences, all figures, every table.",
            )
        st.download_button(
            "Tables (LaTeX)",
            lambda: answer_queries.latex(view.tables, run.id),
            file_name=f"{run.id}.tex",
            mime="text/x-tex",
            on_click="ignore",
        )
        st.download_button(
            "Tables (CSV)",
            lambda: answer_queries.csv(view.tables, run.id),
            file_name=f"{run.id}.zip",
            mime="application/zip",
            on_click="ignore",
        )
    place = f"{shlex.quote(run.id)} --store {shlex.quote(str(folder))}"
    st.caption("The same tables in a terminal; carom export writes them and the report.")
    st.code(f"carom show {place}", language="bash")


show(page)
