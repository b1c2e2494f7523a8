"""What is kept: tables, files, predictions, and how they are read.

`schema.py` has the tables and `artifacts.py` the files; `database.py` opens a store and drops what rests on what is no
longer there, `migrations.py` brings an older one up to date, `predictions.py` packs answers. `runs.py`, `outcomes.py`
and `lists.py` read, `stamps.py` says at once that a run was done before, `free.py` deletes.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .database import Store as Store

__all__ = ["Store"]


def __getattr__(name: str) -> Any:
    """`Store` is imported when first asked for: a job packs answers and writes files without a database."""
    if name == "Store":
        from . import database

        return database.Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
