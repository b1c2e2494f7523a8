"""Connections to the database: each reader sees one state, in a folder of any name, be it one that nobody can write."""

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

PENDING = (
    "cannot be written, and carom.db-wal holds what an interrupted run wrote last; copy the store to a folder that can "
    "be written, and read it there"
)


def engine(database: Path, *, write: bool) -> sa.Engine:
    """Connections to the database whose transactions begin when the first query is asked, not when one writes.

    Python's sqlite3 begins none for a SELECT, so two queries of one reader could see two states.
    """
    address = f"file:{quote(str(database.absolute()))}?mode={'rwc' if write else 'ro'}"

    def connected(address: str, first: str) -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=30, check_same_thread=False, isolation_level=None)
        try:
            connection.execute(first)
        except BaseException:
            connection.close()
            raise
        return connection

    def connect() -> sqlite3.Connection:
        if write:
            return connected(address, "PRAGMA journal_mode=WAL")
        try:
            return connected(address, "SELECT 1 FROM sqlite_master")
        except sqlite3.OperationalError as error:
            # readers share a file beside the database, and make it where none is; in a folder that cannot be written
            # nobody else makes one either, so that the database stays as it is
            if not _nobody_writes(database) or not any(word in str(error) for word in ("unable to open", "readonly")):
                raise
            return connected(f"{address}&immutable=1", "SELECT 1 FROM sqlite_master")

    made = sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.QueuePool)
    sa.event.listen(made, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return made


def _nobody_writes(database: Path) -> bool:
    """Whether the folder cannot be written, and all that was written is in the database itself.

    Raises:
        sqlite3.OperationalError: A run was interrupted there: what it wrote last is beside the database.
    """
    pending = database.with_name(f"{database.name}-wal")
    if os.access(database.parent, os.W_OK):
        return False
    if pending.exists() and pending.stat().st_size:
        raise sqlite3.OperationalError(PENDING)
    return True
