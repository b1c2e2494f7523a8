"""What every page has: the store and the run that it is about, how far that is, and words where something is missing.

A page is a script in `pages/` that ends with `show(page)`. Streamlit reads many strings as markdown; names and messages
come from files of others, so they go through `plain`, or into elements that take them literally.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from carom.app.queries import gates as gate_queries
from carom.app.queries import runs as run_queries
from carom.app.queries.cells import budgets_in_order
from carom.errors import CaromError, one_line
from carom.scenarios.store.runs import Run

from .address import pick
from .plain import code, plain

POLL = 2.0  # seconds between looks at the change counter
SEEN = 4.5  # seconds from a write to its being on the page, drawing apart
PACED = 60  # looks that the pace of a run is taken from
STYLE = """<style>
[data-testid=stMainBlockContainer] {padding: 3.5rem 2rem}
[data-testid=stAppDeployButton] {display: none}
.st-key-choices {position: sticky; top: 3.75rem; z-index: 90; background: light-dark(#fff, #0e1117)}
[class*="st-key-figure-"] {overflow-x: auto}
.stMultiSelect span[title] {color: light-dark(#fff, #000) !important}
[data-testid=stCaptionContainer] {opacity: 0.8 !important}
</style>"""
STANDS: dict[run_queries.State, str] = {
    "waiting": "running",
    "running": "running",
    "interrupted": "interrupted",
    "failed": "failed",
    "partial": "done in part",
    "done": "done",
    "published": "published",
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """The store that a page is about.

    Attributes:
        folder: Where it is.
        runs: Its runs, the latest first.
    """

    folder: Path
    runs: list[Run]


@dataclass(frozen=True, kw_only=True)
class Opened(Place):
    """What a page is about.

    Attributes:
        run: The chosen one.
        boxes: Places beside it, in the row of choices that stands on every page, for budget and attack.
    """

    run: Run
    boxes: Sequence[DeltaGenerator]

    @property
    def counter(self) -> str:
        """Of what the run shows; what was read at one count need not be read again at the same."""
        return self.run.counter


ALL = "all attacks"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What a page is about besides a run.

    Attributes:
        budget: As in the column `budget` of cells.
        attack: None for all that may be pooled.
    """

    budget: str
    attack: str | None


def stores() -> list[Path]:
    """The stores that `carom app` was told of."""
    return [Path(name) for name in os.environ.get("CAROM_STORE", ".carom").split(os.pathsep)]


def show(page: Callable[[Opened], float | None], *, every: bool = False) -> None:
    """A page about a run; whatever goes wrong is one sentence on it and a traceback in the terminal.

    Args:
        page: Draws it; may return the seconds that its reading took, so that a slow page looks again less often.
        every: Whether it also shows how far the other runs are.
    """
    _guarded(lambda folder: _show(page, folder, every))


def show_gates(page: Callable[[Path], None]) -> None:
    """A page about the gates of a store, which needs no run; what goes wrong is a sentence, as in `show`."""

    def draw(folder: Path) -> None:
        counter = gate_queries.gates_counter(folder)
        page(folder)
        watch(lambda: gate_queries.gates_counter(folder), counter, POLL)

    _guarded(draw)


def _guarded(draw: Callable[[Path], None]) -> None:
    """The store that was chosen, drawn; errors become sentences."""
    st.html(STYLE)
    host = os.environ.get("CAROM_HOST", "localhost")
    if host not in ("localhost", "127.0.0.1", "::1"):
        st.warning(f"Served on {plain(host)}: whoever reaches this machine can read these stores.")
    known = [str(folder) for folder in stores()]
    folder = Path(known[0])
    try:
        if len(known) > 1:
            with st.sidebar:
                folder = Path(pick(st.selectbox, "Store", known, "store", known[0]))
        draw(folder)
    except CaromError as error:
        st.warning(plain(error))
        st.caption("This page looks again by itself.")
        watch(lambda: run_queries.counter(folder), None, POLL)
    except Exception as error:
        logging.getLogger("carom").exception("the explorer could not show this view")
        st.error(
            f"This view cannot be shown: {plain(one_line(error))}. Choose another run or reload the page; `carom show` "
            "prints the same tables. The terminal of `carom app` has the details."
        )


def _show(page: Callable[[Opened], float | None], folder: Path, every: bool) -> None:
    runs: list[Run] = []
    counter: int | None = None
    if (folder / "carom.db").exists() or not gate_queries.has_gates(folder):
        counter = run_queries.counter(folder)
        runs = runs_now(folder)
    if not runs:
        gates = " It holds gates; page Gates shows them." if gate_queries.has_gates(folder) else ""
        st.info(
            f"{plain(folder)} holds no run yet. Start one, such as {code(f'carom demo --store {folder}')}; "
            f"it appears here by itself.{gates}"
        )
        watch(lambda: run_queries.counter(folder), counter, POLL)
        return
    with st.container(key="choices"):
        first, *boxes = st.columns([3, 2, 2])
        with first:
            run = choose(runs)
    seconds = page(Opened(folder=folder, runs=runs, run=run, boxes=boxes))
    watch(lambda: seen(runs_now(folder), run, every), seen(runs, run, every), wait_of(seconds or 0.0))


def seen(runs: Sequence[Run], run: Run, every: bool) -> Sequence[object]:
    """What a page about a run shows of a store: which runs there are, how each stands, and all of its own.

    While another run writes that stays as it is, and so does the page.
    """
    return [(r.id, STANDS[run_queries.state(r)], r.counter if every or r.id == run.id else "") for r in runs]


def wait_of(seconds: float) -> float:
    """Seconds until the next look at what took so many to read: what a run writes is there within five if it can be."""
    return max(POLL / 2, min(POLL, SEEN - seconds))


def runs_now(folder: Path) -> list[Run]:
    """The runs of a store, counted once for each state of it."""
    return kept_runs(str(folder), run_queries.counter(folder), run_queries.writer_is_gone(folder))


@st.cache_data(show_spinner=False, max_entries=8)
def kept_runs(folder: str, counter: int, gone: bool) -> list[Run]:
    """The runs at one count of the changes of a store."""
    del counter, gone
    before = _runs_before(folder)
    before[:] = run_queries.runs(Path(folder), before)
    return list(before)


@st.cache_resource(show_spinner=False, max_entries=8)
def _runs_before(folder: str) -> list[Run]:
    """The runs of a store as they were last."""
    del folder
    return []


def choose(runs: list[Run]) -> Run:
    """The run that the address or the user names; the latest otherwise."""
    ids = [r.id for r in runs]
    labels = {r.id: f"{r.id} · {STANDS[run_queries.state(r)]}" for r in runs}
    chosen = pick(st.selectbox, "Run", ids, "run", ids[0], format_func=lambda run: labels.get(run, run))
    return runs[ids.index(chosen)]


def choices(opened: Opened, cells: pd.DataFrame, *, attacks: bool = True) -> Chosen:
    """Budget and attack beside the run, the same on every page; the largest radius and all attacks until one chooses.

    Args:
        opened: What the page is about.
        cells: Of surrogates, at least one, with their `budget`.
        attacks: Whether the page can be about one attack alone.
    """
    budgets = budgets_in_order(cells)
    usual = cells[(cells["case"] != 0) & (cells["reads"] == "surrogate") & ~cells["targeted"].astype(bool)]
    first = budgets_in_order(usual if len(usual) else cells)
    norm = first[0].split(" ")[0]
    largest = [b for b in first if b.split(" ")[0] == norm][-1]
    budget = pick(opened.boxes[0].selectbox, "Budget", budgets, "budget", largest)
    if not attacks:
        return Chosen(budget=budget, attack=None)
    here = [str(attack) for attack in cells.loc[cells["budget"] == budget, "attack"].unique()]
    attack = pick(opened.boxes[1].selectbox, "Attack", [ALL, *here], "attack", ALL)
    return Chosen(budget=budget, attack=None if attack == ALL else attack)


def header(opened: Opened, title: str) -> None:
    """Title of the page, what the run is, how far it is, and what to do when it is not done."""
    run, folder = opened.run, str(opened.folder)
    st.title(title)
    if run.description:
        st.text(run.description)
    stand = run_queries.state(run)
    began = "imported" if stand == "published" else "started"
    facts = f"{plain(run.id)} · task {plain(run.task)} · {began} {plain(moment(run.started))} UTC"
    complete = stand == "done" and run.done == run.cells
    st.caption(f"{facts} · done: all {run.done:,} cells have an outcome" if complete else facts)
    again = f"Run its scenario again ({code(f'carom run FILE --store {opened.folder}')}; page Runs has the file)"
    match stand:
        case "waiting" | "running":
            follow(folder, run.id)
        case "interrupted" if not run.done:
            st.warning(f"Interrupted before any of its {run.cells:,} cells had an outcome. {again}.")
        case "interrupted":
            st.warning(
                f"Interrupted: {run.done:,} of {run.cells:,} cells have an outcome, and the tables rest on these only. "
                f"{again} to compute the rest; nothing is computed twice."
            )
        case "published":
            st.info(
                "Published results of others: rates of whole cells, without images, so page Transfer has all there is. "
                f"{code(f'carom show {run.id}')} prints the same tables."
            )
        case "failed":
            st.error(f"Failed: no cell has an outcome. The tables below say why. {again} once that is mended.")
        case "partial":
            st.warning(
                f"Done in part: {run.cells - run.done:,} of {run.cells:,} cells have no outcome, and the tables rest "
                f"on the others only. Page Runs says why, and whether it may help to try again."
            )
        case "done" if not complete:
            st.warning(
                f"{run.cells - run.done:,} of {run.cells:,} cells lost their outcome since this run was done, as a "
                f"model or set that they rest on was made anew. {again} to compute them."
            )


def moment(written: str) -> str:
    """A time of the store to the second."""
    return written.replace("T", " ").split("+")[0].split(".")[0]


@st.fragment(run_every=POLL)
def follow(folder: str, run: str) -> None:
    """The progress of a run, more often than its tables."""
    try:
        done, planned = run_queries.progress(Path(folder), run)
    except CaromError as error:
        st.warning(plain(error))
        return
    seen: list[tuple[float, int]] = st.session_state.setdefault(f"seen-{folder}-{run}", [])
    seen.append((time.monotonic(), done))
    del seen[:-PACED]
    what = "outcomes so far; tables and intervals move until it is done" if done else "training and crafting come first"
    st.progress(done / max(1, planned), text=f"Running: {done:,} of {planned:,} cells, {pace(seen, planned)}{what}")


def pace(seen: Sequence[tuple[float, int]], planned: int) -> str:
    """Cells a second and the time left at this pace, "" while nothing moves.

    Args:
        seen: Seconds and outcomes of each look at a run, the earliest first.
        planned: Cells of the run.
    """
    (start, before), (end, done) = seen[0], seen[-1]
    if end <= start or done <= before:
        return ""
    rate = (done - before) / (end - start)
    left = (planned - done) / rate
    words = f"{left / 3600:.1f} h" if left > 5400 else f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
    return f"{rate:.3g} cells/s, about {words} left at that pace, "


def watch(count: Callable[[], object], shown: object, seconds: float) -> None:
    """Draw the page anew when what it shows has changed.

    Args:
        count: Moves with every change.
        shown: The count of what is drawn; None where it could not be read.
        seconds: Between looks.
    """

    def look() -> None:
        try:
            found = count()
        except CaromError:
            found = None
        if found != shown:
            st.rerun()

    st.fragment(look, run_every=seconds)()
