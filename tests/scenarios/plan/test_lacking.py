"""What a store lacks of a plan: what a second run, one more victim or another eps costs, asked once."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from tests.scenarios import raw_store
from tests.scenarios.conftest import SMALL, TINY, Carom

from carom.scenarios.plan.cost import estimate
from carom.scenarios.spec.read import parse_scenario
from carom.zoo.training import loop as training

Write = Callable[..., Path]
CONTROLS = 6


# 8 surrogates x 2 attacks and 6 controls, on 8 victims; and each of the 16 on its own surrogate
@pytest.mark.parametrize(
    ("more", "cells"),
    [("", "0 to do of 192"), ("\n[[victims]]\nseed = 3\n", "176 to do of 368")],
    ids=["done", "one more seed of the victims"],
)
def test_an_estimate_asks_a_store_each_question_once(tiny_npz: Path, tiny_store: Path, more: str, cells: str) -> None:
    asked: Counter[str] = Counter()

    def count(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked[f"{statement} {parameters}"] += 1

    scenario = parse_scenario(TINY.replace("NPZ", str(tiny_npz)) + more, where="tiny.toml")
    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    try:
        told = estimate(scenario, tiny_store, 1)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", count)
    assert told["cells"] == cells
    questions = [statement for statement in asked if "FROM artifacts" in statement or "FROM cells" in statement]
    assert len(questions) >= 3
    assert max(asked[statement] for statement in questions) == 1, asked


# ------------------------------------------------------------------------------------- what a change costs


def run(carom: Carom, path: Path, store: Path, *more: object) -> dict[str, Any]:
    answer = carom("run", path, "--store", store, "--workers", 0, "--json", *more)
    assert answer.code == 0, answer.err
    (report,) = json.loads(answer.out)
    assert isinstance(report, dict)
    return report


def cost(report: dict[str, Any]) -> tuple[int, int, int]:
    return report["trained"], report["crafted"], report["evaluated"]


def test_only_what_is_lacking_is_done(carom: Carom, scenario: Write, tmp_path: Path) -> None:
    store = tmp_path / "store"
    sets = 2 + CONTROLS
    assert cost(run(carom, scenario(*SMALL), store)) == (2, sets, sets + 2)
    before = raw_store.contents(store)

    answer = carom("run", scenario(*SMALL), "--store", store, "--workers", 0)
    assert answer.code == 0
    assert f"nothing to do, the store holds all {sets + 2} cells" in answer.err
    assert raw_store.contents(store) == before

    two = ("seed = 2", "seed = [2, 3]")
    assert cost(run(carom, scenario(*SMALL, two), store)) == (1, 0, sets)
    three = ('["fgsm", "mi"]', '["fgsm", "mi", "bim"]')
    assert cost(run(carom, scenario(*SMALL, two, three), store)) == (0, 1, 1 * 3)
    stronger = ('"32/255"', '"40/255"')
    assert cost(run(carom, scenario(*SMALL, two, three, stronger), store)) == (0, 3 + CONTROLS - 1, 3 * 3 + 5 * 2)
    larger = ('"32/255"', '["32/255", "40/255"]')
    assert cost(run(carom, scenario(*SMALL, two, three, larger), store)) == (0, 0, 0)
    seeds = ("[images]", "attack_seed = [0, 1]\n[images]")
    assert cost(run(carom, scenario(*SMALL, two, seeds), store)) == (0, 2, 2 * 3)
    validation = ("seed = 2", "seed = 2\n[[validation_victims]]\nseed = 5")
    assert cost(run(carom, scenario(*SMALL, validation), store)) == (1, sets, sets)

    after = raw_store.contents(store)
    for part in ("files", "recorded", "clean", "cells"):
        assert before[part].items() <= after[part].items(), "what was there stays as it was"


def test_two_scenarios_share_what_they_have_in_common(carom: Carom, scenario: Write, tmp_path: Path) -> None:
    store = tmp_path / "store"
    one = scenario(*SMALL, name="one.toml")
    two = scenario(
        *SMALL,
        ('name = "tiny"', 'name = "two"'),
        ('["fgsm", "mi"]', '["mi", "bim"]'),
        ("seed = 2", 'seed = 2\nname = "under another name"'),
        name="two.toml",
    )
    answer = carom("run", one, two, "--store", store, "--workers", 0, "--json")
    assert answer.code == 0, answer.err
    first, second = json.loads(answer.out)
    assert cost(first) == (2, 2 + CONTROLS, 2 * 2 + CONTROLS)
    assert cost(second) == (0, 1, 2)
    rows = {
        name: json.loads(carom("show", name, "--store", store, "--json").out)["by-attack"] for name in ("tiny", "two")
    }
    shared = [next(r for r in rows[name] if r["attack"] == "mi") for name in rows]
    assert shared[0]["k"] == shared[1]["k"]
    assert shared[0]["asr"] == shared[1]["asr"]


def test_a_job_that_failed_is_tried_again(
    carom: Carom, scenario: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = tmp_path / "store", scenario(*SMALL, ("seed = 2", "seed = [2, 3]"))
    real = training.train

    def sometimes(*arguments: Any, **named: Any) -> Any:
        if named["seed"] == 3:
            raise RuntimeError("the cat pulled\nthe plug")
        return real(*arguments, **named)

    monkeypatch.setattr("carom.scenarios.jobs.train.train", sometimes)
    answer = carom("run", path, "--store", store, "--workers", 0, "--json")
    assert answer.code == 1
    assert "Traceback" not in answer.err
    (report,) = json.loads(answer.out)
    assert cost(report) == (2, 2 + CONTROLS, 2 * 2 + CONTROLS)
    assert len(report["failures"]) == 1
    assert "the cat pulled" in report["failures"][0]
    failed = raw_store.query(store, "select count(*) from run_cells where failure like '%the cat pulled%'")
    assert failed == [(2 + CONTROLS,)]
    assert "have no outcome" in carom("show", "--store", store).out
    monkeypatch.undo()
    assert cost(run(carom, path, store)) == (1, 0, 2 + CONTROLS)
    assert raw_store.query(store, "select count(*) from run_cells where failure is not null") == [(0,)]
    assert "have no outcome" not in carom("show", "--store", store).out


def test_labels_that_change_are_counted_anew(carom: Carom, scenario: Write, tiny_npz: Path, tmp_path: Path) -> None:
    """Other labels of the attacked images, and nothing else: as in a store that never saw the old ones."""
    path = tmp_path / "mine.npz"
    arrays = dict(np.load(tiny_npz))
    np.savez(path, **arrays)
    file = scenario(*SMALL, (str(tiny_npz), str(path)))
    run(carom, file, tmp_path / "old")
    arrays["here/y_test"] = (arrays["here/y_test"] + 1) % 3
    np.savez(path, **arrays)
    again = run(carom, file, tmp_path / "old")
    fresh = run(carom, file, tmp_path / "new")
    assert again["trained"] == 0
    assert fresh["trained"] == 2
    old, new = raw_store.contents(tmp_path / "old"), raw_store.contents(tmp_path / "new")
    assert old == new


@pytest.mark.thorough
def test_workers_change_nothing(carom: Carom, scenario: Write, tmp_path: Path) -> None:
    file = scenario(*SMALL[:2], ('"mi"', '{name = "pgd", steps = 3}'))  # an mlp and a lenet
    for count in (0, 1, 2):
        answer = carom("run", file, "--store", tmp_path / str(count), "--workers", count, "--json")
        assert answer.code == 0, answer.err
    here, one, two = (raw_store.contents(tmp_path / str(count)) for count in (0, 1, 2))
    assert here == one
    assert here == two
