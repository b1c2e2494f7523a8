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

SIGNS = {"weaker": "✕ weaker", "cannot tell": "? cannot tell", "holds": "✓ holds"}
SHOWN = 12  # of what moved most


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
    overview(found, latest)
    names = dict(zip(latest["gate"], (gate_queries.gate_label(row) for row in latest.to_dict("records")), strict=True))
    gate = pick(st.selectbox, "Gate", list(names), "gate", latest["gate"].iloc[0], format_func=names.__getitem__)
    one(found, gate)


def overview(found: gate_queries.Gates, latest: pd.DataFrame) -> None:
    """The latest verdict of each gate."""
    count = found.verdicts.groupby("gate")["time"].size()
    table = pd.DataFrame(
        {
            "gate": [gate_queries.gate_label(row) for row in latest.to_dict("records")],
            "latest verdict": latest["verdict"].map(lambda verdict: SIGNS.get(verdict, verdict)),
            "when (UTC)": latest["time"].dt.floor("s"),
            "robust accuracy": latest["now"],
            "baseline": latest["before"],
            "clean accuracy": latest["clean_now"],
            "suite": latest["suite"],
            "images": latest["images"],
            "verdicts": [int(count[gate]) for gate in latest["gate"]],
            "commit": latest["commit"].str[:12],
        }
    )
    rates: dict[Any, Any] = {c: "{:.1%}" for c in ("robust accuracy", "baseline", "clean accuracy")}
    styled = table.style.format(rates, na_rep="–").apply(_colour, subset=["latest verdict"])
    st.dataframe(styled, hide_index=True)


def one(found: gate_queries.Gates, gate: str) -> None:
    """One gate over time, its chosen verdict, and what moved in it."""
    verdicts = found.verdicts[found.verdicts["gate"] == gate].reset_index(drop=True)
    last = verdicts.iloc[0]
    st.subheader(plain(gate_queries.gate_label(last.to_dict())))
    if verdicts["digest"].nunique() > 1:
        st.info("The suite changed on the way: robust accuracies of different suites are not comparable.")
    parts.figure(
        gate_chart.chart(verdicts),
        verdicts,
        "gate",
        f"Robust accuracy at {len(verdicts):,} times, over all {int(last['images']):,} images, mean of the sets of "
        f"suite {last['suite']}. Solid line: the baseline; dashed: the lowest that is allowed below it. Bars: "
        "one-sided bounds of the drop, taken from the baseline, ranging over images at the certainty of the gate; "
        "weaker: the whole bar is below the dashed line; holds: the whole bar is above.",
    )
    times = [f"{time:%Y-%m-%d %H:%M:%S.%f}" for time in verdicts["time"]]
    words = dict(zip(times, (f"{t[:19]} · {v}" for t, v in zip(times, verdicts["verdict"], strict=True)), strict=True))
    chosen = pick(st.selectbox, "Verdict", times, "verdict", times[0], format_func=words.__getitem__)
    row = verdicts.iloc[times.index(chosen)]
    notice = {"weaker": st.error, "cannot tell": st.warning}.get(row["verdict"], st.success)
    notice("  \n".join(plain(line) for line in row["said"].split("\n")))
    at = f" · commit {plain(row['commit'][:12])}" if row["commit"] else ""
    st.caption(
        f"Baseline {plain(row['baseline'])} · suite {plain(row['suite'])} ({plain(row['digest'][:12])}){at} · clean "
        f"accuracy {row['clean_before']:.1%} → {row['clean_now']:.1%} · ASR {_percent(row['asr_before'])} → "
        f"{_percent(row['asr_now'])}"
    )
    moved(found, row)


def moved(found: gate_queries.Gates, row: "pd.Series[Any]") -> None:
    """The sets and classes that changed most."""
    st.subheader("What moved")
    table = gate_queries.moved(found, str(row["gate"]), pd.Timestamp(str(row["time"])))
    if not table["drop"].abs().max() > 0:
        st.info("Nothing: every set and class has the robust accuracy of the baseline.")
        return
    left, right = st.columns(2)
    for box, kind, title in ((left, "set", "adversarial set"), (right, "class", "class")):
        mine = table[table["kind"] == kind].drop(columns="kind").head(SHOWN)
        shown = mine.rename(columns={"part": title}).assign(change=-100 * mine["drop"]).drop(columns="drop")
        styled = shown.style.format({"before": "{:.1%}", "now": "{:.1%}", "change": "{:+.1f}"})
        box.dataframe(styled, hide_index=True)
    st.caption(
        f"Robust accuracy of each set over all images, and of each class over all sets; change in points, the largest "
        f"first, at most {SHOWN} of each. These are not judged unless the gate says so, so many small ones are chance."
    )
    checks = found.checks[(found.checks["gate"] == row["gate"]) & (found.checks["time"] == row["time"])]
    if len(checks) > 1:
        st.subheader("What was judged")
        columns = ["what", "verdict", "before", "now", "drop", "low", "high", "allowed", "n"]
        rates: dict[Any, Any] = {c: "{:.1%}" for c in ("before", "now", "drop", "low", "high", "allowed")}
        shown = checks[columns].astype({c: float for c in rates})
        st.dataframe(shown.style.format(rates, na_rep="–").apply(_colour, subset=["verdict"]), hide_index=True)
        st.caption("low, high: one-sided bounds of the drop; for a floor, of robust accuracy itself.")


def _colour(verdicts: "pd.Series[str]") -> list[str]:
    """Red, amber or green behind the word."""
    words = {word: verdict for verdict, word in SIGNS.items()}
    hues = {"weaker": "rgba(213, 94, 0, 0.35)", "cannot tell": "rgba(230, 159, 0, 0.30)"}
    hues["holds"] = "rgba(0, 158, 115, 0.25)"
    return [f"background-color: {hues.get(words.get(v, v), 'transparent')}" for v in verdicts]


def _percent(share: float) -> str:
    return "–" if pd.isna(share) else f"{share:.1%}"


show_gates(page)
