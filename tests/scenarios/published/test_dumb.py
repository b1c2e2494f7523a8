"""Published results: read from files as they are published, flagged, shown beside a run, and refused when they are off.

The files of two of DUMB's three tasks are looked for in the folder that CAROM_DUMB_DIR names. DUMBer's layout is tested
on small files that are made here.
"""

import csv
import itertools
import json
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.scenarios.conftest import TINY, Carom

from carom.errors import InputError
from carom.scenarios.published.dumb import means_by_case, published_by_case, read_in, read_published
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import find_run, list_runs
from carom.scenarios.tables.which import show_run

DUMB = Path(os.environ.get("CAROM_DUMB_DIR", "nowhere"))
needs_dumb = pytest.mark.skipif(not DUMB.is_dir(), reason="CAROM_DUMB_DIR names no folder of published results")

VICTIMS = list(itertools.product(("net", "deep"), ("bing", "google"), ("20/80", "50/50")))
COLUMNS = ["", "source_dataset", "isMath", "attack", "source_model", "source_balancing", "target_model"]
COLUMNS += ["target_dataset", "target_balancing", "asr", "asr_0", "asr_1"]


def lines(attack: str, *, filtered: bool, base: int) -> Iterator[dict[str, Any]]:
    """A grid of two architectures, sources and balances; each victim errs on 10 and 3 images a class within its source.

    Args:
        attack: Its name.
        filtered: Whether the clean errors are left out across sources too.
        base: Successes in the best case, of 150 images a class; each condition that differs takes off some.
    """
    for index, ((model_s, source_s, balance_s), (model_v, source_v, balance_v)) in enumerate(
        itertools.product(VICTIMS, VICTIMS)
    ):
        whole = source_s != source_v and not filtered
        n = (150, 150) if whole else (139, 149)  # a prime, so one rate shows it
        lost = 20 * (model_s != model_v) + 3 * (balance_s != balance_v) + 5 * (source_s != source_v)
        k = (base - lost + 7 * whole, base - lost + 1 + 7 * whole)
        rates = [(k[0] + k[1]) / (n[0] + n[1]), k[0] / n[0], k[1] / n[1]]
        math = str(attack != "BoxBlur")
        values = [index, source_s, math, attack, model_s, balance_s, model_v, source_v, balance_v, *rates]
        yield dict(zip(COLUMNS, values, strict=True))


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def baseline(f1: float, training: str | None = None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for source in ("bing", "google"):
        for model, of, balance in VICTIMS:
            row: dict[str, Any] = {"": len(rows), "source_dataset": source, "target_model": model, "target_dataset": of}
            # one of the published folders writes balances with an underscore
            row["target_balancing"] = balance.replace("/", "_")
            rows.append({**row, **({"target_adv_training": training} if training else {}), "baseline_f1": f1})
    return rows


@pytest.fixture
def dumb(tmp_path: Path) -> Path:
    """A small folder in DUMB's layout, with its defect."""
    folder = tmp_path / "DUMB"
    for attack, base in (("PGD", 71), ("BoxBlur", 44)):
        rows = list(lines(attack, filtered=False, base=base))
        write(folder / f"results/attacks/evaluation/catDog/evaluations_{attack}.csv", rows)
    write(folder / "results/models/baseline/baseline_catDog.csv", baseline(0.96))
    return folder


@pytest.fixture
def dumber(dumb: Path) -> Path:
    """The same with two hardened trainings, the second appended without an index, as DUMBer's are."""
    hardened = []
    for training, base in (("PGD", 53), ("saltPepper", 61)):
        for row in lines("PGD", filtered=False, base=base):
            index = row[""] if training == "PGD" else ""
            made = {"Unnamed: 0": index, **{k: v for k, v in row.items() if k}, "source_adv_training": training}
            hardened.append(made)
    write(dumb / "results/attacks/adv_evaluation/catDog/evaluations_PGD.csv", hardened)
    write(dumb / "results/models/baseline/adv_baseline_catDog.csv", baseline(0.9, "PGD"))
    return dumb


# ----------------------------------------------------------------------------------------------------- as published

MATH = {
    "bikeMotorbike": (0.2836, 0.2522, 0.1015, 0.1035, 0.2703, 0.2516, 0.1075, 0.1088),
    "catDog": (0.4498, 0.4146, 0.1759, 0.1784, 0.4312, 0.4112, 0.1905, 0.1932),
}
FILTERS = {
    "bikeMotorbike": (0.0681, 0.0669, 0.0663, 0.0659, 0.0735, 0.0735, 0.0731, 0.0726),
    "catDog": (0.1474, 0.1463, 0.1460, 0.1456, 0.1647, 0.1649, 0.1634, 0.1641),
}


@needs_dumb
def test_the_published_files_come_out_as_published(tmp_path: Path, carom: Carom) -> None:
    store = tmp_path / "store"
    (run, rows) = (answer := json.loads(carom("import", "dumb", DUMB, "--store", store, "--json").out))["run"], 0
    assert answer["attacks"] == 14
    shown = json.loads(carom("show", "dumb", "--store", store, "--json").out)
    assert run.startswith("dumb-")
    for task in MATH:
        for kind, expected in (("math", MATH[task]), ("non-math", FILTERS[task])):
            found = [r for r in shown["cases-by-task"] if (r["task"], r["attacks"]) == (task, kind)]
            assert [r["case"] for r in found] == [f"C{i}" for i in range(1, 9)]
            np.testing.assert_allclose([r["ASR"] for r in found], expected, atol=5.01e-5, rtol=0)
            assert [r["rows"] for r in found] == [168, 504, 336, 1008] * 2
            assert [r["wrong filter"] for r in found] == [0, 0, 0, 0, 168, 504, 336, 1008]
            rows += sum(r["rows"] for r in found)
    assert rows == 2 * 14 * 576
    effects = {(r["task"], r["attacks"], r["mismatch in"]): r for r in shown["effects"]}
    for task, effect, adjusted in (("bikeMotorbike", 0.0024, -0.014), ("catDog", 0.0074, -0.016)):
        of_source = effects[task, "math", "source"]
        assert of_source["effect"] == pytest.approx(effect, abs=5.01e-5)
        assert of_source["adjusted effect"] == pytest.approx(adjusted, abs=6e-4)
        # the sign turns once both denominators mean the same
        assert of_source["effect"] > 0 > of_source["adjusted effect"]
    (filtered,) = (c for c in shown["controls"] if c["control"] == "clean filter")
    assert filtered["status"] == "warned"
    assert "for 48 of 48 victims on images of another source" in filtered["came"]
    assert "8,064 of 16,128 rows" in filtered["came"]


# ----------------------------------------------------------------------------------------------------------- reading


def test_rows_cases_and_denominators(tmp_path: Path, dumb: Path) -> None:
    found = read_in(dumb, tmp_path / "store")
    assert (found.rows, found.attacks, found.tasks, found.trainings, found.new) == (128, 2, ("catDog",), ("",), True)
    with Store(tmp_path / "store") as store:
        rows = read_published(store, found.run)
    assert len(rows) == 128
    counts = rows[rows["math"]]["case"].value_counts().sort_index()
    assert dict(counts) == dict.fromkeys(range(1, 9), 8)
    across = rows["source_s"] != rows["source_v"]
    assert list(rows["wrong_filter"]) == list(across)
    assert set(zip(rows["n_0"][~across], rows["n_1"][~across], strict=True)) == {(139, 149)}
    assert set(zip(rows["n_0"][across], rows["n_1"][across], strict=True)) == {(150, 150)}
    same = rows[(rows["case"] == 1) & (rows["attack"] == "PGD")]
    np.testing.assert_allclose(same["asr"], 143 / 288)
    assert list(same["adjusted"]) == list(same["asr"])
    other = rows[(rows["case"] == 5) & (rows["attack"] == "PGD")]
    np.testing.assert_allclose(other["asr"], (73 + 74) / 300)
    np.testing.assert_allclose(other["adjusted"], ((73 + 74) / 300 - 0.04) / 0.96)


def test_a_filter_that_works_is_not_flagged(tmp_path: Path, dumb: Path) -> None:
    for attack, base in (("PGD", 71), ("BoxBlur", 44)):
        path = dumb / f"results/attacks/evaluation/catDog/evaluations_{attack}.csv"
        write(path, list(lines(attack, filtered=True, base=base)))
    run = read_in(dumb, tmp_path / "store").run
    with Store(tmp_path / "store") as store:
        rows = read_published(store, run)
        (controls,) = (t for t in show_run(store, run) if t.name == "controls")
    assert not rows["wrong_filter"].any()
    assert list(rows["adjusted"]) == list(rows["asr"])
    assert set(controls.frame["status"]) == {"passed"}


def test_without_baselines_nothing_is_adjusted(tmp_path: Path, dumb: Path) -> None:
    (dumb / "results/models/baseline/baseline_catDog.csv").unlink()
    run = read_in(dumb, tmp_path / "store").run
    with Store(tmp_path / "store") as store:
        rows = read_published(store, run)
        tables = {t.name: t for t in show_run(store, run)}
    assert rows["wrong_filter"].sum() == 64
    assert rows["adjusted"].isna().sum() == 64
    cases = means_by_case(rows)
    assert list(cases["adjusted"].isna()) == [False] * 4 + [True] * 4
    assert list(tables["cases"].formatted()["adjusted"][4:8]) == ["–"] * 4
    assert "warned" in set(tables["controls"].frame["status"])


def test_hardened_victims_stand_apart(tmp_path: Path, dumber: Path) -> None:
    found = read_in(dumber, tmp_path / "store")
    assert found.run.startswith("dumber-")
    assert (found.rows, found.trainings) == (256, ("PGD", "saltPepper", ""))
    with Store(tmp_path / "store") as store:
        rows = read_published(store, found.run)
        by_case = published_by_case(store)
        tables = {t.name: t for t in show_run(store, found.run)}
    assert dict(rows["training"].value_counts()) == {"": 128, "PGD": 64, "saltPepper": 64}
    assert set(rows["clean_f1"][rows["training"] == ""]) == {0.96}
    assert set(rows["clean_f1"][rows["training"] == "PGD"]) == {0.9}
    assert rows["clean_f1"][rows["training"] == "saltPepper"].isna().all()
    assert by_case["rows"].sum() == 128, "hardened victims are not mixed into what stands beside one's own"
    assert tables["cases"].frame["rows"].sum() == 128
    by_training = tables["published-by-training"].frame.set_index(["attacks", "training"])
    assert by_training["C1"]["math", "PGD"] == pytest.approx((53 + 54) / 288)
    assert by_training["C1"]["math", "usual"] == pytest.approx((71 + 72) / 288)


def test_the_same_files_again_change_nothing(tmp_path: Path, dumb: Path, carom: Carom) -> None:
    store = tmp_path / "store"
    first = read_in(dumb, store)
    rows = sqlite3.connect(store / "carom.db").execute("select * from published").fetchall()
    again = carom("import", "dumb", dumb, "--store", store)
    assert "the store had them already" in again.out
    assert first.run in again.out
    assert sqlite3.connect(store / "carom.db").execute("select * from published").fetchall() == rows
    path = dumb / "results/models/baseline/baseline_catDog.csv"
    path.write_text(path.read_text().replace("0.96", "0.95"))
    other = read_in(dumb, store)
    assert other.new
    assert other.run != first.run
    with Store(store) as opened:
        assert {r.id for r in list_runs(opened)} == {first.run, other.run}
        assert set(read_published(opened, first.run)["clean_f1"]) == {0.96}


# ------------------------------------------------------------------------------------------------------ beside a run


@pytest.mark.thorough
def test_published_rates_stand_beside_a_run(tmp_path: Path, dumb: Path, tiny_npz: Path, carom: Carom) -> None:
    scenario, store = tmp_path / "tiny.toml", tmp_path / "store"
    scenario.write_text(TINY.replace("NPZ", str(tiny_npz)))
    assert carom("run", scenario, "--store", store, "--workers", 0).code == 0
    alone = json.loads(carom("show", "--store", store, "--json").out)
    assert "published" not in alone
    published = read_in(dumb, store).run
    shown = json.loads(carom("show", "--store", store, "--json").out)
    assert "Published columns are of undefended victims" in " ".join(carom("show", "--store", store).out.split())
    beside = {r["case"]: r for r in shown.pop("published")}
    assert shown == alone, "the latest run of one's own is still the one without a name, with the same tables"
    column = f"{published} math"
    own = {r["case"]: r["ASR"] for r in alone["cases"]}
    assert {c: r["ASR"] for c, r in beside.items()} == {c: v for c, v in own.items() if c != "control"}
    assert (beside["C0"]["their case"], beside["C0"][column]) == ("C1", pytest.approx(143 / 288))
    assert (beside["C1"]["their case"], beside["C1"][column]) == ("–", None)
    assert beside["C3"][column] == pytest.approx(103 / 288)
    assert f"{column} adjusted" in beside["C3"]
    for command in (("compare", "tiny", published), ("students", published)):
        answer = carom(*command, "--store", store)
        assert answer.code == 2
        assert "holds published rates, no" in answer.error
    with Store(store) as opened:
        assert find_run(opened).scenario == "tiny"
        with pytest.raises(InputError, match="no published one"):
            read_published(opened, find_run(opened).id)
        with pytest.raises(InputError, match="published rates, no images"):
            read_outcomes(opened, published)


def test_tables_and_rows_are_exported(tmp_path: Path, dumb: Path, carom: Carom) -> None:
    run = read_in(dumb, tmp_path / "store").run
    for form, suffix in (("csv", "csv"), ("latex", "tex"), ("parquet", "parquet")):
        answer = carom("export", run, "--store", tmp_path / "store", "--format", form, "-o", tmp_path / form)
        assert answer.code == 0, answer.err
        assert (tmp_path / form / f"{run}-cases.{suffix}").is_file()
    assert len(pd.read_csv(tmp_path / "csv" / f"{run}-rows.csv")) == 128


def test_a_published_run_has_a_report_without_figures(tmp_path: Path, dumb: Path, carom: Carom) -> None:
    run = read_in(dumb, tmp_path / "store").run
    answer = carom("export", run, "--store", tmp_path / "store", "--format", "html", "-o", tmp_path)
    assert answer.code == 0, answer.err
    text = (tmp_path / f"{run}.html").read_text()
    assert f"{run}: published attack success by case" in text
    assert "Incomplete" not in text
    assert "<svg" not in text


# ----------------------------------------------------------------------------------------------------------- mistakes


def test_mistakes_are_one_line(tmp_path: Path, dumb: Path, carom: Carom) -> None:
    def says(*words: str) -> None:
        answer = carom("import", "dumb", dumb, "--store", tmp_path / "store")
        assert answer.code == 2
        assert "Traceback" not in answer.err
        assert len(answer.err.strip().splitlines()) == 1
        for word in words:
            assert word in answer.error
        assert not (tmp_path / "store").exists(), "nothing is written of a folder that is wrong"

    path = dumb / "results/attacks/evaluation/catDog/evaluations_PGD.csv"
    good = path.read_text()
    header, *rest = good.splitlines()
    fields = rest[4].split(",")
    path.write_text(good.replace("asr_0", "asr_zero", 1))
    says(str(path), "column asr_0 missing")
    for bad in ("nan", "", "1.5", "many"):
        path.write_text("\n".join([header, *rest[:4], ",".join([*fields[:-1], bad]), *rest[5:]]))
        says(f"{path}: line 6: asr_1 {bad!r}", "from 0 to 1")
    path.write_text("\n".join([header, *rest[:4], ",".join(fields[:-2]), *rest[5:]]))
    says(f"{path}: line 6", "10 fields; expected 12")
    path.write_text("\n".join([header, *rest, rest[4]]))
    says(f"{path}: line 66", "line 6")
    path.write_text(good.replace("True", "yes", 1))
    says(f"{path}: line 2: isMath 'yes'")
    path.write_bytes(b"\xff\xfe" + good.encode())
    says(f"{path}: cannot be read as CSV")
    path.write_text(good)
    path = dumb / "results/attacks/adv_evaluation/catDog/evaluations_PGD.csv"
    write(path, [{"x": 1}])
    says(str(path), "source_adv_training")


def test_what_is_no_published_folder_is_said(tmp_path: Path, carom: Carom) -> None:
    answer = carom("import", "dumb", tmp_path / "none", "--store", tmp_path / "store")
    assert (answer.code, "no such folder" in answer.error) == (2, True)
    answer = carom("import", "dumb", tmp_path, "--store", tmp_path / "store")
    assert (answer.code, "results/attacks/evaluation/TASK/evaluations_ATTACK.csv" in answer.error) == (2, True)
