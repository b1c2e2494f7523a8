"""Overview and My model: sentences whose numbers are those of the cells, and what to take along."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from carom.app.queries import answers as answer_queries
from carom.app.queries import model as model_queries
from carom.app.queries import runs as run_queries
from carom.scenarios.store.database import Store
from carom.scenarios.tables import which
from carom.scenarios.tables.which import show_run

BUDGET = "linf 32/255"
VICTIM = "here/uniform/mlp(width=12)/s2"


@pytest.fixture
def cells(finished: Path) -> pd.DataFrame:
    (run,) = run_queries.runs(finished)
    return run_queries.view(finished, run.id).cells


def share(cells: pd.DataFrame) -> str:
    return f"{100 * cells['k'].sum() / cells['n'].sum():.0f} of 100 images"


def specs(at: AppTest) -> list[dict[str, Any]]:
    return [json.loads(chart.proto.spec) for chart in at.get("vega_lite_chart")]


# ------------------------------------------------------------------------------------------------------------ overview


def test_overview_says_what_the_cells_say(
    finished: Path, explore: Callable[..., AppTest], read: Callable[[object], str], cells: pd.DataFrame
) -> None:
    at = explore(finished, "overview", budget=BUDGET)
    said = read(at.markdown)
    met = cells[(cells["budget"] == BUDGET) & ~cells["control"]]
    assert f"(C1) fools victims in {share(met[met['case'] == 1])}" in said
    by_victim = met[met["case"] > 0].groupby("victim")[["k", "n"]].sum()
    worst = (by_victim["k"] / by_victim["n"]).max()
    assert f"fooled in {100 * worst:.0f} of 100 images" in said
    by_attack = met[met["case"] > 0].groupby("attack")[["k", "n"]].sum()
    asr = by_attack["k"] / by_attack["n"]
    assert f"The strongest of 2 attacks is {asr.idxmax()}: {100 * asr.max():.0f} of 100 images" in said
    assert "Controls: " in said
    assert read(at.caption).count("Most exposed victim") == 1
    assert len(specs(at)) == 1
    (run,) = run_queries.runs(finished)
    with Store(finished) as store:
        effects = next(t for t in show_run(store, run.id) if t.name == "effects").frame.set_index("axis")
    source = effects.loc["source"]
    if source["high"] < 0:
        assert f"{100 * -source['effect']:.0f} points" in said or f"{100 * -source['effect']:.1f} points" in said
    assert any(c.value.startswith("carom show small-") for c in at.code)
    assert len(at.get("page_link")) >= 4


def test_tables_and_report_are_taken_along(finished: Path) -> None:
    (run,) = run_queries.runs(finished)
    tables = run_queries.view(finished, run.id).tables
    with zipfile.ZipFile(io.BytesIO(answer_queries.csv(tables, run.id))) as archive:
        assert archive.namelist() == [f"{run.id}-{table.name}.csv" for table in tables]
        cases = pd.read_csv(archive.open(f"{run.id}-cases.csv"))
    assert cases["k"].tolist() == next(t for t in tables if t.name == "cases").frame["k"].tolist()
    assert answer_queries.latex(tables, run.id).count(b"\\caption{") == len(tables)
    page = answer_queries.report(finished, run.id).decode()
    assert "<h2>In short</h2>" in page
    assert "fools victims in" in page


def test_a_large_run_is_told_from_counts(
    copy: Path, explore: Callable[..., AppTest], read: Callable[[object], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(which, "LARGE", 100)
    at = explore(copy, "overview", budget=BUDGET)
    said = read(at.markdown)
    assert "fools victims in" in said
    assert "over trained" in read(at.caption)
    assert not [b for b in at.get("download_button") if "Report" in b.proto.label]
    at = explore(copy, "model", budget=BUDGET)
    assert "(C1) fools it in" in read(at.markdown)


# ------------------------------------------------------------------------------------------------------------ my model


def test_a_model_is_told_level_by_level(
    finished: Path, explore: Callable[..., AppTest], read: Callable[[object], str], cells: pd.DataFrame
) -> None:
    at = explore(finished, "model", budget=BUDGET, victim=VICTIM)
    said = read(at.markdown)
    mine = cells[(cells["victim"] == VICTIM) & (cells["budget"] == BUDGET)]
    noise = mine[mine["attack"] == "sign-noise 1"]
    assert f"Noise of the same size turns {share(noise)}" in said
    assert f"(C1) fools it in {share(mine[mine['case'] == 1])}" in said
    assert "Nobody had its weights here; with the weights of a model of the same training" in said
    ladder = specs(at)[0]
    assert len(specs(at)) == 2
    assert "its weights" in json.dumps(ladder)
    assert "noise of that size" in json.dumps(ladder)
    cell = model_queries.strongest_set(mine[mine["case"] > 0])
    assert cell is not None
    fooled = int(cell["k"])
    assert len(at.get("image")) == 2 * min(6, fooled)
    to_images = [parse_qs(link.proto.query_string) for link in at.get("page_link")]
    addresses = [{name: values[0] for name, values in of.items()} for of in to_images if "image" in of]
    assert len(addresses) == min(6, fooled)
    there = explore(finished, "images", **addresses[0])
    assert f"Image {addresses[0]['image']}" in read(there.subheader)
    (snippet,) = (c.value for c in at.code if "robustness(MODEL, suite='small.suite'" in c.value)
    kept = mine.loc[mine["case"] > 0, "robust_accuracy"].mean()
    found = re.search(r"floor=([\d.]+)", snippet)
    assert found is None or kept - 0.03 < float(found[1]) <= kept - 0.02
    assert any('architecture = {name = "mlp", width = 12}' in c.value for c in at.code)


def test_what_is_chosen_holds_for_one_attack_and_for_models_beside(
    finished: Path, explore: Callable[..., AppTest], read: Callable[[object], str], cells: pd.DataFrame
) -> None:
    other = VICTIM.replace("uniform", "tv0.2")
    at = explore(finished, "model", budget=BUDGET, victim=VICTIM, attack="fgsm", beside=[other])
    mine = cells[(cells["victim"] == VICTIM) & (cells["budget"] == BUDGET) & (cells["attack"] == "fgsm")]
    assert f"(C1) fools it in {share(mine[mine['case'] == 1])}" in read(at.markdown)
    ladder = json.dumps(specs(at)[0])
    assert '"here uniform"' in ladder
    assert '"here tv0.2"' in ladder
    assert at.query_params["beside"] in (other, [other])


def test_the_scenario_table_of_a_trained_model_loads_it(finished: Path) -> None:
    import torch

    from carom.zoo.models.references import load_reference, reference

    (run,) = run_queries.runs(finished)
    table = model_queries.loaded_by(finished, run.id, run.text, VICTIM)
    assert table is not None
    model = load_reference(reference(table, where="MODEL"), shape=(1, 6, 5), classes=3, where="MODEL")
    assert model(torch.zeros(2, 1, 6, 5)).shape == (2, 3)


def test_models_that_exist_are_loaded_as_their_scenario_does(tmp_path: Path) -> None:
    text = '[[victims]]\nmodel = "nets:two"\nname = "two"\nrevision = "x"\npreprocessing = {mean = [0.5]}\n'
    found = model_queries.loaded_by(tmp_path, "run", text, "two")
    assert found == {"model": "nets:two", "preprocessing": {"mean": [0.5]}}
    assert model_queries.written(found["preprocessing"]) == "{mean = [0.5]}"


def test_exposed_classes_are_those_of_the_answers(
    finished: Path, cells: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_queries, "ENOUGH", 1)
    (run,) = run_queries.runs(finished)
    made = model_queries.transferred(cells, VICTIM, BUDGET, None)
    found = model_queries.exposed_classes(finished, run.id, made)
    assert found["k"].sum() == made["k"].sum()
    assert found["n"].sum() == made["n"].sum()
    assert found["asr"].is_monotonic_decreasing


def test_an_audit_says_what_it_found_and_what_it_does_not(
    changed: Callable[..., Path], explore: Callable[..., AppTest], read: Callable[[object], str]
) -> None:
    from carom.scenarios.store.schema import runs

    at = explore(changed(runs.update().values(scenario="audit-net")), "model", budget=BUDGET)
    assert "This run is an audit" in read(at.info)
    assert "no upper bound" in read(at.info)
