"""The published DUMB tables: our cases and our effect estimator on their ASR values.

The files are not part of carom. They are looked for in `../shared/data/dumb` beside the checkout, or in
`CAROM_DUMB_DIR`, laid out as DUMB publishes them. The expected values were computed from these files by plain means
and ordinary least squares, apart from carom.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from carom.scenarios.cases import case
from carom.scenarios.statistics import contrast

FOLDER = Path(os.environ.get("CAROM_DUMB_DIR", Path(__file__).parents[4] / "shared" / "data" / "dumb"))
EVALUATION = FOLDER / "results" / "attacks" / "evaluation"

pytestmark = pytest.mark.skipif(
    not EVALUATION.is_dir(), reason=f"no published DUMB results in {FOLDER}; set CAROM_DUMB_DIR"
)

MATH = {
    "bikeMotorbike": (0.2836, 0.2522, 0.1015, 0.1035, 0.2703, 0.2516, 0.1075, 0.1088),
    "catDog": (0.4498, 0.4146, 0.1759, 0.1784, 0.4312, 0.4112, 0.1905, 0.1932),
}
NO_MATH = {
    "bikeMotorbike": (0.0681, 0.0669, 0.0663, 0.0659, 0.0735, 0.0735, 0.0731, 0.0726),
    "catDog": (0.1474, 0.1463, 0.1460, 0.1456, 0.1647, 0.1649, 0.1634, 0.1641),
}
EFFECTS = {
    "bikeMotorbike": {"source": 0.0024, "balance": -0.0073, "architecture": -0.1524},
    "catDog": {"source": 0.0074, "balance": -0.0075, "architecture": -0.2346},
}


def published(task: str) -> pd.DataFrame:
    """All rows of one task, columns named as cells."""
    files = sorted((EVALUATION / task).glob("evaluations_*.csv"))
    frame = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    names = {"source_dataset": "source_s", "target_dataset": "source_v"}
    names |= {"source_balancing": "balance_s", "target_balancing": "balance_v"}
    names |= {"source_model": "architecture_s", "target_model": "architecture_v"}
    frame = frame.rename(columns=names)
    for role, side in (("surrogate", "s"), ("victim", "v")):
        frame[role] = (
            frame[f"source_{side}"] + "/" + frame[f"balance_{side}"].astype(str) + "/" + frame[f"architecture_{side}"]
        )
    # DUMB counts the same weights as C1, so they are not set apart here.
    same = {axis: frame[f"{axis}_s"] == frame[f"{axis}_v"] for axis in ("source", "balance", "architecture")}
    matches = zip(*(same[axis].tolist() for axis in same), strict=True)
    return frame.assign(case=[case(False, *match) for match in matches])


@pytest.mark.parametrize("task", MATH)
def test_the_means_by_case_are_the_published_ones(task: str) -> None:
    frame = published(task)
    assert len(frame) == 14 * 576
    for is_math, expected in ((True, MATH[task]), (False, NO_MATH[task])):
        means = frame[frame["isMath"] == is_math].groupby("case")["asr"].mean()
        assert list(means.index) == list(range(1, 9))
        np.testing.assert_allclose(means, expected, atol=5.01e-5, rtol=0)


@pytest.mark.parametrize("task", MATH)
def test_the_marginal_effects_are_the_published_ones(task: str) -> None:
    frame = published(task)
    rows = frame[frame["isMath"]].reset_index(drop=True)
    for axis, expected in EFFECTS[task].items():
        found = contrast(rows, axis, within=("attack",))
        assert found is not None
        assert found.effect(rows["asr"].to_numpy()) == pytest.approx(expected, abs=5.01e-5)


@pytest.mark.parametrize("task", MATH)
def test_filters_made_without_a_surrogate_show_no_architecture_effect_but_a_source_effect(task: str) -> None:
    """The defect of the published metric: clean errors count as successes across sources, even for a blur."""
    frame = published(task)
    rows = frame[~frame["isMath"].astype(bool)].reset_index(drop=True)
    effects = {}
    for axis in ("source", "architecture"):
        found = contrast(rows, axis, within=("attack",))
        assert found is not None
        effects[axis] = found.effect(rows["asr"].to_numpy())
    assert abs(effects["architecture"]) < 0.002
    assert effects["source"] > 0.005
