"""The store: packed answers, files whole or not at all, one writer, readers meanwhile, and what a cell costs."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
import torch
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite import insert

from carom.errors import StoreError
from carom.identity import tensor_digest
from carom.scenarios.cli.doctor import examine
from carom.scenarios.store.artifacts import Kind, Written, adopt, read_artifact, verify, write_artifact
from carom.scenarios.store.database import Store
from carom.scenarios.store.free import collect
from carom.scenarios.store.predictions import pack_changes, pack_predictions, unpack_changes, unpack_predictions
from carom.scenarios.store.runs import changes
from carom.scenarios.store.schema import artifacts, cells, clean, meta, run_cells, runs

KEY = "0" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store", write=True) as opened:
        yield opened


def put(store: Store, kind: Kind, key: str, value: float, inputs: dict[str, str] | None = None) -> Written:
    """A file with this value in it, and its row."""
    tensors = {"w": torch.tensor([value, -value])}
    written = Written(kind=kind, key=key, digest=tensor_digest(tensors), inputs=inputs or {}, record={"value": value})
    write_artifact(store.folder, written, tensors)
    store.ensure(kind, [key])
    store.record(written)
    return written


# ----------------------------------------------------------------------------------------------------------- answers


@given(st.data(), st.sampled_from([2, 10, 250, 251, 1000, 30_000]))
def test_answers_come_back_as_they_went(data: st.DataObject, classes: int) -> None:
    answers = data.draw(st.lists(st.integers(-1, classes - 1), max_size=40))
    others = data.draw(st.lists(st.integers(-1, classes - 1), min_size=len(answers), max_size=len(answers)))
    packed = pack_predictions(np.array(answers, np.int16), classes)
    assert len(packed) == len(answers) * (1 if classes <= 250 else 2)
    came = unpack_predictions(packed, classes)
    assert came.dtype == np.int16
    assert came.tolist() == answers
    unattacked = pack_predictions(np.array(others, np.int16), classes)
    assert unpack_changes(pack_changes(packed, unattacked), unattacked) == packed


@pytest.mark.parametrize("classes", [2, 250, 251, 30_000])
def test_the_last_class_is_not_taken_for_no_answer(classes: int) -> None:
    answers = np.array([classes - 1, -1, 0], np.int16)
    assert unpack_predictions(pack_predictions(answers, classes), classes).tolist() == [classes - 1, -1, 0]


def test_a_million_cells_stay_under_half_a_gigabyte(store: Store) -> None:
    """10,000 cells of 1,000 images, three in ten answers changed: every table, index and key of theirs counted."""
    rng = np.random.default_rng(0)
    side, images, classes = 100, 1000, 10
    models = list(store.ensure("weights", [f"{i:032x}" for i in range(side)]).values())
    made = list(store.ensure("sets", [f"{i:032x}" for i in range(side)]).values())
    (image_set,) = store.ensure("images", [KEY]).values()
    run = "digits-dumb-large-0a1b2c"
    before = {v: rng.integers(0, classes, images).astype(np.int16) for v in models}
    with store.writing() as connection:
        text = {name: "" for name in ("scenario", "description", "text", "task", "status", "started", "environment")}
        connection.execute(insert(runs).values({"id": run, **text}))
        packed = {v: pack_predictions(p, classes) for v, p in before.items()}
        rows = [{"victim": v, "image_set": image_set, "correct": 0, "predictions": packed[v]} for v in models]
        connection.execute(insert(clean).values(rows))
        answered = {v: id_ for v, id_ in connection.execute(sa.select(clean.c.victim, clean.c.id))}
        for v in models:  # in the order in which a run brings them
            rows = []
            for s in made:
                wrong = rng.random(images) < 0.3
                answers = np.where(wrong, (before[v] + rng.integers(1, classes, images)) % classes, before[v])
                changed = pack_changes(pack_predictions(answers.astype(np.int16), classes), packed[v])
                counted = {"n": 900, "k": 300, "clean": answered[v], "changes": changed}
                rows.append({"adversarial_set": s, "victim": v, **counted})
            connection.execute(insert(cells), rows)
            connection.execute(
                insert(run_cells), [{"run": run, "adversarial_set": s, "victim": v, "case": 8} for s in made]
            )
    store.close()
    assert not (store.folder / "carom.db-wal").exists(), "all of it is in the file that is measured"
    with closing(sqlite3.connect(store.folder / "carom.db")) as connection:
        assert connection.execute("select count(*) from cells").fetchone() == (side * side,)
    assert (store.folder / "carom.db").stat().st_size / (side * side) < 500


# ---------------------------------------------------------------------------------------------------------- artefacts


def test_ids_stay_when_a_plan_names_an_artefact_again(store: Store) -> None:
    keys = [f"{i:032x}" for i in range(1201)]  # more than one statement of SQLite takes
    first = store.ensure("sets", keys)
    again = store.ensure("sets", [*reversed(keys), KEY + "x"])
    assert {key: again[key] for key in keys} == first
    assert len(set(again.values())) == len(keys) + 1
    assert set(store.states("sets", keys)) == set(keys)


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
            ids[each, name] = store.ensure(each, [name])[name]
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
    (made,) = store.ensure("sets", ["a"]).values()
    (victim,) = store.ensure("weights", ["v"]).values()
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
        for key, row in store.states(kind, [f"{name} {i}" for name in ("then", "set") for i in range(20)]).items()
        if row.digest is not None
    }
    assert there == {"then 19", "set 19"}
    assert len(passes) <= 3, "the table is read once for each link of the chain"


@pytest.mark.parametrize("harm", ["gone", "empty", "truncated", "one bit", "other tensors", "not safetensors"])
def test_damage_is_found(store: Store, harm: str) -> None:
    written = put(store, "sets", KEY, 1.0)
    row = store.states("sets", [KEY])[KEY]
    path = store.path("sets", KEY)
    assert store.damage("sets", row) is None
    path.touch()
    assert store.damage("sets", row) is None, "the time changed and the tensors did not"
    whole = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "other tensors":
        other = {"w": torch.tensor([3.0, 4.0])}
        write_artifact(store.folder, Written(kind="sets", key=KEY, digest="", inputs={}, record={}), other)
    else:
        bad = {
            "empty": b"",
            "truncated": whole[:-1],
            "one bit": whole[:-1] + bytes([whole[-1] ^ 1]),
            "not safetensors": b"\x80\x04" + whole,
        }[harm]
        path.write_bytes(bad)
    assert store.damage("sets", row) is not None
    with pytest.raises(StoreError, match=r"0\.safetensors: (cannot be read|holds other tensors).*run the scenario"):
        read_artifact(store.folder, "sets", KEY, written.digest)
    assert adopt(store.folder, "sets", KEY, {}) is None
    level = "note" if harm == "gone" else "bad"
    assert [f.level for f in examine(store.folder) if f.name == "sets"] == [level]


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
        return by.damage("weights", by.states("weights", [KEY])[KEY])

    os.utime(path, ns=(1, 1))
    with Store(store.folder) as reader:
        assert [looked_at(reader), looked_at(reader), len(read)] == [None, None, 1]
    assert [looked_at(store), looked_at(store), len(read)] == [None, None, 2]
    with Store(store.folder) as reader:
        assert [looked_at(reader), len(read)] == [None, 2]
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert "holds other tensors" in str(looked_at(store))


def test_a_file_without_its_row_is_adopted_only_when_it_was_made_from_the_same(store: Store) -> None:
    tensors = {"w": torch.tensor([1.0])}
    written = Written(kind="sets", key=KEY, digest=tensor_digest(tensors), inputs={"images": "a"}, record={"l2": 1.5})
    write_artifact(store.folder, written, tensors)
    assert adopt(store.folder, "sets", KEY, {"images": "a"}) == written
    assert adopt(store.folder, "sets", KEY, {"images": "b"}) is None
    note = store.path("sets", KEY).with_suffix(".json")
    for harm in ("{", "[]", "{}", "null"):
        note.write_text(harm)
        assert adopt(store.folder, "sets", KEY, {"images": "a"}) is None
    note.unlink()
    assert adopt(store.folder, "sets", KEY, {"images": "a"}) is None


def test_a_write_that_fails_leaves_the_old_file_and_no_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written = put(store, "sets", KEY, 1.0)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="no space left"):
        write_artifact(store.folder, written, {"w": torch.tensor([9.0])})
    monkeypatch.undo()
    assert float(read_artifact(store.folder, "sets", KEY, written.digest)["w"][0]) == 1.0
    assert len(list((store.folder / "artifacts" / "sets").iterdir())) == 2


def test_gc_frees_what_no_run_names(store: Store) -> None:
    put(store, "sets", KEY, 1.0)
    folder = store.folder
    leftover = folder / "artifacts" / "weights" / f".{KEY}.safetensors.4711"
    leftover.write_bytes(b"half")
    store.close()
    assert "3 files" in collect(folder, dry_run=True)
    assert leftover.exists()
    assert "3 files" in collect(folder)
    assert not [p for p in (folder / "artifacts").rglob("*") if p.is_file()]
    with Store(folder) as opened:
        assert opened.states("sets", [KEY]) == {}


# ----------------------------------------------------------------------------------------------- readers and the writer


def test_readers_see_one_state_while_a_run_writes(store: Store) -> None:
    put(store, "sets", "a", 1.0)
    with Store(store.folder) as reader:
        before = changes(reader)
        with store.writing() as connection:
            connection.execute(artifacts.insert(), [{"kind": "sets", "key": "b"}])
            assert set(reader.states("sets", ["a", "b"])) == {"a"}, "not yet, and without waiting"
            assert changes(reader) == before
        assert set(reader.states("sets", ["a", "b"])) == {"a", "b"}
        assert changes(reader) > before
        with reader.reading() as snapshot:
            assert len(snapshot.execute(sa.select(artifacts.c.id)).all()) == 2
            store.ensure("sets", ["c"])
            assert len(snapshot.execute(sa.select(artifacts.c.id)).all()) == 2, "still what it saw first"
        assert len(reader.states("sets", ["a", "b", "c"])) == 3


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
    assert store.states("sets", ["b"]) == {}


HOLDER = """
import sys, time
from pathlib import Path
from carom.scenarios.store.database import Store
store = Store(Path(sys.argv[1]), write=True)
store.ensure("sets", ["half done"])
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
        assert set(reader.states("sets", ["half done", "never committed"])) == {"half done"}
    with Store(folder, write=True) as store:
        store.ensure("sets", ["next"])


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
            assert set(reader.states("sets", [KEY])) == {KEY}
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (folder / "carom.db").is_file()
