"""The benchmark of what many members cost runs; each member is stored once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.thorough
def test_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    script = Path(__file__).parents[2] / "benchmarks" / "surrogate_cost.py"
    done = subprocess.run(
        [sys.executable, str(script), "--quick", "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = {row["what"]: row["median"] for row in json.loads(file.read_text())["rows"]}
    assert set(rows) == {"light / single", "preparing / attack", "load", "stored"}
    assert 1.0 <= rows["stored"] < 1.02
    assert rows["load"] < 10
    assert "100%, 0.0 min left" in done.stderr
