"""The page Gates over verdicts as the pytest plugin keeps them."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

import carom.app
from carom.app.queries import gates as gate_queries
from carom.scenarios.gates.ask import Answers
from carom.scenarios.gates.judge import Limits, judge
from carom.scenarios.gates.suite import AdversarialSet, Suite
from pytest_carom.history import keep

PAGES = Path(carom.app.__file__).parent / "pages"
MARKUP = "**x** <b>y :smile: :red[r] $a$"


def make_suite(n: int = 300) -> Suite:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (n, 1, 2, 2)).astype(np.uint8)
    made = AdversarialSet(
        name=f"mi linf 8/255 from {MARKUP}",
        surrogate="a",
        axes={},
        fingerprints=("ab",),
        attack="mi",
        norm="linf",
        eps="8/255",
        seed=0,
    )
    return Suite(
        name="tiny",
        description="",
        task="digits",
        classes=("zero", MARKUP, "two"),
        sources=("uci",),
        scenario="",
        clean=images,
        labels=(np.arange(n) % 3).astype(np.int64),
        image_source=np.zeros(n, np.int64),
        ids=np.arange(n, dtype=np.int64),
        sets=(made,),
        adversarial=(images,),
    )


def record(store: Path, wrong: float, *, test: str = "test_a.py::test_b", gate: str | None = None) -> Path:
    """Keep the verdict on a model that is wrong on this share of images, where the baseline's was on a fifth."""
    suite = make_suite()
    place = np.arange(len(suite)) * 7 % 100 / 100
    before, now = (
        Answers(clean=np.ones(len(suite), bool), adversarial=(place >= share)[None]) for share in (0.2, wrong)
    )
    verdict = judge(before, now, suite.labels, suite.classes, Limits(per_class=0.3))
    baseline = f"robustness_baselines/{test.split('::')[1]}-{gate}.json"
    return keep(store, test=test, gate=gate, baseline=baseline, suite=suite, verdict=verdict, before=before, now=now)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Gates alone, without a run: one held, cannot tell and fell; another holds."""
    monkeypatch.setenv("GITHUB_SHA", "0123456789abcdef")
    for wrong in (0.1, 0.21, 0.5):
        record(tmp_path / "store", wrong)
    record(tmp_path / "store", 0.1, test=f"test_c.py::test_d[{MARKUP}]", gate="other")
    return tmp_path / "store"


@pytest.fixture
def visit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """A page over a store; fails on any traceback."""

    def open_page(folder: Path, page: str = "gates", **address: str) -> AppTest:
        monkeypatch.setenv("CAROM_STORE", str(folder))
        at = AppTest.from_file(str(PAGES / f"{page}.py"), default_timeout=60)
        for name, value in address.items():
            at.query_params[name] = value
        at.run()
        assert not at.exception
        return at

    return open_page


def words(elements: Any) -> str:
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", "\n".join(str(e.value) for e in elements)).replace("\u2060", "")


def test_verdicts_are_read_the_latest_first(store: Path) -> None:
    found = gate_queries.gates(store)
    assert found.damaged == 0
    assert found.verdicts["verdict"].tolist() == ["holds", "weaker", "cannot tell", "holds"]
    assert found.verdicts["now"].tolist() == pytest.approx([0.9, 0.5, 0.79, 0.9])
    assert set(found.verdicts["commit"]) == {"0123456789abcdef"}
    assert found.checks["what"].tolist()[:2] == ["robust accuracy", "class zero"]
    fell = found.verdicts.iloc[1]
    moved = gate_queries.moved(found, fell["gate"], fell["time"])
    assert moved["drop"].abs().is_monotonic_decreasing
    assert set(moved["kind"]) == {"set", "class"}
    assert moved.loc[moved["kind"] == "set", "drop"].tolist() == pytest.approx([0.3])


def test_damaged_files_are_counted_and_left_out(store: Path, visit: Callable[..., AppTest]) -> None:
    folder = next((store / "gates").iterdir())
    for i, content in enumerate(("{", "[]", '{"format": 99}', json.dumps({"format": 1, "time": "x"}))):
        (folder / f"9{i}.json").write_text(content)
    found = gate_queries.gates(store)
    assert (len(found.verdicts), found.damaged) == (4, 4)
    assert "4 files below" in words(visit(store).warning)


def test_a_store_of_gates_alone(store: Path, visit: Callable[..., AppTest]) -> None:
    at = visit(store)
    assert not at.warning
    assert "2 gates, 4 verdicts; of the latest, 1 weaker, 0 cannot tell." in words(at.caption)
    table: pd.DataFrame = at.dataframe[0].value
    assert table["latest verdict"].tolist() == ["✕ weaker", "✓ holds"]
    assert at.get("vega_lite_chart")
    runs = visit(store, "runs")
    assert "holds no run yet" in words(runs.info)
    assert "page Gates" in words(runs.info)


def test_the_address_names_gate_and_verdict(store: Path, visit: Callable[..., AppTest]) -> None:
    found = gate_queries.gates(store).verdicts
    fell = found.iloc[1]
    at = visit(store, gate=fell["gate"])
    assert "fell from 80.0% to 50.0%" in words(at.error)
    assert "commit 0123456789ab" in words(at.caption)
    assert {"What moved", "What was judged"} <= {s.value for s in at.subheader}
    doubt = f"{found.iloc[2]['time']:%Y-%m-%d %H:%M:%S.%f}"
    at = visit(store, gate=fell["gate"], verdict=doubt)
    assert "cannot tell" in words(at.warning)
    assert "fell from" in words(visit(store, gate="nonsense", verdict="none").error)  # the worst is the default


def test_names_with_markup_are_text(store: Path, visit: Callable[..., AppTest]) -> None:
    other = next(row for row in gate_queries.gates(store).verdicts.to_dict("records") if row["name"] == "other")
    at = visit(store, gate=other["gate"])
    for element in [*at.caption, *at.subheader, *at.info, *at.warning, *at.error, *at.success, *at.markdown]:
        bare = re.sub(r"`[^`]*`", "", element.value)
        for part in ("**x", "<b>y", ":smile:", ":red[", "$a$"):
            assert part not in bare.replace("\\" + part[0], "")


def test_without_a_verdict_the_page_says_how_to_record_one(
    tmp_path: Path, finished: Path, visit: Callable[..., AppTest]
) -> None:
    for folder in (tmp_path / "none", finished):
        at = visit(folder)
        assert f"pytest --robustness-history={folder}" in words(at.info)


def test_a_new_verdict_appears(store: Path, visit: Callable[..., AppTest]) -> None:
    at = visit(store)
    before = gate_queries.gates_counter(store)
    record(store, 0.2)
    assert gate_queries.gates_counter(store) == before + 1
    at.run()
    assert "5 verdicts" in words(at.caption)


def test_files_are_named_by_time_and_process(store: Path) -> None:
    names = [path.name for path in (store / "gates").glob("*/*.json")]
    assert all(re.fullmatch(rf"\d{{8}}T\d{{6}}\.\d{{6}}Z-{os.getpid()}\.json", name) for name in names)
