"""What the explorer asks of a store; knows nothing of Streamlit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from carom.errors import CaromError
from carom.scenarios.reader import Run, changes, list_runs, read_outcomes
from carom.scenarios.show import Shown, show_run
from carom.scenarios.statistics import cell_rates
from carom.scenarios.store import Store


@dataclass(frozen=True, kw_only=True)
class View:
    """One run as the page shows it; `problem` says why there is nothing more."""

    tables: Sequence[Shown]
    cells: pd.DataFrame
    images: int = 0  # of each cell
    problem: str | None = None


def counter(folder: Path) -> int:
    """Moves with every write to the store.

    Raises:
        CaromError: No store, or one that cannot be read.
    """
    with Store(folder) as store:
        return changes(store)


def runs(folder: Path) -> list[Run]:
    """The runs, the latest first.

    Raises:
        CaromError: No store, or one that cannot be read.
    """
    with Store(folder) as store:
        return list_runs(store)


def view(folder: Path, run: str) -> View:
    """Tables and cells of a run; a run without outcomes yet is a view with a problem, not an error."""
    try:
        with Store(folder) as store:
            outcomes = read_outcomes(store, run)
            return View(tables=show_run(store, run), cells=cell_rates(outcomes), images=len(outcomes.labels))
    except CaromError as error:
        return View(tables=(), cells=pd.DataFrame(), problem=str(error))


def matrix(cells: pd.DataFrame, attack: str, eps: str, rows: str, columns: str) -> pd.DataFrame:
    """Mean ASR of the cells of one attack and eps for each pair of levels, with how many cells and images it rests on.

    Args:
        cells: As `View.cells`.
        attack: Name in tables.
        eps: As tables write it.
        rows: A column of the cells, such as "surrogate".
        columns: Another, such as "victim".
    """
    chosen = cells[(cells["attack"] == attack) & (cells["eps"] == eps) & (cells[rows] != "") & (cells[columns] != "")]
    grouped = chosen.groupby([rows, columns], sort=False)
    table = grouped.agg(
        n=("n", "sum"), k=("k", "sum"), cells=("n", "size"), white_box=("case", lambda c: (c == 0).any())
    )
    table = table.reset_index()
    return table.assign(ASR=table["k"] / table["n"].where(table["n"] > 0))
