"""One folder of results: tensors as safetensors files, everything else in one SQLite database.

Only the driver of a run writes the database; workers write files and return bytes. Readers work while a run writes
(WAL). A file is written to a temporary name, synced and renamed, so it is there whole or not at all.
"""

import contextlib
import errno
import fcntl
import json
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects.sqlite import insert

from carom.errors import StoreError
from carom.files import write_whole
from carom.identity import tensor_digest
from carom.scenarios.cases import BY_WEIGHT

from .migrations import FIRST_SCHEMA, migrate

SCHEMA = 3  # raise it with the tables, and add a step to migrations.py
Predictions = NDArray[np.int16]  # class indices, -1 for no answer
Row = Any  # a row of a query: its columns are attributes
Kind = Literal["weights", "images", "sets", "measures"]
KINDS: tuple[Kind, ...] = ("weights", "images", "sets", "measures")
COPIES = "copies"  # a folder beside those of the kinds, without rows: what defences were trained on

_Key = TypeVar("_Key", str, int)

_tables = sa.MetaData()

meta = sa.Table("meta", _tables, sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text))

runs = sa.Table(
    "runs",
    _tables,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("scenario", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),  # the scenario file
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # running | done | failed | interrupted | published
    sa.Column("started", sa.Text, nullable=False),
    sa.Column("finished", sa.Text),
    sa.Column("environment", sa.Text, nullable=False),  # JSON: of its latest job, with all devices of the run
    sa.Column("stamp", sa.Text),  # of what the plan rests on, where that can be said without loading data and models
)

# One row for each trained or referenced model, image set and adversarial set that a plan names. `digest` is null until
# the artefact is there; `inputs` names the digests of what it was made from.
artifacts = sa.Table(
    "artifacts",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("digest", sa.Text),
    sa.Column("inputs", sa.Text, nullable=False, server_default="{}"),
    sa.Column(
        "record", sa.Text, nullable=False, server_default="{}"
    ),  # how it came to be: history, passes, sizes, where
    sa.Column("bytes", sa.Integer),
    sa.Column("modified", sa.Integer),  # of the file, in ns: a file that did not change is not read again to check it
    sa.UniqueConstraint("kind", "key"),
)

image_sets = sa.Table(
    "image_sets",
    _tables,
    sa.Column("artifact", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("split", sa.Text, nullable=False),
    sa.Column("classes", sa.Text, nullable=False),
    sa.Column("sources", sa.Text, nullable=False),
    sa.Column("labels", sa.LargeBinary, nullable=False),
    sa.Column("image_source", sa.LargeBinary, nullable=False),
    sa.Column("ids", sa.LargeBinary, nullable=False),
)

clean = sa.Table(
    "clean",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),  # never given twice: answers that are asked for anew get another
    sa.Column("victim", sa.Integer, sa.ForeignKey("artifacts.id"), nullable=False),
    sa.Column("image_set", sa.Integer, sa.ForeignKey("artifacts.id"), nullable=False),
    sa.Column("correct", sa.Integer, nullable=False),
    sa.Column("predictions", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("victim", "image_set"),
    sqlite_autoincrement=True,
)

cells = sa.Table(
    "cells",
    _tables,
    sa.Column("adversarial_set", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("victim", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("n", sa.Integer, nullable=False),  # images that the victim got right clean
    sa.Column("k", sa.Integer, nullable=False),  # of those, how many the attack won
    sa.Column("clean", sa.Integer, sa.ForeignKey("clean.id"), nullable=False),  # the predictions it is packed against
    sa.Column("changes", sa.LargeBinary, nullable=False),  # adversarial xor clean predictions, compressed
    sa.Index("cells_by_victim", "victim"),  # to drop what rests on a model that was trained anew
    sa.Index("cells_counted", "adversarial_set", "victim", "n", "k"),  # to read a million rates without the predictions
    sqlite_with_rowid=False,
)

# What one run shows: its models and sets with the names and axes its file gave them, and its cells.
run_models = sa.Table(
    "run_models",
    _tables,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("artifact", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("axes", sa.Text, nullable=False),
)

run_sets = sa.Table(
    "run_sets",
    _tables,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("artifact", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("image_set", sa.Integer, sa.ForeignKey("artifacts.id"), nullable=False),
    sa.Column("surrogate", sa.Text),  # label; null for a surrogate-free control
    sa.Column("surrogate_axes", sa.Text, nullable=False),
    sa.Column("attack", sa.Text, nullable=False),
    sa.Column("norm", sa.Text, nullable=False),
    sa.Column("eps", sa.Text, nullable=False),
    sa.Column("attack_seed", sa.Integer, nullable=False),
    sa.Column("targeted", sa.Boolean, nullable=False),
)

run_cells = sa.Table(
    "run_cells",
    _tables,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("adversarial_set", sa.Integer, primary_key=True),
    sa.Column("victim", sa.Integer, primary_key=True),
    sa.Column("case", sa.Integer),  # 0..8; null where a model's axes are not known or there is no surrogate
    sa.Column("failure", sa.Text),  # why there is no outcome
    sqlite_with_rowid=False,
)

# What one run says of its surrogates beside their transfer: what they rest on, cost and look like.
run_surrogates = sa.Table(
    "run_surrogates",
    _tables,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("label", sa.Text, primary_key=True),
    sa.Column("victim", sa.Text, primary_key=True),  # label of the one victim that it is built for; "" for all
    sa.Column("builder", sa.Text, nullable=False),
    sa.Column("members", sa.Text, nullable=False),  # JSON: rows of the models whose weight sets are read
    sa.Column("rests_on", sa.Text, nullable=False),  # JSON: rows of all models that were made for it
    sa.Column("measures", sa.Integer),  # row of what was measured of it
    sa.Column("active", sa.Integer, nullable=False),  # classifiers that are read at a step
    sa.Column("schedule", sa.Text, nullable=False),  # light | full
    sa.Column("networks", sa.Integer),  # of an ensemble of one architecture as trained, or of one network: its size
    sa.Column("axes", sa.Text, nullable=False),  # JSON, as in run_sets
)

# What one run says of its victims where some are defended: what they rest on, and numbers that say whether their
# gradients are masked and how large they are.
run_victims = sa.Table(
    "run_victims",
    _tables,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("victim", sa.Integer, sa.ForeignKey("artifacts.id"), primary_key=True),
    sa.Column("rests_on", sa.Text, nullable=False),  # JSON: rows of all models that were made for it, it among them
    sa.Column("measures", sa.Integer, sa.ForeignKey("artifacts.id"), nullable=False),
    sa.Column("budget", sa.Text, nullable=False),  # of the attacks behind the numbers
)

# Rates that others published, as their files say them; of runs whose status is "published", which have no cells.
published = sa.Table(
    "published",
    _tables,
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("row", sa.Integer, primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("training", sa.Text, nullable=False),  # of the victim; "" for the usual one
    sa.Column("attack", sa.Text, nullable=False),
    sa.Column("math", sa.Boolean, nullable=False),
    *(sa.Column(f"{axis}_{side}", sa.Text, nullable=False) for side in "sv" for axis in BY_WEIGHT),
    *(sa.Column(name, sa.Float, nullable=False) for name in ("asr", "asr_0", "asr_1")),
    sa.Column("clean_f1", sa.Float),  # of the victim on the source of the images
    sqlite_with_rowid=False,
)

# Every planned cell, with its outcome where there is one.
planned_cells = run_cells.outerjoin(
    cells, (cells.c.adversarial_set == run_cells.c.adversarial_set) & (cells.c.victim == run_cells.c.victim)
)

attempts = sa.Table(
    "attempts",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("run", sa.Text, sa.ForeignKey("runs.id"), nullable=False),
    sa.Column("job", sa.Text, nullable=False),  # train | craft | evaluate
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("finished", sa.Text, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("inside", sa.Float, nullable=False),  # seconds in forward and backward passes
    sa.Column("passes", sa.Integer, nullable=False),
    sa.Column("failure", sa.Text),
    sa.Column("environment", sa.Text),  # JSON: host, device, threads, versions; null in attempts of before schema 3
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file that a worker wrote: what the driver records of it."""

    kind: Kind
    key: str
    digest: str
    inputs: Mapping[str, str]
    record: Mapping[str, Any]


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
        self._whole: dict[Path, tuple[str, int, int]] = {}  # files that were read: digest, size, time
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
            self.engine = _engine(database, write=write)
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
            counter = insert(meta).values(name="changes", value="1")
            counter = counter.on_conflict_do_update(
                index_elements=["name"], set_={"value": sa.cast(sa.cast(meta.c.value, sa.Integer) + 1, sa.Text)}
            )
            connection.execute(counter)

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the database."""
        with store_errors(self.folder), self.engine.connect() as connection:
            yield connection

    def ensure(self, kind: Kind, keys: Sequence[str]) -> dict[str, int]:
        """Row ids of these artefacts, made where they are new."""
        with self.writing() as connection:
            for some in chunks(keys):
                rows = [{"kind": kind, "key": key} for key in some]
                connection.execute(insert(artifacts).on_conflict_do_nothing(), rows)
            return _ids(connection, kind, keys)

    def record(self, written: Written) -> None:
        """Take what a worker wrote into the database; another digest, or other inputs, drop what rested on the old.

        Other inputs with the same digest: labels of the attacked images that changed while a control's set did not.
        """
        with self.writing() as connection:
            self.record_within(connection, written)

    def record_within(self, connection: sa.Connection, written: Written) -> None:
        """The same in a transaction that has more to write."""
        path = self.path(written.kind, written.key)
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
        if row.digest is not None and found != (written.digest, dict(written.inputs)):
            forget_outcomes(connection, row.id)
            forget_made_from(connection, [row.digest])

    def forget(self, artefacts: Sequence[tuple[Kind, str]]) -> None:
        """Take these for not there, and drop the outcomes that rest on them; their files stay."""
        with self.writing() as connection:
            gone: list[str] = []
            for kind, key in artefacts:
                same = (artifacts.c.kind == kind) & (artifacts.c.key == key)
                row = connection.execute(sa.select(artifacts.c.id, artifacts.c.digest).where(same)).one()
                connection.execute(artifacts.update().where(same).values(digest=None))
                forget_outcomes(connection, row.id)
                gone += [] if row.digest is None else [row.digest]
            forget_made_from(connection, gone)

    def states(self, kind: Kind, keys: Sequence[str]) -> dict[str, Row]:
        """The rows of these artefacts by key."""
        with self.reading() as connection:
            found: dict[str, Row] = {}
            for some in chunks(keys):
                query = sa.select(artifacts).where(artifacts.c.kind == kind, artifacts.c.key.in_(some))
                found |= {row.key: row for row in connection.execute(query)}
            return found

    def damage(self, kind: Kind, row: Row) -> str | None:
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
        if self._whole.get(path) == read:
            return None
        why = verify(path, row.digest)
        if why is None:
            self._whole[path] = read
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


def verify(path: Path, digest: str) -> str | None:
    """Why a file of tensors is not what was recorded; None when it is."""
    try:
        found = tensor_digest(read_tensors(path))
    except StoreError:
        return "cannot be read as safetensors (truncated?)"
    return None if found == digest else f"holds other tensors (sha256 {found[:12]}, recorded {digest[:12]})"


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


# ----------------------------------------------------------------------------------------------------------- database

NO_TABLES = "carom.db holds no tables yet; wait for the run that makes it, or move the file away"


def _engine(database: Path, *, write: bool) -> sa.Engine:
    """Connections to the database whose transactions begin when the first query is asked, not when one writes.

    Python's sqlite3 begins none for a SELECT, so two queries of one reader could see two states.
    """
    address = f"file:{quote(str(database.absolute()))}?mode={'rwc' if write else 'ro'}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=30, check_same_thread=False, isolation_level=None)
        if write:
            try:
                connection.execute("PRAGMA journal_mode=WAL")
            except BaseException:
                connection.close()
                raise
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.QueuePool)
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


def _bring_up_to_date(connection: sa.Connection, found: str | None) -> str | None:
    """Make the tables of a new store, or those of an earlier carom into today's; what this carom cannot read is left.

    Returns:
        What was dropped of what an earlier carom had computed, or None.
    """
    remark = None
    if found is None:
        _tables.create_all(connection)
    elif _is_earlier(found):
        remark = migrate(connection, _tables, int(found))
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


# ------------------------------------------------------------------------------------------------------------- files


def artifact_path(folder: Path, kind: Kind, key: str) -> Path:
    """Where the tensors of an artefact lie; the JSON of how it came to be lies beside them."""
    return folder / "artifacts" / kind / f"{key}.safetensors"


def write_artifact(folder: Path, written: Written, tensors: Mapping[str, Any]) -> None:
    """Write the tensors and, before them, the JSON of how they came to be; each whole or not at all.

    Raises:
        StoreError: No space, or not writable.
    """
    from safetensors.torch import save

    path = artifact_path(folder, written.kind, written.key)
    note = {
        "digest": written.digest,
        "inputs": dict(written.inputs),
        "record": dict(written.record),
    }
    with store_errors(folder):
        write_whole(path.with_suffix(".json"), json.dumps(note, sort_keys=True, indent=1).encode())
        write_whole(path, save({k: v.contiguous() for k, v in tensors.items()}))


def read_artifact(folder: Path, kind: Kind, key: str, digest: str) -> dict[str, Any]:
    """The tensors of an artefact, checked against their digest.

    Raises:
        StoreError: Missing, truncated or edited.
    """
    path = artifact_path(folder, kind, key)
    tensors = read_tensors(path)
    if tensor_digest(tensors) != digest:
        raise StoreError(f"{path}: holds other tensors than were recorded; run the scenario again to rebuild it")
    return tensors


def adopt(folder: Path, kind: Kind, key: str, inputs: Mapping[str, str]) -> Written | None:
    """What a worker left behind when its driver died: a whole file made from the same inputs, or None."""
    path = artifact_path(folder, kind, key)
    try:
        note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if note["inputs"] != dict(inputs) or verify(path, note["digest"]) is not None:
            return None
        return Written(kind=kind, key=key, digest=note["digest"], inputs=inputs, record=note["record"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file.

    Raises:
        StoreError: Missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(path.read_bytes()))
    except (OSError, SafetensorError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; run the scenario again to rebuild it") from None


@contextlib.contextmanager
def store_errors(folder: Path) -> Iterator[None]:
    """Turn what the system says of disks and permissions into one line that says what to do."""
    try:
        yield
    except (OSError, sa.exc.OperationalError, sa.exc.DatabaseError) as error:
        text = str(getattr(error, "orig", error))
        number = getattr(error, "errno", None)
        if number == errno.ENOSPC or "disk is full" in text or "disk I/O error" in text:
            advice = "no space left; free some (`carom gc`) and run again: what was computed is kept"
        elif number in (errno.EACCES, errno.EROFS, errno.EPERM) or "readonly" in text or "unable to open" in text:
            advice = "cannot be written; make it writable or give another --store"
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


# ------------------------------------------------------------------------------------------------------- predictions

NO_ANSWER = -1


def pack_predictions(predictions: Predictions, classes: int) -> bytes:
    """Class indices, or -1 for no answer, one byte an image (two above 250 classes; the top code is no answer)."""
    kind = np.uint8 if classes <= 250 else np.uint16
    top = np.iinfo(kind).max
    return np.where(predictions < 0, top, predictions).astype(kind).tobytes()


def unpack_predictions(data: bytes, classes: int) -> Predictions:
    """The inverse of `pack_predictions`, as int16."""
    kind = np.uint8 if classes <= 250 else np.uint16
    codes = np.frombuffer(data, dtype=kind)
    return np.where(codes == np.iinfo(kind).max, NO_ANSWER, codes.astype(np.int32)).astype(np.int16)


def pack_changes(adversarial: bytes, clean_: bytes) -> bytes:
    """Adversarial xor clean predictions, compressed.

    Few changes are runs of zeros, many are noise in which looking for repeats costs more than it finds: 294 bytes
    instead of 366 for 1,000 answers in ten classes with three in ten changed. So the shortest of three ways is kept.
    """
    xor = (np.frombuffer(adversarial, np.uint8) ^ np.frombuffer(clean_, np.uint8)).tobytes()
    return min((_deflate(xor, way) for way in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY)), key=len)


def _deflate(data: bytes, strategy: int) -> bytes:
    stream = zlib.compressobj(9, strategy=strategy)
    return stream.compress(data) + stream.flush()


def unpack_changes(data: bytes, clean_: bytes) -> bytes:
    """Adversarial predictions, packed."""
    xor = np.frombuffer(zlib.decompress(data), np.uint8)
    return (xor ^ np.frombuffer(clean_, np.uint8)).tobytes()
