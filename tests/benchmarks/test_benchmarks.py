"""The benchmarks run, and compare what they say they compare."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(name: str, tmp_path: Path) -> tuple[str, str, list[dict[str, object]]]:
    """What a quick run prints, its progress, and the rows that it writes."""
    file = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), "--quick", "--json", str(file)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = json.loads(file.read_text())
    assert written["environment"]["versions"]["torch"]
    return done.stdout, done.stderr, written["rows"]


@pytest.mark.slow
def test_crafting_compares_the_same_algorithms(tmp_path: Path) -> None:
    table, progress, rows = run("crafting", tmp_path)
    assert "100%, 0.0 min left" in progress
    assert "small CNN 28" in table
    own, large = rows
    assert own["attack"] == large["attack"] == "fgsm"
    assert own["equal"] == 1.0
    assert own["flipped"] == 0
    assert own["another_algorithm"] == []
    ratios = own["ratios"]
    assert isinstance(ratios, dict)
    assert set(ratios) == {f"{library} over float32" for library in ("torchattacks", "foolbox", "art")}


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "said"), [("overhead", "alone / together"), ("precision", "clean accuracy")], ids=str)
def test_the_others_run(name: str, said: str, tmp_path: Path) -> None:
    table, progress, rows = run(name, tmp_path)
    assert "100%, 0.0 min left" in progress
    assert said in table
    assert rows
