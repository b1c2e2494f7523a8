"""Gates: what each judged over time, and what moved."""

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from carom.app.charts import gates as gate_chart
from carom.app.queries import gates as gate_queries
from carom.app.shell import parts
from carom.app.shell.address import pick
from carom.app.shell.frame import show_gates
from carom.app.shell.plain import code, plain
from carom.scenarios.tables.table import Form, Table

SIGNS = {"weaker": "✕ weaker", "cannot tell": "? cannot tell", "holds": "✓ holds"}
TILES, ACROSS = 24, 4  # gates that have one, and how many stand side by side
LAST = 20  # verdicts in the line of a tile
AGAIN = "pytest --robustness-history=STORE"  # of the repository whose tests hold the gates


def page(folder: Path) -> None:
    """All gates, then one of them."""
    st.title("Gates")
    found = gate_queries.gates(folder)
    if found.damaged:
        st.warning(
            f"{found.damaged:,} files below {plain(folder / gate_queries.GATES)} cannot be read, and are left out: "
            "damaged, or of another version of carom."
        )
    if found.verdicts.empty:
        st.info(
            f"No gate has recorded a verdict in {plain(folder)} yet. In the ini file of a repository whose tests use "
            f"the fixture {code('robustness')}, say {code(f'robustness_history = {folder}')}, or run "
            f"{code(f'pytest --robustness-history={folder}')}; each gate that is judged then appears here by itself."
        )
        return
    latest = gate_queries.latest(found)
    red = int((latest["verdict"] == "weaker").sum())
    doubt = int((latest["verdict"] == "cannot tell").sum())
    st.caption(
        f"{len(latest):,} {'gate' if len(latest) == 1 else 'gates'}, {len(found.verdicts):,} verdicts; "
        f"of the latest, {red:,} weaker, {doubt:,} cannot tell."
    )
    board(found, latest)
    names = dict(zip(latest["gate"], (gate_queries.gate_label(row) for row in latest.to_dict("records")), strict=True))
    gate = pick(
        st.selectbox,
        "Gate",
        list(names),
        "gate",
        latest["gate"].iloc[0],
        format_func=lambda gate: names.get(gate, gate),
    )
    one(found, gate)


def board(found: gate_queries.Gates, latest: pd.DataFrame) -> None:
    """A tile for each gate, the worst first: verdict, robust accuracy over its last verdicts, commit."""
    for start in range(0, min(len(latest), TILES), ACROSS):
        for box, (_, row) in zip(st.columns(ACROSS), latest.iloc[start : start + ACROSS].iterrows(), strict=False):
            mine = found.verdicts[found.verdicts["gate"] == row["gate"]].head(LAST)
            label = gate_queries.gate_label(row.to_dict())
            with box.container(border=True):
                st.metric(
                    f"{SIGNS[row['verdict']]} · {plain(label)}",
                    f"{row['now']:.1%}",
                    parts.FORMATS["points"](100 * (row["now"] - row["before"])) + " points",
                    delta_color="off" if row["verdict"] == "holds" else "normal",
                    help="Robust accuracy, and its change from the baseline; the line: the last verdicts.",
                    chart_data=mine["now"].iloc[::-1].tolist() if len(mine) > 1 else None,
                )
                st.caption(f"{moment(row)}{_commit(row)}")
    if len(latest) > TILES:
        st.caption(f"The first {TILES} of {len(latest):,} gates, the worst first; all of them are in the data below.")
    parts.folded([_all(found, latest)])


def _all(found: gate_queries.Gates, latest: pd.DataFrame) -> Table:
    """The latest verdict of each gate."""
    count = found.verdicts.groupby("gate")["time"].size()
    frame = pd.DataFrame(
        {
            "gate": [gate_queries.gate_label(row) for row in latest.to_dict("records")],
            "latest verdict": latest["verdict"].map(SIGNS),
            "when (UTC)": [moment(row) for _, row in latest.iterrows()],
            "robust accuracy": latest["now"],
            "baseline": latest["before"],
            "clean accuracy": latest["clean_now"],
            "suite": latest["suite"],
            "images": latest["images"],
            "verdicts": [int(count[gate]) for gate in latest["gate"]],
            "commit": latest["commit"].str[:12],
        }
    )
    forms: dict[str, Form] = dict.fromkeys(map(str, frame.columns), "text")
    forms |= dict.fromkeys(("robust accuracy", "baseline", "clean accuracy"), "percent")
    forms |= dict.fromkeys(("images", "verdicts"), "count")
    return Table(name="gates", title="All gates", frame=frame, forms=forms)


def one(found: gate_queries.Gates, gate: str) -> None:
    """One gate: a chosen verdict, what was judged, which images flipped, what moved; and the gate over time."""
    verdicts = found.verdicts[found.verdicts["gate"] == gate].reset_index(drop=True)
    times = [f"{time:%Y-%m-%d %H:%M:%S.%f}" for time in verdicts["time"]]
    words = dict(zip(times, (f"{t[:19]} · {v}" for t, v in zip(times, verdicts["verdict"], strict=True)), strict=True))
    chosen = pick(st.selectbox, "Verdict", times, "verdict", times[0], format_func=lambda time: words.get(time, time))
    row = verdicts.iloc[times.index(chosen)]
    notice = {"weaker": st.error, "cannot tell": st.warning}.get(row["verdict"], st.success)
    notice("  \n".join(plain(line) for line in row["said"].split("\n")))
    st.caption(
        f"Baseline {plain(row['baseline'])} · suite {plain(row['suite'])} ({plain(row['digest'][:12])}){_commit(row)}"
        f" · clean accuracy {row['clean_before']:.1%} → {row['clean_now']:.1%} · ASR {_percent(row['asr_before'])} → "
        f"{_percent(row['asr_now'])}"
    )
    judged(found, row)
    over_time(verdicts)
    flipped(found, row)
    moved(found, row)


def judged(found: gate_queries.Gates, row: "pd.Series[Any]") -> None:
    """Each check of one verdict with its own bar."""
    table = gate_queries.judged(found, str(row["gate"]), pd.Timestamp(str(row["time"])))
    parts.figure(
        gate_chart.checks(table),
        table,
        "gate-checks",
        "Points that are left before the limit of each check. Bars: one-sided bounds over images, at each check's "
        "share of the certainty. Weaker: the whole bar is left of the limit; holds: the whole bar is right of it.",
        title="What was judged",
        computed="Of a drop, what is allowed minus the drop; of a floor, robust accuracy minus the floor. Each check "
        "has an equal share of the gate's level, so that all of them together are wrong no more often than that.",
        command=AGAIN,
    )
    rates: dict[str, Form] = dict.fromkeys(("before", "now", "drop", "low", "high", "allowed"), "percent")
    forms: dict[str, Form] = {"what": "text", "verdict": "text", **rates, "n": "count"}
    note = "low, high: one-sided bounds of the drop; for a floor, of robust accuracy itself."
    shown = table.assign(verdict=table["verdict"].map(SIGNS))
    parts.folded([Table(name="checks", title="What was judged", frame=shown, forms=forms, notes=[note])])


def over_time(verdicts: pd.DataFrame) -> None:
    """One gate at all its verdicts."""
    last = verdicts.iloc[0]
    if verdicts["digest"].nunique() > 1:
        st.info("The suite changed on the way: robust accuracies of different suites are not comparable.")
    otherwise = int((verdicts["first"] != verdicts["verdict"]).sum())
    parts.figure(
        gate_chart.chart(verdicts),
        verdicts,
        "gate",
        f"Robust accuracy at {len(verdicts):,} times, over all {int(last['images']):,} images, mean of the sets of "
        f"suite {last['suite']}. Solid line: the baseline; dashed: the lowest that is allowed below it. Bars and "
        "colours: of this check alone; bounds of the drop, taken from the baseline."
        + (f" At {otherwise:,} of these times another check decided otherwise." if otherwise else ""),
        title="Over time",
        command=AGAIN,
    )


def flipped(found: gate_queries.Gates, row: "pd.Series[Any]") -> None:
    """Which images are answered otherwise than before."""
    st.subheader("Which images flipped")
    if pd.isna(row["lost"]):
        st.info("This verdict was kept without its images; those that are judged from now on have them.")
        return
    table = gate_queries.flipped(found, str(row["gate"]), pd.Timestamp(str(row["time"])))
    if table.empty:
        st.info("None: each image is answered right in as many sets as before.")
        return
    lost, won, sets = (int(row[name]) for name in ("lost", "won", "sets"))
    of = f"{sets:,} {'set' if sets == 1 else 'sets'}"
    st.markdown(f"{lost:,} {_images(lost)} right in fewer of {of} than before, {won:,} in more.")
    forms: dict[str, Form] = {"id": "text", "source": "text", "class": "text"}
    forms |= dict.fromkeys(("before", "now"), "count")
    notes = [f"before, now: sets, of {sets:,}, in which the image is answered right; id: of the image in the suite."]
    parts.folded([Table(name="flipped", title="Images that flipped", frame=table, forms=forms, notes=notes)])


def _images(count: int) -> str:
    return "image is answered" if count == 1 else "images are answered"


def moved(found: gate_queries.Gates, row: "pd.Series[Any]") -> None:
    """The sets and classes that changed most."""
    table = gate_queries.moved(found, str(row["gate"]), pd.Timestamp(str(row["time"])))
    if not table["drop"].abs().max() > 0:
        st.subheader("What moved")
        st.info("Nothing: every set and class has the robust accuracy of the baseline.")
        return
    forms: dict[str, Form] = {"part": "text", "before": "percent", "now": "percent", "change": "points"}
    note = (
        "Robust accuracy; change in points, the largest first. These are not judged unless the gate says so, so many "
        "small ones are chance."
    )
    st.subheader("What moved")
    tables = []
    for kind, name, title in (("class", "moved-classes", "Classes"), ("set", "moved-sets", "Adversarial sets")):
        mine = table[table["kind"] == kind]
        shown = mine.assign(change=-mine["drop"]).reset_index(drop=True)
        tables.append(Table(name=name, title=title, frame=shown, forms=forms, notes=[note]))
    most = table.iloc[0]
    st.markdown(f"Most of all: {most['kind']} {plain(most['part'])}, {most['before']:.1%} → {most['now']:.1%}.")
    parts.folded(tables)


def moment(row: "pd.Series[Any]") -> str:
    return f"{row['time']:%Y-%m-%d %H:%M:%S}"


def _commit(row: "pd.Series[Any]") -> str:
    return f" · commit {plain(row['commit'][:12])}" if row["commit"] else ""


def _percent(share: float) -> str:
    return "–" if pd.isna(share) else f"{share:.1%}"


show_gates(page)
