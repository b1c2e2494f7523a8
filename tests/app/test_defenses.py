"""The section Defences: only where there are some, a chart with two points a defence, and all the tables."""

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
from tests.scenarios.made_outcomes import Hits, first, made

import carom.app
from carom.app import defense_chart, queries
from carom.scenarios import defenses_shown
from carom.scenarios.show import Shown
from carom.scenarios.statistics import Outcomes
from carom.scenarios.store import Store

PAGE = Path(carom.app.__file__).with_name("page.py")
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
def tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Shown]:
    """The tables of these outcomes."""
    everything = outcomes()
    costs = {"forward": 100, "backward": 100, "seconds": 1.0, "parameters": 50}
    known = [
        {"victim": f"{d}/s7", "defense": d, "victim_config": d, "victim_seed": 7, **costs, "numbers": {"macs": 9.0}}
        for d in KEPT
    ]
    frame = pd.DataFrame(known).assign(forward=[100, 1000, 200])
    monkeypatch.setattr(defenses_shown, "read_outcomes", lambda *_, **__: everything)
    monkeypatch.setattr(defenses_shown, "list_victims", lambda *_: frame)
    with Store(tmp_path / "none", write=True) as store:
        return defenses_shown.defense_tables(store, "run", everything)


def visit(folder: Path, monkeypatch: pytest.MonkeyPatch, **address: str) -> AppTest:
    monkeypatch.setenv("CAROM_STORE", str(folder))
    at = AppTest.from_file(str(PAGE), default_timeout=60)
    for name, value in address.items():
        at.query_params[name] = value
    at.run()
    assert not at.exception, at.exception
    return at


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch, tables: list[Shown]) -> Iterator[None]:
    """Every view has these tables too, and none that the page keeps."""
    plain: Callable[..., queries.View] = queries.view

    def view(folder: Path, run: str) -> queries.View:
        found = plain(folder, run)
        others = [t for t in found.tables if t.name not in {mine.name for mine in tables}]
        return replace(found, tables=[*others, *tables])

    monkeypatch.setattr(queries, "view", view)
    st.cache_data.clear()
    yield
    st.cache_data.clear()


def test_a_run_without_defences_has_no_such_section(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = visit(finished, monkeypatch, section="defenses")
    assert at.query_params["section"] in ("cases", ["cases"])
    assert "Defences" not in str(at.segmented_control(key="pick-section").options)


@pytest.mark.usefixtures("guarded")
def test_the_section_has_a_chart_and_every_table(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tables: list[Shown]
) -> None:
    at = visit(finished, monkeypatch, section="defenses", budget="linf 8/255")
    assert "Defences" in str(at.segmented_control(key="pick-section").options)
    assert len(at.subheader) == len(tables) == 7
    (chart,) = at.get("vega_lite_chart")
    layers = json.loads(chart.proto.spec)["layer"]
    assert {layer["mark"]["type"] for layer in layers} == {"line", "rule", "point", "text"}
    assert at.selectbox(key="pick-transfer").options == [
        "best transfer pair",
        "average transfer pair",
        "any transfer pair, worst of each image",
    ]
    assert at.selectbox(key="pick-cost").options == ["training passes", "none"]
    main = at.dataframe[0].value
    assert main["defense"].tolist() == 2 * list(KEPT)
    assert main["white box"].tolist()[:3] == [0.05, 0.4, 0.1]
    at.selectbox(key="pick-cost").set_value("none").run()
    assert not at.exception


@pytest.mark.usefixtures("guarded")
def test_tables_of_defences_stand_in_their_section_only(
    finished: Path, monkeypatch: pytest.MonkeyPatch, tables: list[Shown]
) -> None:
    mine = {t.title.split(": ", 1)[-1] for t in tables}
    at = visit(finished, monkeypatch, section="tables")
    assert not mine & {s.value[:1].lower() + s.value[1:] for s in at.subheader}


def test_points_of_the_chart(tables: list[Shown]) -> None:
    frame = tables[0].frame
    here = frame[frame["eps"] == "8/255"]
    points = {(p["name"], p["attack"]): p for p in defense_chart.points(here, "best").to_dict("records")}
    assert len(points) == 6
    for defense, (transfer, white) in KEPT.items():
        for attack, kept in (("best transfer pair", transfer), ("white box", white)):
            row = points[defense, attack]
            assert row["accuracy"] == kept / 100
            assert row["low"] < row["accuracy"] < row["high"]
            assert row["clean"] == 0.9
            assert row["named"] == (attack == "best transfer pair")  # the upper of the two
    assert defense_chart.known_costs(here) == ["training passes"]
    without = here.assign(best=np.nan)
    assert set(defense_chart.points(without, "best")["attack"]) == {"white box"}
    assert defense_chart.points(without, "best")["named"].all()
