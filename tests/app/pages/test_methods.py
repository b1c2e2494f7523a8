"""The page Methods: what each tab draws, of what, and what it says where there is nothing."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from tests.conftest import Once
from tests.scenarios.made_outcomes import Hits, first, made

import carom.app
from carom.app.queries import attacks as attack_queries
from carom.app.queries import cells as cell_queries
from carom.app.queries import methods as method_queries
from carom.app.queries import runs as run_queries
from carom.app.queries import surrogates as surrogate_queries
from carom.app.shell.help import methods
from carom.app.shell.words import link
from carom.scenarios.charts import dumbbells, labels
from carom.scenarios.charts.curves import grown, strongest, traced
from carom.scenarios.charts.scatter import efficient
from carom.scenarios.findings.defences import ranked
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.statistics import Outcomes
from carom.scenarios.store.database import Store
from carom.scenarios.tables import defenses
from carom.scenarios.tables.table import Table

PAGES = Path(carom.app.__file__).parent / "pages"
KEPT = {"none": (20, 5), "pgd-at": (60, 40), "**pubdef**": (70, 10)}  # of 100, under transfer and in the white box


def outcomes() -> Outcomes:
    """Three defences under two sources, white boxes, at two budgets; the second leaves ten images less."""
    hits: dict[tuple[str, int, str, int], Hits] = {}
    rows: list[Mapping[str, Any]] = []
    for step, eps in enumerate(("8/255", "16/255")):
        for defense, (transfer, white) in KEPT.items():
            for source, seen in (("a", "seen"), ("b", "")):
                hits[source, step, defense, 7] = first(100 - transfer + 5 * step)
                rows.append({"eps": eps, "pool": seen, "reads": "surrogate", "decoy": False, "defense_v": defense})
            hits["itself", step, defense, 7] = first(100 - white + 5 * step)
            own = {"surrogate": f"{defense}/s7", "case": 0, "reads": "victim", "attack": "pgd on victims"}
            rows.append({**rows[-1], **own})
    return made(hits, rows=rows, right=first(90))


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Table]:
    """The tables of these outcomes."""
    everything = outcomes()
    costs = {"forward": 100, "backward": 100, "seconds": 1.0, "parameters": 50}
    known = [
        {"victim": f"{d}/s7", "defense": d, "victim_config": d, "victim_seed": 7, **costs, "numbers": {"macs": 9.0}}
        for d in KEPT
    ]
    frame = pd.DataFrame(known).assign(forward=[100, 1000, 200])
    monkeypatch.setattr(defenses, "read_outcomes", lambda *_, **__: everything)
    monkeypatch.setattr(defenses, "list_victims", lambda *_: frame)
    with Store(tmp_path / "none", write=True) as store:
        return defenses.defense_tables(store, "run", everything)


def visit(folder: Path, monkeypatch: pytest.MonkeyPatch, page: str, **address: str) -> AppTest:
    monkeypatch.setenv("CAROM_STORE", str(folder))
    at = AppTest.from_file(str(PAGES / f"{page}.py"), default_timeout=60)
    for name, value in address.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception, at.exception
    assert not at.error, at.error
    return at


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[Table]], None]]:
    """Every view has these tables instead of those of the same names, and cells at one of their budgets."""
    plain: Callable[..., run_queries.View] = run_queries.view

    def give(tables: list[Table]) -> None:
        def view(folder: Path, run: str) -> run_queries.View:
            found = plain(folder, run)
            others = [t for t in found.tables if t.name not in {mine.name for mine in tables}]
            cells = found.cells
            if not any("32/255" in set(table.frame.get("eps", ())) for table in tables):
                cells = cells.replace({"eps": {"32/255": "8/255"}, "budget": {"linf 32/255": "linf 8/255"}})
            return replace(found, tables=[*others, *tables], cells=cells)

        monkeypatch.setattr(run_queries, "view", view)
        st.cache_resource.clear()

    yield give
    st.cache_resource.clear()


def titles(at: AppTest) -> list[str]:
    return [s.value.replace("\\", "") for s in at.subheader]


def charts(at: AppTest) -> list[dict[str, Any]]:
    return [json.loads(chart.proto.spec) for chart in at.get("vega_lite_chart")]


def marks(chart: Mapping[str, Any]) -> list[str]:
    return [layer["mark"]["type"] for layer in chart["layer"]]


# ------------------------------------------------------------------------------------------------------------ defences


def test_a_run_without_defences_says_how_to_get_some(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(finished, monkeypatch, page="defences")
    assert "no defended victim" in at.info[0].value
    assert not at.get("vega_lite_chart")


def test_defences_are_ranked_against_each_attacker_and_one_is_recommended(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tables: list[Table], given: Callable[[list[Table]], None]
) -> None:
    given(tables)
    at = visit(finished, monkeypatch, page="defences", budget="linf 8/255")
    chips = at.segmented_control(key="pick-threat")
    assert chips.options == ["public models only", "my weights"]
    assert titles(at)[0] == "Against attackers who have public models only: **pubdef**, 70% (60 to 78)"
    told = at.markdown[0].value.replace("\\", "")
    assert "deploy **pubdef**: it keeps 70 of 100 images" in told
    assert "It cannot be told from pgd-at with 60" in told
    (chart,) = charts(at)
    assert {"rule", "point"} == set(marks(chart))
    (names,) = {tuple(layer["encoding"]["y"]["scale"]["domain"]) for layer in chart["layer"]}
    assert names == ("**pubdef**", "pgd-at", "undefended")
    assert len(titles(at)) == 1 + len(tables)
    main = next(d.value for d in at.dataframe if "white-box worst" in d.value and "seeds" in d.value)
    assert main["defense"].tolist() == 2 * list(KEPT)
    chips.set_value("my weights").run()
    assert not at.exception
    assert at.query_params["threat"] in ("my weights", ["my weights"])
    assert titles(at)[0] == "Against attackers who have the weights: pgd-at, 40% (31 to 50)"


STUDENTS = pd.DataFrame(
    {
        "student": ["large", "small", "poor"],
        "accuracy": [0.8, 0.7, 0.6],
        "robust accuracy": [0.5, 0.4, 0.3],
        "MACs": [2000, 1000, 1500],
        "parameters": [20, 10, 15],
        "on the front": ["yes", "yes", "no"],
    }
)


def test_students_stand_on_a_front_and_one_is_exported(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tables: list[Table], given: Callable[[list[Table]], None]
) -> None:
    given(tables)
    st.cache_data.clear()  # of the students
    monkeypatch.setattr(method_queries, "students", lambda *_: {"elastic/s2": STUDENTS})
    at = visit(finished, monkeypatch, page="defences", student="small")
    assert "Early-student front" in titles(at)
    assert at.selectbox(key="pick-student").options == ["large", "small"]
    (command,) = [c.value for c in at.code if "carom students" in c.value]
    assert command.startswith("carom students small-")
    assert "--max-macs 1000 --min-accuracy 0.7 -o student.safetensors" in command
    (front,) = [d.value for d in at.dataframe if "student" in d.value]
    assert front["student"].tolist() == ["large", "small"]


# ------------------------------------------------------------------------------------------------------------- attacks


def test_attacks_are_ranked_then_drawn_over_passes_and_visibility(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = visit(finished, monkeypatch, page="attacks", budget="linf 32/255")
    assert {"ASR over passes", "Strength against visibility", "Transfer by attack (C0 excluded)"} <= set(titles(at))
    assert "reaches most: " in titles(at)[0]
    said = "\n".join(c.value for c in at.caption)
    assert "no attack of these rows met two radii" in said
    assert "keeps its steps" in said
    ranked, passes, seen = charts(at)
    assert sorted(ranked["layer"][1]["encoding"]["y"]["scale"]["domain"]) == ["fgsm", "mi"]
    assert passes["layer"][1]["encoding"]["x"]["field"] == "passes per image"
    assert seen["layer"][1]["encoding"]["x"]["field"] == "L2"
    at.segmented_control(key="pick-visibility").set_value("SSIM").run()
    assert charts(at)[2]["layer"][1]["encoding"]["x"]["field"] == "SSIM"
    assert at.query_params["visibility"] in ("SSIM", ["SSIM"])
    at.segmented_control(key="pick-passes").set_value("10").run()  # mi takes 20 passes, fgsm 2
    assert charts(at)[0]["layer"][1]["encoding"]["y"]["scale"]["domain"] == ["fgsm"]


def by_attack() -> Table:
    """Nine attacks at three radii, a trace of three steps, and the same as targeted ones."""
    rows: list[dict[str, Any]] = []
    for targeted in (False, True):
        for i in range(9):
            for j, eps in enumerate(("8/255", "16/255", "32/255")):
                asr = 0.05 * (i + 1) + 0.1 * j
                rows.append({"attack": f"a{i}", "norm": "linf", "eps": eps, "targeted": targeted, "asr": asr})
        for step in (1, 5, 10):
            asr = 0.02 * step
            rows.append(
                {"attack": f"mi steps=10 @{step}", "norm": "linf", "eps": "32/255", "targeted": targeted, "asr": asr}
            )
    frame = pd.DataFrame(rows).assign(low=lambda t: t["asr"] - 0.06, high=lambda t: t["asr"] + 0.06, n=50, cells=4)
    frame["ASR"], frame["95% interval"], frame["ranges_over"] = frame["asr"], "x", "images, these models"
    forms = {"attack": "text", "norm": "text", "eps": "text", "targeted": "text", "n": "count", "ASR": "percent"}
    return Table(name="by-attack", title="Transfer by attack", frame=frame, forms=forms)  # type: ignore[arg-type]


def test_attacks_are_drawn_over_eps_and_steps(
    finished: Path, monkeypatch: pytest.MonkeyPatch, given: Callable[[list[Table]], None]
) -> None:
    given([by_attack()])
    at = visit(finished, monkeypatch, page="attacks", budget="linf 32/255")
    # a8 and a7 and a6 reach 65, 60 and 55%, each within 6 points
    assert titles(at)[0] == "a8 reaches most: 65% (59 to 71); not told apart: a7, a6"
    assert titles(at)[1:3] == ["ASR over eps", "ASR over steps"]
    ranked, eps, steps = charts(at)[:3]
    order = ranked["layer"][1]["encoding"]["y"]["scale"]["domain"]
    assert order == [*(f"a{i}" for i in range(8, -1, -1)), "mi steps=10 @10"]  # the snapshots before it are no attacks
    assert marks(eps) == ["area", "line", "point"]
    assert eps["layer"][2]["encoding"]["color"]["scale"]["domain"] == [*(f"a{i}" for i in range(2, 9)), "others"]
    assert sorted(eps["layer"][2]["encoding"]["x"]["axis"]["values"]) == pytest.approx([8 / 255, 16 / 255, 32 / 255])
    assert steps["layer"][1]["encoding"]["x"]["field"] == "step"
    said = "\n".join(c.value for c in at.caption).replace("\\", "")
    assert "Coloured are the 7 strongest, 2 others are grey." in said
    assert "n is 50 a row" in said
    assert "images, these models" in said


def test_steps_and_radii_are_read_from_names() -> None:
    frame = by_attack().frame
    steps = traced(frame)
    assert set(steps["trace"]) == {"mi steps=10"}
    assert sorted(set(steps["step"])) == [1, 5, 10]
    radii = grown(frame)
    assert set(radii["attack"]) == {f"a{i}" for i in range(9)}
    assert radii["radius"].max() == pytest.approx(32 / 255)
    assert strongest(radii, "attack", "radius", 2) == ["a8", "a7"]


def test_ties_are_attacks_whose_interval_meets_that_of_the_best() -> None:
    rows = pd.DataFrame({"attack": ["a", "b", "c"], "asr": [0.5, 0.8, 0.7], "low": [0.45, 0.75, 0.66]}).assign(
        high=[0.55, 0.85, 0.75], **{"passes per image": [2, 20, 11]}
    )
    found = attack_queries.ranked(rows)
    assert found["attack"].tolist() == ["b", "c", "a"]
    assert found["series"].tolist() == [attack_queries.TIED, attack_queries.TIED, attack_queries.BELOW]
    assert attack_queries.ranked(rows, 10)["attack"].tolist() == ["a"]
    assert attack_queries.finding(attack_queries.ranked(rows, 1)) == "No attack is that cheap"
    assert attack_queries.finding(found.iloc[[0, 2]]) == "b reaches most: 80% (75 to 85), and no other comes near"
    sets = pd.DataFrame({"attack": ["x", "y", "z"], "radius": [0.3, np.nan, 0.1]})
    assert attack_queries.smallest(sets)["attack"].tolist() == ["z", "x"]


# ---------------------------------------------------------------------------------------------------------- surrogates

BUILT = """
name = "built"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = ["fgsm", {name = "mi", steps = 3}]
budgets = [{norm = "linf", eps = "32/255"}]
[images]
per_source = 13
[models]
source = "here"
balance = "uniform"
architecture = {name = "mlp", width = 12}
recipe = {name = "standard", epochs = 3, shift = 0, rotation = 0, scale = 0, learning_rate = 0.02}
[[surrogates]]
seed = 1
builder = ["single", {name = "ensemble", size = 2}, {name = "ensemble", size = 3}]
[[victims]]
seed = 4
"""


@pytest.fixture(scope="module")
def builders(finished: Path, once: Once) -> Path:
    """A store with a run of one network, and of two and three."""

    def make(folder: Path) -> None:
        text = BUILT.replace("NPZ", str(finished.parent / "small.npz"))
        report = run_scenario(parse_scenario(text, where="built.toml"), folder, workers=0, device="cpu")
        assert not report.failures

    return once("explorer-built", make)


def test_surrogates_are_drawn_over_cost_beside_paired_differences(
    builders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = visit(builders, monkeypatch, page="surrogates")
    assert titles(at)[1] == "Paired differences from a single network"
    cost, differences = charts(at)[:2]
    assert cost["layer"][0]["mark"]["type"] == "rect"  # the band of the single network
    run = run_queries.runs(builders)[0].id
    view = run_queries.view(builders, run)
    made = {t.name: t.frame for t in view.tables}["surrogates"]
    cells = cell_queries.attacked(view.cells)
    found = surrogate_queries.compared(builders, run, view.cells, made, budget="linf 32/255", attack="mi steps=3")
    rates = {row["surrogate"]: row for row in found.rates.to_dict("records")}
    table = made[made["attack"] == "mi steps=3"].set_index("surrogate")
    for name, row in rates.items():
        assert row["asr"] == pytest.approx(table.loc[name, "asr"])
        assert (row["low"], row["high"]) == pytest.approx((table.loc[name, "low"], table.loc[name, "high"]))
    assert found.single == "single"
    mine = cells[(cells["attack"] == "mi steps=3") & (cells["case"] > 0)].groupby("surrogate_config")[["k", "n"]].sum()
    asr = dict(zip([c.split(":")[0] for c in mine.index], mine["k"] / mine["n"], strict=True))
    single = next(value for name, value in asr.items() if not name.startswith("ensemble"))
    for row in found.differences.to_dict("records"):  # all met the same victim on the same images
        assert row["effect"] == pytest.approx(100 * (asr[row["name"]] - single))
        assert row["low"] <= row["effect"] <= row["high"]
    assert set(found.differences["name"]) == set(rates) - {"single"}
    assert len(differences["layer"]) == 4
    at = visit(builders, monkeypatch, page="surrogates", attack="mi steps=3")
    assert "T-DEE" in titles(at)  # the ladder alone, which is worth what it is
    at.segmented_control(key="pick-cost").set_value("parameters").run()
    assert charts(at)[0]["layer"][1]["encoding"]["x"]["field"] == "parameters"


def test_findings_of_surrogates_and_t_dee_as_numbers() -> None:
    columns = {"effect": [12.0, 3.0, -1.0], "low": [8.0, 1.0, -5.0], "high": [16.0, 5.0, 3.0]}
    differences = pd.DataFrame({"name": ["lgv", "swa", "sam"], **columns})
    found = surrogate_queries.Compared(rates=pd.DataFrame(), differences=differences, single="single")
    assert surrogate_queries.finding(found) == "lgv adds 12 points (8 to 16) to one network; one more surely helps"
    unsure = replace(found, differences=differences.iloc[2:].reset_index(drop=True))
    assert surrogate_queries.finding(unsure) == "No surrogate is surely better than a single network"
    worth = pd.DataFrame({"surrogate": ["a", "b", "c", "d"], "T-DEE": ["1", ">8", "–", "<1"]})
    assert surrogate_queries.worths(worth)["surrogate"].tolist() == ["b", "a", "d"]
    assert surrogate_queries.worths(worth)["worth"].tolist() == [8, 1, 1]


def test_flatness_is_drawn_against_transfer(
    builders: Path, monkeypatch: pytest.MonkeyPatch, given: Callable[[list[Table]], None]
) -> None:
    view = run_queries.view(builders, run_queries.runs(builders)[0].id)
    names = list(dict.fromkeys({t.name: t.frame for t in view.tables}["surrogates"]["surrogate"]))
    flat = pd.DataFrame({"surrogate": names, "seeds": 1, "top eigenvalue": [30.0, 20.0, 5.0]})
    forms = {"surrogate": "text", "top eigenvalue": "number"}
    given([Table(name="geometry", title="Geometry", frame=flat, forms=forms)])  # type: ignore[arg-type]
    at = visit(builders, monkeypatch, page="surrogates")
    assert "Flatness against transfer" in titles(at)
    assert "over these 3 surrogates" in "\n".join(c.value for c in at.caption).replace("\\", "")


def test_a_run_that_compares_no_builders_says_how(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(finished, monkeypatch, page="surrogates")
    assert "`builder`" in at.info[0].value
    assert titles(at) == ["Transfer by surrogate (C0 excluded)"]


# ------------------------------------------------------------------------------------------------------- parts of them


def test_what_is_best_at_its_cost() -> None:
    table = pd.DataFrame({"asr": [0.4, 0.5, 0.5, 0.6, np.nan], "cost": [1.0, 2.0, 3.0, 3.0, 0.5]})
    assert efficient(table, "cost").tolist() == [True, True, False, True, False]
    assert efficient(table, "cost", least=False).tolist() == [False, False, False, True, False]


def test_names_cover_neither_names_nor_points() -> None:
    near = pd.Series([1.0, 1.001, 1.002, 1.0, 5.0])
    names = pd.Series(["a long name of a surrogate"] * 5)
    first = pd.Series([False, True, False, False, False])
    found = labels.placed(near, pd.Series([0.5, 0.5, 0.5, 0.5, 0.9]), names, first)
    assert found[1] != ""  # the first in line
    assert found[4] == "left"  # at the right edge
    assert sum(place != "" for place in found[:4]) < 4
    same = labels.placed(pd.Series([2.0]), pd.Series([0.3]), pd.Series(["only"]), pd.Series([True]))
    assert same == ["right"]


def test_methods_are_found_in_labels() -> None:
    found = methods(["mi+di steps=50 step=1/10", "lgv -> swa on lenet", "proard, largest", "none of these"])
    assert {"mi", "di", "lgv", "swa", "proard"} <= set(found["method"])
    assert found["paper"].str.len().min() > 3
    assert methods(["nothing"]).empty


def test_papers_are_links() -> None:
    assert link("Dong et al. 2018, CVPR, arXiv:1710.06081") == "https://arxiv.org/abs/1710.06081"
    assert link("Peng et al. 2023 (doi:10.1109/ICASSP49357.2023.10096558).") == (
        "https://doi.org/10.1109/ICASSP49357.2023.10096558"
    )
    assert link("docs/attacks.md") is None


def test_marks_of_the_dumbbells(tables: list[Table]) -> None:
    named = {table.name: table for table in tables}
    rows = ranked(named, "public models", "linf", "8/255").rows
    points = {(p["defence"], p["under"]): p for p in dumbbells.marks(rows).to_dict("records")}
    assert len(points) == 3 * 4
    for defense, (transfer, white) in KEPT.items():
        name = "undefended" if defense == "none" else defense
        for under, kept in (("average", transfer), ("strongest", transfer), ("white box", white), ("clean", 90)):
            row = points[name, under]
            assert row["accuracy"] == kept / 100
            assert row["low"] < row["accuracy"] < row["high"]
