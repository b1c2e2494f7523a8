"""How fast the explorer is over a large store: first view, interactions, memory, and when new cells are seen.

    python benchmarks/large_store.py /tmp/large
    python benchmarks/explorer.py /tmp/large [--rounds 3] [--json FILE]

Pages run in this process by Streamlit's own AppTest: a script, its queries and what it sends, without the browser's
drawing. Libraries are loaded before, as `carom app` loads them before it serves. Each round starts with empty caches,
so its first look at a page reads the run; the interactions after it are changes of one choice each. New cells: the last
set's outcomes are taken out of a copy of the store and written back, and a page is drawn anew at the next look at the
change counter; counted are the longest wait for that look, and the drawing.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import streamlit as st
from streamlit.testing.v1 import AppTest

import carom.app
from carom.app.queries import runs as run_queries
from carom.app.shell import frame, serve
from carom.scenarios.store.database import Store
from carom.scenarios.store.schema import cells, run_cells, runs

EXPLORER = Path(carom.app.__file__).with_name("explorer.py")
# of each page, choices that are changed in turn: key in the address, and values
CHANGES: dict[str, list[tuple[str, str]]] = {
    "overview": [],
    "model": [("budget", "linf 16/255")],
    "runs": [],
    "transfer": [("budget", "linf 16/255"), ("budget", "linf 4/255")],
    "matrix": [
        ("attack", "mi"),
        ("budget", "linf 8/255"),
        ("rows", "surrogate_config"),
        ("columns", "victim_config"),
        ("order", "clustered"),
        ("white-box", "with"),
        ("rows", "architecture_s"),
    ],
    "attacks": [("budget", "linf 16/255")],
    "surrogates": [],
    "defences": [],
    "images": [],
    "gates": [],
}


def main() -> None:
    """Measure, print medians, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    for name in serve.LOADED:
        __import__(name)
    found = measure(given.folder, given.rounds)
    found["new cells"] = new_cells(given.folder)
    found["peak memory, MB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    for name, value in found.items():
        print(f"{name}: {value}")
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1))


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Seconds of the first view, of the first look at each page, and of each interaction; medians over rounds."""
    opened: dict[str, list[float]] = {page: [] for page in CHANGES}
    changed: dict[str, list[float]] = {}
    for i in range(rounds):
        st.cache_data.clear()
        st.cache_resource.clear()
        for page, changes in CHANGES.items():
            print(f"round {i + 1} of {rounds}: {page}", file=sys.stderr, flush=True)
            at = on_page(page)
            opened[page].append(drawn(at, folder))
            for name, value in changes:
                at.query_params[name] = value
                changed.setdefault(f"{page}: {name} = {value}", []).append(drawn(at, folder))
            changed.setdefault(f"{page}: drawn again", []).append(drawn(at, folder))
    medians = {name: statistics.median(times) for name, times in changed.items()}
    return {
        "rounds": rounds,
        "first view, s": round(statistics.median(opened["overview"]), 2),
        "first look at each page, s": {page: round(statistics.median(times), 2) for page, times in opened.items()},
        "interactions, s": {name: round(value, 2) for name, value in medians.items()},
        "median interaction, s": round(statistics.median(medians.values()), 2),
        "slowest interaction, s": round(max(medians.values()), 2),
    }


def on_page(page: str) -> AppTest:
    """A page inside of the explorer, as pages lead to each other."""
    at = AppTest.from_file(str(EXPLORER), default_timeout=600)
    at.switch_page(f"pages/{page}.py")
    return at


def drawn(at: AppTest, folder: Path) -> float:
    """Seconds that a page takes.

    Raises:
        RuntimeError: It shows an error instead.
    """
    os.environ["CAROM_STORE"] = str(folder)
    start = time.perf_counter()
    at.run()
    seconds = time.perf_counter() - start
    if at.exception or at.error:
        raise RuntimeError(f"{[e.value for e in (*at.exception, *at.error)]}")
    return seconds


def new_cells(folder: Path) -> dict[str, float]:
    """Seconds until what a run writes is on the page: progress on every page, then the cases and the matrix."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "copy"
        shutil.copytree(folder, copy)
        with Store(copy, write=True) as store:
            with store.writing() as connection:
                large = sa.select(run_cells.c.run).group_by(run_cells.c.run).order_by(sa.func.count().desc()).limit(1)
                run = connection.execute(large).scalar_one()
                last = sa.select(sa.func.max(run_cells.c.adversarial_set)).where(run_cells.c.run == run)
                these = cells.c.adversarial_set == last.scalar_subquery()
                rows = [dict(row) for row in connection.execute(sa.select(cells).where(these)).mappings()]
                connection.execute(cells.delete().where(these))
                connection.execute(runs.update().where(runs.c.id == run).values(status="running"))
            pages = {page: on_page(page) for page in ("transfer", "matrix")}
            found = {}
            for at in pages.values():
                at.query_params["run"] = run
                drawn(at, copy)
            for page, at in pages.items():
                with store.writing() as connection:
                    connection.execute(cells.delete().where(these))
                    connection.execute(cells.insert(), rows)
                seconds = drawn(at, copy)
                found[page] = round(frame.wait_of(seconds) + seconds, 2)
            start = time.perf_counter()
            run_queries.progress(copy, run)
            found["progress"] = round(frame.POLL + time.perf_counter() - start, 2)
    return found


if __name__ == "__main__":
    main()
