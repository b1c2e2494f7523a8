"""Whether a scenario was done and nothing has changed since: said without loading torch, so at once.

The plan of a scenario follows from its text, from carom's own files, from the libraries that bring data or change
numbers, and from the data. A run that ended well leaves a stamp over all of these, if its data come with carom and it
names no model from outside. The same stamp means the same plan; then only the store's files have to be as they were.
"""

from pathlib import Path

import sqlalchemy as sa

from carom.errors import StoreError
from carom.identity import content_key
from carom.scenarios.environment import code_digest, versions

from .database import Store
from .schema import artifacts, cells, planned_cells, run_cells, run_models, run_sets, run_surrogates, runs


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
