"""The benchmark of SAM's cost runs, and names what it compares."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sam_cost


@pytest.mark.thorough
def test_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    script = Path(__file__).parents[2] / "benchmarks" / "sam_cost.py"
    done = subprocess.run(
        [sys.executable, str(script), "--quick", "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    assert {row["way"] for row in rows} == set(sam_cost.WAYS) - {"base"}
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in rows)
    assert "vgg-small" in done.stdout
    assert "100%, 0.0 min left" in done.stderr
