import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from carom.app.queries import cells as cell_queries
from carom.app.queries import matrix as matrix_queries
from carom.app.queries import runs as run_queries
from carom.app.queries import tables as table_queries
from carom.errors import InputError, StoreError
from carom.scenarios.statistics import cell_rates
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes, read_rates
from carom.scenarios.store.runs import Run
from carom.scenarios.store.schema import artifacts, attempts, cells, meta, run_cells, run_sets, runs
from carom.scenarios.tables import which
from carom.scenarios.tables.table import Table
from carom.scenarios.tables.which import show_run


def only_run(folder: Path) -> Run:
    (run,) = run_queries.runs(folder)
    return run


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_view_holds_the_tables_of_carom_show(finished: Path) -> None:
    run = only_run(finished)
    view = run_queries.view(finished, run.id)
    with Store(finished) as store:
        shown, outcomes = show_run(store, run.id), read_outcomes(store, run.id)
    assert view.problem is None
    assert view.images == len(outcomes.labels) == 26
    assert [t.name for t in view.tables] == [t.name for t in shown]
    for mine, theirs in zip(view.tables, shown, strict=True):
        assert mine.formatted().equals(theirs.formatted())


def test_matrix_pools_the_cells_of_each_pair(finished: Path) -> None:
    run = only_run(finished)
    all_cells = run_queries.view(finished, run.id).cells
    for white_box in (False, True):
        found = matrix_queries.matrix(
            all_cells, "surrogate", "victim_config", attack="mi", budget="linf 32/255", white_box=white_box
        )
        count = 0
        for row in found.to_dict("records"):
            k = n = 0
            for cell in all_cells.to_dict("records"):
                wanted = (cell["attack"], cell["norm"], cell["eps"]) == ("mi", "linf", "32/255")
                same = all(cell[axis] == row[axis] for axis in ("surrogate", "victim_config"))
                if wanted and same and (white_box or cell["case"] != 0):
                    k, n, count = k + cell["k"], n + cell["n"], count + 1
            assert (row["k"], row["n"], row["ASR"]) == (k, n, k / n)
        assert count == found["cells"].sum() == (20 if white_box else 16)


def test_matrix_takes_any_two_axes_and_leaves_controls_out(finished: Path) -> None:
    all_cells = run_queries.view(finished, only_run(finished).id).cells
    known = matrix_queries.axes(cell_queries.attacked(all_cells))
    assert {"surrogate", "victim", "source_s", "balance_v", "attack", "budget"} <= set(known)
    assert "architecture_s" not in known  # one architecture is no axis
    for rows in known:
        for columns in known:
            if rows != columns:
                found = matrix_queries.matrix(all_cells, rows, columns)
                assert found["cells"].sum() == 4 * 4 * 2 * 2
    assert set(matrix_queries.matrix(all_cells, "attack", "budget")["attack"]) == {"fgsm", "mi"}
    assert set(matrix_queries.matrix(all_cells, "attack", "budget")["budget"]) == {"linf 32/255", "l2 0.5"}


def test_matrix_drops_fields_without_a_denominator(finished: Path) -> None:
    all_cells = run_queries.view(finished, only_run(finished).id).cells.copy()
    victim = all_cells["victim"].iloc[0]
    all_cells.loc[all_cells["victim"] == victim, ["n", "k"]] = 0
    found = matrix_queries.matrix(all_cells, "surrogate", "victim")
    assert victim not in set(found["victim"])
    assert found["ASR"].between(0, 1).all()


def test_levels_keep_the_order_of_the_run(finished: Path) -> None:
    all_cells = run_queries.view(finished, only_run(finished).id).cells
    levels = matrix_queries.levels(all_cells, "victim")
    assert [name.rsplit("/", 1)[1] for name in levels] == ["s2"] * 4 + ["s1"] * 4
    holed = all_cells.drop(index=all_cells.index[(all_cells["case"] > 0) & (all_cells["victim"] == levels[0])][:4])
    assert list(matrix_queries.matrix(holed, "surrogate", "victim")["victim"].cat.categories) == levels[:4]


def test_what_all_rows_share_is_said_once(finished: Path) -> None:
    tables = {t.name: t for t in run_queries.view(finished, only_run(finished).id).tables}
    by_attack = tables["by-attack"]
    linf = by_attack.frame[by_attack.frame["norm"] == "linf"]
    found = table_queries.displayed(replace(by_attack, frame=linf))
    assert found.shared == ["norm linf", "eps 32/255"]
    assert not {"norm", "eps"} & set(found.frame)
    found = table_queries.displayed(by_attack)
    frame = found.frame
    assert found.shared == []
    assert list(frame["norm"]) == list(by_attack.frame["norm"])
    assert frame["ASR"].tolist() == by_attack.frame["asr"].tolist()
    assert frame["lift"].tolist() == pytest.approx((100 * by_attack.frame["lift"]).tolist())


def test_intervals_that_range_over_different_things_say_so(finished: Path) -> None:
    table = {t.name: t for t in run_queries.view(finished, only_run(finished).id).tables}["by-attack"]
    assert "interval ranges over" not in table_queries.displayed(table).frame
    mixed = table.frame.assign(ranges_over=["images", "images and seeds"] * (len(table.frame) // 2))
    assert "interval ranges over" in table_queries.displayed(replace(table, frame=mixed)).frame


def test_truth_values_are_words(finished: Path) -> None:
    tables = {t.name: t for t in run_queries.view(finished, only_run(finished).id).tables}
    assert set(table_queries.displayed(tables["effects"]).frame["within ±2"]) <= {"yes", "no"}


def test_progress_counts_outcomes(changed: Callable[..., Path], finished: Path) -> None:
    run = only_run(finished)
    assert run_queries.progress(finished, run.id) == (run.done, run.cells) == (128, 128)
    with Store(finished) as store, store.reading() as connection:
        some = connection.execute(sa.select(cells.c.adversarial_set).order_by(cells.c.adversarial_set)).scalar()
    folder = changed(cells.delete().where(cells.c.adversarial_set == some))
    assert run_queries.progress(folder, run.id) == (124, 128)


def test_counter_moves_with_every_write(changed: Callable[..., Path], copy: Path) -> None:
    before = run_queries.counter(copy)
    assert run_queries.counter(copy) == before
    changed(runs.update().values(description="other"))
    assert run_queries.counter(copy) > before


def test_a_run_whose_process_died_is_interrupted(changed: Callable[..., Path]) -> None:
    folder = changed(runs.update().values(status="running"))
    lock = folder / "lock"
    lock.write_text(f"process {os.getpid()} on {platform.node()}")
    assert only_run(folder).status == "running"
    lock.write_text(f"process {dead_process()} on elsewhere")
    assert only_run(folder).status == "running"  # nothing is known of another machine
    lock.write_text(f"process {dead_process()} on {platform.node()}")
    assert only_run(folder).status == "interrupted"
    for odd in ("", "process x on y", f"process none on {platform.node()}"):
        lock.write_text(odd)
        assert only_run(folder).status == "running"
    lock.unlink()
    assert only_run(folder).status == "running"


@pytest.mark.parametrize(
    ("status", "done", "expected"),
    [
        ("running", 0, "waiting"),
        ("running", 3, "running"),
        ("interrupted", 3, "interrupted"),
        ("failed", 0, "failed"),
        ("failed", 3, "partial"),
        ("done", 3, "done"),
    ],
)
def test_states(finished: Path, status: str, done: int, expected: str) -> None:
    assert run_queries.state(replace(only_run(finished), status=status, done=done)) == expected


def test_a_run_without_outcomes_is_a_view_with_a_problem_and_its_models(changed: Callable[..., Path]) -> None:
    folder = changed(cells.delete(), run_cells.update().values(failure="it broke"))
    view = run_queries.view(folder, only_run(folder).id)
    assert view.problem is not None
    assert "no outcome yet" in view.problem
    assert [t.name for t in view.tables] == ["failures", "models"]
    assert view.tables[0].frame.to_dict("records") == [{"reason": "it broke", "cells": 128}]


def test_failed_jobs_are_shown_with_their_reason(changed: Callable[..., Path], finished: Path) -> None:
    row = {"job": "craft", "label": "mi", "finished": "2026", "seconds": 1.0, "inside": 0.5, "passes": 1}
    run = only_run(finished).id
    folder = changed(attempts.insert().values(run=run, failure="out of memory", **row))
    tables = {t.name: t for t in run_queries.view(folder, run).tables}
    assert tables["failed-jobs"].frame["failure"].tolist() == ["out of memory"]
    assert "failed-jobs" not in {t.name for t in run_queries.view(finished, run).tables}


def test_troubles_are_failed_before_warned(finished: Path) -> None:
    run = only_run(finished)
    tables = run_queries.view(finished, run.id).tables
    # tiny networks, attacked with a small eps, and no better than guessing on the other source
    assert list(table_queries.troubles(tables)["control"]) == ["white box", "labels"]
    controls = next(t for t in tables if t.name == "controls")
    worse = controls.frame.assign(
        status=["warned", "failed", "passed", "not run", "failed", "passed", "passed", "passed"]
    )
    assert list(table_queries.troubles([replace(controls, frame=worse)])["status"]) == ["failed", "failed", "warned"]
    nothing: list[Table] = []
    assert table_queries.troubles(nothing).empty


def test_missing_newer_and_damaged_stores_say_what_to_do(
    changed: Callable[..., Path], tmp_path: Path, finished: Path
) -> None:
    with pytest.raises(StoreError, match="carom demo"):
        run_queries.runs(tmp_path / "none")
    run = only_run(finished).id
    assert "carom demo" in str(run_queries.view(tmp_path / "none", run).problem)
    newer = changed(meta.update().where(meta.c.name == "schema").values(value="999"))
    with pytest.raises(StoreError, match="schema 999"):
        run_queries.counter(newer)
    (tmp_path / "carom.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="damaged"):
        run_queries.runs(tmp_path)


def test_rates_are_those_of_the_predictions(finished: Path) -> None:
    run = only_run(finished)
    with Store(finished) as store:
        outcomes, rates = read_outcomes(store, run.id), read_rates(store, run.id)
    found = cell_rates(outcomes)
    assert len(rates) == len(found) == 128
    assert set(rates) == {*outcomes.cells, "n", "k"}
    for column in rates:
        assert list(rates[column]) == list(found[column]), column


def test_rates_skip_cells_without_an_outcome(changed: Callable[..., Path]) -> None:
    first = sa.select(sa.func.min(cells.c.adversarial_set)).scalar_subquery()
    folder = changed(cells.delete().where(cells.c.adversarial_set == first))
    with Store(folder) as store:
        assert len(read_rates(store, only_run(folder).id)) == 124
    folder = changed(cells.delete())
    with Store(folder) as store, pytest.raises(InputError, match="no outcome"):
        read_rates(store, only_run(folder).id)


# --------------------------------------------------------------------------------------------------------- large runs


@pytest.fixture
def large(finished: Path, monkeypatch: pytest.MonkeyPatch) -> run_queries.View:
    """The finished run, seen as if its predictions were too many to read."""
    monkeypatch.setattr(which, "LARGE", 100)
    return run_queries.view(finished, only_run(finished).id)


def test_a_large_run_has_the_same_counts(finished: Path, large: run_queries.View) -> None:
    with Store(finished) as store:
        tables = {t.name: t for t in show_run(store, only_run(finished).id)}
    assert large.problem is None
    assert large.images == 26
    found = {t.name: t for t in large.tables}
    assert set(found) == {
        "cases",
        "cases-by-attack",
        "controls",
        "by-attack",
        "by-surrogate",
        "by-victim",
        "by-knowledge",
        "models",
    }
    for name in ("cases", "cases-by-attack", "by-attack", "by-surrogate", "by-victim"):
        few, all_ = found[name].frame, tables[name].frame
        shared = [c for c in ("case", "attack", "surrogate", "victim", "norm", "eps", "cells", "n", "k") if c in few]
        assert few[shared].to_dict("records") == all_[shared].to_dict("records"), name
        assert few["asr"].tolist() == pytest.approx(all_["asr"].tolist(), nan_ok=True)
        assert few["clean_accuracy"].tolist() == pytest.approx(all_["clean_accuracy"].tolist())
        assert ((few["low"] <= few["asr"] + 0.05) & (few["asr"] - 0.05 <= few["high"])).all()
        assert "without its predictions" in found[name].notes[-2]
        table_queries.displayed(found[name])
    told = ["victim", "norm", "eps", "knows", "cells", "n", "k"]
    known = [some["by-knowledge"].frame[told].to_dict("records") for some in (found, tables)]
    assert known[0] == known[1]
    assert "trained surrogates and victims" in set(found["cases"].frame["ranges_over"])
    checks = found["controls"].frame.set_index("control")["status"].to_dict()
    assert checks == {"eps = 0": "passed", "white box": "warned", "zero gradients": "passed", "size / eps": "passed"}


def test_a_large_run_has_the_same_matrix(finished: Path, large: run_queries.View) -> None:
    whole = run_queries.view(finished, only_run(finished).id)
    assert matrix_queries.axes(large.cells) == matrix_queries.axes(whole.cells)
    for rows, columns in (("surrogate", "victim"), ("source_s", "budget"), ("attack", "victim_config")):
        for white_box in (False, True):
            ways = [matrix_queries.matrix(v.cells, rows, columns, white_box=white_box) for v in (large, whole)]
            assert ways[0].astype({rows: str, columns: str}).equals(ways[1].astype({rows: str, columns: str}))
    assert list(large.cells["budget"]) == list(whole.cells["budget"])


def test_a_large_run_without_outcomes_says_so(changed: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(which, "LARGE", 100)
    folder = changed(cells.delete())
    view = run_queries.view(folder, only_run(folder).id)
    assert view.problem is not None
    assert "no outcome" in view.problem
    assert [t.name for t in view.tables] == ["models"]


def test_the_phases_of_a_run_say_what_is_left(copy: Path) -> None:
    """Eight sets of 3 s each were made one after the other in 24 s; two more are lacking, so 6 s are left."""
    (run,) = run_queries.runs(copy)
    found = run_queries.phases(copy, run).set_index("phase")
    assert list(found.loc["cells", ["done", "planned"]]) == [run.cells, run.cells]
    assert (found["left"] == 0).all()
    with Store(copy, write=True) as store, store.writing() as connection:
        made = connection.execute(sa.select(run_sets.c.artifact).where(run_sets.c.run == run.id)).scalars().all()
        record = json.dumps({"seconds": 3.0})
        connection.execute(artifacts.update().where(artifacts.c.id.in_(made)).values(record=record))
        connection.execute(artifacts.update().where(artifacts.c.id.in_(made[:2])).values(digest=None))
        connection.execute(attempts.delete())
        start = datetime.fromisoformat(run.started)
        job = {"run": run.id, "job": "craft", "label": "x", "seconds": 3.0, "inside": 0.0, "passes": 1}
        rows = [{**job, "finished": (start + timedelta(seconds=3 * (i + 1))).isoformat()} for i in range(len(made) - 2)]
        connection.execute(attempts.insert(), rows)
    sets = run_queries.phases(copy, run).set_index("phase").loc["adversarial sets"]
    assert (sets["done"], sets["planned"], sets["seconds"]) == (len(made) - 2, len(made), 3.0)
    assert sets["left"] == pytest.approx(6.0)
