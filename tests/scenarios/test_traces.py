"""Keeping the trace of an attack changes no pooled number: its snapshots are no attacks of their own."""

from pathlib import Path

import pandas as pd
import pytest

from carom.app.queries import cases as case_queries
from carom.app.queries import cells as cell_queries
from carom.app.queries import matrix as matrix_queries
from carom.app.queries import runs as run_queries
from carom.scenarios.gates.freeze import freeze
from carom.scenarios.run.run import run_id_of, run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes, read_rates
from carom.scenarios.tables.counted import counted_tables
from carom.scenarios.tables.which import show_run
from carom.scenarios.traces import name_after, snapshots, trace_of

SCENARIO = """
name = "NAME"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = [ATTACK, "fgsm"]
budgets = [{norm = "linf", eps = "32/255"}]
[images]
per_source = 30
[models]
source = ["here", "there"]
architecture = {name = "mlp", width = 12}
recipe = {name = "standard", epochs = 2, shift = 0, rotation = 0, scale = 0, learning_rate = 0.02}
[[surrogates]]
seed = 1
[[victims]]
seed = [2, 3]
"""
POOLED = ("cases", "effects", "by-surrogate", "by-victim", "by-samples")


@pytest.fixture(scope="module")
def runs(tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A store, and its run with a trace and without."""
    folder = tmp_path_factory.mktemp("traces")
    found = []
    for name, attack in (
        ("kept", '{name = "bim", steps = 4, trace = [1, 2, 4]}'),
        ("plain", '{name = "bim", steps = 4, label = "bim steps=4 @4"}'),
    ):
        text = SCENARIO.replace("NAME", name).replace("NPZ", str(tiny_npz)).replace("ATTACK", attack)
        scenario = parse_scenario(text, where=f"{name}.toml")
        assert not run_scenario(scenario, folder, workers=0, device="cpu").failures
        found.append(run_id_of(scenario))
    return folder, found[0], found[1]


def test_a_trace_is_its_last_step() -> None:
    names = ["mi", "mi steps=10 @2", "mi steps=10 @10", "mi steps=10 @5", "ni @3", "what @home"]
    assert snapshots(names) == {"mi steps=10 @2", "mi steps=10 @5"}
    assert trace_of(name_after("mi steps=10", 5)) == ("mi steps=10", 5)
    assert trace_of("what @home") is None


def test_a_run_says_the_same_with_its_trace(runs: tuple[Path, str, str]) -> None:
    folder, kept, plain = runs
    with Store(folder) as store:
        tables = [{table.name: table for table in show_run(store, run)} for run in (kept, plain)]
        steps = set(tables[0]["by-attack"].frame["attack"])
        assert len(read_outcomes(store, kept).cells) > len(read_outcomes(store, plain).cells)
    assert steps == {"fgsm", *(f"bim steps=4 @{step}" for step in (1, 2, 4))}  # ASR over steps has them all
    for name in POOLED:
        pd.testing.assert_frame_equal(tables[0][name].frame, tables[1][name].frame)


def test_rows_that_are_counted_say_the_same_with_its_trace(runs: tuple[Path, str, str]) -> None:
    folder, kept, plain = runs
    with Store(folder) as store:
        tables = [
            {t.name: t.frame for t in counted_tables(store, run, read_rates(store, run), images=60)}
            for run in (kept, plain)
        ]
    assert len(tables[0]["by-attack"]) == len(tables[1]["by-attack"]) + 2
    for name in ("cases", "by-surrogate", "by-victim"):
        pd.testing.assert_frame_equal(tables[0][name], tables[1][name])


def test_the_explorer_pools_the_same_with_its_trace(runs: tuple[Path, str, str]) -> None:
    folder, kept, plain = runs
    cells = [run_queries.view(folder, run).cells for run in (kept, plain)]
    matrices = [matrix_queries.matrix(of, "surrogate", "victim") for of in cells]
    pd.testing.assert_frame_equal(matrices[0], matrices[1])
    for row in matrices[0].to_dict("records"):  # and so do the cells behind a field
        field = cell_queries.field_cells(cells[0], {axis: row[axis] for axis in ("surrogate", "victim")})
        assert (field.count, field.n, field.k) == (row["cells"], row["n"], row["k"])
    assert len(matrix_queries.matrix(cells[0], "surrogate", "attack")["attack"].unique()) == 4
    alone = case_queries.some_case_points(folder, kept, cells[0], (), attack="bim steps=4 @2")
    assert (alone.loc[alone["case_number"] >= 0, "cells"] > 0).any()


def test_a_gate_asks_the_last_step_alone(runs: tuple[Path, str, str]) -> None:
    folder, kept, plain = runs
    suites = [freeze(folder, run) for run in (kept, plain)]
    assert [s.name for s in suites[0].sets] == [s.name for s in suites[1].sets]
