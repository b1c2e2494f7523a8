"""Sets that were made elsewhere, on the pages: an attack of their name, from the surrogate that they name."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from carom.app.queries.images import adversarial_sets
from carom.scenarios.plan.images import images_to_attack
from carom.scenarios.run.run import run_scenario
from carom.scenarios.spec.read import load_scenario

SETS = """
[[sets]]
name = "theirs"
path = "PATH"
budget = {norm = "linf", eps = "32/255"}
surrogate = "a network of theirs"
"""


@pytest.fixture
def brought(copy: Path, finished: Path) -> tuple[Path, str]:
    """The finished store with a run of the same models that has a set from elsewhere beside its own."""
    text = (finished.parent / "small.toml").read_text().replace('name = "small"', 'name = "brought"', 1)
    file = copy.parent / "brought.toml"
    file.write_text(text)
    images = images_to_attack(load_scenario(str(file)), "test").images.images.numpy()
    np.savez(copy.parent / "theirs.npz", x_adv=np.where(images < 128, images + 32, images - 32).astype(np.uint8))
    file.write_text(text + SETS.replace("PATH", str(copy.parent / "theirs.npz")))
    report = run_scenario(load_scenario(str(file)), copy, workers=0, device="cpu")
    assert (report.failures, report.trained, report.crafted) == ([], 0, 1)
    return copy, report.run


@pytest.mark.thorough
def test_every_page_shows_them(brought: tuple[Path, str], explore: Callable[..., AppTest]) -> None:
    folder, run = brought
    sets = adversarial_sets(folder, run)
    assert set(sets.loc[sets["attack"] == "theirs", "surrogate"]) == {"a network of theirs"}
    at = explore(folder, "matrix", run=run, attack="theirs")
    drawn = json.loads(at.get("vega_lite_chart")[0].proto.spec)
    assert drawn["layer"][0]["encoding"]["y"]["scale"]["domain"][0] == "a network of theirs"
    at = explore(folder, "images", run=run, surrogate="a network of theirs", attack="theirs")
    chosen = {box.label: box.value for box in at.selectbox}
    assert (chosen["Surrogate"], chosen["Attack"]) == ("a network of theirs", "theirs")
    at = explore(folder, "transfer", run=run)
    assert "theirs" in next(box.options for box in at.selectbox if box.label == "Attack")
    explore(folder, "attacks", run=run)
    explore(folder, "runs", run=run)
