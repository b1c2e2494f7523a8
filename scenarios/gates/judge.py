"""Whether a model is weaker than the one before it: paired by image, one-sided, at a level that many gates share.

The robust accuracy of an image is the share of the suite's adversarial sets of it that are answered right, r_i; the
drop of an image is r_i before minus r_i now. Images are what is drawn, so a model that fails on one image in every set
counts as one image. `docs/statistics.md` derives the bounds, `docs/science/gates.md` shows how often they err.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from carom.errors import InputError

from .ask import Answers

Ints = NDArray[np.int64]
Judgement = Literal["weaker", "holds", "cannot tell"]

MOST_IMAGES = 1_000_000  # nobody builds a larger suite to settle a doubt


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much weaker a model may be. Shares of images, 0.02 is 2 points.

    Attributes:
        allowance: Drop of robust accuracy over all images that is allowed, from 0 to below 1.
        floor: Robust accuracy that must be kept, above 0; None for none.
        per_class: Drop that is allowed within each class; None leaves classes alone.
        per_case: Drop that is allowed within each group of sets; None leaves groups alone.

    Raises:
        InputError: One is out of range.
    """

    allowance: float = 0.02
    floor: float | None = None
    per_class: float | None = None
    per_case: float | None = None

    def __post_init__(self) -> None:
        for name in ("allowance", "floor", "per_class", "per_case"):
            value: Any = getattr(self, name)
            if value is None and name != "allowance":
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            inside = number and (0 < value <= 1 if name == "floor" else 0 <= value < 1)
            if not inside:
                example = "0.4 for 40%" if name == "floor" else "0.02 for 2 points"
                raise InputError(f"limits: {name}={value!r}; expected a share from 0 to 1, such as {example}")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was judged.

    Attributes:
        what: "robust accuracy", "floor", "class NAME" or "case NAME".
        before: Robust accuracy of the model before; None for a floor.
        now: Of the model at hand.
        drop: Before minus now; None for a floor.
        low: One-sided lower bound of the drop (of `now` for a floor), at the check's share of the level.
        high: One-sided upper bound of the same.
        allowed: The limit.
        n: Images.
        verdict: "weaker" if the drop is surely above the limit (the floor surely missed), "holds" if surely not.
        needed: About how many such images would settle it, where it cannot be told; None where no number would.
    """

    what: str
    before: float | None
    now: float
    drop: float | None
    low: float
    high: float
    allowed: float
    n: int
    verdict: Judgement
    needed: int | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of a gate.

    Attributes:
        checks: The one of robust accuracy over all images first.
        level: How often, at most, any of the baselines' gates may call an unchanged model weaker.
        share: What of it is each check's.
    """

    checks: tuple[Check, ...]
    level: float
    share: float

    @property
    def verdict(self) -> Judgement:
        """The worst of the checks'."""
        found = {check.verdict for check in self.checks}
        return "weaker" if "weaker" in found else "cannot tell" if "cannot tell" in found else "holds"

    def explain(self) -> tuple[str, ...]:
        """A sentence on each check that does not hold, the worst first; on the first check if all hold."""
        order: Sequence[Judgement] = ("weaker", "cannot tell")
        told = [check for verdict in order for check in self.checks if check.verdict == verdict]
        return tuple(_sentence(check, self.share) for check in told or self.checks[:1])

    def __str__(self) -> str:
        return "\n".join(self.explain())


def judge(
    before: Answers,
    now: Answers,
    labels: NDArray[np.integer[Any]],
    classes: Sequence[str],
    limits: Limits,
    *,
    level: float = 0.05,
    baselines: int = 1,
    cases: Sequence[str] | None = None,
) -> Verdict:
    """Compare the answers of two models to one suite.

    The level is split over the baselines and over the checks of this gate (Bonferroni): `level` bounds how often any of
    them all calls a model weaker whose drop is no larger than allowed. Classes without images are not judged.

    Args:
        before: Of the model that set the standard.
        now: Of the model at hand.
        labels: Class of each image, `n`.
        classes: Their names.
        limits: What is allowed.
        level: Of all gates together, above 0 and below 1/2.
        baselines: How many gates share it.
        cases: Group of each set, such as "C3"; needed for `limits.per_case`.

    Raises:
        InputError: The answers are of different suites, the labels are not theirs, or a group of each set is missing.
    """
    then, right = np.asarray(before.adversarial), np.asarray(now.adversarial)
    if then.shape != right.shape:
        raise InputError(
            f"gate: {_shape(then)} answered before, {_shape(right)} now; only answers to one suite are comparable"
        )
    if right.ndim != 2 or not right.size:
        raise InputError(f"gate: answers of shape {right.shape}; expected sets x images, at least one of each")
    if len(labels) != right.shape[1]:
        raise InputError(f"gate: {len(labels)} labels for {right.shape[1]} images; expected one for each image")
    if not 0 < level < 0.5 or baselines < 1:
        raise InputError(
            f"gate: level {level} over {baselines} baselines; expected one above 0 and below 0.5, such as 0.05, over "
            "at least one"
        )
    if limits.per_case is not None and (cases is None or len(cases) != len(right)):
        given = "none" if cases is None else str(len(cases))
        raise InputError(
            f"gate: a limit for each case needs the case of each of the {len(right)} sets; {given} given; "
            "say what the model was trained on, or leave per_case out"
        )
    parts = list(_parts(then, right, np.asarray(labels), classes, limits, cases))
    share = level / baselines / (len(parts) + (limits.floor is not None))
    checks = [_drop_check(part, share) for part in parts]
    if limits.floor is not None:
        checks.insert(1, _floor_check(right, limits.floor, share))
    return Verdict(checks=tuple(checks), level=level, share=share)


# ------------------------------------------------------------------------------------------------------------- bounds


class Sums(NamedTuple):
    """Of the drops of images: how many, and the sums of their first three powers."""

    n: float
    first: float
    second: float
    third: float


def drop_bounds(sums: Sums, share: float, step: float = 1.0) -> tuple[float, float]:
    """One-sided lower and upper bound of the mean of values in [-1, 1], each wrong in at most about `share` of samples.

    Bonett and Price's adjusted Wald interval (2012), with four changes. They add one image at +1 and one at -1; here
    (ln share / z)^2 are added, half at each end, so that n images that all agree have bounds no nearer than the
    +-ln(share) / n of the rule of three, whatever the share. t stands for z. Johnson's correction for skewness (1978)
    moves both bounds, as few images that lose in all sets and many that win in one make the mean of a sample lopsided.
    And half a step is added for continuity.

    Args:
        sums: Of the values.
        share: One-sided, below 1/2.
        step: The values are multiples of it: one over the number of sets.
    """
    z = -NormalDist().inv_cdf(share)
    added = (math.log(share) / z) ** 2
    n = sums.n + added
    mean, square, cube = sums.first / n, (sums.second + added) / n, sums.third / n
    variance = square - mean**2
    skew = cube - 3 * mean * square + 2 * mean**3
    half = _t(z, n - 1) * math.sqrt(variance / n) + step / (2 * n)
    shift = (2 * z**2 + 1) / 6 * skew / variance / n
    return max(-1.0, mean - half + shift), min(1.0, mean + half + shift)


def share_bounds(total: float, n: int, share: float) -> tuple[float, float]:
    """One-sided lower and upper bound of the mean of n values in [0, 1] of this sum.

    Clopper and Pearson's (1934), exact where the values are 0 or 1, with the sum rounded away from the bound; values
    between vary less than those, so that it errs to the wide.

    Args:
        total: Sum of the values.
        n: How many.
        share: One-sided.
    """
    lower, upper = math.floor(total + 1e-9), math.ceil(total - 1e-9)
    return _least_rate(lower, n, share), 1 - _least_rate(n - upper, n, share)


def _least_rate(k: int, n: int, share: float) -> float:
    """The p at which k or more successes of n have probability `share`; below it they are less likely."""
    if k == 0:
        return 0.0
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    j = np.arange(k, n + 1)
    ways = logs[n] - logs[j] - logs[n - j]
    low, high = 0.0, k / n if k < n else 1.0
    for _ in range(60):
        p = (low + high) / 2
        tail = float(np.exp(ways + j * math.log(p) + (n - j) * math.log1p(-p)).sum())
        low, high = (low, p) if tail > share else (p, high)
    return low


def _t(z: float, df: float) -> float:
    """Student's t quantile where the normal's is z: Cornish and Fisher's expansion (1937).

    At 10 degrees 0.1% too small at a share of 5%, 3% at 1 in 20,000; at 20 degrees at most 0.5%.
    """
    return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)


# ------------------------------------------------------------------------------------------------------------- checks


class _Part(NamedTuple):
    """What a drop is judged on: right answers of each image, before and now, of so many sets."""

    what: str
    then: Ints
    right: Ints
    sets: int
    allowed: float


def _parts(
    then: NDArray[np.bool_],
    right: NDArray[np.bool_],
    labels: NDArray[np.integer[Any]],
    classes: Sequence[str],
    limits: Limits,
    cases: Sequence[str] | None,
) -> Iterator[_Part]:
    sets = len(right)
    all_then, all_right = then.sum(0, dtype=np.int64), right.sum(0, dtype=np.int64)
    yield _Part("robust accuracy", all_then, all_right, sets, float(limits.allowance))
    if limits.per_class is not None:
        for i, name in enumerate(classes):
            if (mine := labels == i).any():
                yield _Part(f"class {name}", all_then[mine], all_right[mine], sets, float(limits.per_class))
    if limits.per_case is not None and cases is not None:
        for name in sorted(set(cases)):
            mine = np.array([case == name for case in cases])
            counts = then[mine].sum(0, dtype=np.int64), right[mine].sum(0, dtype=np.int64)
            yield _Part(f"case {name}", *counts, int(mine.sum()), float(limits.per_case))


def _drop_check(part: _Part, share: float) -> Check:
    n, lost = len(part.right), part.then - part.right
    sums = Sums(float(n), *(int((lost**power).sum()) / part.sets**power for power in (1, 2, 3)))
    step = 1 / part.sets
    low, high = drop_bounds(sums, share, step)
    verdict: Judgement = "weaker" if low > part.allowed else "holds" if high <= part.allowed else "cannot tell"
    return Check(
        what=part.what,
        before=float(part.then.mean() / part.sets),
        now=float(part.right.mean() / part.sets),
        drop=sums.first / n,
        low=low,
        high=high,
        allowed=part.allowed,
        n=n,
        verdict=verdict,
        needed=_settling(sums, part.allowed, share, step) if verdict == "cannot tell" else None,
    )


def _floor_check(right: NDArray[np.bool_], floor: float, share: float) -> Check:
    n, now = right.shape[1], float(right.mean())
    low, high = share_bounds(int(right.sum()) / len(right), n, share)
    verdict: Judgement = "weaker" if high < floor else "holds" if low >= floor else "cannot tell"
    needed = None
    if verdict == "cannot tell" and now != floor:
        z = -NormalDist().inv_cdf(share)
        most = max(now * (1 - now), floor * (1 - floor))
        needed = _rounded(max(z**2 * most / (now - floor) ** 2, -math.log(share) / abs(now - floor), 1.1 * n))
    return Check(
        what="floor",
        before=None,
        now=now,
        drop=None,
        low=low,
        high=high,
        allowed=float(floor),
        n=n,
        verdict=verdict,
        needed=needed,
    )


def _settling(sums: Sums, allowed: float, share: float, step: float) -> int | None:
    """Images of the same kind, in the same proportions, at which the bounds leave the limit on one side."""

    def settled(n: float) -> bool:
        low, high = drop_bounds(Sums(*(value * n / sums.n for value in sums)), share, step)
        return low > allowed or high <= allowed

    if not settled(float(MOST_IMAGES)):
        return None
    low, high = sums.n, float(MOST_IMAGES)
    while high > 1.01 * low:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if settled(middle) else (middle, high)
    return _rounded(high)


def _rounded(n: float) -> int | None:
    """Up to two digits; None where there are too many."""
    if not n <= MOST_IMAGES:
        return None
    unit: int = 10 ** max(0, len(str(math.ceil(n))) - 2)
    return math.ceil(n / unit) * unit


# ---------------------------------------------------------------------------------------------------------- sentences


def _sentence(check: Check, share: float) -> str:
    certainty = f"{math.floor(1e4 * (1 - share) + 1e-6) / 100:g}% certainty"
    doubt = "no number of images would settle it" if check.needed is None else f"about {check.needed:,} would settle it"
    if check.before is None or check.drop is None:
        floor = f"the floor of {_percent(check.allowed)}"
        start = f"robust accuracy {_percent(check.now)}"
        match check.verdict:
            case "weaker":
                return f"{start} is below {floor}: at most {_percent(check.high)} with {certainty}"
            case "holds":
                return f"{start} keeps {floor}: at least {_percent(check.low)} with {certainty}"
            case _:
                return f"{start}: {check.n:,} images cannot tell whether it keeps {floor} with {certainty}; {doubt}"
    before, now, allowed = _percent(check.before), _percent(check.now), f"{_points(check.allowed)} are allowed"
    match check.verdict:
        case "weaker":
            fall = f"by {_points(check.drop)} points, by at least {_points(check.low)} with {certainty}"
            return f"{check.what} fell from {before} to {now}: {fall}; {allowed}"
        case "holds":
            fall = f"fell by at most {_points(check.high)} points" if check.high > 0 else "did not fall,"
            return f"{check.what} {before} -> {now}: {fall} with {certainty}; {allowed}"
        case _:
            return (
                f"{check.what} {before} -> {now}: {check.n:,} images cannot tell with {certainty} whether it fell by "
                f"more than {_points(check.allowed)} points (the drop lies between {_points(check.low)} and "
                f"{_points(check.high)}); {doubt}"
            )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _points(share: float) -> str:
    return f"{100 * share:.1f}"


def _shape(answers: NDArray[np.bool_]) -> str:
    return " x ".join(map(str, answers.shape)) + " (sets x images)"
