"""The benchmark of the plugin's cost runs, and names what it compares."""

import json
import subprocess
import sys
from pathlib import Path

import gate_time
import pytest


@pytest.mark.thorough
def test_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    script = Path(__file__).parents[2] / "benchmarks" / "gate_time.py"
    done = subprocess.run(
        [sys.executable, str(script), "--quick", "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["way"]: row["seconds"] for row in json.loads(file.read_text())["rows"]}
    assert set(rows) == {*gate_time.WAYS, "the plugin's cost"}
    assert rows["gate"] > rows["run with the plugin"] > 0
    assert "the plugin costs a run without gates" in done.stdout
