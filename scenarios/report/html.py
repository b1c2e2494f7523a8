"""One run as one HTML file that needs nothing else: no network, no scripts, no fonts."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from urllib.parse import quote

from carom.scenarios.findings.overview import overview
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import Run, find_run
from carom.scenarios.tables.table import Table
from carom.scenarios.tables.which import show_run

from .figures import Figure, measured_figures
from .inline import inline
from .matrix import colours, matrices

OPEN_ROWS = 30  # a longer table is folded
_ALLOWED = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # nothing from anywhere else


def write_report(
    store: Store, run: str, *, ahead: Mapping[str, Sequence[str]] | None = None, pictures: str = ""
) -> str:
    """The report of a run: how far it came, what matters first, figures with their data, and every table.

    Args:
        store: Where it is.
        run: Its id.
        ahead: Sentences that stand before everything else, by their headings.
        pictures: What `rows_of_images` makes of some images; it stands behind the sentences.

    Raises:
        InputError: The run has no outcome yet.
    """
    found = find_run(store, run)
    tables = show_run(store, found.id)
    named = {table.name: table for table in tables}
    measured = found.status != "published"  # else there are means without intervals, and no answers to images
    outcomes = read_outcomes(store, found.id) if measured else None
    figures = measured_figures(outcomes, named) if outcomes is not None else []
    style = resources.files("carom.scenarios.report").joinpath("report.css").read_text(encoding="utf-8")
    body = [
        _header(found),
        *(_sentences(heading, told) for heading, told in (ahead or {}).items()),
        pictures,
        _sentences("In short", [finding.text for finding in overview(named)]) if measured else "",
        matrices(store, found.id, outcomes) if outcomes is not None else "",
        "<h2>Figures</h2>" if figures else "",
        *(_figure(figure, found.id, i) for i, figure in enumerate(figures, start=1)),
        "<h2>Tables</h2>",
        *(_section(table, found.id) for table in tables),
        "<h2>Scenario</h2>",
        f"<details><summary>as it came</summary><pre>{escape(found.text)}</pre></details>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_ALLOWED}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(found.id)}</title>\n<style>\n{style}{colours()}\n</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _header(run: Run) -> str:
    versions = run.environment.get("versions", {})
    environment = [
        f"Python {run.environment['python']}" if "python" in run.environment else "",
        *(f"{name} {version}" for name, version in versions.items()),
        f"on {', '.join(run.environment['devices'])}" if run.environment.get("devices") else "",
        str(run.environment.get("machine", "")),
    ]
    facts = {
        "scenario": run.scenario,
        "about": run.description,
        "task": run.task,
        "started": _when(run.started),
        "finished": _when(run.finished or ""),
        "environment": ", ".join(e for e in environment if e),
        "cells": f"{run.done:,} of {run.cells:,} have an outcome" if run.cells else "",
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items() if fact)
    alarm = _unfinished(run)
    told = f'<p class="alarm" role="alert"><b>Incomplete.</b> {escape(alarm)}</p>' if alarm else ""
    return f"<header><h1>{escape(run.id)}</h1>{told}<dl>{rows}</dl></header>"


def _sentences(heading: str, told: Sequence[str]) -> str:
    points = "".join(f"<li>{escape(line[:1].upper() + line[1:])}</li>" for line in told)
    return f"<h2>{escape(heading)}</h2><ul>{points}</ul>"


def _when(moment: str) -> str:
    return moment.replace("T", " ").replace("+00:00", " UTC")


def _unfinished(run: Run) -> str:
    """Why the numbers may change yet; nothing for a run that is done."""
    if run.status in ("done", "published") and run.done == run.cells:
        return ""
    words = {"running": "The run had not ended when this was written", "interrupted": "The run was interrupted"}
    begin = words.get(run.status, "The run ended with failures" if run.failed else "The run has gaps")
    failed = f", {run.failed:,} of them failed" if run.failed else ""
    missing = f"{run.cells - run.done:,} of {run.cells:,} cells have no outcome{failed}"
    return f"{begin}: {missing}. Every number below is over the cells that have one."


def _figure(figure: Figure, run: str, number: int) -> str:
    title = escape(figure.title)
    drawing = inline(figure.chart, figure.said, f"figure-{number}")
    rows = f"{len(figure.data.frame):,} rows"
    return (
        f"<figure><div>{drawing}</div><figcaption><b>Figure {number}. {title}.</b> {escape(figure.caption)}"
        f"</figcaption><details><summary>data, {rows}</summary>{_table(figure.data)}</details>"
        f"{_csv(figure.data, f'{run}-figure-{number}')}</figure>"
    )


def _section(table: Table, run: str) -> str:
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    body = _table(table)
    if len(table.frame) > OPEN_ROWS:
        body = f"<details><summary>{len(table.frame):,} rows</summary>{body}</details>"
    return f"<section><h3>{escape(table.title)}</h3>{body}{notes}{_csv(table, f'{run}-{table.name}')}</section>"


def _table(table: Table) -> str:
    frame = table.formatted()

    def cells(tag: str, values: Iterable[object]) -> str:
        parts = []
        for column, value in zip(frame.columns, values, strict=True):
            words = str(value)
            long = "" if len(words) <= 24 else " long" if len(words) > 60 else " text"
            style = f"words{long}" if table.is_text(column) else "number"
            scope = ' scope="col"' if tag == "th" else ""
            parts.append(f'<{tag}{scope} class="{style}">{escape(words)}</{tag}>')
        return "<tr>" + "".join(parts) + "</tr>"

    head = cells("th", frame.columns)
    body = "\n".join(cells("td", row) for row in frame.itertuples(index=False, name=None))
    return f'<div class="wide"><table><thead>{head}</thead><tbody>\n{body}</tbody></table></div>'


def _csv(table: Table, name: str) -> str:
    """All columns as numbers, rates from 0 to 1, inside the link itself."""
    text = quote(table.frame.to_csv(index=False), safe=",()=+:")
    href = f"data:text/csv;charset=utf-8,{escape(text)}"
    return f'<p class="note csv"><a download="{escape(name)}.csv" href="{href}">CSV</a> of all columns</p>'
