"""The allowance of a recipe: a prediction limit, by formula and by how often new trainings exceed it."""

import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import t  # type: ignore[attr-defined]

from carom.errors import InputError
from carom.scenarios.gates.ask import Answers
from carom.scenarios.gates.calibrate import calibrate

N = 1000


def trainings(right: Sequence[int], n: int = N) -> list[Answers]:
    """One with so many right answers each, on images of its own, of two equal sets."""
    made = []
    for number, count in enumerate(right):
        answers = np.roll(np.arange(n) < count, number)
        made.append(Answers(clean=answers, adversarial=np.stack([answers, answers])))
    return made


def test_it_is_the_prediction_limit_of_a_drop_rounded_up() -> None:
    right = [500, 512, 495, 530, 507, 521]
    came = calibrate(trainings(right))
    shares = np.array(right) / N
    assert came.accuracies == pytest.approx(shares)
    assert came.sd == pytest.approx(shares.std(ddof=1))
    assert came.largest == pytest.approx(0.035)
    limit = t.isf(0.05, 5) * shares.std(ddof=1) * np.sqrt(2)
    assert limit <= came.allowance < limit + 0.001
    assert came.allowance * 1000 == pytest.approx(round(came.allowance * 1000))
    assert calibrate(trainings(right), share=0.01).allowance > came.allowance


def test_new_trainings_exceed_it_as_often_as_said() -> None:
    rng = np.random.default_rng(5)
    splits, exceeded = 1500, 0
    for _ in range(splits):
        right = [int(count) for count in rng.normal(5000, 200, size=7)]
        allowance = calibrate(trainings(right[:5], n=10_000)).allowance
        exceeded += (right[5] - right[6]) / 10_000 > allowance
    assert 0.03 < exceeded / splits < 0.05 + 3 * np.sqrt(0.05 / splits)


def test_equal_trainings_still_get_a_tenth_of_a_point() -> None:
    assert calibrate(trainings([500] * 5)).allowance == pytest.approx(0.001)


def test_rows_say_it_all() -> None:
    rows = dict(calibrate(trainings([500, 510, 490, 520, 480])).rows())
    assert rows["trainings"] == "5"
    assert rows["mean"] == "50.0%"
    assert rows["largest drop from one to another"] == "4.0 points"
    assert rows["allowance, exceeded by 5% of equal trainings"] == "4.8 points"


def test_the_same_training_twice_is_refused() -> None:
    five = trainings([500, 510, 490, 520, 480])
    with pytest.raises(InputError, match="trainings 2 and 4 answer every image alike; the same training twice"):
        calibrate([*five[:3], five[1], five[4]])


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="4 trainings; expected 5 or more"):
        calibrate(trainings([500] * 4))
    with pytest.raises(InputError, match=r"2 x 900, 2 x 1000 \(sets x images\)"):
        calibrate([*trainings([500] * 5), *trainings([500], n=900)])
    with pytest.raises(InputError, match=r"share 0\.5"):
        calibrate(trainings([500] * 5), share=0.5)


def test_a_gate_does_not_wait_for_scipy() -> None:
    code = (
        "import sys, carom.scenarios.gates.judge, carom.scenarios.gates.calibrate;"
        "print([m for m in ('scipy', 'pandas', 'pydantic', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
