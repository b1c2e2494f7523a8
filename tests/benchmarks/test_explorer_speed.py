"""The large store is what the explorer reads, the same each time; its measurement runs, quickly, on a small one."""

import json
import subprocess
import sys
from pathlib import Path

import large_store
import pytest

from carom.app.queries import runs as run_queries
from carom.scenarios.store.database import Store
from carom.scenarios.tables import which

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a "large" run of 800 cells."""
    folder = tmp_path_factory.mktemp("large")
    large_store.make(folder, cell_count=800, victims=20, images=40)
    return folder


def test_it_holds_what_was_asked_for(store: Path) -> None:
    runs = run_queries.runs(store)
    assert [run.id for run in runs] == ["large-000000", "small-three-000000", "small-two-000000", "small-one-000000"]
    large = runs[0]
    assert large.cells == large.done == 800 + 39  # one set is a control, the others also meet their own model
    view = run_queries.view(store, large.id)
    assert view.problem is None
    assert view.images == 40
    rates = view.cells[view.cells["case"] > 0].groupby("case")["asr"].mean()
    assert rates[1] > rates[8]
    assert view.cells.loc[view.cells["control"], "asr"].mean() < 0.02


def test_counts_are_those_of_the_predictions(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_queries.view(store, "large-000000").cells
    monkeypatch.setattr(which, "LARGE", 100)
    light = run_queries.view(store, "large-000000").cells
    assert light[["n", "k"]].to_numpy().tolist() == whole[["n", "k"]].to_numpy().tolist()


def test_it_is_the_same_each_time(store: Path, tmp_path: Path) -> None:
    large_store.make(tmp_path, cell_count=800, victims=20, images=40)
    contents = []
    for folder in (store, tmp_path):
        with Store(folder) as opened, opened.reading() as connection:
            contents.append(connection.exec_driver_sql("SELECT * FROM cells").all())
    assert contents[0] == contents[1]


@pytest.mark.thorough
def test_the_measurement_runs(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    command = [sys.executable, str(BENCHMARKS / "explorer.py"), str(store), "--rounds", "1", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert 0 < found["median interaction, s"] <= found["slowest interaction, s"]
    assert set(found["first look at each page, s"]) == {
        path.stem for path in (BENCHMARKS.parent / "app/pages").glob("*.py")
    }
    assert set(found["new cells"]) == {"transfer", "matrix", "progress"}
    assert found["peak memory, MB"] > 50
    assert "median interaction" in done.stdout
