"""The benchmark of adversarial training runs, and shows what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.thorough
def test_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    script = Path(__file__).parents[2] / "benchmarks" / "adversarial_training.py"
    done = subprocess.run(
        [sys.executable, str(script), "--quick", "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(file.read_text())["rows"]
    assert [row["what"] for row in rows] == ["floor / loop", "look / step", "look / epoch"]
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in rows)
    assert "vgg-small" in done.stdout
    assert "100%, 0.0 min left" in done.stderr
