"""Tables of a run as files."""

from pathlib import Path

import pandas as pd

from carom.errors import StoreError
from carom.registry import lookup

from .published_shown import published_rows_shown
from .reader import find_run, read_outcomes
from .show import Shown, cells_shown, show_run
from .store import Store

SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "latex": ".tex", "markdown": ".md", "html": ".html"}


def export_run(store: Store, run: str, folder: Path, form: str) -> list[Path]:
    """Write every table of a run, and its cells one by one; returns the files.

    Numbers stay numbers in parquet and csv; latex, markdown and html hold what `carom show` prints.

    Raises:
        InputError: Unknown format, or no outcome yet.
        StoreError: The folder cannot be written.
    """
    suffix = lookup(form, SUFFIXES, where="carom export", what="format")
    tables = show_run(store, run)
    if form in ("parquet", "csv"):
        if find_run(store, run).status == "published":
            tables.append(published_rows_shown(store, run))
        else:
            tables.append(cells_shown(read_outcomes(store, run)))
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table in tables:
            path = folder / f"{run}-{table.name}{suffix}"
            _write(table, path, form)
            paths.append(path)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error.strerror}") from None
    return paths


def _write(table: Shown, path: Path, form: str) -> None:
    if form == "parquet":
        table.frame.to_parquet(path, index=False)
    elif form == "csv":
        table.frame.to_csv(path, index=False)
    else:
        frame = table.formatted()
        text = {"latex": _latex, "markdown": _markdown, "html": _html}[form](table, frame)
        path.write_text(text, encoding="utf-8")


def _latex(table: Shown, frame: pd.DataFrame) -> str:
    special = {"\\": r"\textbackslash{}", "–": "--", **{c: f"\\{c}" for c in "&%$#_{}"}}

    def escaped(text: object) -> str:
        return "".join(special.get(c, c) for c in str(text))

    columns = "".join("l" if table.is_text(c) else "r" for c in frame.columns)
    rows = [" & ".join(escaped(v) for v in row) + r" \\" for row in frame.itertuples(index=False)]
    lines = [
        r"% needs \usepackage{booktabs}",
        *(f"% {note}" for note in table.notes),
        r"\begin{tabular}{" + columns + "}",
        r"\toprule",
        " & ".join(escaped(c) for c in frame.columns) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _markdown(table: Shown, frame: pd.DataFrame) -> str:
    def row(values: object) -> str:
        return "| " + " | ".join(str(v).replace("|", r"\|") for v in values) + " |"  # type: ignore[attr-defined]

    rule = ["---" if table.is_text(c) else "---:" for c in frame.columns]
    lines = [f"## {table.title}", "", row(frame.columns), row(rule), *(row(r) for r in frame.itertuples(index=False))]
    return "\n".join([*lines, "", *table.notes]) + "\n"


def _html(table: Shown, frame: pd.DataFrame) -> str:
    import html

    body = frame.to_html(index=False, border=0, escape=True)
    notes = "".join(f"<p>{html.escape(n)}</p>" for n in table.notes)
    title = html.escape(table.title)
    return f"<!doctype html><meta charset=utf-8><title>{title}</title><h1>{title}</h1>\n{body}\n{notes}\n"
