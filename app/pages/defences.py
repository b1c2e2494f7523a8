"""Defences: what to deploy against whom, what it keeps and costs, and what is doubtful."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from carom.app.charts import students as student_chart
from carom.app.queries import cells as cell_queries
from carom.app.queries import methods as method_queries
from carom.app.queries import runs as run_queries
from carom.app.shell import parts, views, words
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, choices, show
from carom.app.shell.plain import code, plain
from carom.errors import CaromError
from carom.scenarios.charts.dumbbells import dumbbells
from carom.scenarios.findings import defences as defence_findings
from carom.scenarios.findings.words import Finding
from carom.scenarios.statistics import THREATS
from carom.scenarios.tables.counted import LARGE
from carom.scenarios.tables.students import FORMS
from carom.scenarios.tables.table import Table

TABLES = (
    "defenses-by-threat",
    "defenses",
    "defenses-intervals",
    "defenses-by-attacker",
    "masking",
    "label-leaking",
    "public-sources",
    "white-box-attacks",
    "defenses-by-victim",
    "game",
)
SAID = {
    "public models": "public models only",
    "data like mine": "data like mine",
    "my answers": "my answers",
    "my weights": "my weights",
}


def page(opened: Opened) -> float:
    """What to deploy against whom."""
    view, seconds, there = views.begun(opened, "Defences")
    if there:
        defences(opened, view, {t.name: t for t in view.tables})
    return seconds


def defences(opened: Opened, view: run_queries.View, tables: Mapping[str, Table]) -> None:
    """Defences ranked by what the attacker has, a sentence that recommends, and all behind it."""
    if "defenses" not in tables or "defenses-by-threat" not in tables:
        st.info(
            "This run has no defended victim; `defense` in a scenario's victims makes one. A run of more than "
            f"{LARGE:,} cells has no tables of defences."
        )
        return
    chosen = choices(opened, cell_queries.attacked(view.cells), attacks=False)
    norm, eps = chosen.budget.split(" ")[:2]
    threats = defence_findings.threats_of(tables, norm, eps)
    if not threats:
        st.info("No untargeted attack with this budget met a defence; choose another.")
        return
    threat = pick(
        st.segmented_control, "The attacker has", threats, "threat", threats[0], format_func=lambda t: SAID.get(t, t)
    )
    found = defence_findings.recommended(tables, threat, norm, eps)
    st.markdown(plain(found.text))
    ranking(defence_findings.ranked(tables, threat, norm, eps), threat, found, chosen.budget)
    alarms = "masking" in tables and tables["masking"].frame["alarm"].any()
    if alarms:
        parts.table(tables["masking"])
    students(opened)
    parts.folded([tables[name] for name in TABLES if name in tables and not (alarms and name == "masking")])
    words.papers(tables["defenses"].frame["defense"])


def ranking(found: defence_findings.Ranked, threat: str, said: Finding, budget: str) -> None:
    """The dumbbells: a row a defence, its rank with ties, its cost and its alarms below its name."""
    rows = found.rows
    if threat == THREATS[-1]:  # its strongest attack is the white box
        rows = rows.drop(columns="white box")
    title = f"Against {defence_findings.AGAINST[threat]} nothing can be recommended"
    if said.name:
        title = f"Against {defence_findings.AGAINST[threat]}: {said.name}, {said.number}"
    by = "the strongest attack" if found.by == "strongest" else "attacks on average"
    parts.figure(
        dumbbells(rows, beside=defence_findings.beside(rows)),
        rows.drop(columns="bare"),
        "defences-ranked",
        f"Accuracy over all images at {budget}, ranked by what {by} of this attacker leaves. Below each name its "
        f"place, its training in those of an undefended model, signs of masked gradients. {words.rests(rows)}",
        title=title,
        computed="Clean errors count against a defence. Average: over the attacker's pairs of model and attack. "
        "Strongest: under the one pair that is lowest on validation images, each victim's own; of attacks on the "
        "victim itself under the one that leaves least on these very images. Tied: its interval meets that of the "
        "first. White box: the attack on the model itself that leaves least. Times: passes of training over those of "
        "the undefended model. Signs: of masked gradients; with one, believe no attack on the model itself.",
    )


@st.cache_data(show_spinner="Reading the students …", max_entries=4)
def _students(folder: str, run: str, counter: str, files: Sequence[tuple[str, int]]) -> dict[str, pd.DataFrame]:
    del counter, files  # read again only when the store or what was measured has changed
    return method_queries.students(Path(folder), run)


def students(opened: Opened) -> None:
    """The students of ProARD's networks that were measured, and how one is exported."""
    command = f"carom students {shlex.quote(opened.run.id)} --store {shlex.quote(str(opened.folder))}"
    try:
        found = _students(
            str(opened.folder), opened.run.id, opened.counter, method_queries.student_files(opened.folder)
        )
    except CaromError as error:
        st.warning(f"Students cannot be read: {plain(error)}")
        return
    if not found:
        if "proard" in opened.run.text:
            with st.expander("Students"):
                st.markdown(f"No student of this run was measured yet: {code(command)} measures and lists them.")
        return
    with st.expander("Students"):
        measured(found, command)


def measured(found: Mapping[str, pd.DataFrame], command: str) -> None:
    """The front of the students of one network, and the command that exports one."""
    labels = list(found)
    network = pick(st.selectbox, "Network of students", labels, "network", labels[0]) if len(labels) > 1 else labels[0]
    frame = found[network]
    front = frame[frame["on the front"] == "yes"]
    parts.figure(
        student_chart.chart(frame),
        frame,
        "student-front",
        f"{network}: {len(frame)} measured students, {len(front)} of them on the front: no other is as good in "
        "accuracy, robust accuracy and MACs, and better in one. Means over classes on validation images, robust under "
        "PGD. No intervals, as the best of many looks better than it is: export one, and judge it as a victim on test "
        "images.",
        title="Early-student front",
    )
    parts.table(
        Table(
            name="students",
            title="Students on the front",
            frame=front.reset_index(drop=True),
            forms=FORMS,
        )
    )
    names = list(front["student"])
    student = pick(st.selectbox, "Student", names, "student", names[0])
    row = front[front["student"] == student].iloc[0]
    of = f" --model {shlex.quote(network)}" if len(labels) > 1 else ""
    least = math.floor(1e6 * row["accuracy"]) / 1e6
    st.caption(
        "This writes it as a plain state dict, and says how a scenario names it; what was measured is not again."
    )
    st.code(
        f"{command}{of} --max-macs {int(row['MACs'])} --min-accuracy {least:g} -o student.safetensors", language="bash"
    )


show(page)
