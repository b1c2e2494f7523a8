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
from carom.app.charts import gates as gate_chart
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


def judged_with(store: Path, limits: Limits, wrong: float) -> pd.DataFrame:
    """What the page draws of a verdict on a model that is wrong on this share of 300 images, where a fifth was."""
    suite = make_suite()
    place = np.arange(len(suite)) * 7 % 100 / 100
    before, now = (
        Answers(clean=np.ones(len(suite), bool), adversarial=(place >= share)[None]) for share in (0.2, wrong)
    )
    verdict = judge(before, now, suite.labels, suite.classes, limits)
    keep(store, test="t", gate=None, baseline="b.json", suite=suite, verdict=verdict, before=before, now=now)
    found = gate_queries.gates(store)
    return gate_queries.judged(found, found.verdicts["gate"].iloc[0], found.verdicts["time"].iloc[0])


def test_each_check_has_a_bar_of_its_own_on_one_scale(tmp_path: Path) -> None:
    """A whole bar right of the limit holds, left of it is weaker, across it cannot be told: of drops and of floors."""
    limits = Limits(allowance=0.5, floor=0.7, per_class=0.02)
    table = judged_with(tmp_path, limits, 0.25)
    assert table["what"].tolist()[-1] == "robust accuracy"  # which alone holds
    assert table["verdict"].tolist() == ["cannot tell"] * 4 + ["holds"]
    row = table.set_index("what").loc["robust accuracy"]
    assert row["spare"] == pytest.approx(100 * (0.5 - 0.05))
    row = table.set_index("what").loc["floor"]
    assert row["spare"] == pytest.approx(100 * (0.75 - 0.7))
    assert np.isnan(row["before"])
    for check in table.to_dict("records"):
        sides = {"holds": check["spare_low"] >= 0, "weaker": check["spare_high"] < 0}
        sides["cannot tell"] = check["spare_low"] < 0 <= check["spare_high"]
        assert sides[check["verdict"]]
        assert check["spare_low"] <= check["spare"] <= check["spare_high"]


def test_points_over_time_have_the_colour_of_what_their_bars_are_of(tmp_path: Path) -> None:
    judged_with(tmp_path, Limits(allowance=0.5, per_class=0.02), 0.25)
    (row,) = gate_queries.gates(tmp_path).verdicts.to_dict("records")
    assert (row["verdict"], row["first"]) == ("cannot tell", "holds")
    assert 'field": "first"' in gate_chart.chart(pd.DataFrame([row])).to_json()


def test_images_that_flipped_are_kept_and_shown(tmp_path: Path, visit: Callable[..., AppTest]) -> None:
    record(tmp_path, 0.23)
    found = gate_queries.gates(tmp_path)
    (row,) = found.verdicts.to_dict("records")
    # wrong before: i * 7 % 100 < 20; now < 23: of 300 images nine more
    gone = [i for i in range(300) if 20 <= i * 7 % 100 < 23]
    assert (row["lost"], row["won"], row["sets"]) == (9, 0, 1)
    flipped = gate_queries.flipped(found, row["gate"], row["time"])
    assert flipped["id"].tolist() == gone
    assert flipped["class"].tolist() == [make_suite().classes[i % 3] for i in gone]
    assert set(flipped["before"]) == {1}
    assert set(flipped["now"]) == {0}
    at = visit(tmp_path)
    assert "9 images are answered right in fewer of 1 set than before, 0 in more." in words(at.markdown)


def test_verdicts_of_an_earlier_carom_say_that_they_kept_no_images(
    tmp_path: Path, visit: Callable[..., AppTest]
) -> None:
    path = record(tmp_path, 0.5)
    content = json.loads(path.read_text())
    del content["flipped"]
    path.write_text(json.dumps(content))
    at = visit(tmp_path)
    assert "kept without its images" in words(at.info)


def test_tiles_show_each_gate_with_its_last_verdicts(store: Path, visit: Callable[..., AppTest]) -> None:
    at = visit(store)
    first, second = at.metric
    assert first.label.startswith("✕ weaker · ")
    assert (first.value, first.delta) == ("50.0%", "-30.0 points")
    assert second.label.startswith("✓ holds · ")
    checks = next(d.value for d in at.dataframe if "what" in d.value)
    assert checks["before"].dtype == float  # a floor's is missing, which is written as "–"
