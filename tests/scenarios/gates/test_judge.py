"""The gate's bounds by how often they err, its verdicts, and what it says."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, t  # type: ignore[attr-defined]

from carom.errors import InputError
from carom.scenarios.gates.ask import Answers
from carom.scenarios.gates.judge import Limits, Sums, Verdict, drop_bounds, judge, share_bounds

Right = NDArray[np.bool_]


def answers(adversarial: Right) -> Answers:
    return Answers(clean=np.ones(adversarial.shape[1], dtype=np.bool_), adversarial=adversarial)


def drawn(seed: int, *, n: int, sets: int, accuracy: float) -> Right:
    return np.random.default_rng(seed).random((sets, n)) < accuracy


def gate(before: Right, now: Right, limits: Limits | None = None, **more: Any) -> Verdict:
    labels = np.arange(before.shape[1]) % 3
    return judge(answers(before), answers(now), labels, ("a", "b", "c"), limits or Limits(), **more)


def worse(right: Right, images: int) -> Right:
    """Wrong in every set on so many more of the images that were right in every set."""
    changed = right.copy()
    changed[:, np.flatnonzero(right.all(0))[:images]] = False
    return changed


# values, probabilities: as rare as one in a hundred, half of the images, few lost in all sets against many won in one
POPULATIONS = {
    "rare": ((-1.0, 0.0, 1.0), (0.0, 0.98, 0.02)),
    "common": ((-1.0, 0.0, 1.0), (0.19, 0.6, 0.21)),
    "few lost wholly": ((-0.25, 0.0, 1.0), (0.3, 0.605, 0.095)),
    "few won wholly": ((-1.0, 0.0, 0.25), (0.05, 0.67, 0.28)),
}


@pytest.mark.parametrize("n", [50, 500, 2000])
@pytest.mark.parametrize("share", [0.05, 0.0125, 0.002])
@pytest.mark.parametrize("population", POPULATIONS)
def test_a_bound_of_the_drop_errs_at_most_at_its_share(population: str, share: float, n: int) -> None:
    values, odds = (np.array(part) for part in POPULATIONS[population])
    truth, draws = float(values @ odds), 10_000
    counts = np.random.default_rng(n).multinomial(n, odds, size=draws)
    kinds, times = np.unique(counts, axis=0, return_counts=True)
    above = below = 0
    for kind, count in zip(kinds, times, strict=True):
        sums = Sums(float(n), *(float(kind @ values**power) for power in (1, 2, 3)))
        low, high = drop_bounds(sums, share, 0.25 if 0.25 in abs(values) else 1.0)
        above += count * (low > truth + 1e-12)
        below += count * (high < truth - 1e-12)
    most = draws * share + 3.5 * math.sqrt(draws * share)  # what simulated counts may add by chance
    assert above <= most
    assert below <= most


@pytest.mark.parametrize("share", [0.05, 0.002])
def test_images_that_agree_bound_the_drop_by_the_rule_of_three(share: float) -> None:
    n = 2000
    low, high = drop_bounds(Sums(float(n), 0.0, 0.0, 0.0), share)
    assert high == -low == pytest.approx((-math.log(share) + 0.5) / n, rel=0.01)
    assert drop_bounds(Sums(float(n), 0.0, 0.0, 0.0), share, 0.25)[1] == pytest.approx(high - 0.375 / n, rel=0.01)


def test_many_images_give_the_t_bound() -> None:
    lost = np.random.default_rng(0).choice([-1, 0, 1], size=100_000, p=[0.2, 0.5, 0.3]).astype(float)
    sums = Sums(float(len(lost)), *(float((lost**power).sum()) for power in (1, 2, 3)))
    low, _ = drop_bounds(sums, 0.01, 0.0)
    plain = lost.mean() - t.isf(0.01, len(lost) - 1) * lost.std(ddof=1) / math.sqrt(len(lost))
    assert low == pytest.approx(plain, abs=5e-5)


@pytest.mark.parametrize(("k", "n"), [(0, 20), (3, 20), (19, 20), (20, 20), (311, 2000)])
def test_a_share_of_images_has_the_bounds_of_clopper_and_pearson(k: int, n: int) -> None:
    low, high = share_bounds(float(k), n, 0.0125)
    assert low == pytest.approx(0 if k == 0 else beta.ppf(0.0125, k, n - k + 1), abs=1e-9)
    assert high == pytest.approx(1 if k == n else beta.isf(0.0125, k + 1, n - k), abs=1e-9)


def test_a_share_of_sets_has_wider_bounds_than_its_whole_part() -> None:
    low, high = share_bounds(50.5, 100, 0.05)
    assert low == share_bounds(50.0, 100, 0.05)[0]
    assert high == share_bounds(51.0, 100, 0.05)[1]


def test_equal_answers_hold_and_a_clear_drop_does_not() -> None:
    before = drawn(1, n=1000, sets=4, accuracy=0.6)
    same = gate(before, before)
    assert (same.verdict, same.checks[0].drop) == ("holds", 0.0)
    assert same.checks[0].needed is None
    fallen = gate(before, worse(before, 100))
    assert fallen.verdict == "weaker"
    (check,) = fallen.checks
    assert check.before == pytest.approx(before.mean())
    assert check.drop == pytest.approx(0.1)
    assert 0.02 < check.low < 0.1 < check.high
    assert gate(worse(before, 100), before).verdict == "holds"  # stronger is no matter


def test_images_count_once_however_many_sets_they_are_in() -> None:
    """Eight copies of a set are no more evidence than the set."""
    before, now = drawn(1, n=300, sets=1, accuracy=0.6), drawn(2, n=300, sets=1, accuracy=0.55)
    one = gate(before, now).checks[0]
    eight = gate(np.repeat(before, 8, 0), np.repeat(now, 8, 0)).checks[0]
    assert (one.low, one.high) == pytest.approx((eight.low, eight.high), abs=1 / (2 * 300))  # half a step apart


def test_too_few_images_cannot_tell_and_what_is_said_to_settle_it_does() -> None:
    before = drawn(1, n=50, sets=3, accuracy=0.8)
    check = gate(before, before).checks[0]
    assert check.verdict == "cannot tell"
    assert check.needed is not None
    for n, verdict in ((check.needed, "holds"), (int(0.8 * check.needed), "cannot tell")):
        larger = drawn(1, n=n, sets=3, accuracy=0.8)
        assert gate(larger, larger).verdict == verdict


def test_no_number_settles_a_drop_at_the_limit() -> None:
    before = np.ones((1, 500), dtype=np.bool_)
    check = gate(before, worse(before, 10)).checks[0]
    assert (check.drop, check.verdict, check.needed) == (0.02, "cannot tell", None)
    same = gate(before, before, Limits(allowance=0.0)).checks[0]
    assert (same.verdict, same.needed) == ("cannot tell", None)


@pytest.mark.parametrize(("floor", "verdict"), [(0.5, "holds"), (0.6, "cannot tell"), (0.7, "weaker")])
def test_a_floor(floor: float, verdict: str) -> None:
    right = drawn(3, n=500, sets=2, accuracy=0.6)
    came = gate(right, right, Limits(floor=floor, allowance=0.1))
    check = came.checks[1]
    assert (check.what, check.verdict, check.before, check.drop) == ("floor", verdict, None, None)
    assert check.low < check.now < check.high
    assert came.verdict == verdict
    if verdict == "cannot tell":
        assert check.needed is None or check.needed > 500


def test_a_class_and_a_case_are_judged_apart() -> None:
    before = np.ones((4, 900), dtype=np.bool_)
    now = before.copy()
    now[:, 1:240:3] = False  # 80 of the 300 images of class b
    limits = Limits(allowance=0.2, per_class=0.1)
    came = gate(before, now, limits)
    assert [check.what for check in came.checks] == ["robust accuracy", "class a", "class b", "class c"]
    assert [check.verdict for check in came.checks] == ["holds", "holds", "weaker", "holds"]
    assert came.checks[2].n == 300
    assert came.checks[2].now == pytest.approx(220 / 300)
    now = before.copy()
    now[3, :300] = False
    came = gate(before, now, Limits(allowance=0.2, per_case=0.1), cases=("C1", "C1", "C3", "C8"))
    assert {check.what: check.verdict for check in came.checks[1:]} == {
        "case C1": "holds",
        "case C3": "holds",
        "case C8": "weaker",
    }
    assert came.checks[3].drop == pytest.approx(1 / 3)


def test_classes_without_images_are_not_judged() -> None:
    right = drawn(1, n=60, sets=1, accuracy=0.5)
    came = judge(answers(right), answers(right), np.zeros(60, dtype=np.int64), ("a", "b"), Limits(per_class=0.5))
    assert [check.what for check in came.checks] == ["robust accuracy", "class a"]


def test_the_level_is_split_over_baselines_and_checks() -> None:
    before = drawn(1, n=2000, sets=2, accuracy=0.6)
    now = drawn(2, n=2000, sets=2, accuracy=0.58)
    one = gate(before, now)
    assert one.share == 0.05
    several = gate(before, now, Limits(floor=0.3, per_class=0.3), baselines=4)
    assert several.share == pytest.approx(0.05 / 4 / 5)
    assert several.checks[0].low < one.checks[0].low
    assert gate(before, now, level=0.05 / 20).checks[0] == several.checks[0]


def test_sentences() -> None:
    before = np.ones((2, 1000), dtype=np.bool_)
    fallen = gate(before, worse(before, 100), baselines=3)
    assert str(fallen) == (
        "robust accuracy fell from 100.0% to 90.0%: by 10.0 points, by at least 8.0 with 98.33% certainty; "
        "2.0 are allowed"
    )
    assert str(gate(before, before)) == (
        "robust accuracy 100.0% -> 100.0%: fell by at most 0.3 points with 95% certainty; 2.0 are allowed"
    )
    few = gate(before[:, :30], before[:, :30])
    assert str(few).endswith(f"; about {few.checks[0].needed} would settle it")
    assert "no number of images would settle it" in str(gate(before[:, :30], before[:, :30], Limits(allowance=0.0)))
    both = gate(before[:, :99], worse(before[:, :99], 50), Limits(floor=0.49))
    lines = both.explain()
    assert lines[0].startswith("robust accuracy fell")
    assert lines[1].startswith("robust accuracy 49.5%: 99 images cannot tell whether it keeps the floor of 49.0%")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"allowance": 2.0}, "allowance=2.0; expected a share"),
        ({"allowance": -0.1}, "allowance=-0.1"),
        ({"allowance": math.nan}, "allowance=nan"),
        ({"floor": 0.0}, "floor=0.0; expected a share from 0 to 1, such as 0.4 for 40%"),
        ({"floor": 1.5}, "floor=1.5"),
        ({"per_class": 1.0}, "per_class=1.0"),
        ({"per_case": -0.2}, "per_case=-0.2"),
    ],
)
def test_limits_out_of_range_are_refused(limits: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Limits(**limits)


def test_what_cannot_be_compared_is_refused() -> None:
    right = drawn(1, n=30, sets=2, accuracy=0.5)
    with pytest.raises(InputError, match=r"2 x 30 .* before, 1 x 30 .* now"):
        gate(right, right[:1])
    with pytest.raises(InputError, match="29 labels for 30 images"):
        judge(answers(right), answers(right), np.zeros(29, dtype=np.int64), ("a",), Limits())
    with pytest.raises(InputError, match="case of each of the 2 sets; none given"):
        gate(right, right, Limits(per_case=0.1))
    with pytest.raises(InputError, match="1 given"):
        gate(right, right, Limits(per_case=0.1), cases=("C1",))
    with pytest.raises(InputError, match="at least one"):
        gate(right, right, baselines=0)
    for level in (0.0, 0.5, float("nan")):
        with pytest.raises(InputError, match=f"level {level}"):
            gate(right, right, level=level)
