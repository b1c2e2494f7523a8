"""Stores of earlier versions: brought up to date under the lock, or refused before anything is touched."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from tests.scenarios import raw_store
from tests.scenarios.conftest import TINY, Carom

from carom.errors import StoreError
from carom.scenarios.store import migrations
from carom.scenarios.store.database import Store

# As carom made them before cells named the answers that they were packed against.
SCHEMA_1 = """
CREATE TABLE clean_old (victim INTEGER NOT NULL, image_set INTEGER NOT NULL, correct INTEGER NOT NULL,
    predictions BLOB NOT NULL, PRIMARY KEY (victim, image_set)) WITHOUT ROWID;
INSERT INTO clean_old SELECT victim, image_set, correct, predictions FROM clean;
CREATE TABLE cells_old (adversarial_set INTEGER NOT NULL, victim INTEGER NOT NULL, n INTEGER NOT NULL,
    k INTEGER NOT NULL, changes BLOB NOT NULL, PRIMARY KEY (adversarial_set, victim)) WITHOUT ROWID;
INSERT INTO cells_old SELECT adversarial_set, victim, n, k, changes FROM cells;
DROP TABLE cells;
DROP TABLE clean;
ALTER TABLE clean_old RENAME TO clean;
ALTER TABLE cells_old RENAME TO cells;
CREATE INDEX cells_by_victim ON cells (victim);
ALTER TABLE runs DROP COLUMN stamp;
ALTER TABLE attempts DROP COLUMN environment;
DROP TABLE run_victims;
DROP TABLE published;
UPDATE meta SET value = '1' WHERE name = 'schema';
"""


@pytest.fixture(scope="module")
def file(tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = TINY.replace("NPZ", str(tiny_npz)).replace('["here", "there"]', '"here"').replace('"uniform", "tv0.2"', "")
    text = (
        text.replace("balance = []", 'balance = "uniform"')
        .replace(', "lenet"]', "]")
        .replace("epochs = 3", "epochs = 1")
    )
    path = tmp_path_factory.mktemp("old") / "tiny.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def new(file: Path) -> Path:
    from carom.scenarios.run.run import run_scenario
    from carom.scenarios.spec.read import load_scenario

    run_scenario(load_scenario(str(file)), file.parent / "new", workers=0)
    return file.parent / "new"


@pytest.fixture
def old(new: Path, tmp_path: Path) -> Path:
    shutil.copytree(new, tmp_path / "old")
    change(tmp_path / "old", SCHEMA_1)
    return tmp_path / "old"


def change(store: Path, sql: str) -> None:
    with closing(sqlite3.connect(store / "carom.db")) as connection:
        connection.executescript(sql)
        connection.commit()


def everything(store: Path) -> str:
    with closing(sqlite3.connect(store / "carom.db")) as connection:
        return "\n".join(connection.iterdump())


def test_a_store_of_schema_1_keeps_its_outcomes(carom: Carom, file: Path, new: Path, old: Path) -> None:
    expected = raw_store.contents(new)
    refused = carom("show", "--store", old)
    assert refused.code == 2
    assert "written with schema 1, this carom reads 3; bring the store up to date by running its scenario again" in (
        refused.error
    )
    answer = carom("run", file, "--store", old, "--workers", 0, "--json")
    assert answer.code == 0, answer.err
    (report,) = json.loads(answer.out)
    assert (report["trained"], report["crafted"], report["evaluated"]) == (0, 0, 0)
    assert raw_store.contents(old) == expected
    assert carom("show", "--store", old, "--json").out == carom("show", "--store", new, "--json").out
    counted = "SELECT adversarial_set, victim, n, k FROM cells WHERE adversarial_set BETWEEN 1 AND 2"
    for store in (old, new):  # what large runs are read by
        assert "COVERING INDEX cells_counted" in str(raw_store.query(store, f"EXPLAIN QUERY PLAN {counted}"))


@pytest.mark.parametrize(
    "garbled",
    [
        # the attacked images changed: what was made of the old ones is read against answers to the new ones
        "update artifacts set inputs = json_set(inputs, '$.images', 'of before') where id = SET",
        # answers that were asked for anew, and are others
        "update cells set n = n - 1 where adversarial_set = SET",
    ],
)
def test_outcomes_that_rest_on_what_is_gone_are_dropped_and_said(
    carom: Carom, file: Path, new: Path, old: Path, garbled: str
) -> None:
    ((some,),) = raw_store.query(old, "select min(artifact) from run_sets where attack = 'mi'")
    ((lost,),) = raw_store.query(old, f"select count(*) from cells where adversarial_set = {some}")
    change(old, garbled.replace("SET", str(some)))
    ((had,),) = raw_store.query(old, "select count(*) from cells")
    answer = carom("gc", "--store", old)
    assert answer.code == 0, answer.err
    assert raw_store.query(old, "select count(*) from cells") == [(had - lost,)]
    assert not raw_store.query(old, f"select * from cells where adversarial_set = {some}")
    (report,) = json.loads(carom("run", file, "--store", old, "--workers", 0, "--json").out)
    assert report["evaluated"] == lost
    assert raw_store.contents(old) == raw_store.contents(new)


def test_what_one_scenario_made_of_a_model_that_another_one_trained_anew_is_dropped_and_said(
    carom: Carom, file: Path, new: Path, old: Path
) -> None:
    ((model, digest),) = raw_store.query(
        old,
        "select artifacts.id, digest from artifacts join run_models on artifact = artifacts.id "
        "where role = 'surrogate' order by artifacts.id limit 1",
    )
    of_it = f"adversarial_set in (select id from artifacts where kind = 'sets' and inputs like '%{digest}%')"
    ((had,), (lost,)) = (raw_store.query(old, f"select count(*) from cells where {of}")[0] for of in ("true", of_it))
    assert 0 < lost < had
    change(old, f"update artifacts set digest = '{'f' * 64}' where id = {model}")
    answer = carom("gc", "--store", old)
    assert answer.code == 0, answer.err
    assert raw_store.query(old, f"select count(*) from cells where {of_it}") == [(0,)]
    assert raw_store.query(old, "select count(*) from cells") == [(had - lost,)]
    shutil.copytree(new, old.parent / "again")
    change(old.parent / "again", SCHEMA_1 + f"update artifacts set digest = '{'f' * 64}' where id = {model}")
    with Store(old.parent / "again", write=True) as store:
        said = f"of {had} outcomes of an earlier carom {lost} rested on models that were made anew since"
        assert said in str(store.remark)


def test_a_store_of_schema_2_keeps_its_outcomes(carom: Carom, file: Path, new: Path, tmp_path: Path) -> None:
    store = tmp_path / "two"
    shutil.copytree(new, store)
    change(store, "alter table attempts drop column environment; update meta set value = '2' where name = 'schema'")
    assert carom("run", file, "--store", store, "--workers", 0).code == 0
    assert raw_store.contents(store) == raw_store.contents(new)


def test_what_was_dropped_is_said(carom: Carom, file: Path, old: Path) -> None:
    change(old, "update cells set n = n + 1")
    ((had,),) = raw_store.query(old, "select count(*) from cells")
    answer = carom("run", file, "--store", old, "--workers", 0)
    assert f"of {had} outcomes of an earlier carom {had} rested on images that are no longer there" in answer.err


def test_a_migration_that_fails_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(old)

    def interrupted(*_: object) -> str | None:
        raise KeyboardInterrupt

    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, interrupted))
    with pytest.raises(KeyboardInterrupt):
        Store(old, write=True)
    assert everything(old) == before
    monkeypatch.undo()
    Store(old, write=True).close()


@pytest.mark.parametrize("number", ["4", "999"])
def test_a_newer_store_is_refused_before_it_is_touched(new: Path, tmp_path: Path, number: str) -> None:
    store = tmp_path / "newer"
    shutil.copytree(new, store)
    change(
        store,
        f"update meta set value = '{number}' where name = 'schema'; drop table published; drop index cells_by_victim",
    )
    before = everything(store)
    with pytest.raises(
        StoreError, match=f"written with schema {number}, this carom reads 3; install a matching version"
    ):
        Store(store, write=True)
    assert everything(store) == before
