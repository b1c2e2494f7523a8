"""The page Matrix: axes, order, fields, cells."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from carom.app.charts.cell import CLICKED as ANSWERS
from carom.app.queries import cells as cell_queries
from carom.app.queries import matrix as matrix_queries
from carom.app.queries import runs as run_queries
from carom.scenarios.charts.matrix import CHOSEN, CLICKED, GAP, POOLED
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.statistics import group_table
from carom.scenarios.store.database import Store
from carom.scenarios.store.free import collect
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.schema import cells, runs

Explore = Callable[..., AppTest]
Read = Callable[[object], str]


def spec(at: AppTest, chart: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(at.get("vega_lite_chart")[chart].proto.spec)
    return found


def test_the_heat_map_can_be_clicked_and_ordered(explore: Explore, finished: Path) -> None:
    at = explore(finished, "matrix")
    drawn = spec(at)
    assert [p["name"] for p in drawn["params"]] == [CLICKED]
    run_order = axis(drawn, "y")
    at = explore(finished, "matrix", order="mean")
    by_mean = axis(spec(at), "y")
    assert sorted(by_mean) == sorted(run_order)
    view = run_queries.view(finished, run_queries.runs(finished)[0].id)
    budget = at.query_params["budget"]
    assert at.query_params["attack"] == "all attacks"
    table = matrix_queries.matrix(view.cells, "surrogate", "victim", budget=budget)
    means = table.astype({"surrogate": str}).groupby("surrogate")["ASR"].mean()
    assert [means[name] for name in by_mean] == sorted(means, reverse=True)
    assert sorted(axis(spec(explore(finished, "matrix", order="clustered")), "y")) == sorted(run_order)


def test_margins_pool_and_twins_and_the_chosen_field_are_outlined(explore: Explore, read: Read, finished: Path) -> None:
    view = run_queries.view(finished, run_queries.runs(finished)[0].id)
    met = view.cells[(view.cells["case"] == 1) & (view.cells["budget"] == "linf 32/255")].iloc[0]
    at = explore(finished, "matrix", row=met["surrogate"], column=met["victim"])
    drawn = spec(at)
    assert drawn["layer"][0]["encoding"]["y"]["scale"]["domain"][-2:] == [GAP, POOLED]
    outlined = [
        (layer["mark"]["stroke"], layer.get("transform")) for layer in drawn["layer"] if "stroke" in layer["mark"]
    ]
    assert [colour for colour, _ in outlined] == ["white", "black", "white", CHOSEN]
    assert [bool(of) for _, of in outlined] == [True, True, False, False]
    titles = [read([s]) for s in at.subheader]
    assert "fools most" in titles[0]
    # the interval of each field is on hover, with what it ranges over in words
    assert any(tip["title"] == "95% interval" for tip in drawn["layer"][0]["encoding"]["tooltip"])
    assert "over images, these models" in read(at.markdown)


def test_robust_accuracy_is_another_measure(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "matrix", measure="robust accuracy")
    assert "robust accuracy of all attacks" in read(at.caption)
    assert spec(at)["layer"][0]["encoding"]["color"]["legend"]["title"] == "robust accuracy"


def test_lift_is_what_the_tables_say(explore: Explore, read: Read, finished: Path) -> None:
    """Of each surrogate and victim, against the pooled lift of the statistics, which counts image by image."""
    at = explore(finished, "matrix", measure="lift", budget="linf 32/255")
    assert "lift of all attacks" in read(at.caption)
    assert "Bonett" in read(at.markdown)
    run = run_queries.runs(finished)[0].id
    with Store(finished) as store:
        outcomes = read_outcomes(store, run)
    some = outcomes.cells
    at_budget = outcomes.where(((some["eps"] == "32/255") & (some["norm"] == "linf")).to_numpy())
    expected = group_table(at_budget, ["surrogate", "victim"]).set_index(["surrogate", "victim"])["lift"]
    view = run_queries.view(finished, run)
    found = matrix_queries.matrix(view.cells, "surrogate", "victim", budget="linf 32/255", measure="lift")
    assert {(r.surrogate, r.victim): r.ASR for r in found.itertuples()} == pytest.approx(expected.to_dict())
    assert "points" in read(at.subheader)


def axis(drawn: dict[str, Any], channel: str) -> list[str]:
    """The levels along an axis, without the margin."""
    return [name for name in drawn["layer"][0]["encoding"][channel]["scale"]["domain"] if name not in (GAP, POOLED)]


def test_a_field_of_several_cells_leads_to_one(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "matrix", rows="attack", columns="budget")
    assert "Click a field" in read(at.info)
    at.selectbox(key="pick-row").set_value("mi").run()
    at.selectbox(key="pick-column").set_value("l2 0.5").run()
    assert "along" not in read(at.text)
    assert not at.exception
    view = run_queries.view(finished, run_queries.runs(finished)[0].id)
    pooled = cell_queries.field_cells(view.cells, {"attack": "mi", "budget": "l2 0.5"})
    assert f"{pooled.count} cells, pooled: ASR {pooled.k / pooled.n:.1%}" in read(at.text)
    assert at.dataframe[0].value["ASR"].tolist() == pytest.approx(pooled.cells["asr"].tolist())
    second = pooled.cells.iloc[1]
    at.selectbox(key="pick-cell").set_value(second["cell"]).run()
    assert at.query_params["cell"] == second["cell"]
    assert f"k {second['k']} of n {second['n']}" in read(at.caption)


def test_a_click_on_answers_shows_their_images(explore: Explore, read: Read, finished: Path) -> None:
    view = run_queries.view(finished, run_queries.runs(finished)[0].id)
    chosen = cell_queries.field_cells(view.cells, {"attack": "fgsm", "budget": "linf 32/255"}).cells.iloc[0]
    at = explore(finished, "matrix", cell=chosen["cell"])
    drawn = [json.loads(c.proto.spec) for c in at.get("vega_lite_chart")]
    assert [c["params"][0]["name"] for c in drawn if c.get("params")] == [CLICKED, ANSWERS]
    run = run_queries.runs(finished)[0].id
    found = cell_queries.answered(finished, run, int(chosen["set_id"]), [int(chosen["victim_id"])])
    first = cell_queries.confusion(found).iloc[0]
    pair = f"{first['clean']} → {first['adversarial']}"
    at.selectbox(key="pick-shown").set_value(pair).run()
    assert at.query_params["shown"] == pair
    images = at.get("image")[-1].proto.imgs
    assert len(images) == min(12, first["images"])
    assert all(pair in read_caption(image.caption) for image in images)


def read_caption(text: str) -> str:
    return text.replace("\\", "").replace("\u2060", "")


def test_an_address_of_a_cell_opens_it_in_a_store_with_other_rows(
    explore: Explore, read: Read, finished: Path, tmp_path: Path
) -> None:
    view = run_queries.view(finished, run_queries.runs(finished)[0].id)
    chosen = cell_queries.field_cells(view.cells, {"attack": "mi", "budget": "l2 0.5"}).cells.iloc[3]
    folder = tmp_path / "elsewhere"
    text = (finished.parent / "small.toml").read_text()
    first = text.replace('name = "small"', 'name = "first"').replace('["fgsm", "mi"]', '["mi"]')
    for each in (first, text):
        run_scenario(parse_scenario(each, where="small.toml"), folder, workers=0, device="cpu")
    there = run_queries.view(folder, view_of(folder, "small")).cells
    (same,) = cell_queries.named_cell(there, chosen["cell"]).cells.to_dict("records")
    assert same["set_id"] != chosen["set_id"]
    at = explore(folder, "matrix", run=view_of(folder, "small"), cell=chosen["cell"])
    assert "The address asks" not in read(at.warning)
    assert f"{chosen['surrogate']}** → **{chosen['victim']}" in read(at.markdown)
    assert f"k {chosen['k']} of n {chosen['n']}" in read(at.caption)


def view_of(folder: Path, scenario: str) -> str:
    return next(run.id for run in run_queries.runs(folder) if run.scenario == scenario)


def test_a_cell_of_the_address(explore: Explore, read: Read, finished: Path) -> None:
    view = run_queries.view(finished, run_queries.runs(finished)[0].id)
    chosen = cell_queries.field_cells(view.cells, {"attack": "fgsm", "budget": "linf 32/255"}).cells.iloc[0]
    at = explore(finished, "matrix", cell=chosen["cell"])
    assert at.query_params["cell"] == chosen["cell"]
    assert f"{chosen['surrogate']}** → **{chosen['victim']}" in read(at.markdown)
    numbers = {m.label: m.value for m in at.metric}
    assert numbers["ASR"] == f"{chosen['asr']:.1%}"
    assert numbers["Robust accuracy"] == f"{chosen['robust_accuracy']:.1%}"
    said = read(at.caption)
    assert f"{100 * chosen['low']:.1f}–{100 * chosen['high']:.1f}%" in said
    assert "ASR within each true class" in said
    assert "all 26 of them" in said
    assert len(at.get("vega_lite_chart")) == 3
    assert f"on which the attack succeeded ({chosen['k']})" in at.selectbox(key="pick-shown").options
    (link,) = at.get("page_link")
    address = parse_qs(link.proto.query_string)
    assert address["victims"] == [chosen["victim"]]
    assert address["set"] == ["seed 0"]
    assert address["outcome"] == ["fooled"]


@pytest.mark.parametrize("cell", ["x-y", "1-1", "a | b | mi | l2 0.5"])
def test_a_cell_that_is_none_is_said(explore: Explore, read: Read, finished: Path, cell: str) -> None:
    at = explore(finished, "matrix", cell=cell)
    assert "Click a field" in read(at.info)
    assert f"The address asks for cell {cell}, which is not here" in read(at.warning)


def test_choices_that_are_none_are_said(explore: Explore, read: Read, finished: Path) -> None:
    said = read(explore(finished, "matrix", rows="foo", attack="zzz", row="nobody").warning)
    for name in ("foo", "zzz", "nobody"):
        assert name in said


def test_a_field_that_is_empty(explore: Explore, read: Read, finished: Path) -> None:
    view = run_queries.view(finished, run_queries.runs(finished)[0].id)
    own = view.cells[view.cells["case"] == 0].iloc[0]
    at = explore(finished, "matrix", row=own["surrogate"], column=own["victim"])  # a white box, which is not shown
    assert "cells behind it" in read(at.info) or "No cell has this row" in read(at.info)
    at = explore(finished, "matrix", row=own["surrogate"], column=own["victim"], white_box="with")
    assert "C0" in read(at.caption)


def test_freed_images_are_words(explore: Explore, read: Read, copy: Path) -> None:
    collect(copy, sets=True)
    view = run_queries.view(copy, run_queries.runs(copy)[0].id)
    chosen = cell_queries.field_cells(view.cells, {"attack": "fgsm"}).cells.iloc[0]
    at = explore(copy, "matrix", cell=chosen["cell"])
    assert "carom gc --sets" in read(at.warning)
    assert len(at.metric) == 3


def test_too_many_levels_are_limited(
    explore: Explore, read: Read, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matrix_queries, "MOST_LEVELS", 2)
    at = explore(finished, "matrix")
    assert "Of 4 levels of victim the first 2 in this order are drawn" in read(at.warning)
    assert len(axis(spec(at), "x")) == 2


def test_nothing_to_show(explore: Explore, read: Read, changed: Callable[..., Path]) -> None:
    folder = changed(cells.delete(), runs.update().values(status="running"))
    assert "No outcome yet" in read(explore(folder, "matrix").info)
