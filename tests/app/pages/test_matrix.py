"""The page Matrix: axes, order, fields, cells."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from streamlit.testing.v1 import AppTest

from carom.app.queries import cells as cell_queries
from carom.app.queries import matrix as matrix_queries
from carom.app.queries import runs as run_queries
from carom.scenarios.charts.matrix import CLICKED
from carom.scenarios.store.free import collect
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
    run_order = drawn["layer"][0]["encoding"]["y"]["sort"]
    at = explore(finished, "matrix", order="mean")
    by_mean = spec(at)["layer"][0]["encoding"]["y"]["sort"]
    assert sorted(by_mean) == sorted(run_order)
    view = run_queries.view(finished, run_queries.runs(finished)[0].id)
    budget = at.query_params["budget"]
    table = matrix_queries.matrix(view.cells, "surrogate", "victim", attack="mi", budget=budget)
    means = table.astype({"surrogate": str}).groupby("surrogate")["ASR"].mean()
    assert [means[name] for name in by_mean] == sorted(means, reverse=True)
    assert sorted(spec(explore(finished, "matrix", order="clustered"))["layer"][0]["encoding"]["y"]["sort"]) == sorted(
        run_order
    )


def test_a_field_of_several_cells_leads_to_one(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "matrix", rows="attack", columns="budget")
    assert "Click a field" in read(at.info)
    at.selectbox(key="pick-row").set_value("mi").run()
    at.selectbox(key="pick-column").set_value("l2 0.5").run()
    assert not at.exception
    view = run_queries.view(finished, run_queries.runs(finished)[0].id)
    pooled = cell_queries.field_cells(view.cells, {"attack": "mi", "budget": "l2 0.5"})
    assert f"{pooled.count} cells, pooled: ASR {pooled.k / pooled.n:.1%}" in read(at.text)
    assert at.dataframe[0].value["ASR"].tolist() == pytest.approx(pooled.cells["asr"].tolist())
    second = pooled.cells.iloc[1]
    at.selectbox(key="pick-cell").set_value(second["cell"]).run()
    assert at.query_params["cell"] == second["cell"]
    assert f"k {second['k']} of n {second['n']}" in read(at.caption)


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
    assert f"{chosen['k']} images on which the attack succeeded" in read(at.subheader)
    (link,) = at.get("page_link")
    address = parse_qs(link.proto.query_string)
    assert address["victims"] == [chosen["victim"]]
    assert address["set"] == [str(chosen["set_id"])]
    assert address["outcome"] == ["fooled"]


@pytest.mark.parametrize("cell", ["", "x-y", "1-1", "999999-1"])
def test_a_cell_that_is_none(explore: Explore, read: Read, finished: Path, cell: str) -> None:
    assert "Click a field" in read(explore(finished, "matrix", cell=cell).info)


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
    assert len(spec(at)["layer"][0]["encoding"]["x"]["sort"]) == 2


def test_nothing_to_show(explore: Explore, read: Read, changed: Callable[..., Path]) -> None:
    folder = changed(cells.delete(), runs.update().values(status="running"))
    assert "No outcome yet" in read(explore(folder, "matrix").info)
