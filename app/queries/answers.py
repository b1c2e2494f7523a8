"""What Overview shows and gives to take along: the points of its figure, and files of tables and report."""

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from carom.scenarios.findings.overview import case_rows
from carom.scenarios.findings.rows import scope_of
from carom.scenarios.store.database import Store
from carom.scenarios.tables.table import Table


def case_points(cases: Table, budget: str | None) -> pd.DataFrame:
    """The rows of cases that the sentences are about, as points of one series; none where no surrogate met a victim."""
    scope = scope_of(cases, budget)
    if scope is None:
        return pd.DataFrame()
    return case_rows(cases.frame, scope).assign(series="").reset_index(drop=True)


def report(folder: Path, run: str) -> bytes:
    """The report of a run, one file of HTML, as `carom export --format html` writes it.

    Raises:
        CaromError: No outcome, or a store that cannot be read.
    """
    from carom.scenarios.report.files import export_run  # here, as most of who looks takes no file along

    with tempfile.TemporaryDirectory() as there, Store(folder) as store:
        (written,) = export_run(store, run, Path(there), "html")
        return written.read_bytes()


def latex(tables: Sequence[Table], run: str) -> bytes:
    """All tables as LaTeX, as `carom export --format latex` writes each."""
    from carom.scenarios.report.latex import latex as of_table

    return "\n".join(of_table(table, f"tab:{run}-{table.name}") for table in tables).encode()


def csv(tables: Sequence[Table], run: str) -> bytes:
    """All tables as CSV files in one zip archive, as `carom export` writes each."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for table in tables:
            archive.writestr(f"{run}-{table.name}.csv", table.frame.to_csv(index=False))
    return out.getvalue()
