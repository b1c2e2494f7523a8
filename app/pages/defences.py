"""Defences: what they keep, under whose attacks, and what they cost."""

import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from carom.app.charts import defenses as defense_chart
from carom.app.charts import students as student_chart
from carom.app.queries import methods as method_queries
from carom.app.shell import help, parts, views, words
from carom.app.shell.address import pick
from carom.app.shell.frame import Opened, header, show
from carom.app.shell.plain import code, plain
from carom.errors import CaromError
from carom.scenarios.tables.table import Table

TABLES = (
    "defenses",
    "defenses-intervals",
    "masking",
    "defenses-by-attacker",
    "label-leaking",
    "public-sources",
    "white-box-attacks",
    "defenses-by-victim",
    "game",
)


def page(opened: Opened) -> float:
    """What defences keep, under whose attacks, and what they cost."""
    header(opened, "Defences")
    view, seconds = views.of_run(opened)
    parts.controls_notice(view.tables)
    if not views.explained(opened, view):
        defenses({t.name: t for t in view.tables}, opened)
    return seconds


def defenses(tables: Mapping[str, Table], opened: Opened) -> None:
    """What defences keep, under whose attacks, and what they cost."""
    if "defenses" not in tables:
        st.info("This run has no defended victim; `defense` in a scenario's victims makes one.")
        return
    frame = method_queries.with_budget(tables["defenses"].frame)
    first, second, third = st.columns(3)
    budgets = list(dict.fromkeys(frame["budget"]))
    budget = pick(first.selectbox, "Budget", budgets, "budget", budgets[-1])
    chosen = frame[frame["budget"] == budget]
    ways = [way for way in defense_chart.TRANSFERS if chosen[way].notna().any()]
    if ways:
        transfer = pick(
            second.selectbox, "Transfer", ways, "transfer", ways[0], format_func=defense_chart.UNDER.__getitem__
        )
        costs = [*defense_chart.known_costs(chosen), "none"]
        cost = pick(third.selectbox, "Size of the points", costs, "size", costs[0])
        parts.figure(
            defense_chart.chart(chosen, transfer, None if cost == "none" else cost),
            chosen,
            "defenses-under-attack",
            "Accuracy over all images, clean errors included, under transfer and in the white box, over clean "
            f"accuracy; {budget}, {words.count(chosen['images'])} images. A white box above transfer is a sign of "
            f"masked gradients, and stands in the table of such signs. {words.rests(chosen)}",
            title="Transfer and white box over clean accuracy",
        )
    else:
        st.info("No transfer attack with this budget met a defence; choose another.")
    for name in TABLES[:3]:
        if name in tables:
            parts.table(tables[name])
    students(opened)
    for name in TABLES[3:]:
        if name in tables:
            parts.table(tables[name])
    words.papers(frame["defense"])


@st.cache_data(show_spinner="Reading the students …", max_entries=4)
def _students(folder: str, run: str, counter: int, files: Sequence[tuple[str, int]]) -> dict[str, pd.DataFrame]:
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
            st.subheader("Students", help=help.help_of("students"))
            st.info(f"No student of this run was measured yet: {code(command)} measures and lists them.")
        return
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
            forms={
                "student": "text",
                "accuracy": "percent",
                "robust accuracy": "percent",
                "MACs": "count",
                "parameters": "count",
            },
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
