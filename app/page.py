"""The explorer: which runs there are, attack success by case, and who fools whom.

Started by `carom app`, which names the store in the environment; reads, never writes. What the page shows is in its
address, so that a view can be shared. Streamlit reads many strings as markdown; names and messages come from files of
others, so they go through `plain`, or into elements that take them literally.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from carom.app import cost_chart, defense_chart, heat_map, queries
from carom.app.plain import code, plain
from carom.errors import CaromError, one_line
from carom.scenarios.reader import Run
from carom.scenarios.show import Shown

SECTIONS = {
    "cases": "Cases",
    "matrix": "Matrix",
    "surrogates": "Surrogates",
    "defenses": "Defences",
    "tables": "More tables",
    "run": "Run",
}
FIRST = ("cases", "effects", "controls", "cases-by-attack")
ABOUT = ("models", "failed-jobs")
SURROGATES = ("surrogates", "equal-training-cost", "equal-attack-cost", "geometry")
DEFENSES = (
    "defenses",
    "defenses-intervals",
    "defenses-by-attacker",
    "label-leaking",
    "public-sources",
    "masking",
    "white-box-attacks",
    "defenses-by-victim",
    "game",
)
FORMATS = {"count": "{:,.0f}", "percent": "{:.1%}", "points": "{:+.1f}", "number": "{:.3g}"}
STYLE = """<style>
[data-testid=stMainBlockContainer] {padding: 3.5rem 2rem}
[data-testid=stAppDeployButton] {display: none}
</style>"""
POLL = 2.0  # seconds between looks at the change counter
ROW = 35  # pixels


@st.cache_data(show_spinner="Reading the run …", max_entries=8)
def read_view(folder: str, run: str, counter: int) -> tuple[queries.View, float]:
    """A run and the seconds that reading it took; read again only when the store's change counter has moved."""
    del counter
    start = time.perf_counter()
    return queries.view(Path(folder), run), time.perf_counter() - start


def main() -> None:
    """The page; whatever goes wrong is one sentence on it and a traceback in the terminal."""
    st.set_page_config(page_title="carom", layout="wide")
    st.html(STYLE)
    folder = Path(os.environ.get("CAROM_STORE", ".carom"))
    try:
        page(folder)
    except Exception as error:
        logging.getLogger("carom").exception("the explorer could not show this view")
        st.error(
            f"This view cannot be shown: {plain(one_line(error))}. Choose another run or reload the page; `carom show` "
            "prints the same tables. The terminal of `carom app` has the details."
        )


def page(folder: Path) -> None:
    """Everything on it, from the top."""
    try:
        counter, runs = queries.counter(folder), queries.runs(folder)
    except CaromError as error:
        st.title("carom")
        st.warning(plain(error))
        st.caption("This page looks again by itself.")
        watch(str(folder), None, POLL)
        return
    if not runs:
        st.title("carom")
        st.info(
            f"{plain(folder)} holds no run yet. Start one, such as {code(f'carom demo --store {folder}')}; "
            "it appears here by itself."
        )
        watch(str(folder), counter, POLL)
        return
    run = choose(runs)
    view, seconds = read_view(str(folder), run.id, counter)
    header(run, str(folder))
    controls_notice(view)
    body(run, view)
    # A run writes several times a second; tables that are slow to read are read at most a tenth of the time.
    watch(str(folder), counter, max(POLL, 10 * seconds))


# ----------------------------------------------------------------------------------------------------------- the state


def pick(
    ask: Callable[..., str | None], label: str, options: Sequence[str], name: str, default: str, **more: object
) -> str:
    """A choice that stands in the address as `name`: what the address says wins when it changed, else the widget."""
    key, written = f"pick-{name}", f"address-{name}"
    asked = st.query_params.get(name)
    if st.session_state.get(key) not in options or asked != st.session_state.get(written):
        st.session_state[key] = asked if asked in options else default
    chosen = ask(label, list(options), key=key, **more) or default
    st.query_params[name] = st.session_state[written] = chosen
    return chosen


def choose(runs: list[Run]) -> Run:
    """The run that the address or the user names; the latest otherwise."""
    ids = [r.id for r in runs]
    asked = st.query_params.get("run")
    title, picker = st.columns([1, 3], vertical_alignment="bottom")
    title.title("carom")
    labels = {r.id: f"{r.id}  ·  {LABELS[queries.state(r)]}  ·  {r.done:,} of {r.cells:,} cells" for r in runs}
    labels |= {r.id: f"{r.id}  ·  published" for r in runs if queries.state(r) == "published"}
    chosen = pick(picker.selectbox, "Run", ids, "run", ids[0], format_func=lambda run: labels.get(run, run))
    if asked is not None and asked not in ids:
        st.warning(f"This store has no run named {plain(asked)}. Shown is {plain(chosen)}; the list above has all.")
    return runs[ids.index(chosen)]


# ---------------------------------------------------------------------------------------------------------- the header

LABELS: dict[queries.State, str] = {
    "waiting": "running",
    "running": "running",
    "interrupted": "interrupted",
    "failed": "failed",
    "partial": "done in part",
    "done": "done",
    "published": "published",
}


def header(run: Run, folder: str) -> None:
    """What the run is, how far it is, and what to do when it is not done."""
    if run.description:
        st.text(run.description)
    stand = queries.state(run)
    started = run.started.replace("T", " ").split("+")[0].split(".")[0]
    facts = f"Task {plain(run.task)} · started {plain(started)} UTC"
    if stand == "published":
        st.caption(f"Tasks {plain(run.task)} · imported {plain(started)} UTC")
        st.info(
            "Published results of others: rates of whole cells, without images, so there is no matrix. "
            f"{code(f'carom show {run.id}')} prints the same tables."
        )
        return
    complete = stand == "done" and run.done == run.cells
    st.caption(f"{facts} · done: all {run.done:,} cells have an outcome" if complete else facts)
    again = f"Run the scenario again ({code(f'carom run {run.scenario}')}, or its file)"
    match stand:
        case "waiting" | "running":
            follow(folder, run.id)
        case "interrupted":
            st.warning(
                f"Interrupted: {run.done:,} of {run.cells:,} cells have an outcome, and the tables rest on these only. "
                f"{again} to compute the rest; nothing is computed twice."
            )
        case "failed":
            st.error(f"Failed: no cell has an outcome. The tables below say why. {again} once that is mended.")
        case "partial":
            st.warning(
                f"Done in part: {run.cells - run.done:,} of {run.cells:,} cells have no outcome, and the tables rest "
                f"on the others only. Section Cases says why. {again} to try them once more."
            )
        case "done" if not complete:
            st.warning(
                f"{run.cells - run.done:,} of {run.cells:,} cells lost their outcome since this run was done, as a "
                f"model or set that they rest on was made anew. {again} to compute them."
            )


@st.fragment(run_every=POLL)
def follow(folder: str, run: str) -> None:
    """The progress of a run, more often than its tables."""
    try:
        done, planned = queries.progress(Path(folder), run)
    except CaromError as error:
        st.warning(plain(error))
        return
    what = "outcomes so far; tables and intervals move until it is done" if done else "training and crafting come first"
    st.progress(done / max(1, planned), text=f"Running: {done:,} of {planned:,} cells, {what}")


def controls_notice(view: queries.View) -> None:
    """Controls that did not pass, above everything that rests on them."""
    bad = queries.troubles(view.tables)
    for status, notice, icon in (
        ("failed", st.error, ":material/error:"),
        ("warned", st.warning, ":material/warning:"),
    ):
        lines = [
            f"{status.capitalize()}: **{plain(row.control)}**. Expected {plain(row.expected)}; came {plain(row.came)}."
            for row in bad[bad["status"] == status].itertuples()
        ]
        if lines:
            advice = "Do not trust the numbers of this run before this is explained." if status == "failed" else ""
            notice("\n\n".join([*lines, advice]).strip(), icon=icon)


# ------------------------------------------------------------------------------------------------------------ the body


def body(run: Run, view: queries.View) -> None:
    """The section that the user chose."""
    names = [t.name for t in view.tables]
    section = pick(
        st.segmented_control,
        "Section",
        [name for name in SECTIONS if name != "defenses" or "defenses" in names],
        "section",
        "cases",
        format_func=SECTIONS.__getitem__,
        label_visibility="collapsed",
    )
    if section == "run":
        about(run, [t for t in view.tables if t.name in ABOUT])
    elif view.problem is not None:
        explain(run, view)
    elif section in ("matrix", "surrogates") and queries.state(run) == "published":
        st.info("Published rates have neither; sections Cases and More tables have what there is.")
    elif section == "matrix":
        matrix(view)
    elif section == "surrogates":
        surrogates([view.tables[names.index(name)] for name in SURROGATES if name in names])
    elif section == "defenses":
        defenses([view.tables[names.index(name)] for name in DEFENSES if name in names])
    else:
        first = [n for n in (*FIRST, "failures") if n in names]
        elsewhere = (*first, *ABOUT, *SURROGATES, *DEFENSES)
        chosen = first if section == "cases" else [n for n in names if n not in elsewhere]
        for name in chosen:
            table(view.tables[names.index(name)])


def explain(run: Run, view: queries.View) -> None:
    """Why there is no table of outcomes yet, and what there is instead."""
    if queries.state(run) == "waiting":
        st.info("No outcome yet. Tables appear here by themselves as soon as the first victims have answered.")
    elif run.done:
        st.warning(plain(view.problem))
    else:
        st.info("This run has no outcome to show.")
    for shown in view.tables:
        table(shown)


def about(run: Run, tables: Sequence[Shown]) -> None:
    """The scenario as it was written, where it ran, and its models."""
    st.subheader("Scenario file")
    st.code(run.text, language="toml", height=400)
    st.subheader("Where it ran")
    environment = {**run.environment, **run.environment.get("versions", {})}
    environment.pop("versions", None)
    words = [(str(k), ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for k, v in environment.items()]
    st.dataframe(pd.DataFrame(words, columns=["what", "value"]), hide_index=True)
    for shown in tables:
        table(shown)


def table(shown: Shown) -> None:
    """A table with its notes; all columns, as raw numbers, can be taken along."""
    frame, shared = queries.displayed(shown)
    title = shown.title.split(": ", 1)[-1]
    st.subheader(plain(title[:1].upper() + title[1:]))
    written: dict[Any, Any] = {c: FORMATS[f] for c, f in shown.forms.items() if f != "text" and c in frame}
    styled = frame.style.format(written, na_rep="–")
    if shown.name == "controls":
        styled = styled.apply(status_style, axis=1)
    st.dataframe(styled, hide_index=True, placeholder="–", height=ROW * (min(len(frame), 16) + 1) + 3)
    notes = [*([f"All rows: {', '.join(shared)}."] if shared else []), *shown.notes]
    if notes:
        st.caption("  \n".join(plain(note) for note in notes))
    csv = shown.frame.to_csv(index=False)
    st.download_button("CSV", csv, file_name=f"{shown.name}.csv", mime="text/csv", key=f"csv-{shown.name}")


def status_style(row: "pd.Series[str]") -> list[str]:
    """Red behind a control that failed, amber behind one that warned; the word stands there too."""
    colour = {"failed": "rgba(214, 39, 40, 0.35)", "warned": "rgba(255, 170, 0, 0.30)"}.get(row["status"])
    return [f"background-color: {colour}" if colour else ""] * len(row)


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
    st.altair_chart(heat_map.chart(found, rows, columns))
    what = f"{attack or 'all attacks'}, {budget or 'all budgets'}"
    st.caption(
        f"ASR of {plain(what)}, in percent: k / n, of the n images that a victim gets right clean the k on which the "
        f"attack succeeds. {len(found):,} fields pool {int(found['cells'].sum()):,} cells of {view.images:,} images; n "
        f"is {int(found['n'].min()):,} to {int(found['n'].max()):,} a field. "
        + ("With" if asked == "with" else "Without")
        + " white boxes (C0: the victim is the surrogate's own model)."
    )
    csv = found.to_csv(index=False)
    st.download_button("CSV", csv, file_name="matrix.csv", mime="text/csv", key="csv-matrix")


def surrogates(tables: Sequence[Shown]) -> None:
    """What surrogates cost and what that buys."""
    if not tables or tables[0].name != "surrogates":
        st.info("This run does not compare ways of building a surrogate; `builder` in a scenario's surrogates does.")
        return
    frame = tables[0].frame.assign(budget=lambda t: t["norm"] + " " + t["eps"])
    first, second, third = st.columns(3)
    attack = pick(first.selectbox, "Attack", list(dict.fromkeys(frame["attack"])), "attack", frame["attack"].iloc[-1])
    budget = pick(second.selectbox, "Budget", list(dict.fromkeys(frame["budget"])), "budget", frame["budget"].iloc[-1])
    cost = pick(third.selectbox, "Cost", list(cost_chart.COSTS), "cost", "trainings")
    chosen = frame[(frame["attack"] == attack) & (frame["budget"] == budget)]
    if chosen.empty:
        st.info("No surrogate has this attack with this budget; choose others.")
    else:
        st.altair_chart(cost_chart.chart(chosen, cost))
        st.caption("Points: ASR on all victims but a surrogate's own models; lines: 95% intervals, as in the table.")
    for shown in tables:
        table(shown)


def defenses(tables: Sequence[Shown]) -> None:
    """What defences keep, under whose attacks, and what they cost."""
    frame = tables[0].frame.assign(budget=lambda t: t["norm"] + " " + t["eps"])
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
        cost = pick(third.selectbox, "Size of the points", costs, "cost", costs[0])
        st.altair_chart(defense_chart.chart(chosen, transfer, None if cost == "none" else cost))
        st.caption(
            "Points: accuracy over all images, clean errors included; lines: 95% intervals, as in the table. A white "
            "box above transfer is a sign of masked gradients, and stands in the table of such signs."
        )
    else:
        st.info("No transfer attack with this budget met a defence; choose another.")
    for shown in tables:
        table(shown)


def only(box: DeltaGenerator, label: str, cells: pd.DataFrame, name: str, axes: Sequence[str]) -> str | None:
    """One attack or budget; None where it is an axis, as all of them are shown then."""
    if name in axes:
        box.text(f"{label}: along an axis")
        return None
    options = list(dict.fromkeys(cells[name]))
    return pick(box.selectbox, label, options, name, options[-1])


def watch(folder: str, counter: int | None, seconds: float) -> None:
    """Show what a run writes as it comes."""

    def look() -> None:
        try:
            found = queries.counter(Path(folder))
        except CaromError:
            found = None
        if found != counter:
            st.rerun()

    st.fragment(look, run_every=seconds)()


main()
