"""Whether a scenario was done and nothing has changed since: said without loading torch, so at once.

The plan of a scenario follows from its text, from carom's own files, from the libraries that bring data or change
numbers, and from the data. A run that ended well leaves a stamp over all of these, if its data come with carom and it
names no model from outside. The same stamp means the same plan; then only the store's files have to be as they were.
"""

import hashlib
from functools import cache
from pathlib import Path

import sqlalchemy as sa

import carom
from carom.errors import StoreError
from carom.identity import content_key
from carom.scenarios.environment import versions

from .database import (
    Store,
    artifacts,
    cells,
    planned_cells,
    run_cells,
    run_models,
    run_sets,
    run_surrogates,
    runs,
)

FOLDERS = ("attacks", "defenses", "scenarios", "surrogates", "zoo")


@cache
def code_digest() -> str:
    """sha256 over every file of the package, as they were when this process first asked: what it works with.

    A run asks when it is imported, not when it ends: files that are edited meanwhile are not the code that ran.
    """
    package = Path(carom.__file__).resolve().parent
    total = hashlib.sha256()
    for folder in (package, *(package / name for name in FOLDERS)):
        # the folders may be links, which rglob does not follow by itself
        for path in sorted(folder.resolve().rglob("*")):
            if path.suffix in (".py", ".toml", ".npz"):
                total.update(path.name.encode())
                total.update(path.read_bytes())
    return total.hexdigest()


def stamp(name: str, text: str) -> str:
    """Of a scenario's name and text, with this carom and these libraries."""
    return content_key("stamp", name, text, code_digest(), versions())


def find_unchanged(folder: Path, wanted: str) -> tuple[str, int] | None:
    """The run with this stamp and how many cells it has, if it is done and its files are as they were."""
    if not (folder / "carom.db").is_file():
        return None
    try:
        with Store(folder) as store, store.reading() as connection:
            run = connection.execute(
                sa.select(runs.c.id).where(runs.c.stamp == wanted, runs.c.status == "done")
            ).scalar()
            if run is None:
                return None
            counts = sa.select(sa.func.count(), sa.func.count(cells.c.n)).select_from(planned_cells)
            planned, done = connection.execute(counts.where(run_cells.c.run == run)).one()
            named = sa.union(
                sa.select(run_models.c.artifact).where(run_models.c.run == run),
                sa.select(run_sets.c.artifact).where(run_sets.c.run == run),
                sa.select(run_sets.c.image_set).where(run_sets.c.run == run),
                sa.select(run_surrogates.c.measures).where(
                    run_surrogates.c.run == run, run_surrogates.c.measures.is_not(None)
                ),
            )
            rows = connection.execute(sa.select(artifacts).where(artifacts.c.id.in_(named))).all()
        whole = all(row.digest is not None and store.unmoved(row.kind, row) for row in rows)
        return (run, planned) if whole and planned == done and rows else None
    except StoreError:
        return None  # the run itself says what is wrong with the store
