"""The page Cases: figures, choices, tables, published results."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from carom.app.queries import cells as cell_queries
from carom.app.queries import runs as run_queries
from carom.scenarios.published.dumb import read_in
from carom.scenarios.store.database import Store
from carom.scenarios.store.schema import cells, run_sets, runs

Explore = Callable[..., AppTest]
Read = Callable[[object], str]

HEADER = "source_dataset,isMath,attack,source_model,source_balancing,target_model,target_dataset,target_balancing"


def points(at: AppTest, chart: int) -> list[dict[str, Any]]:
    """What the marks of a chart show."""
    spec = json.loads(at.get("vega_lite_chart")[chart].proto.spec)
    assert spec["layer"]
    return [dict(layer["encoding"]) for layer in spec["layer"] if "encoding" in layer]


def test_figures_and_tables(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "transfer")
    assert len(at.get("vega_lite_chart")) == 2
    said = read(at.caption)
    assert "ASR in percent of all attacks, linf 32/255" in said
    assert "95% intervals over images" in said
    assert "Points of ASR, mismatch minus match" in said
    titles = [read([s]) for s in at.subheader]
    assert titles[0].startswith("ASR goes from ")
    assert "costs the attacker" in titles[1] or "No mismatch" in titles[1]
    assert titles[2:4] == [
        "Attack success by case, all attacks",
        "Effect of a mismatch on ASR, in points (C0 and controls excluded)",
    ]
    assert "Data" in [str(e.label) for e in at.expander]
    domain = points(at, 0)[0]["y"]["scale"]["domain"]
    assert [domain[0], domain[-1]] == ["C0 · same weights", "control · no surrogate"]
    assert not domain[1].strip()  # a row without a name keeps the white box apart
    assert not domain[-2].strip()
    assert "low" in str(points(at, 1))


def test_one_attack_one_budget_one_surrogate(explore: Explore, read: Read, finished: Path) -> None:
    at = explore(finished, "transfer")
    run = run_queries.runs(finished)[0].id
    at.selectbox(key="pick-attack").set_value("mi").run()
    at.selectbox(key="pick-budget").set_value("l2 0.5").run()
    config = at.selectbox(key="pick-surrogates").options[1]
    at.selectbox(key="pick-surrogates").set_value(config).run()
    assert not at.exception
    assert at.query_params["attack"] == "mi"
    assert f"ASR in percent of mi, l2 0.5, surrogates {config}" in read(at.caption)
    assert "mismatch minus match, of mi, l2 0.5, surrogates" in read(at.caption)  # effects obey the same choices
    again = explore(finished, "transfer", attack="mi", budget="l2 0.5", surrogates=config, run=run)
    assert read(again.caption) == read(at.caption)


@pytest.mark.parametrize("measure", ["robust accuracy", "lift"])
def test_another_measure(explore: Explore, read: Read, finished: Path, measure: str) -> None:
    at = explore(finished, "transfer", measure=measure)
    assert f"{measure.capitalize()} in percent of all attacks, linf 32/255" in read(at.caption)
    assert measure in points(at, 0)[1]["x"]["title"]


def test_too_much_to_read_is_said(
    explore: Explore, read: Read, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_queries, "MOST_READ", 3)
    config = explore(finished, "transfer").selectbox(key="pick-surrogates").options[1]
    at = explore(finished, "transfer", attack="fgsm", levels="gone", surrogates=config)
    assert "expected at most 3" in read(at.warning)


def test_no_outcome_yet(explore: Explore, read: Read, changed: Callable[..., Path]) -> None:
    at = explore(changed(cells.delete(), runs.update().values(status="running")), "transfer")
    assert "No outcome yet" in read(at.info)
    assert not at.get("vega_lite_chart")


def test_controls_alone_make_no_case(explore: Explore, read: Read, changed: Callable[..., Path]) -> None:
    attacks = sa.select(run_sets.c.artifact).where(run_sets.c.surrogate.is_not(None))
    at = explore(changed(cells.delete().where(cells.c.adversarial_set.in_(attacks))), "transfer")
    assert "controls alone make no case" in read(at.info)


def test_controls_are_red_when_they_fail(
    explore: Explore, read: Read, changed: Callable[..., Path], finished: Path
) -> None:
    with Store(finished) as store, store.reading() as connection:
        row = connection.execute(
            sa.select(cells)
            .join(run_sets, run_sets.c.artifact == cells.c.adversarial_set)
            .where(run_sets.c.attack == "identity")
        ).first()
    assert row is not None
    answers = np.frombuffer(zlib.decompress(row.changes), np.uint8) ^ 1
    here = (cells.c.adversarial_set == row.adversarial_set) & (cells.c.victim == row.victim)
    at = explore(changed(cells.update().where(here).values(changes=zlib.compress(answers.tobytes()))), "transfer")
    assert "eps = 0" in read(at.error)


def published(tmp_path: Path, store: Path) -> str:
    """Two published rows in a store; the id of their run."""
    path = tmp_path / "DUMB/results/attacks/evaluation/catDog/evaluations_PGD.csv"
    path.parent.mkdir(parents=True)
    victims = ("bing,20/80,0.3,0.3,0.3", "google,20/80,0.42,0.42,0.42")
    rows = "\n".join(f"bing,True,PGD,net,20/80,net,{victim}" for victim in victims)
    path.write_text(f"{HEADER},asr,asr_0,asr_1\n{rows}\n")
    read_in(tmp_path / "DUMB", store)
    return next(r.id for r in run_queries.runs(store) if run_queries.state(r) == "published")


def test_published_results_stand_beside_ones_own(explore: Explore, read: Read, copy: Path, tmp_path: Path) -> None:
    published(tmp_path, copy)
    at = explore(copy, "transfer")
    assert "Grey: published means" not in read(at.caption)  # unless asked for
    at.segmented_control(key="pick-published").set_value("shown").run()
    assert "Grey: published means" in read(at.caption)
    assert any("beside published results" in read([s]).lower() for s in at.subheader)
    assert "whose" in str(points(at, 0))


def test_a_published_run_itself(explore: Explore, read: Read, copy: Path, tmp_path: Path) -> None:
    at = explore(copy, "transfer", run=published(tmp_path, copy))
    assert "no intervals were published" in read(at.caption)
    titles = [read([s]) for s in at.subheader]
    assert any("published attack success by case" in t.lower() for t in titles)
    assert "Controls" in titles
    assert len(at.get("vega_lite_chart")) == 2
