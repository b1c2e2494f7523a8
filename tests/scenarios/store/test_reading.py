"""What is read of a store against SQL, zlib and safetensors alone: outcomes, rates, lists and runs."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from tests.conftest import Once
from tests.scenarios import raw_store
from tests.scenarios.conftest import SMALL, TINY

from carom.errors import InputError, StoreError
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.store.called import configuration_of
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import (
    list_answering,
    list_attempts,
    list_failures,
    list_models,
    list_sets,
    list_surrogates,
    list_victims,
    read_pictures,
)
from carom.scenarios.store.outcomes import count_images, read_outcomes, read_rates
from carom.scenarios.store.runs import change_counter, find_run, list_runs, run_size, spent
from carom.zoo.tasks.attacked import target_classes

MORE = '["fgsm", {name = "mi", targeted = true}, {name = "pgd", steps = 2, decoy = true}]'
VALIDATED = '\n[[validation_victims]]\nseed = 3\nsource = "here"\nbalance = "uniform"\narchitecture = "lenet"\n'


@pytest.fixture(scope="module")
def several(tiny_npz: Path, once: Once) -> Path:
    """Targeted sets, decoys, controls, a victim of the validation images; one run before it."""

    def make(folder: Path) -> None:
        text = TINY.replace("NPZ", str(tiny_npz))
        for old, new in SMALL[1:]:
            text = text.replace(old, new)
        for changed in (text.replace('"tiny"', '"before"'), text.replace('["fgsm", "mi"]', MORE) + VALIDATED):
            report = run_scenario(parse_scenario(changed, where="several.toml"), folder, workers=0)
            assert not report.failures

    return once("several", make)


@pytest.fixture
def changed(several: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    shutil.copytree(several, tmp_path / "changed")
    return tmp_path / "changed"


@pytest.fixture(params=["tiny", "several"])
def store(request: pytest.FixtureRequest, tiny_store: Path, several: Path) -> Iterator[Store]:
    with Store(tiny_store if request.param == "tiny" else several) as opened:
        yield opened


def run_of(store: Store) -> str:
    """The run of the scenario "tiny"."""
    ((run,),) = raw_store.query(store.folder, "select id from runs where scenario = 'tiny'")
    return str(run)


def execute(folder: Path, *statements: str) -> None:
    with closing(sqlite3.connect(folder / "carom.db")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def raw(store: Store, split: str) -> list[dict[str, Any]]:
    """Every cell that counts on a split, by SQL: the judged victims, and each surrogate on itself; no decoys."""
    judged = "validation victim" if split == "validation" else "victim"
    own = f"('surrogate', 'public pool seen', 'public pool held out', '{judged}')"
    place = (
        f"(select min(rowid) from run_models m where m.run = r.run and m.artifact = c.victim and m.role = '{judged}')"
    )
    columns = "set_id, victim_id, case_, n, k, changes, before, surrogate, attack, norm, eps, seed, targeted"
    columns += ", reads, asked, of"
    sql = (
        f'select distinct c.adversarial_set, c.victim, r."case", n, k, changes, b.predictions, s.surrogate, s.attack, '
        "s.norm, s.eps, s.attack_seed, s.targeted, s.reads, s.asked, s.image_set "
        "from cells c join run_cells r on r.adversarial_set = c.adversarial_set and r.victim = c.victim "
        "join run_sets s on s.run = r.run and s.artifact = c.adversarial_set "
        "join image_sets i on i.artifact = s.image_set join clean b on b.id = c.clean "
        "join run_models m on m.run = r.run and m.artifact = c.victim "
        f"where r.run = '{run_of(store)}' and i.split = '{split}' and not s.decoy and "
        f"(m.role = '{judged}' or (r.\"case\" = 0 and m.role in {own})) order by s.rowid, {place} is null, {place}"
    )
    names = columns.split(", ")
    return [dict(zip(names, row, strict=True)) for row in raw_store.query(store.folder, sql)]


def answers(packed: bytes) -> list[int]:
    return [-1 if byte == 255 else byte for byte in packed]


def unpacked(row: dict[str, Any]) -> list[int]:
    """What the victim answered to the adversarial images."""
    import zlib

    xor = zlib.decompress(row["changes"])
    return answers(bytes(a ^ b for a, b in zip(row["before"], xor, strict=True)))


@pytest.mark.parametrize("split", ["test", "validation"])
def test_outcomes_are_those_of_sql(store: Store, split: str, several: Path) -> None:
    if split == "validation" and store.folder != several:
        with pytest.raises(InputError, match="has no validation images; expected another split"):
            read_outcomes(store, run_of(store), split=split)
        return
    found, expected = read_outcomes(store, run_of(store), split=split), raw(store, split)
    assert len(found.cells) == len(expected) > 3
    for row, cell, made in zip(expected, found.cells.to_dict("records"), found.adversarial, strict=True):
        assert (cell["set_id"], cell["victim_id"]) == (row["set_id"], row["victim_id"])
        assert cell["case"] == (-1 if row["surrogate"] is None else row["case_"])
        assert cell["control"] == (row["surrogate"] is None)
        assert cell["surrogate"] == (row["surrogate"] or "")
        assert (cell["attack"], cell["norm"], cell["eps"]) == (row["attack"], row["norm"], row["eps"])
        assert (cell["attack_seed"], cell["targeted"]) == (row["seed"], bool(row["targeted"]))
        assert cell["reads"] == (row["reads"] or "surrogate")
        assert cell["asked"] == (row["asked"] or "")
        assert not cell["decoy"]
        assert not cell["snapshot"]
        assert made.tolist() == unpacked(row)
        assert found.clean_predictions[cell["victim_index"]].tolist() == answers(row["before"])
    ((labels, sources, ids),) = raw_store.query(
        store.folder,
        f"select labels, image_source, ids from image_sets where artifact = {expected[0]['of']}",
    )
    assert found.labels.tolist() == np.frombuffer(labels, "<i4").tolist()
    assert found.image_source.tolist() == np.frombuffer(sources, "<i4").tolist()
    assert found.image_ids is not None
    assert found.image_ids.tolist() == np.frombuffer(ids, "<i8").tolist()
    assert (found.image_sources, found.classes) == (("here", "there"), ("0", "1", "2"))
    assert count_images(store, run_of(store), split=split) == len(found.labels) == 42


def test_axes_of_both_sides_are_those_that_the_run_wrote(store: Store) -> None:
    found = read_outcomes(store, run_of(store)).cells
    axes = ("source", "samples", "balance", "architecture", "recipe")
    models = {
        (label, role): json.loads(text)
        for label, role, text in raw_store.query(
            store.folder, f"select label, role, axes from run_models where run = '{run_of(store)}'"
        )
    }
    for cell in found.to_dict("records"):
        victim = models.get((cell["victim"], "victim")) or models[cell["victim"], "surrogate"]
        assert [cell[f"{axis}_v"] for axis in axes] == [victim[axis] for axis in axes]
        assert cell["victim_seed"] == int(victim["seed"])
        attacker = {} if cell["control"] else models[cell["surrogate"], "surrogate"]
        assert [cell[f"{axis}_s"] for axis in axes] == [attacker.get(axis, "") for axis in axes]
        assert cell["surrogate_seed"] == int(attacker.get("seed", -1))


@pytest.mark.parametrize("split", ["test", "validation"])
def test_rates_are_those_of_sql_in_the_columns_of_outcomes(store: Store, split: str, several: Path) -> None:
    if split == "validation" and store.folder != several:
        return
    found, outcomes = read_rates(store, run_of(store), split=split), read_outcomes(store, run_of(store), split=split)
    expected = {(row["set_id"], row["victim_id"]): (row["n"], row["k"]) for row in raw(store, split)}
    assert {
        (s, v): (n, k) for s, v, n, k in zip(*(found[c] for c in ("set_id", "victim_id", "n", "k")), strict=True)
    } == expected
    assert set(found) == {*outcomes.cells, "n", "k"}
    for column in outcomes.cells:
        assert found[column].astype(object).tolist() == outcomes.cells[column].tolist(), column


def test_some_sets_and_some_victims(store: Store) -> None:
    every = read_outcomes(store, run_of(store)).cells
    made, victim = int(every["set_id"].iloc[-1]), int(every["victim_id"].iloc[-1])
    of_set = read_outcomes(store, run_of(store), only_sets=[made]).cells
    of_victim = read_outcomes(store, run_of(store), only_victims=[victim]).cells
    assert len(of_set) == (every["set_id"] == made).sum()
    assert set(of_set["set_id"]) == {made}
    assert len(of_victim) == (every["victim_id"] == victim).sum()
    assert set(of_victim["victim_id"]) == {victim}


def test_decoys_are_read_where_they_are_asked_for(several: Path) -> None:
    with Store(several) as store:
        run = run_of(store)
        ((decoys,),) = raw_store.query(several, f"select count(*) from run_sets where run = '{run}' and decoy")
        assert decoys > 0
        every = read_outcomes(store, run, decoys=True).cells
        assert every["decoy"].sum() > 0
        assert len(every) == len(read_outcomes(store, run).cells) + every["decoy"].sum()


def test_a_role_that_met_no_image_of_a_split_is_said(several: Path) -> None:
    with Store(several) as store:
        with pytest.raises(InputError, match="has no outcome of a victim on validation images yet"):
            read_outcomes(store, run_of(store), split="validation", role="victim")  # met only where some are defended
        with pytest.raises(InputError, match="has no outcome yet"):
            read_outcomes(store, run_of(store), only_sets=[0])


def test_what_each_set_took_is_what_its_worker_recorded(store: Store) -> None:
    found = read_outcomes(store, run_of(store)).sets
    assert found is not None
    rows = raw_store.query(
        store.folder,
        "select s.attack, s.norm, s.eps, coalesce(s.surrogate, ''), a.record from run_sets s "
        "join artifacts a on a.id = s.artifact join image_sets i on i.artifact = s.image_set "
        f"where s.run = '{run_of(store)}' and not s.decoy and i.split = 'test'",
    )
    expected = {tuple(row[:4]): json.loads(row[4]) for row in rows}
    assert len(found) == len(expected)
    pairs = {
        "mean_size_over_eps": "size_over_eps", "mean_l2": "l2", "mean_linf": "linf", "mean_ssim": "ssim",
        "seconds": "seconds", "zero_gradient_fraction": "zero_gradient_fraction", "median_radius": "median_radius",
        "mean_queries": "mean_queries",
    }  # fmt: skip
    for row in found.to_dict("records"):
        record = expected[row["attack"], row["norm"], row["eps"], row["surrogate"]]
        assert (row["forward"], row["backward"]) == (record.get("forward", 0), record.get("backward", 0))
        for column, name in pairs.items():
            assert row[column] == record[name] if name in record else np.isnan(row[column])


def test_what_nobody_recorded_of_a_set_cost_nothing_here_and_is_not_known_elsewhere(changed: Path) -> None:
    """A record without passes is of a control of this carom; of a set that came from elsewhere nobody knows them."""
    with Store(changed) as store:
        run = run_of(store)
        first, second = list_sets(store, run)["set_id"].tolist()[:2]
    execute(
        changed,
        f"update artifacts set record = '{{}}' where id = {first}",
        f"""update artifacts set record = '{{"kind": "brought"}}' where id = {second}""",
    )
    with Store(changed) as store:
        named = list_sets(store, run).set_index("set_id")
        found = read_outcomes(store, run).sets
    assert found is not None
    keys = ["surrogate", "attack", "norm", "eps", "attack_seed"]
    passes = found.set_index(keys)[["forward", "backward"]]
    assert passes.loc[tuple(named.loc[first, keys])].tolist() == [0, 0]
    assert passes.loc[tuple(named.loc[second, keys])].isna().all()


def test_what_was_measured_of_a_surrogate_is_listed_with_it(changed: Path) -> None:
    with Store(changed) as store:
        run = run_of(store)
    ((artifact, label),) = raw_store.query(
        changed,
        "select m.artifact, m.label from run_models m join run_surrogates s on s.run = m.run and s.label = m.label "
        f"where m.run = '{run}' and m.role = 'surrogate' limit 1",
    )
    execute(
        changed,
        f"""update artifacts set record = json_set(record, '$.sharpness', 1.5) where id = {artifact}""",
        f"update run_surrogates set measures = {artifact} where run = '{run}' and label = '{label}'",
    )
    with Store(changed) as store:
        measures = list_surrogates(store, run).set_index("surrogate")["measures"]
    assert measures[label]["sharpness"] == 1.5
    assert all(found == {} for other, found in measures.items() if other != label)


def test_victims_that_were_looked_at_are_listed_with_what_all_their_trainings_cost(changed: Path) -> None:
    """Written by SQL: one that rests on two trainings, and one that came from elsewhere, so that nobody knows."""
    with Store(changed) as store:
        run = run_of(store)
    rows = raw_store.query(
        changed,
        "select m.artifact, m.label, m.axes, a.record from run_models m join artifacts a on a.id = m.artifact "
        f"where m.run = '{run}' and m.role in ('victim', 'surrogate') order by m.role desc, m.artifact",
    )
    (one, label, axes, record), (other, elsewhere, _, _) = rows[:2]
    (third, *_, its_record) = rows[2]
    execute(
        changed,
        f"""update artifacts set record = '{{"kind": "referenced"}}' where id = {other}""",
        f"""update run_models set axes = '{{"defense": "jpeg"}}' where run = '{run}' and artifact = {other}""",
        f"update artifacts set record = json_set(record, '$.macs', 9.5) where id = {third}",
        f"insert into run_victims values ('{run}', {one}, '[{one}, {third}]', {third}, 'linf 8/255')",
        f"insert into run_victims values ('{run}', {other}, '[{other}]', {third}, 'linf 8/255')",
    )
    with Store(changed) as store:
        found = list_victims(store, run).set_index("victim")
    assert set(found.index) == {label, elsewhere}
    costs = [json.loads(text) for text in (record, its_record)]
    for column in ("forward", "backward", "seconds"):
        assert found.loc[label, column] == pytest.approx(sum(cost[column] for cost in costs))
        assert np.isnan(found.loc[elsewhere, column])
    assert found.loc[label, "victim_seed"] == int(json.loads(axes)["seed"])
    assert found.loc[elsewhere, ["victim_seed", "defense", "budget"]].tolist() == [-1, "jpeg", "linf 8/255"]
    assert found.loc[elsewhere, "victim_config"] == elsewhere  # no seed is known
    assert found.loc[label, "numbers"]["macs"] == 9.5
    assert found.loc[label, "parameters"] == costs[1]["parameters"]
    assert len(found.loc[label, "records"]) == 2


def test_targets_are_those_of_the_files_or_drawn_again_when_they_are_gone(changed: Path) -> None:
    import torch

    with Store(changed) as store:
        run = run_of(store)
        sql = (
            "select a.key from run_sets s join artifacts a on a.id = s.artifact join image_sets i "
            f"on i.artifact = s.image_set where s.run = '{run}' and s.targeted and i.split = 'test'"
        )
        keys = [key for (key,) in raw_store.query(changed, sql)]
        stored = raw_store.tensors(changed, "sets", keys[0])["target"]
        found = read_outcomes(store, run)
        assert found.target is not None
        assert found.target.tolist() == stored.tolist()
        for key in keys:
            (changed / "artifacts" / "sets" / f"{key}.safetensors").unlink()
        drawn = read_outcomes(store, run).target
        assert drawn is not None
        labels, ids = torch.from_numpy(found.labels), torch.from_numpy(np.asarray(found.image_ids))
        assert drawn.tolist() == target_classes(labels, ids, 3).tolist() == stored.tolist()
        sql = sql.replace("a.id = s.artifact", "a.id = s.image_set")
        ((images,), *_) = raw_store.query(changed, sql)
        given = 3 - found.labels - stored  # the third class of each
        tensors = {**raw_store.tensors(changed, "images", images), "targets": given}
        save_file(tensors, changed / "artifacts" / "images" / f"{images}.safetensors")
        theirs = read_outcomes(store, run).target  # those that somebody gave with the images come before drawn ones
        assert theirs is not None
        assert theirs.tolist() == given.tolist()
        ((before,),) = raw_store.query(changed, "select id from runs where scenario = 'before'")
        assert read_outcomes(store, before).target is None  # nothing of it is targeted


def test_lists_are_those_of_sql(store: Store) -> None:
    run = run_of(store)
    sets = list_sets(store, run)
    of_test = f"join image_sets i on i.artifact = image_set where run = '{run}' and i.split = 'test'"
    rows = raw_store.query(
        store.folder,
        "select s.artifact, image_set, coalesce(surrogate, ''), coalesce(asked, ''), attack, norm, eps, targeted, "
        f"attack_seed, a.digest is not null from run_sets s join artifacts a on a.id = s.artifact {of_test} "
        "and not decoy order by s.rowid",
    )
    assert [tuple(row) for row in sets.itertuples(index=False)] == rows
    assert sets["made"].all()
    models = list_models(store, run)
    trained = raw_store.query(
        store.folder,
        f"select role, label, axes, record from run_models m join artifacts a on a.id = m.artifact where run = '{run}'",
    )
    shown = {(row["role"], row["model"]): row for row in models.to_dict("records")}
    assert len(shown) == len(trained) == len(models)
    for role, label, axes, text in trained:
        row, record = shown[role, label], json.loads(text)
        assert {axis: row[axis] for axis in json.loads(axes)} == json.loads(axes)
        assert row["trained"]
        assert row["passes"] == record["forward"] + record["backward"] > 0
        assert row["seconds"] == record["seconds"]
    surrogates = list_surrogates(store, run)
    of_one = dict(raw_store.query(store.folder, f"select label, networks from run_surrogates where run = '{run}'"))
    assert surrogates.set_index("surrogate")["networks"].dropna().to_dict() == {k: n for k, n in of_one.items() if n}
    for row in surrogates.to_dict("records"):
        key = next(text for role, label, _, text in trained if (role, label) == ("surrogate", row["surrogate"]))
        record = json.loads(key)
        assert (row["forward"], row["backward"]) == (record["forward"], record["backward"])
        assert (row["models"], row["members"], row["active"], row["builder"]) == (1, 1, 1, "single")
        assert row["parameters"] == record["parameters"]
        assert row["seconds"] == record["seconds"]
        assert row["measures"] == {}
        assert row["asked"] == ""
        assert row["surrogate_seed"] == 1
    assert len(surrogates) == sum(role == "surrogate" for role, *_ in trained)


def test_a_seed_that_nobody_said_is_no_seed(changed: Path) -> None:
    with Store(changed) as store:
        run = run_of(store)
    tables = ("run_surrogates", "run_models")
    execute(changed, *(f"update {table} set axes = '{{}}' where run = '{run}'" for table in tables))
    with Store(changed) as store:
        assert set(list_surrogates(store, run)["surrogate_seed"]) == {-1}
        assert set(read_outcomes(store, run).cells["victim_seed"]) == {-1}


def test_who_answered_a_set_its_own_model_last(store: Store) -> None:
    run = run_of(store)
    for made in list_sets(store, run).to_dict("records"):
        found = list_answering(store, run, made["set_id"])
        expected = [row for row in raw(store, "test") if row["set_id"] == made["set_id"]]
        assert {(r["victim_id"], r["n"], r["k"]) for r in expected} == set(
            zip(found["victim_id"], found["n"], found["k"], strict=True)
        )
        cases = found["case"].tolist()
        assert cases == [-1] * len(cases) if made["surrogate"] == "" else cases.count(0) == 1 and cases[-1] == 0
        ordered = found["victim"].tolist() if made["surrogate"] == "" else found["victim"].tolist()[:-1]
        planned = raw_store.query(
            store.folder, f"select label from run_models where run = '{run}' and role = 'victim' order by rowid"
        )
        assert ordered == [label for (label,) in planned]


def test_pictures_are_the_bytes_of_the_files(changed: Path) -> None:
    with Store(changed) as store:
        made = list_sets(store, run_of(store)).iloc[-1]
        id_, images = int(made["set_id"]), int(made["image_set"])
        keys = dict(raw_store.query(changed, "select id, key from artifacts"))
        clean, adversarial = read_pictures(store, id_, images, [7, 0, 41])
        for kind, key, came in (("images", keys[images], clean), ("sets", keys[id_], adversarial)):
            stored = raw_store.tensors(changed, kind, key)["images"][[7, 0, 41]]
            assert came.dtype == np.float32
            np.testing.assert_allclose(came, stored / 255, rtol=0, atol=1e-7)
        with pytest.raises(StoreError, match=r"holds too few images|cannot be read"):
            read_pictures(store, id_, images, [42])
        file = changed / "artifacts" / "sets" / f"{keys[id_]}.safetensors"
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(StoreError, match=r"cannot be read.*run the scenario again to rebuild it"):
            read_pictures(store, id_, images, [0])
        file.unlink()
        with pytest.raises(StoreError, match="these images are not in the store, as after `carom gc --sets`"):
            read_pictures(store, id_, images, [0])


def test_runs_are_counted_and_found_by_any_name(changed: Path) -> None:
    ((run,),) = raw_store.query(changed, "select id from runs where scenario = 'tiny'")
    ((cells,),) = raw_store.query(changed, f"select count(*) from run_cells where run = '{run}'")
    ((gone,),) = raw_store.query(
        changed, f"select adversarial_set from run_cells where run = '{run}' order by 1 desc limit 1"
    )
    ((lost,),) = raw_store.query(
        changed, f"select count(*) from run_cells where run = '{run}' and adversarial_set = {gone}"
    )
    execute(
        changed,
        "update runs set started = '2000-01-01' where scenario = 'before'",  # both may have started in one second
        f"delete from cells where adversarial_set = {gone}",
        f"update run_cells set failure = 'the disk was full' where run = '{run}' and adversarial_set = {gone}",
        f"insert into runs select 'others', 'others', description, text, task, 'published', '9999', finished, "
        f"environment, stamp from runs where id = '{run}'",
    )
    with Store(changed) as store:
        known = list_runs(store)
        assert [r.scenario for r in known] == ["tiny", "before", "others"]  # the latest first, published ones last
        assert (known[0].cells, known[0].done, known[0].failed) == (cells, cells - lost, lost)
        assert (known[1].failed, known[2].cells, known[2].done, known[2].failed) == (0, 0, 0, 0)
        assert run_size(store, run) == ("done", cells)
        with pytest.raises(InputError, match="no run 'nothing'; `carom show` lists them"):
            run_size(store, "nothing")
        assert find_run(store).id == find_run(store, "tiny").id == find_run(store, run).id == run
        assert find_run(store, "before").scenario == find_run(store, "befo").scenario == "before"
        with pytest.raises(InputError, match=r"no run 'tinny'.* \(runs: tiny-"):
            find_run(store, "tinny")
        assert list_failures(store, run).to_dict("records") == [{"reason": "the disk was full", "cells": lost}]
        assert list_failures(store, known[1].id).empty
        with pytest.raises(InputError, match="holds published rates, no images or answers"):
            read_outcomes(store, "others")
        with pytest.raises(InputError, match="has no test images; expected another split"):
            read_outcomes(store, "unknown")
        sets = list_sets(store, run)
        assert len(list_answering(store, run, int(sets["set_id"].iloc[0]))) > 0


def test_jobs_are_listed_and_what_they_spent_is_summed(store: Store) -> None:
    rows = raw_store.query(store.folder, "select id, run, job, seconds, passes, failure from attempts")
    of_run = [row for row in rows if row[1] == run_of(store)]
    assert list_attempts(store, run_of(store))["id"].tolist() == sorted((row[0] for row in of_run), reverse=True)
    expected: dict[str, tuple[float, int]] = {}
    for _, _, job, seconds, passes, failure in rows:
        if failure is None and passes > 0:
            before = expected.get(job, (0.0, 0))
            expected[job] = (before[0] + seconds, before[1] + passes)
    found = {job: (seconds, passes) for job, seconds, passes in spent(store)}
    assert {job: passes for job, (_, passes) in found.items()} == {job: passes for job, (_, passes) in expected.items()}
    assert {job: s for job, (s, _) in found.items()} == pytest.approx({job: s for job, (s, _) in expected.items()})


def test_the_counter_moves_with_each_write(changed: Path) -> None:
    with Store(changed, write=True) as store:
        before = change_counter(store)
        for moved in (1, 2):
            with store.writing():
                pass
            assert change_counter(store) == before + moved


def test_what_a_table_calls_a_model() -> None:
    usual = {"source": "uci", "samples": "all", "balance": "uniform", "architecture": "mlp", "recipe": "standard"}
    assert configuration_of({}, "my net") == "my net"
    assert configuration_of({**usual, "n": "all", "seed": "3"}, "label") == "uci/uniform/mlp"
    assert configuration_of({**usual, "n": "100", "seed": "0"}, "label") == "uci/uniform/mlp/n=100"
    lgv = {**usual, "samples": "a", "builder": "lgv", "seed": "0"}
    assert configuration_of(lgv, "label") == "lgv:uci/a/uniform/mlp"
    # two models of others that declare the same source are two models, not two seeds of one
    assert configuration_of({"source": "imagenet"}, "resnet18") == "resnet18"


def test_a_run_that_has_no_outcome_says_so(changed: Path) -> None:
    execute(changed, "delete from cells")
    with Store(changed) as store:
        with pytest.raises(InputError, match="has no outcome yet; wait for it, or run it again to see what fails"):
            read_outcomes(store, run_of(store))
        with pytest.raises(InputError, match="has no outcome of a victim on test images yet"):
            read_rates(store, run_of(store))
        assert isinstance(list_answering(store, run_of(store), 1), pd.DataFrame)


def test_rows_stand_in_the_order_of_the_plan_whatever_an_earlier_run_made(tiny_npz: Path, once: Once) -> None:
    text = TINY.replace("NPZ", str(tiny_npz)).replace('balance = ["uniform", "tv0.2"]', 'balance = "uniform"')
    text = text.replace("epochs = 3", "epochs = 1").replace("per_source = 21", "per_source = 6")
    text = text.replace(
        'architecture = [{name = "mlp", width = 12}, "lenet"]', 'architecture = {name = "mlp", width = 4}'
    )
    text = text.replace('[{norm = "linf", eps = "32/255"}]', '[{norm = "linf", eps = ["32/255", "8/255"]}]')

    def make(folder: Path) -> None:
        before = text.replace('"tiny"', '"before"').replace('["here", "there"]', '["there", "here"]')
        for each in (before.replace('["fgsm", "mi"]', '["mi"]').replace('"32/255", ', ""), text):
            report = run_scenario(parse_scenario(each, where="order.toml"), folder, workers=0)
            assert not report.failures

    with Store(once("order", make)) as store:
        run = run_of(store)
        for cells in (read_outcomes(store, run).cells, read_rates(store, run)):
            made = cells[cells["case"] != 0].astype(object)
            attacked = made[made["surrogate"] != ""]
            for column, planned in (
                ("source_s", ["here", "there"]),
                ("source_v", ["here", "there"]),
                ("attack", ["fgsm", "mi"]),
                ("eps", ["32/255", "8/255"]),
            ):
                assert attacked[column].unique().tolist() == planned, column
            (first,) = {tuple(v["source_v"]) for _, v in made.groupby("set_id")}
            assert first == ("here", "there")
        assert [s.split("/")[0] for s in list_sets(store, run)["surrogate"].unique() if s] == ["here", "there"]
        assert list_surrogates(store, run)["surrogate"].str.split("/").str[0].tolist() == ["here", "there"]
