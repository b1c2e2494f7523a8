"""The story of the README: calibrated, green, red on a weaker copy, green on an equal training."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_example_of_the_readme(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", ROOT / "docs/examples/gate/run.sh", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    calibrated, missing, new, weak, equal = done.stdout.split("$ carom suite")[1].split("$ pytest -q")
    assert "In a test: robustness(model, suite=..., allowance=0.0" in calibrated
    assert "no baseline; to make it: pytest --robustness-update-new-only" in missing
    assert "1 passed" in new
    assert "robust accuracy fell from" in weak
    assert "1 failed" in weak
    assert "holds " in equal
    assert "1 passed" in equal
