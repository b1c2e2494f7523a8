"""Commands that read: show, compare, export, list, describe, and the explorer."""

import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import STORE, JsonOption, StoreOption, fail

CHOSEN = {"light": "#0072B2", "dark": "#56B4E9"}  # of what is chosen in the explorer, where red means failed


def show(
    run: Annotated[str | None, typer.Argument(help="Run or scenario; default the latest run.")] = None,
    store: StoreOption = STORE,
    split: Annotated[str, typer.Option(help="test, or validation for validation victims.")] = "test",
    as_json: JsonOption = False,
) -> None:
    """Tables of a run, with its controls.

    By case, effect, attack, surrogate, victim and samples; adversarial sets, models and failures.

    Example: carom show digits-dumb
    """
    from carom.scenarios.store.database import Store
    from carom.scenarios.store.runs import find_run
    from carom.scenarios.tables.which import show_run

    from .console import Console

    console = Console()
    with Store(store) as opened:
        found = find_run(opened, run)
        tables = show_run(opened, found.id, split=split)
    console.json({t.name: t.records() for t in tables}) if as_json else console.tables(tables)


def compare(
    first: Annotated[str, typer.Argument(help="Run or scenario.")],
    second: Annotated[str, typer.Argument(help="Run or scenario to compare it with.")],
    store: StoreOption = STORE,
    as_json: JsonOption = False,
) -> None:
    """Differences of two runs on the same images.

    With intervals and paired tests, by attack, by victim and for the cells that differ most.

    Example: carom compare digits-quick my-scenario
    """
    from carom.scenarios.store.database import Store
    from carom.scenarios.store.runs import find_run
    from carom.scenarios.tables.compare import compare_runs

    from .console import Console

    console = Console()
    with Store(store) as opened:
        tables = compare_runs(opened, find_run(opened, first).id, find_run(opened, second).id)
    console.json({t.name: t.records() for t in tables}) if as_json else console.tables(tables)


def export(
    run: Annotated[str | None, typer.Argument(help="Run or scenario; default the latest run.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")] = Path("export"),
    form: Annotated[str, typer.Option("--format", help="parquet, csv, latex, markdown, html or images.")] = "csv",
    store: StoreOption = STORE,
) -> None:
    """Write the tables of a run into a folder, or a report.

    parquet and csv hold numbers, rates from 0 to 1, and also the cells one by one; latex and markdown what `carom show`
    prints. html is one file that needs nothing else: what matters, figures with their data, every table. images is one
    npz of the attacked images, for attacks made elsewhere.

    Example: carom export digits-dumb --format html -o report
    """
    from carom.scenarios.report.files import export_run
    from carom.scenarios.store.database import Store
    from carom.scenarios.store.runs import find_run

    from .console import Console

    console = Console()
    with Store(store) as opened:
        for path in export_run(opened, find_run(opened, run).id, output, form):
            console.out(str(path))


def list_(
    kind: Annotated[
        str,
        typer.Argument(
            help="attacks, controls, surrogates, defenses, architectures, recipes, balances, tasks, presets, suites, "
            "or terms."
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Everything of one kind, with its paper.

    What a scenario can name, suites, or the terms of tables and figures.

    Example: carom list attacks --json
    """
    from carom.scenarios.catalogue import catalogue

    from .console import Console

    console = Console()
    entries = catalogue(kind)
    console.json(entries) if as_json else console.entries(kind, entries)


def describe(
    name: Annotated[str, typer.Argument(help="A name of any kind, such as mi, lenet or digits.")],
    as_json: JsonOption = False,
) -> None:
    """One name in full: what it is, its paper, its defaults.

    Example: carom describe mi+di
    """
    from carom.scenarios.catalogue import description

    from .console import Console

    console = Console()
    entry = description(name)
    console.json(entry) if as_json else console.pairs(entry)


def app_(
    stores: Annotated[
        list[Path] | None,
        typer.Option("--store", help="Folder of results; several times for several. Default: CAROM_STORE, or .carom."),
    ] = None,
    port: Annotated[int, typer.Option(help="Port.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to serve on; others than localhost can be reached by others.")] = (
        "localhost"
    ),
    browser: Annotated[bool, typer.Option(help="Open the page.")] = True,
) -> None:
    """The explorer, read-only, on localhost.

    Example: carom app
    """
    from importlib.util import find_spec

    if find_spec("streamlit") is None:
        fail("the explorer needs streamlit; install it with: pip install 'carom[app]'", 2)
    from carom.scenarios.store.database import Store

    folders = stores or [Path(os.environ.get("CAROM_STORE", STORE))]
    for folder in folders:
        if (folder / "carom.db").exists() or not (folder / "gates").is_dir():  # gates need no run
            Store(folder).close()  # says at once when there is nothing to show

    if _is_taken(host, port):
        fail(f"--port {port} is taken on {host}; give another, such as --port {port + 1}", 2)
    page = Path(__file__).resolve().parents[2] / "app" / "explorer.py"
    arguments = [
        "run",
        str(page),
        f"--server.port={port}",
        f"--server.address={host}",
        f"--server.headless={'false' if browser else 'true'}",
        "--browser.gatherUsageStats=false",
        *(f"--theme.{scheme}.primaryColor={colour}" for scheme, colour in CHOSEN.items()),
    ]
    os.environ["CAROM_STORE"] = os.pathsep.join(str(folder.resolve()) for folder in folders)
    os.environ["CAROM_HOST"] = host
    os.execv(sys.executable, [sys.executable, "-m", "carom.app.shell.serve", *arguments])


def _is_taken(host: str, port: int) -> bool:
    """Whether another program listens there."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
