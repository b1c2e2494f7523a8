"""One folder of results, opened: everything but tensors stands in one SQLite database.

Only the driver of a run writes it; workers write files and return bytes. Readers work while a run writes (WAL).
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import Insert, insert

from carom.errors import StoreError

from .artifacts import KINDS, NO_SPACE, NOT_WRITABLE, Artifact, Kind, artifact_path, disk_errors, verify
from .connections import engine
from .migrations import FIRST_SCHEMA, SCHEMA, migrate
from .schema import TABLES, artifacts, cells, clean, meta

Row = Any  # a row of a query: its columns are attributes

_Key = TypeVar("_Key", str, int)


class Store:
    """A folder of results, open for reading or for the one run that writes.

    Attributes:
        remark: What opening it changed, for the user; None where that was nothing.

    Raises:
        StoreError: Not there, not writable, in use by another run, or written by another carom: a newer one, or an
            older one whose tables only a writer may bring up to date.
    """

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        self.folder = folder
        self.remark: str | None = None
        self._lock: int | None = None
        self._verified: dict[Path, tuple[str, int, int]] = {}  # files that were read: digest, size, time
        database = folder / "carom.db"
        if not write:
            check_there(folder)
        with contextlib.ExitStack() as undo, store_errors(folder):
            undo.callback(self.close)  # whoever catches the error still holds this object, and the lock with it
            if write:
                folder.mkdir(parents=True, exist_ok=True)
                for kind in KINDS:
                    (folder / "artifacts" / kind).mkdir(parents=True, exist_ok=True)
                self._take_lock()
            self.engine = engine(database, write=write)
            found = self._schema()
            if write and found != str(SCHEMA):
                with self.engine.begin() as connection:
                    self.remark = _bring_up_to_date(connection, found)
                found = self._schema()
            undo.pop_all()
        if found != str(SCHEMA):
            self.close()
            raise StoreError(_refusal(folder, found))

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the lock back."""
        if hasattr(self, "engine"):
            self.engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _schema(self) -> str | None:
        """The number of the tables as it is written; "None" where none is, and None where there are no tables yet."""
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table("meta"):
                return None
            return str(connection.execute(sa.select(meta.c.value).where(meta.c.name == "schema")).scalar())

    def _take_lock(self) -> None:
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 100, 0).decode(errors="replace").strip()
            os.close(self._lock)
            self._lock = None
            raise StoreError(
                f"{self.folder}: another run is writing this store ({holder}); wait for it, or give another --store"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)

    def path(self, kind: Kind, key: str) -> Path:
        """Where the tensors of an artefact lie."""
        return artifact_path(self.folder, kind, key)

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction; each also moves the change counter that readers watch."""
        with store_errors(self.folder), self.engine.begin() as connection:
            yield connection
            move_counter(connection, "changes")

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database."""
        with store_errors(self.folder), self.engine.connect() as connection:
            yield connection

    def row_ids(self, kind: Kind, keys: Sequence[str]) -> dict[str, int]:
        """Row ids of these artefacts, made where they are new."""
        with self.writing() as connection:
            for some in chunks(keys):
                rows = [{"kind": kind, "key": key} for key in some]
                connection.execute(insert(artifacts).on_conflict_do_nothing(), rows)
            return _ids(connection, kind, keys)

    def record(self, written: Artifact) -> None:
        """Take what a worker wrote into the database; another digest, or other inputs, drop what rested on the old.

        Other inputs with the same digest: labels of the attacked images that changed while a control's set did not.
        """
        with self.writing() as connection:
            self.record_within(connection, written)

    def record_within(self, connection: sa.Connection, written: Artifact) -> None:
        """The same in a transaction that has more to write."""
        path = self.path(written.kind, written.key)
        connection.execute(insert_new(artifacts).values(kind=written.kind, key=written.key))  # no plan named it
        same = (artifacts.c.kind == written.kind) & (artifacts.c.key == written.key)
        row = connection.execute(sa.select(artifacts.c.id, artifacts.c.digest, artifacts.c.inputs).where(same)).one()
        stat = path.stat() if path.exists() else None
        connection.execute(
            artifacts.update()
            .where(same)
            .values(
                digest=written.digest,
                inputs=json.dumps(dict(written.inputs), sort_keys=True),
                record=json.dumps(dict(written.record), sort_keys=True),
                bytes=stat.st_size if stat else None,
                modified=stat.st_mtime_ns if stat else None,
            )
        )
        found = (row.digest, json.loads(row.inputs))
        if row.digest is not None:
            move_counter(connection, "replaced")
        if row.digest is not None and found != (written.digest, dict(written.inputs)):
            forget_outcomes(connection, row.id)
            forget_made_from(connection, [row.digest])

    def forget(self, artefacts: Sequence[tuple[Kind, str]]) -> None:
        """Take these for not there, and drop the outcomes that rest on them; their files stay."""
        with self.writing() as connection:
            move_counter(connection, "replaced")
            gone: list[str] = []
            for kind, key in artefacts:
                same = (artifacts.c.kind == kind) & (artifacts.c.key == key)
                row = connection.execute(sa.select(artifacts.c.id, artifacts.c.digest).where(same)).one()
                connection.execute(artifacts.update().where(same).values(digest=None))
                forget_outcomes(connection, row.id)
                gone += [] if row.digest is None else [row.digest]
            forget_made_from(connection, gone)

    def recorded(self, kind: Kind, keys: Sequence[str]) -> dict[str, Row]:
        """The rows of these artefacts by key."""
        with self.reading() as connection:
            found: dict[str, Row] = {}
            for some in chunks(keys):
                query = sa.select(artifacts).where(artifacts.c.kind == kind, artifacts.c.key.in_(some))
                found |= {row.key: row for row in connection.execute(query)}
            return found

    def evaluated(self, sets: Sequence[int]) -> set[tuple[int, int]]:
        """Ids of adversarial set and victim, of all outcomes on these sets."""
        found: set[tuple[int, int]] = set()
        with self.reading() as connection:
            for some in chunks(sets):
                query = sa.select(cells.c.adversarial_set, cells.c.victim).where(cells.c.adversarial_set.in_(some))
                found |= {(s, v) for s, v in connection.execute(query)}
        return found

    def answered(self, image_sets: Sequence[int]) -> set[tuple[int, int]]:
        """Ids of victim and image set, of all answers to these clean images."""
        query = sa.select(clean.c.victim, clean.c.image_set).where(clean.c.image_set.in_(image_sets))
        with self.reading() as connection:
            return {(victim, image_set) for victim, image_set in connection.execute(query)}

    def why_unusable(self, kind: Kind, row: Row) -> str | None:
        """Why the file of this row cannot be trusted; None when it can.

        A file whose size and time are as recorded is taken as unchanged; others are read once and compared by digest.
        A store that was copied has other times; they are recorded where it may be written.
        """
        if self.unmoved(kind, row):
            return None
        path = self.path(kind, row.key)
        try:
            stat = path.stat()  # before it is read: what is written meanwhile is read again
        except FileNotFoundError:
            return "is missing"
        read = row.digest, stat.st_size, stat.st_mtime_ns
        if self._verified.get(path) == read:
            return None
        why = verify(path, row.digest)
        if why is None:
            self._verified[path] = read
            if self._lock is not None:
                with self.writing() as connection:
                    same = (artifacts.c.id == row.id) & (artifacts.c.digest == row.digest)
                    connection.execute(artifacts.update().where(same).values(bytes=read[1], modified=read[2]))
        return why

    def unmoved(self, kind: Kind, row: Row) -> bool:
        """Whether the file of this row has the size and the time of change that were recorded."""
        try:
            stat = self.path(kind, row.key).stat()
        except FileNotFoundError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (row.bytes, row.modified)


def check_there(folder: Path) -> None:
    """Refuse a folder that is no store, before a writer makes one of it.

    Raises:
        StoreError: It holds no database.
    """
    if not (folder / "carom.db").is_file():
        raise StoreError(f"{folder}: no store here; run a scenario first (`carom demo`) or give another --store")


def move_counter(connection: sa.Connection, name: Literal["changes", "replaced"]) -> None:
    """Move a counter that readers watch.

    Args:
        connection: Of a transaction.
        name: "changes", of every write; or "replaced", of those that may take or change what a run that is done shows.
    """
    counter = insert(meta).values(name=name, value="1")
    counter = counter.on_conflict_do_update(
        index_elements=["name"], set_={"value": sa.cast(sa.cast(meta.c.value, sa.Integer) + 1, sa.Text)}
    )
    connection.execute(counter)


def forget_outcomes(connection: sa.Connection, artifact: int) -> None:
    """Drop the outcomes that rest on an artefact which is no longer what it was.

    Of an image set these are the clean predictions on it and all cells that are packed against them, whatever run,
    and whatever adversarial set, they are of.
    """
    on_it = clean.c.image_set == artifact
    connection.execute(cells.delete().where((cells.c.adversarial_set == artifact) | (cells.c.victim == artifact)))
    connection.execute(
        cells.delete().where(
            cells.c.victim.in_(sa.select(clean.c.victim).where(on_it)),  # so that an index leads to them
            cells.c.clean.in_(sa.select(clean.c.id).where(on_it)),
        )
    )
    connection.execute(clean.delete().where(on_it | (clean.c.victim == artifact)))


def forget_made_from(connection: sa.Connection, digests: Sequence[str]) -> None:
    """Take for not there what was made from digests that the store has no more, and what was made from that.

    Whichever scenario it is of: its key names an artefact that is another now. Files stay.
    """
    # one pass over the artefacts for all digests: a scenario may have tens of thousands of sets
    of_these = "(SELECT value FROM json_each(:digests))"
    held = sa.text(f"SELECT DISTINCT digest FROM artifacts WHERE digest IN {of_these}")
    made_from = sa.text(
        "SELECT id, digest FROM artifacts WHERE digest IS NOT NULL AND EXISTS "
        f"(SELECT 1 FROM json_each(artifacts.inputs) AS input WHERE input.value IN {of_these})"
    )
    gone = set(digests)
    while gone:
        # another artefact has these very tensors
        gone -= set(connection.execute(held, {"digests": json.dumps(sorted(gone))}).scalars())
        rows = connection.execute(made_from, {"digests": json.dumps(sorted(gone))}).all() if gone else []
        for row in rows:
            connection.execute(artifacts.update().where(artifacts.c.id == row.id).values(digest=None))
            forget_outcomes(connection, row.id)
        gone = {row.digest for row in rows}


def insert_new(table: sa.Table) -> Insert:
    """A statement that adds rows; those whose key is there already stay as they are."""
    return insert(table).on_conflict_do_nothing()


def insert_or_update(table: sa.Table, row: Mapping[str, Any], *, keep: Sequence[str] = ()) -> Insert:
    """A statement that adds a row, or where its primary key is there already gives it these values; not of `keep`."""
    key = [column.name for column in table.primary_key]
    changed = {name: value for name, value in row.items() if name not in (*key, *keep)}
    return insert(table).values(row).on_conflict_do_update(index_elements=key, set_=changed)


NO_TABLES = "carom.db holds no tables yet; wait for the run that makes it, or move the file away"


def _bring_up_to_date(connection: sa.Connection, found: str | None) -> str | None:
    """Make the tables of a new store, or those of an earlier carom into today's; what this carom cannot read is left.

    Returns:
        What was dropped of what an earlier carom had computed, or None.
    """
    remark = None
    if found is None:
        TABLES.create_all(connection)
    elif _is_earlier(found):
        remark = migrate(connection, TABLES, int(found))
    else:
        return None
    schema = insert(meta).values(name="schema", value=str(SCHEMA))
    connection.execute(schema.on_conflict_do_update(index_elements=["name"], set_={"value": str(SCHEMA)}))
    return remark


def _is_earlier(found: str) -> bool:
    return found.isdecimal() and FIRST_SCHEMA <= int(found) < SCHEMA


def _refusal(folder: Path, found: str | None) -> str:
    if found is None:
        return f"{folder}: {NO_TABLES}"
    advice = "install a matching version"
    if _is_earlier(found):
        advice = "bring the store up to date by running its scenario again, or by `carom gc`"
    return f"{folder}: written with schema {found}, this carom reads {SCHEMA}; {advice}"


@contextlib.contextmanager
def store_errors(folder: Path) -> Iterator[None]:
    """Turn what the system and the database say into one line that says what to do."""
    try:
        with disk_errors(folder):
            yield
    except sa.exc.DatabaseError as error:
        text = str(error.orig)
        if "disk is full" in text or "disk I/O error" in text:
            advice = NO_SPACE
        elif "readonly" in text or "unable to open" in text:
            advice = NOT_WRITABLE
        elif "locked" in text:
            advice = "is locked by another process; wait for it"
        elif "no such table" in text:
            advice = NO_TABLES
        elif "not a database" in text or "malformed" in text:
            advice = "carom.db is damaged; restore it or move it away"
        else:
            advice = text
        raise StoreError(f"{folder}: {advice}") from error


def chunks(keys: Sequence[_Key], size: int = 500) -> Iterator[Sequence[_Key]]:
    """Pieces that one statement takes."""
    for start in range(0, len(keys), size):
        yield keys[start : start + size]


def _ids(connection: sa.Connection, kind: Kind, keys: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for some in chunks(keys):
        query = sa.select(artifacts.c.key, artifacts.c.id).where(artifacts.c.kind == kind, artifacts.c.key.in_(some))
        found |= {key: id_ for key, id_ in connection.execute(query)}
    return found
