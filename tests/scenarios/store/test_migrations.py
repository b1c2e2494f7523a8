"""Stores of earlier versions: brought up to date under the lock, or refused before anything is touched."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from tests.scenarios import raw_store
from tests.scenarios.conftest import TINY, Carom, one_line

from carom.errors import StoreError
from carom.scenarios.store import migrations
from carom.scenarios.store.called import surrogate_axes
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_sets
from carom.scenarios.store.outcomes import read_outcomes, read_rates
from carom.scenarios.store.schema import run_sets

# What a set was made from as one JSON text, as it was before it stood in columns.
SETS_OF_SCHEMA_3 = """
CREATE TABLE sets_old (run TEXT NOT NULL, artifact INTEGER NOT NULL, image_set INTEGER NOT NULL, surrogate TEXT,
    surrogate_axes TEXT NOT NULL, attack TEXT NOT NULL, norm TEXT NOT NULL, eps TEXT NOT NULL,
    attack_seed INTEGER NOT NULL, targeted BOOLEAN NOT NULL, PRIMARY KEY (run, artifact));
INSERT INTO sets_old SELECT run, artifact, image_set, surrogate, json_patch('{}', json_object('source', source_s,
    'samples', samples_s, 'balance', balance_s, 'architecture', architecture_s, 'recipe', recipe_s, 'n', n_s,
    'defense', defense_s, 'group', group_s, 'pool', pool_s, 'builder', builder_s, 'seed', seed_s, 'reads', reads,
    'asked', asked, 'decoy', CASE WHEN decoy THEN 'true' END)), attack, norm, eps, attack_seed, targeted FROM run_sets;
DROP TABLE run_sets;
ALTER TABLE sets_old RENAME TO run_sets;
"""

# As carom made them before cells named the answers that they were packed against.
SCHEMA_1 = (
    """
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
    + SETS_OF_SCHEMA_3
)


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
    assert "written with schema 1, this carom reads 4; bring the store up to date by running its scenario again" in (
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
    two = "alter table attempts drop column environment; update meta set value = '2' where name = 'schema';"
    change(store, two + SETS_OF_SCHEMA_3)
    assert carom("run", file, "--store", store, "--workers", 0).code == 0
    assert raw_store.contents(store) == raw_store.contents(new)


def test_what_was_dropped_is_said(carom: Carom, file: Path, old: Path) -> None:
    ((had, victim),) = raw_store.query(old, "select count(*), min(victim) from cells")
    ((lost,),) = raw_store.query(old, f"select count(*) from cells where victim = {victim}")
    change(old, f"update cells set n = n + 1 where victim = {victim}")
    assert 0 < lost < had
    answer = carom("run", file, "--store", old, "--workers", 0)
    assert f"of {had} outcomes of an earlier carom {lost} rested on images that are no longer there" in answer.err


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


@pytest.mark.parametrize("number", ["5", "999"])
def test_a_newer_store_is_refused_before_it_is_touched(new: Path, tmp_path: Path, number: str) -> None:
    store = tmp_path / "newer"
    shutil.copytree(new, store)
    change(
        store,
        f"update meta set value = '{number}' where name = 'schema'; drop table published; drop index cells_by_victim",
    )
    before = everything(store)
    with pytest.raises(
        StoreError, match=f"written with schema {number}, this carom reads 4; install a matching version"
    ):
        Store(store, write=True)
    assert everything(store) == before


# A store that a carom of schema 3 wrote, as `iterdump` says it: three surrogates (one with nothing declared but source
# and architecture, one an ensemble with a name in umlauts), two victims, two public models, and attacks that transfer,
# go on to ask, read victims, and are decoys. Texts, records, environments and measures were emptied. The table beside
# it is what that carom's `read_outcomes` said of each set, but for the configuration of the surrogate without a seed,
# which was there/mlp(width=4), as any other model's that declares the same.
SCHEMA_3 = Path(__file__).with_name("schema_3.sql")
OF_SETS = Path(__file__).with_name("schema_3.csv")


@pytest.fixture
def three(tmp_path: Path) -> Path:
    (tmp_path / "three").mkdir()
    change(tmp_path / "three", SCHEMA_3.read_text(encoding="utf-8"))
    return tmp_path / "three"


def test_a_store_of_schema_3_reads_as_it_did(three: Path) -> None:
    expected = pd.read_csv(OF_SETS, dtype=str, keep_default_na=False)
    ((run,),) = raw_store.query(three, "select id from runs")
    with Store(three, write=True) as store:
        assert store.remark is None
        cells, rates = read_outcomes(store, run, decoys=True).cells, read_rates(store, run)
        listed = list_sets(store, run)
    came = cells[list(expected)].drop_duplicates().sort_values("set_id")
    assert len(expected) > 20
    assert came.astype(str).to_dict("records") == expected.to_dict("records")
    attacks = expected[expected["decoy"] == "False"]
    assert sorted(set(rates["set_id"])) == listed["set_id"].tolist() == attacks["set_id"].astype(int).tolist()
    assert listed["asked"].tolist() == attacks["asked"].tolist()


def test_suites_of_a_store_of_schema_3_say_what_they_said(three: Path) -> None:
    """A suite has what was one text: byte for byte, so in its order too."""
    wanted = dict(raw_store.query(three, "select artifact, surrogate_axes from run_sets"))
    with Store(three, write=True) as store, store.reading() as connection:
        rows = connection.execute(sa.select(run_sets)).all()
    assert len(rows) == len(wanted)
    transferring = [row for row in rows if row.reads == "surrogate" and not row.decoy]
    assert {row.surrogate for row in transferring} > {"größer", "lent"}
    for row in transferring:
        assert json.dumps({**surrogate_axes(row), "reads": row.reads}) == wanted[row.artifact]


def test_tables_that_were_brought_up_to_date_are_those_of_a_new_store(three: Path, old: Path, tmp_path: Path) -> None:
    """In whichever order they were made."""
    Store(tmp_path / "fresh", write=True).close()

    def shapes(store: Path) -> dict[str, list[tuple[object, ...]]]:
        names = [name for (name,) in raw_store.query(store, "select name from sqlite_master where type = 'table'")]
        pragmas = [f"{what}({name})" for name in names for what in ("table_info", "index_list")]
        return {pragma: sorted(row[1:] for row in raw_store.query(store, f"pragma {pragma}")) for pragma in pragmas}

    for folder in (three, old):
        Store(folder, write=True).close()
        assert shapes(folder) == shapes(tmp_path / "fresh")


def test_readers_leave_a_store_of_schema_3_as_it_is_and_say_what_to_do(carom: Carom, three: Path) -> None:
    before = everything(three)
    advice = "this carom reads 4; bring the store up to date by running its scenario again, or by `carom gc`"
    for command in (("show",), ("compare", "old", "old")):
        one_line(carom(*command, "--store", three), f"written with schema 3, {advice}")
        assert everything(three) == before
    assert carom("gc", "--dry-run", "--store", three).code == 0
    assert carom("show", "--store", three).code == 0
