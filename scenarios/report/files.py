"""Tables of a run as files, and its report."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from carom.errors import StoreError
from carom.files import replacing
from carom.registry import lookup
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import find_run
from carom.scenarios.tables.published import show_published_rows
from carom.scenarios.tables.rates import show_cells
from carom.scenarios.tables.table import Table
from carom.scenarios.tables.which import show_run

from .latex import latex
from .markdown import markdown

SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "latex": ".tex", "markdown": ".md", "html": ".html", "images": ".npz"}


def export_run(store: Store, run: str, folder: Path, form: str) -> list[Path]:
    """Write every table of a run, and its cells or published rows one by one; returns the files.

    Numbers stay numbers in parquet and csv, rates from 0 to 1; parquet also holds titles, notes and how columns are
    shown (pandas reads them as `frame.attrs`). latex and markdown hold what `carom show` prints. html is one file with
    everything: figures, tables, and their numbers to download. images is one npz of the attacked images, no tables.

    Raises:
        InputError: Unknown format, or no outcome yet.
        StoreError: The folder cannot be written.
    """
    suffix = lookup(form, SUFFIXES, where="carom export", what="format")
    write: dict[Path, Callable[[Path], object]] = {}
    if form == "html":
        from .html import write_report  # brings Altair, which no table needs

        report = write_report(store, run)
        write[folder / f"{run}{suffix}"] = lambda path: path.write_text(report, encoding="utf-8")
    elif form == "images":
        from .images import attacked_arrays  # reads tensors

        arrays = attacked_arrays(store, run)
        write[folder / f"{run}-images{suffix}"] = lambda path: _savez(path, arrays)
    else:
        tables = show_run(store, run)
        if form in ("parquet", "csv"):
            published = find_run(store, run).status == "published"
            tables.append(show_published_rows(store, run) if published else show_cells(read_outcomes(store, run)))
        for table in tables:
            write[folder / f"{run}-{table.name}{suffix}"] = _writer(table, form, f"{run}-{table.name}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, to in write.items():
            with replacing(path) as part:
                to(part)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error.strerror or error}; give another folder") from None
    return list(write)


def _savez(path: Path, arrays: Mapping[str, Any]) -> None:
    with path.open("wb") as file:  # a name would get another ending
        np.savez_compressed(file, **arrays)


def _writer(table: Table, form: str, name: str) -> Callable[[Path], object]:
    if form == "parquet":
        described = table.frame.copy()
        described.attrs = {"title": table.title, "notes": list(table.notes), "forms": dict(table.forms)}
        return lambda path: described.to_parquet(path, index=False)
    if form == "csv":
        return lambda path: table.frame.to_csv(path, index=False)
    text = latex(table, f"tab:{name}") if form == "latex" else markdown(table)
    return lambda path: path.write_text(text, encoding="utf-8")
