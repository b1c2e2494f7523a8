"""Many tests on one page: what of them holds when all are counted (Holm 1979)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from carom.scenarios.statistics.intervals import holm

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """One comparison of a row.

    Attributes:
        of: What tells it from the row's others, such as "BIM".
        verdict: By its own 95% interval: "holds", "does not hold" or "undecided".
        p: Two-sided p of the hypothesis that it tests.
    """

    of: str
    verdict: str
    p: float


@dataclass(frozen=True)
class Row:
    """One expectation, and what came.

    Attributes:
        name: Of the claim.
        expected: In words.
        came: Numbers.
        verdict: Of one that is no test.
        tests: Its comparisons.
    """

    name: str
    expected: str
    came: str
    verdict: str = "–"
    tests: tuple[Comparison, ...] = ()

    def __str__(self) -> str:
        return f"| {self.name} | {self.expected} | {self.came} | {self.verdict} |"


def compared(name: str, expected: str, came: str, tests: Sequence[Comparison]) -> Row:
    """A row whose verdict is that of its tests, each by itself."""
    return replace(Row(name, expected, came, tests=tuple(tests)), verdict=_said(tests, [t.verdict for t in tests]))


def p_value(value: float, low: float, high: float, *, df: float, at: float = 0.0) -> float:
    """Two-sided p of "the quantity is `at`", from a 95% interval.

    It is the level at which the interval, stretched from its estimate on the side of `at`, just reaches `at`: by t, and
    over images alone (`df` infinite) by the normal distribution. Of an interval with several parts, such as images and
    the seeds of both sides, `df` is that of the part with the fewest. Then this is no less than the exact one where
    that is below 0.05, as a t of fewer degrees of freedom grows faster from one level to the next.
    """
    half = (value - low) if at < value else (high - value)
    if half <= 0:
        return 1.0 if value == at else 0.0
    distance = abs(value - at) / half
    if np.isinf(df):
        return float(2 * ndtr(-distance * ndtri(0.975)))
    return float(2 * stdtr(df, -distance * stdtrit(df, 0.975)))


def equivalence_p(value: float, low: float, high: float, *, df: float, within: float) -> float:
    """The same of "the quantity is not within +-`within`" (Schuirmann 1987), or, of an estimate outside, "it is".

    Both are the larger of the two edges' p: that of the edge which is the least certain to be passed.
    """
    return max(p_value(value, low, high, df=df, at=at) for at in (-within, within))


def corrected(rows: Iterable[Row]) -> list[Row]:
    """The rows with the verdicts that all their tests together leave.

    What a test's own interval says, and Holm's p over the whole page does not, is said to hold "alone".
    """
    given = list(rows)
    adjusted = iter(holm(np.array([test.p for row in given for test in row.tests])).tolist())
    told = []
    for row in given:
        if not row.tests:
            told.append(row)
            continue
        ps = [next(adjusted) for _ in row.tests]
        verdicts = [
            test.verdict if test.verdict == "undecided" or p < LEVEL else f"{test.verdict} alone, p {p:.2g}"
            for test, p in zip(row.tests, ps, strict=True)
        ]
        told.append(replace(row, verdict=_said(row.tests, verdicts)))
    return told


def _said(tests: Sequence[Comparison], verdicts: Sequence[str]) -> str:
    if len(set(verdicts)) == 1:
        return verdicts[0]
    return ", ".join(f"{test.of} {verdict}" for test, verdict in zip(tests, verdicts, strict=True))
