"""What the explorer reads of fields, cells, sets and images, and how it orders and draws them."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binomtest  # type: ignore[attr-defined]

from carom.app.charts import cell as cell_charts
from carom.app.queries import cases as case_queries
from carom.app.queries import cells as cell_queries
from carom.app.queries import images as image_queries
from carom.app.queries import matrix as matrix_queries
from carom.app.queries import runs as run_queries
from carom.errors import CaromError, StoreError
from carom.scenarios.cases import CASES
from carom.scenarios.charts import picture
from carom.scenarios.charts.cases import cases
from carom.scenarios.charts.matrix import heat_map
from carom.scenarios.store.database import Store
from carom.scenarios.store.free import collect
from carom.scenarios.store.lists import list_answering, list_sets, read_pictures
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.schema import cells
from carom.scenarios.tables.table import Form, Table


@pytest.fixture
def run(finished: Path) -> str:
    return run_queries.runs(finished)[0].id


@pytest.fixture
def all_cells(finished: Path, run: str) -> pd.DataFrame:
    return run_queries.view(finished, run).cells


# --------------------------------------------------------------------------------------------------------------- cells


def test_a_cell_read_alone_is_the_cell_of_the_run(finished: Path, run: str) -> None:
    with Store(finished) as store:
        everything = read_outcomes(store, run)
    for row in (0, 17, len(everything.cells) - 1):
        cell = everything.cells.iloc[row]
        found = cell_queries.answered(finished, run, int(cell["set_id"]), [int(cell["victim_id"])])
        names = np.array([*everything.classes, cell_queries.NO_ANSWER], dtype=object)
        assert list(found.adversarial[0]) == list(names[everything.adversarial[row]])
        assert list(found.clean[0]) == list(names[everything.clean_predictions[cell["victim_index"]]])
        assert (found.outcome[0] == "fooled").sum() == everything.success[row].sum() == found.cells["k"].iloc[0]
        assert (found.outcome[0] != "wrong clean").sum() == everything.n[row]
        assert found.by_class["k"].sum() == found.cells["k"].iloc[0]
        assert found.images["label"].tolist() == [everything.classes[i] for i in everything.labels]


def test_several_victims_come_in_the_order_asked_for(finished: Path, run: str, all_cells: pd.DataFrame) -> None:
    set_id = int(all_cells["set_id"].iloc[0])
    known = cell_queries.answering(finished, run, set_id)
    ids = [int(i) for i in known["victim_id"]][::-1]
    found = cell_queries.answered(finished, run, set_id, ids)
    assert found.cells["victim_id"].tolist() == ids
    assert found.cells["victim"].tolist() == known["victim"].tolist()[::-1]
    for i, victim in enumerate(ids):
        assert list(cell_queries.answered(finished, run, set_id, [victim]).adversarial[0]) == list(found.adversarial[i])


def test_no_outcome_is_an_error_in_words(finished: Path, run: str, all_cells: pd.DataFrame) -> None:
    with pytest.raises(CaromError, match="no outcome"):
        cell_queries.answered(finished, run, int(all_cells["set_id"].iloc[0]), [10_000])
    with pytest.raises(CaromError, match="no adversarial set 10000"):
        image_queries.pictures(finished, run, 10_000, [0])


def test_who_answered_a_set(finished: Path, run: str, all_cells: pd.DataFrame) -> None:
    for set_id in all_cells["set_id"].unique()[:6]:
        mine = all_cells[all_cells["set_id"] == set_id]
        known = cell_queries.answering(finished, run, int(set_id))
        columns = ["victim_id", "victim", "case", "n", "k"]
        expected = mine.sort_values("victim_id")[columns].reset_index(drop=True)
        got = known.sort_values("victim_id").reset_index(drop=True)
        assert got.astype(str).equals(expected.astype(str))
    own = cell_queries.answering(finished, run, int(all_cells.loc[all_cells["case"] == 0, "set_id"].iloc[0]))
    assert own["case"].tolist()[-1] == 0


def test_the_sets_of_a_run(finished: Path, run: str, all_cells: pd.DataFrame) -> None:
    sets = image_queries.adversarial_sets(finished, run)
    assert set(sets["set_id"]) == set(all_cells["set_id"])
    assert set(sets["budget"]) == set(all_cells["budget"])
    with Store(finished) as store:
        assert list_sets(store, run, split="validation").empty
        assert list_answering(store, run, 10_000).empty


def test_answers_are_counted(finished: Path, run: str, all_cells: pd.DataFrame) -> None:
    cell = all_cells[all_cells["k"] > 2].iloc[0]
    found = cell_queries.answered(finished, run, int(cell["set_id"]), [int(cell["victim_id"])])
    table = cell_queries.confusion(found)
    assert table["images"].sum() == len(found.images)
    assert table.groupby("clean")["share"].sum().to_numpy() == pytest.approx(1)
    row = table.iloc[0]
    pairs = list(zip(found.clean[0], found.adversarial[0], strict=True))
    assert pairs.count((row["clean"], row["adversarial"])) == row["images"]


def test_filters(finished: Path, run: str, all_cells: pd.DataFrame) -> None:
    set_id = int(all_cells.loc[all_cells["k"] > 2, "set_id"].iloc[0])
    victims = [int(v) for v in cell_queries.answering(finished, run, set_id)["victim_id"]]
    found = cell_queries.answered(finished, run, set_id, victims)
    every = set(range(len(found.images)))
    assert set(cell_queries.filtered(found)) == every
    parts = [cell_queries.filtered(found, outcome=outcome, victim=1) for outcome in cell_queries.OUTCOMES]
    assert sorted(place for part in parts for place in part) == sorted(every)
    assert len(parts[0]) == found.cells["k"].iloc[1]
    alike = cell_queries.filtered(found, agree=True)
    assert sorted([*alike, *cell_queries.filtered(found, agree=False)]) == sorted(every)
    assert all(len(set(found.adversarial[:, place])) == 1 for place in alike)
    label = found.images["label"].iloc[0]
    answers = (found.clean[1, 3], found.adversarial[1, 3])
    alike = cell_queries.filtered(found, answers=answers, victim=1)
    assert alike == [p for p in sorted(every) if (found.clean[1, p], found.adversarial[1, p]) == answers]
    both = cell_queries.filtered(found, label=label, outcome="fooled")
    assert set(both) == {p for p in cell_queries.filtered(found, outcome="fooled") if found.images["label"][p] == label}


# -------------------------------------------------------------------------------------------------------------- fields


def test_a_field_pools_the_cells_of_the_matrix(all_cells: pd.DataFrame) -> None:
    table = matrix_queries.matrix(all_cells, "attack", "budget", white_box=True)
    for row in table.to_dict("records"):
        pooled = cell_queries.field_cells(all_cells, {a: row[a] for a in ("attack", "budget")}, white_box=True)
        assert (pooled.n, pooled.k, pooled.count) == (row["n"], row["k"], row["cells"])
        assert pooled.cells["asr"].is_monotonic_decreasing
        assert (pooled.cells["low"] <= pooled.cells["asr"]).all()
    some = cell_queries.field_cells(all_cells, {"attack": "mi", "budget": "l2 0.5"})
    assert 0 not in set(some.cells["case"])
    one = cell_queries.named_cell(all_cells, some.cells["cell"].iloc[0])
    assert (one.count, one.k) == (1, some.cells["k"].iloc[0])


@pytest.mark.parametrize("name", ["", "x", "1-1", " | ", "a | b | mi | l2 0.5"])
def test_a_name_that_is_none(all_cells: pd.DataFrame, name: str) -> None:
    assert cell_queries.named_cell(all_cells, name).count == 0


def test_each_cell_has_a_name_of_its_own_whatever_its_rows_of_the_store(all_cells: pd.DataFrame) -> None:
    mine = cell_queries.attacked(all_cells).reset_index(drop=True)
    names = cell_queries.cell_names(mine, seeds=False)
    assert len(set(names)) == len(mine)
    elsewhere = all_cells.assign(set_id=all_cells["set_id"] + 100, victim_id=all_cells["victim_id"] * 7)
    for name, row in zip(names[::9], mine.iloc[::9].to_dict("records"), strict=True):
        for known in (all_cells, elsewhere):
            (found,) = cell_queries.named_cell(known, name).cells.to_dict("records")
            assert found["cell"] == name
            assert [found[c] for c in ("surrogate", "victim", "attack", "budget", "k")] == [
                row[c] for c in ("surrogate", "victim", "attack", "budget", "k")
            ]


def test_names_tell_seeds_and_asked_victims_apart_and_take_the_longest_label() -> None:
    rows = [("a", "v", 0, ""), ("a", "v", 1, ""), ("a | v", "w", 0, ""), ("a", "v", 0, "w"), ("a", "v", 0, "v")]
    cells = pd.DataFrame(rows, columns=["surrogate", "victim", "attack_seed", "asked"]).assign(
        attack="mi", budget="l2 3", n=9, k=range(5), control=False, set_id=range(5), victim_id=0
    )
    names = cell_queries.cell_names(cells, seeds=cell_queries.several_seeds(cells))
    assert names[:4] == [
        "a | v | mi | l2 3 | seed 0",
        "a | v | mi | l2 3 | seed 1",
        "a | v | w | mi | l2 3 | seed 0",
        "a | v | mi | l2 3 | seed 0 | asked w",
    ]
    assert [cell_queries.named_cell(cells, name).k for name in names[1:4]] == [1, 2, 3]


def test_fields_of_cases_and_of_robust_accuracy_against_loops(all_cells: pd.DataFrame) -> None:
    met = [c for c in all_cells.to_dict("records") if not c["control"] and c["case"] != 0 and c["n"]]
    table = matrix_queries.matrix(all_cells, "case", "budget")
    names = {f"C{i}": i for i in range(9)}
    assert [str(level) for level in table["case"].cat.categories] == ["C1 · none", "C2 · B", "C5 · D", "C6 · D+B"]
    for row in table.to_dict("records"):
        mine = [c for c in met if names[row["case"][:2]] == c["case"] and c["budget"] == row["budget"]]
        assert (row["k"], row["n"]) == (sum(c["k"] for c in mine), sum(c["n"] for c in mine))
        assert row["one_case"] == mine[0]["case"]
        where = {"case": row["case"], "budget": row["budget"]}
        assert cell_queries.field_cells(all_cells, where).k == row["k"]
    robust = matrix_queries.matrix(all_cells, "surrogate", "budget", images=26, measure="robust accuracy")
    for row in robust.to_dict("records"):
        mine = [c for c in met if c["surrogate"] == row["surrogate"] and c["budget"] == row["budget"]]
        assert row["ASR"] == pytest.approx(np.mean([c["robust_accuracy"] for c in mine]))
    down, across = matrix_queries.margins(table, "case", "budget")
    assert down["k"].sum() == across["k"].sum() == sum(c["k"] for c in met)
    assert across["ASR"].tolist() == pytest.approx([k / n for k, n in zip(across["k"], across["n"], strict=True)])


def test_the_interval_of_a_field_counts_each_image_once() -> None:
    one = binomtest(7, 20).proportion_ci(method="wilson")
    table = pd.DataFrame({"k": [7, 21], "n": [20, 60], "cells": [1, 3]})  # three cells that say the same
    low, high = matrix_queries.over_images(table)
    assert low == pytest.approx([one.low, one.low])
    assert high == pytest.approx([one.high, one.high])


def test_levels_stand_in_the_order_of_the_plan_and_radii_by_size() -> None:
    rows = [
        ("s1", "w", 1, "linf 16/255", "16/255"),
        ("s1", "v", 0, "linf 4/255", "4/255"),
        ("s0", "own", 2, "linf 8/255", "8/255"),
    ]
    cells = pd.DataFrame(rows, columns=["surrogate", "victim", "victim_index", "budget", "eps"]).assign(
        norm="linf", targeted=False, case=[1, 1, 0]
    )
    assert matrix_queries.levels(cells, "victim") == ["v", "w", "own"]
    assert matrix_queries.levels(cells, "surrogate") == ["s1", "s0"]
    assert matrix_queries.levels(cells, "budget") == ["linf 4/255", "linf 8/255", "linf 16/255"]
    packed = cells.astype({"victim": "category", "surrogate": "category", "eps": "category", "budget": "category"})
    assert matrix_queries.levels(packed, "victim") == ["v", "w", "own"]


def test_only_so_many_cells_are_listed(all_cells: pd.DataFrame) -> None:
    many = pd.concat([all_cells] * 5, ignore_index=True)
    pooled = cell_queries.field_cells(many, {}, white_box=True)
    assert len(pooled.cells) == cell_queries.MOST_LISTED < pooled.count


def made(asr: list[list[float | None]]) -> pd.DataFrame:
    """A matrix of these rates: rows r0, r1, ..., columns c0, c1, ..."""
    rows = [
        {"r": f"r{i}", "c": f"c{j}", "n": 10, "k": 0, "cells": 1, "ASR": value}
        for i, line in enumerate(asr)
        for j, value in enumerate(line)
        if value is not None
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(**{a: pd.Categorical(frame[a], frame[a].unique(), ordered=True) for a in "rc"})


def order_of(table: pd.DataFrame, axis: str) -> list[str]:
    return [str(level) for level in table[axis].cat.categories]


def test_orders_of_a_matrix() -> None:
    table = made([[0.1, 0.9, 0.1], [0.5, 0.1, 0.6], [0.1, 0.8, 0.2], [0.6, 0.1, 0.5]])
    assert matrix_queries.ordered(table, "r", "c", "run") is table
    by_mean = matrix_queries.ordered(table, "r", "c", "mean")
    assert order_of(by_mean, "c") == ["c1", "c2", "c0"]
    assert order_of(by_mean, "r")[0] in ("r1", "r3")
    alike = order_of(matrix_queries.ordered(table, "r", "c", "clustered"), "r")
    assert {frozenset(alike[:2]), frozenset(alike[2:])} == {frozenset({"r0", "r2"}), frozenset({"r1", "r3"})}
    assert by_mean["ASR"].sum() == pytest.approx(table["ASR"].sum())


def test_a_matrix_with_holes_and_one_of_a_single_field_are_ordered() -> None:
    holes = made([[0.1, None, 0.3], [None, 0.2, None], [0.1, 0.2, None]])
    for order in matrix_queries.ORDERS:
        assert len(matrix_queries.ordered(holes, "r", "c", order)) == len(holes)
        assert len(matrix_queries.ordered(made([[0.5]]), "r", "c", order)) == 1


def test_ten_thousand_victims_are_limited_and_said() -> None:
    table = made([[i / 10_000 for i in range(10_000)]])
    found, cut = matrix_queries.limited(matrix_queries.ordered(table, "r", "c", "clustered"), "r", "c")
    assert cut == {"c": 10_000}
    assert len(found) == matrix_queries.MOST_LEVELS
    assert found["c"].iloc[0] == "c9999"  # the highest come first
    assert not matrix_queries.limited(made([[0.1]]), "r", "c")[1]
    heat_map(found.rename(columns={"r": "surrogate", "c": "victim"}), "surrogate", "victim").to_dict()


# --------------------------------------------------------------------------------------------------------------- cases


def test_points_of_cases_are_the_rows_of_the_table(finished: Path, run: str) -> None:
    view = run_queries.view(finished, run)
    points = case_queries.case_points(view.tables, view.cells)
    (table,) = [t for t in view.tables if t.name == "cases"]
    assert points["asr"].tolist() == pytest.approx(table.frame["asr"].tolist(), nan_ok=True)
    assert set(points["budget"]) >= {"linf 32/255", "l2 0.5"}
    assert set(points["series"]) == {""}
    assert case_queries.fixed_axes(table) == []
    assert case_queries.case_points([], view.cells).empty


def test_points_of_one_attack_are_its_rows_in_the_table_by_attack(finished: Path, run: str) -> None:
    view = run_queries.view(finished, run)
    points = case_queries.some_case_points(finished, run, view.cells, [], attack="mi")
    (table,) = [t for t in view.tables if t.name == "cases-by-attack"]
    mine = table.frame[(table.frame["attack"] == "mi") & (table.frame["case_number"] >= 0)]
    got = points[points["case_number"] >= 0]
    columns = ["norm", "eps", "case", "n", "k", "asr", "low", "high"]
    pd.testing.assert_frame_equal(
        got[columns].reset_index(drop=True), mine[columns].reset_index(drop=True), check_dtype=False
    )
    table_points = case_queries.case_points(view.tables, view.cells, attack="mi")
    left, right = (f.sort_values(["norm", "eps", "case"], ignore_index=True)[columns] for f in (points, table_points))
    pd.testing.assert_frame_equal(left, right, check_dtype=False)
    config = view.cells.loc[~view.cells["control"], "surrogate_config"].iloc[0]
    one = case_queries.some_case_points(finished, run, view.cells, [], attack="mi", config=config)
    assert one.loc[one["case_number"] >= 0, "n"].sum() < got["n"].sum()


def test_robust_accuracy_by_case_is_that_of_the_table_with_an_interval(finished: Path, run: str) -> None:
    view = run_queries.view(finished, run)
    points = case_queries.measured(
        case_queries.some_case_points(finished, run, view.cells, [], measure="robust accuracy"), "robust accuracy"
    )
    (table,) = [t for t in view.tables if t.name == "cases"]
    expected = {(r["norm"], r["eps"], r["case"]): r["robust_accuracy"] for r in table.frame.to_dict("records")}
    for row in points.to_dict("records"):
        assert row["asr"] == pytest.approx(expected[row["norm"], row["eps"], row["case"]])
        assert row["low"] <= row["asr"] <= row["high"]
        assert row["n"] == row["cells"] * 26
    assert case_queries.measures(points.assign(lift=np.nan), view.cells) == ["ASR", "robust accuracy"]


def test_effects_obey_attack_and_budget(finished: Path, run: str, all_cells: pd.DataFrame) -> None:
    shown = case_queries.some_effects(finished, run, all_cells, budget="l2 0.5", attack="mi").frame
    mine = all_cells[(all_cells["attack"] == "mi") & (all_cells["budget"] == "l2 0.5") & (all_cells["case"] > 0)]
    for axis in ("source", "balance"):
        same = mine[f"{axis}_s"] == mine[f"{axis}_v"]
        # every surrogate meets every victim, so the effect is the difference of two means
        expected = mine.loc[~same, "asr"].mean() - mine.loc[same, "asr"].mean()
        assert shown.loc[shown["axis"] == axis, "effect"].iloc[0] == pytest.approx(expected)
    every = case_queries.some_effects(finished, run, all_cells, budget="l2 0.5").frame
    assert every["match_cells"].iloc[0] == 2 * shown["match_cells"].iloc[0]


def test_series_are_named_in_words_and_none_is_empty() -> None:
    assert case_queries.level_words("defense_s", "none") == "attacker plain"
    assert case_queries.level_words("defense_v", "pgd-at") == "victim pgd-at"
    assert case_queries.level_words("samples_s", "a") == "attacker samples a"
    assert case_queries.level_words("reads", "both") == "victim asked"
    assert case_queries.level_words("targeted", "True") == "targeted"
    rows = [(1, "surrogate"), (0, "surrogate"), (0, "victim"), (-1, "surrogate")]
    frame = pd.DataFrame(rows, columns=["case_number", "reads"]).assign(
        norm="linf", eps="8/255", targeted=False, case="C1", asr=0.5
    )
    table = Table(name="cases", title="", frame=frame, forms={"norm": "text", "eps": "text", "reads": "text"})
    points = case_queries.case_points([table], pd.DataFrame({"control": [False], "targeted": [False]}))
    assert points["series"].tolist() == ["surrogate read", "surrogate read", "victim read", "surrogate read"]


def test_radii_are_series_in_their_order() -> None:
    rows = [("linf", "16/255", 1), ("linf", "8/255", 1), ("l2", "3", 1), ("linf", "0", -1), ("linf", "8/255", -1)]
    points = pd.DataFrame(rows, columns=["norm", "eps", "case_number"]).assign(targeted=False, asr=0.5, series="")
    points["budget"] = points["norm"] + " " + points["eps"]
    found = case_queries.over_radii(points, "linf 16/255")
    assert found["series"].tolist() == ["8/255", "8/255", "16/255"]
    assert case_queries.over_radii(points, "l2 3").empty


def test_findings_of_cases_and_effects() -> None:
    effects = pd.DataFrame(
        {"name": ["source", "balance", "architecture"], "effect": [-22.6, 1.0, -9.0], "low": [-26.0, -1.0, -15.0]}
    ).assign(high=[-19.2, 3.0, -3.0])
    assert case_queries.finding(effects) == "A foreign source costs the attacker 23 points (19 to 26)"
    assert case_queries.finding(effects.iloc[[1]]) == "No mismatch can be told from none"
    helps = effects.iloc[[0]].assign(effect=22.6, low=19.2, high=26.0)
    assert case_queries.finding(helps) == "A foreign source helps the attacker by 23 points (19 to 26)"
    points = pd.DataFrame({"case": ["C0", "C1", "C5"], "case_number": [0, 1, 5], "asr": [1.0, 0.84, 0.48]})
    assert (
        case_queries.case_finding(points, "ASR")
        == "ASR goes from 84% in C1 (another seed) to 48% in C5 (another source)"
    )
    robust = points.assign(asr=1 - points["asr"])
    assert case_queries.case_finding(robust, "robust accuracy") == (
        "Robust accuracy goes from 16% in C1 (another seed) to 52% in C5 (another source)"
    )


def test_too_many_cells_for_a_figure(
    finished: Path, run: str, all_cells: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_queries, "MOST_READ", 3)
    with pytest.raises(CaromError, match="expected at most 3"):
        case_queries.some_case_points(finished, run, all_cells, [], attack="mi")


def test_published_points_stand_beside_ones_own() -> None:
    frame = pd.DataFrame(
        {
            "norm": "linf",
            "case": ["C0", "C1", "C5", "C5"],
            "mismatch": "",
            "n": 5,
            "ASR": 0.5,
            "their case": ["C1", "–", "C5", "C5"],
            "dumb math": [0.9, np.nan, 0.3, 0.3],
        }
    )
    forms: dict[str, Form] = {c: "text" for c in ("norm", "case", "mismatch", "their case")}
    table = Table(name="published", title="", frame=frame, forms={**forms, "ASR": "percent", "dumb math": "percent"})
    points = case_queries.published_points([table])
    assert points.to_dict("list") == {
        "case": ["C0", "C5"],
        "their case": ["C1", "C5"],
        "whose": ["dumb math", "dumb math"],
        "asr": [0.9, 0.3],
    }
    assert case_queries.published_points([]).empty


# -------------------------------------------------------------------------------------------------------------- images


def test_pictures_are_the_stored_ones(finished: Path, run: str) -> None:
    sets = image_queries.adversarial_sets(finished, run)
    one = sets[(sets["attack"] == "fgsm") & (sets["budget"] == "linf 32/255")].iloc[0]
    clean, adversarial = image_queries.pictures(finished, run, int(one["set_id"]), [3, 0])
    assert clean.shape == adversarial.shape == (2, 1, 6, 5)
    assert np.abs(adversarial - clean).max() == pytest.approx(32 / 255, abs=1e-6)
    again, _ = image_queries.pictures(finished, run, int(one["set_id"]), [0])
    assert np.array_equal(again[0], clean[1])
    with Store(finished) as store, pytest.raises(StoreError, match="cannot be read"):
        read_pictures(store, int(one["set_id"]), int(one["image_set"]), [10_000])


def test_one_image_is_what_its_sets_and_victims_have(finished: Path, run: str, all_cells: pd.DataFrame) -> None:
    sets = image_queries.adversarial_sets(finished, run)
    mine = sets[sets["surrogate"] == sets["surrogate"].iloc[-1]].reset_index(drop=True)
    assert len(mine) == 4  # two attacks, two budgets
    one_set = int(mine["set_id"].iloc[1])
    known = cell_queries.answering(finished, run, one_set)
    found = cell_queries.answered(finished, run, one_set, [int(v) for v in known["victim_id"]])
    image = int(found.images["id"].iloc[7])
    shown = image_queries.one_image(finished, run, mine, image)
    clean, adversarial = image_queries.pictures(finished, run, one_set, [7])
    assert shown.clean is not None
    assert shown.adversarial[1] is not None
    assert np.array_equal(shown.clean, clean[0])
    assert np.array_equal(shown.adversarial[1], adversarial[0])
    assert (shown.label, shown.source) == (found.images["label"].iloc[7], found.images["source"].iloc[7])
    by_victim = shown.answers.set_index("victim")
    for i, victim in enumerate(found.cells["victim"]):
        assert by_victim.loc[victim, "clean"] == found.clean[i, 7]
        assert by_victim.loc[victim, str(one_set)] == found.adversarial[i, 7]
    with pytest.raises(CaromError, match="attacks no image 999999"):
        image_queries.one_image(finished, run, mine, 999_999)


def test_pictures_side_by_side_keep_their_pixels() -> None:
    grey, colour = np.full((1, 28, 3), 0.25, dtype=np.float32), np.zeros((3, 28, 3), dtype=np.float32)
    both = picture.beside(grey, colour)
    assert both.shape == (3, 28, 7)
    assert (both[:, :, :3] == 0.25).all()
    assert (both[:, :, 3] == 1).all()
    assert (both[:, :, 4:] == 0).all()


def test_freed_and_damaged_sets_are_words(copy: Path, run: str) -> None:
    set_id = int(image_queries.adversarial_sets(copy, run)["set_id"].iloc[0])
    collect(copy, sets=True)
    with pytest.raises(StoreError, match=r"carom gc --sets.*numbers .* stay"):
        image_queries.pictures(copy, run, set_id, [0])
    for path in (copy / "artifacts" / "images").glob("*.safetensors"):
        path.write_bytes(b"nothing")
    with pytest.raises(StoreError, match="cannot be read"):
        image_queries.pictures(copy, run, set_id, [0])


@pytest.mark.parametrize("channels", [1, 3])
def test_png_enlarges_pixels_as_squares(channels: int) -> None:
    image = np.zeros((channels, 2, 3), dtype=np.float32)
    image[:, 0, 1] = 1.0
    with Image.open(BytesIO(picture.png(image))) as found:
        assert found.size == (168, 112)
        assert found.mode == ("L" if channels == 1 else "RGB")
        assert set(np.unique(np.asarray(found))) == {0, 255}
        assert np.asarray(found)[:56, 56:112].min() == 255


def test_a_perturbation_is_scaled_to_the_full_range() -> None:
    clean = np.full((1, 2, 2), 0.5, dtype=np.float32)
    adversarial = clean + np.array([[[24, -24], [0, 12]]], dtype=np.float32) / np.float32(255)
    shown, factor = picture.perturbation(clean, adversarial)
    assert factor == pytest.approx(127.5 / 24, rel=1e-5)
    assert shown.ravel() == pytest.approx([1, 0, 0.5, 0.75], abs=1e-5)
    linf, l2 = picture.sizes(clean, adversarial)
    assert linf == pytest.approx(24, rel=1e-5)
    assert l2 == pytest.approx((2 * 24**2 + 12**2) ** 0.5 / 255, rel=1e-5)
    same, factor = picture.perturbation(clean, clean)
    assert factor == 0
    assert (same == 0.5).all()


# -------------------------------------------------------------------------------------------------------------- charts


def test_the_white_box_stands_apart_in_the_chart_of_cases() -> None:
    points = pd.DataFrame(
        [
            {"case": c.name, "mismatch": c.mismatch, "series": s, "asr": 0.5, "low": 0.4, "high": 0.6, "n": 9}
            for c in CASES
            for s in ("one", "two")
        ]
    ).assign(cells=1, **{"95% interval": "40–60%"})
    spec = cases(points, pd.DataFrame()).to_dict()
    place = spec["layer"][0]["encoding"]
    assert [name.split(" ")[0] for name in place["y"]["scale"]["domain"]] == ["C0", "", *(f"C{i}" for i in range(1, 9))]
    assert "yOffset" in place
    theirs = points[points["case"] == "C1"].assign(mismatch="same weights")
    drawn = cases(theirs, pd.DataFrame()).to_dict()
    assert drawn["layer"][0]["encoding"]["y"]["scale"]["domain"] == ["C1 · same weights"]
    few = cases(points[points["case"].isin(["C0", "C1"])], pd.DataFrame()).to_dict()
    assert len(few["layer"][0]["encoding"]["y"]["scale"]["domain"]) == 3


def test_charts_of_a_cell(finished: Path, run: str, all_cells: pd.DataFrame) -> None:
    found = cell_queries.answered(
        finished, run, int(all_cells["set_id"].iloc[0]), [int(all_cells["victim_id"].iloc[0])]
    )
    table = cell_queries.confusion(found)
    spec = cell_charts.confusion(table, [*found.by_class["class"]]).to_dict()
    assert len(spec["layer"]) == 2  # few classes, so the fields say their numbers
    cell_charts.by_class(found.by_class.assign(interval="")).to_dict()


def test_a_cell_that_was_lost(changed: Callable[..., Path], run: str, all_cells: pd.DataFrame) -> None:
    set_id, victim_id = int(all_cells["set_id"].iloc[0]), int(all_cells["victim_id"].iloc[0])
    folder = changed(cells.delete().where(cells.c.adversarial_set == set_id))
    with pytest.raises(CaromError, match="no outcome"):
        cell_queries.answered(folder, run, set_id, [victim_id])
    assert cell_queries.answering(folder, run, set_id).empty
