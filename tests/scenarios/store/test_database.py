"""The database of a store: one writer, readers meanwhile, rows that go with what they rested on."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from tests.scenarios.store.conftest import KEY, nothing_can_be_written, put

from carom.errors import StoreError
from carom.scenarios.store.artifacts import Kind, verify
from carom.scenarios.store.database import Store
from carom.scenarios.store.runs import change_counter
from carom.scenarios.store.schema import artifacts, cells, clean, meta

# ---------------------------------------------------------------------------------------------------------- artefacts


def test_ids_stay_when_a_plan_names_an_artefact_again(store: Store) -> None:
    keys = [f"{i:032x}" for i in range(1201)]  # more than one statement of SQLite takes
    first = store.row_ids("sets", keys)
    again = store.row_ids("sets", [*reversed(keys), KEY + "x"])
    assert {key: again[key] for key in keys} == first
    assert len(set(again.values())) == len(keys) + 1
    assert set(store.recorded("sets", keys)) == set(keys)


def outcomes(store: Store) -> set[tuple[str, int, int]]:
    with store.reading() as connection:
        mine = {("cell", s, v) for s, v in connection.execute(sa.select(cells.c.adversarial_set, cells.c.victim))}
        return mine | {("clean", v, i) for v, i in connection.execute(sa.select(clean.c.victim, clean.c.image_set))}


@pytest.mark.parametrize("kind", ["weights", "sets", "images"])
def test_another_digest_drops_what_rested_on_the_old_and_nothing_else(store: Store, kind: Kind) -> None:
    kinds: tuple[Kind, ...] = ("weights", "sets", "images")
    ids = {}
    for each in kinds:
        for name in ("a", "b"):
            put(store, each, name, 1.0)
            ids[each, name] = store.row_ids(each, [name])[name]
    with store.writing() as connection:
        for victim in "ab":
            v = ids["weights", victim]
            connection.execute(
                insert(clean),
                [{"victim": v, "image_set": ids["images", i], "correct": 1, "predictions": b"\0"} for i in "ab"],
            )
            answered = dict(
                connection.execute(sa.select(clean.c.image_set, clean.c.id).where(clean.c.victim == v)).all()
            )
            connection.execute(
                insert(cells),
                [  # set a is of images a, and b of b
                    {
                        "adversarial_set": ids["sets", s],
                        "victim": v,
                        "n": 1,
                        "k": 0,
                        "clean": answered[ids["images", s]],
                        "changes": b"",
                    }
                    for s in "ab"
                ],
            )
    full = outcomes(store)
    assert len(full) == 8
    put(store, kind, "a", 1.0)
    assert outcomes(store) == full, "the same tensors once more"
    put(store, kind, "a", 2.0)
    gone = full - outcomes(store)
    doomed = ids[kind, "a"]
    place = {"weights": ("cell", 2, "clean", 1), "sets": ("cell", 1, "", 0), "images": ("", 0, "clean", 2)}[kind]
    expected = {o for o in full if (o[0] == place[0] and o[place[1]] == doomed)}
    expected |= {o for o in full if (o[0] == place[2] and o[place[3]] == doomed)}
    if kind == "images":  # what was made of them, and is packed against answers to them
        expected |= {o for o in full if o[:2] == ("cell", ids["sets", "a"])}
    assert gone == expected
    assert gone


def test_the_same_tensors_from_other_inputs_drop_outcomes_too(store: Store) -> None:
    """Labels of the attacked images may change while the images, and so a control's set, stay as they were."""
    put(store, "sets", "a", 1.0, {"images": "before"})
    (made,) = store.row_ids("sets", ["a"]).values()
    (victim,) = store.row_ids("weights", ["v"]).values()
    with store.writing() as connection:
        row = {"adversarial_set": made, "victim": victim, "n": 1, "k": 0, "clean": 1, "changes": b""}
        connection.execute(insert(cells), [row])
    put(store, "sets", "a", 1.0, {"images": "before"})
    assert outcomes(store)
    put(store, "sets", "a", 1.0, {"images": "after"})
    assert not outcomes(store)


def test_what_rests_on_artefacts_that_are_gone_is_looked_for_once_for_all_of_them(store: Store) -> None:
    """A chain, and beside it what was made from a digest that another artefact still has."""
    first = [put(store, "weights", f"first {i}", 1.0 + i) for i in range(20)]
    then = [put(store, "weights", f"then {i}", 100.0 + i, {"model 0": made.digest}) for i, made in enumerate(first)]
    for i, made in enumerate(then):
        put(store, "sets", f"set {i}", 200.0 + i, {"member 0": made.digest})
    put(store, "weights", "twin of the last", 1.0 + len(first) - 1)
    passes: list[str] = []

    def asked(_: object, __: object, statement: str, *___: object) -> None:
        passes.extend([statement] if "json_each(artifacts.inputs)" in statement else [])

    sa.event.listen(store.engine, "before_cursor_execute", asked)
    store.forget([("weights", f"first {i}") for i in range(len(first))])
    kinds: tuple[Kind, ...] = ("weights", "sets")
    there = {
        key
        for kind in kinds
        for key, row in store.recorded(kind, [f"{name} {i}" for name in ("then", "set") for i in range(20)]).items()
        if row.digest is not None
    }
    assert there == {"then 19", "set 19"}
    assert len(passes) <= 3, "the table is read once for each link of the chain"


def test_a_copied_store_is_read_whole_once(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy has other times than were recorded; a writer records them, a reader remembers."""
    put(store, "weights", KEY, 1.0)
    path = store.path("weights", KEY)
    read: list[Path] = []

    def counted(path: Path, digest: str) -> str | None:
        read.append(path)
        return verify(path, digest)

    monkeypatch.setattr("carom.scenarios.store.database.verify", counted)

    def looked_at(by: Store) -> str | None:
        return by.why_unusable("weights", by.recorded("weights", [KEY])[KEY])

    os.utime(path, ns=(1, 1))
    with Store(store.folder) as reader:
        assert [looked_at(reader), looked_at(reader), len(read)] == [None, None, 1]
    assert [looked_at(store), looked_at(store), len(read)] == [None, None, 2]
    with Store(store.folder) as reader:
        assert [looked_at(reader), len(read)] == [None, 2]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert "holds other tensors" in str(looked_at(store))


# ----------------------------------------------------------------------------------------------- readers and the writer


def test_readers_see_one_state_while_a_run_writes(store: Store) -> None:
    put(store, "sets", "a", 1.0)
    with Store(store.folder) as reader:
        before = change_counter(reader)
        with store.writing() as connection:
            connection.execute(artifacts.insert(), [{"kind": "sets", "key": "b"}])
            assert set(reader.recorded("sets", ["a", "b"])) == {"a"}, "not yet, and without waiting"
            assert change_counter(reader) == before
        assert set(reader.recorded("sets", ["a", "b"])) == {"a", "b"}
        assert change_counter(reader) > before
        with reader.reading() as snapshot:
            assert len(snapshot.execute(sa.select(artifacts.c.id)).all()) == 2
            store.row_ids("sets", ["c"])
            assert len(snapshot.execute(sa.select(artifacts.c.id)).all()) == 2, "still what it saw first"
        assert len(reader.recorded("sets", ["a", "b", "c"])) == 3


def test_a_reader_cannot_write(store: Store) -> None:
    with (
        Store(store.folder) as reader,
        pytest.raises(StoreError, match="cannot be written"),
        reader.writing() as connection,
    ):
        connection.execute(artifacts.insert(), [{"kind": "sets", "key": "b"}])


def test_a_transaction_that_fails_leaves_nothing(store: Store) -> None:
    def interrupted() -> None:
        with store.writing() as connection:
            connection.execute(artifacts.insert(), [{"kind": "sets", "key": "b"}])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.recorded("sets", ["b"]) == {}


HOLDER = """
import sys, time
from pathlib import Path
from carom.scenarios.store.database import Store
store = Store(Path(sys.argv[1]), write=True)
store.row_ids("sets", ["half done"])
with store.engine.begin() as connection:
    connection.exec_driver_sql("insert into artifacts (kind, key) values ('sets', 'never committed')")
    print("held", flush=True)
    time.sleep(600)
"""


def test_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=f"another run is writing this store .process {holder.pid} on"):
            Store(folder, write=True)
        holder.send_signal(signal.SIGKILL)
    with Store(folder) as reader:
        assert set(reader.recorded("sets", ["half done", "never committed"])) == {"half done"}
    with Store(folder, write=True) as store:
        store.row_ids("sets", ["next"])


@pytest.mark.parametrize(("found", "write"), [("999", False), ("999", True), ("0", False), ("0", True), (None, False)])
def test_another_schema_is_refused(store: Store, found: str | None, write: bool) -> None:
    with store.writing() as connection:
        if found is None:
            connection.execute(meta.delete().where(meta.c.name == "schema"))
        else:
            connection.execute(meta.update().where(meta.c.name == "schema").values(value=found))
    store.close()
    with pytest.raises(StoreError, match=f"written with schema {found}"):
        Store(store.folder, write=write)
    with closing(sqlite3.connect(store.folder / "carom.db")) as connection:
        kept = connection.execute("select value from meta where name = 'schema'").fetchone()
    assert kept == (None if found is None else (found,))


def test_a_database_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "carom.db").write_bytes(b"this is no database, whatever its name says" * 100)
    for write in (False, True):
        with pytest.raises(StoreError, match=r"carom\.db is damaged"):
            Store(tmp_path, write=write)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"carom\.db is damaged"):
            Store(tmp_path, write=True)  # and the lock was given back


@pytest.mark.parametrize("name", ["res#1", "what?", "50%25", "a b", "ü"])
def test_a_folder_may_be_called_anything(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "store"
    with Store(folder, write=True) as store:
        put(store, "sets", KEY, 1.0)
        with Store(folder) as reader:
            assert set(reader.recorded("sets", [KEY])) == {KEY}
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (folder / "carom.db").is_file()


@pytest.mark.parametrize("name", ["store", "with space", "exp#1", "50%", "what?&mode=rwc", "Ærø"])
def test_a_store_that_nobody_can_write_is_read(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    with Store(folder, write=True) as store:
        ids = store.row_ids("sets", ["a", "b"])
    before = sorted(path.name for path in folder.iterdir())
    with nothing_can_be_written(folder):
        for _ in range(2):
            with Store(folder) as store:
                assert {key: row.id for key, row in store.recorded("sets", ["a", "b"]).items()} == ids
        assert sorted(path.name for path in folder.iterdir()) == before
        with pytest.raises(StoreError, match="cannot be written; make it writable or give another --store"):
            Store(folder, write=True)


def test_what_an_interrupted_run_left_is_not_passed_over(tmp_path: Path) -> None:
    """Its last words stand in a file that a reader of such a folder cannot use; without them rows would be missing."""
    folder, copy = tmp_path / "store", tmp_path / "copy"
    with Store(folder, write=True) as store:
        store.row_ids("sets", ["a"])
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*-shm"))  # as it would be after a kill
    assert (copy / "carom.db-wal").stat().st_size
    with nothing_can_be_written(copy), pytest.raises(StoreError, match=r"carom\.db-wal holds what an interrupted run"):
        Store(copy)
    with Store(copy) as store:
        assert set(store.recorded("sets", ["a"])) == {"a"}


def test_a_reader_elsewhere_still_sees_what_a_run_writes(tmp_path: Path) -> None:
    """Only where the folder cannot be written is the database taken to stay as it is."""
    with Store(tmp_path / "s", write=True) as writer, Store(tmp_path / "s") as reader:
        assert reader.recorded("sets", ["a"]) == {}
        writer.row_ids("sets", ["a"])
        assert set(reader.recorded("sets", ["a"])) == {"a"}
