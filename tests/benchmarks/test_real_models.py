"""Real networks beside torchattacks: the benchmark runs, and both fool the same images."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from matrix import Matrix
from published_networks import MISSING, folder
from real_models import SAME, alike, given, network, resnet20

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "real_models.py"


def test_both_fool_the_same_images_of_a_network_of_random_weights() -> None:
    pixels, y = given(32, 3, quick=True)
    found = list(alike(network(0, 32, quick=True), pixels, y, steps=3))
    assert [one.attack for one in found] == list(SAME)
    for one in found:
        assert one.n == 3
        assert one.differs == ()
        assert one.ours == one.theirs
        assert one.pixels < 1e-9, one.attack


@pytest.mark.thorough
@pytest.mark.skipif(folder() is None, reason=MISSING)
def test_both_fool_the_same_images_of_a_network_that_others_trained() -> None:
    """An image may differ only where it stands on the border: near-zero gradients have no sign."""
    model, pixels, y = resnet20()
    for one in alike(model, pixels[::50], y[::50]):
        assert one.n >= 3
        assert all(min(abs(d.ours), abs(d.theirs)) < 1e-3 for d in one.differs), one


def test_the_three_ways_through_the_matrix_have_the_same_answers(tmp_path: Path) -> None:
    pixels, y = given(32, 4, quick=True)

    def load(number: int) -> torch.nn.Module:
        return network(number, 32, quick=True)

    took = Matrix(tmp_path, load, range(2), range(2), pixels, y, attacks=["pgd"], batches=(4, 4)).in_turn(1)
    assert set(took.equal) == {"per cell", "craft once", "carom"}
    assert took.equal["craft once"] == 1.0
    assert took.equal["carom"] == 1.0


@pytest.mark.slow
def test_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    command = [sys.executable, str(BENCHMARK), "--quick", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["part"]: row for row in json.loads(file.read_text())["rows"]}
    assert set(rows) == {"crafting", "memory", "matrix", "alike"}
    assert rows["crafting"]["ratio"]["median"] > 0
    assert rows["memory"]["gigabytes"]["carom"] >= 0
    assert rows["matrix"]["equal"]["craft once"] == 1.0
    assert [row["attack"] for row in rows["alike"]["rows"]] == list(SAME)
