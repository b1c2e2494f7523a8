"""Many tests on one page: p from intervals, Holm over the page, and what is said of it."""

import dataclasses

import numpy as np
import pytest
from family import Comparison, Row, compared, corrected, equivalence_p, p_value
from scipy import stats
from tests.scenarios.made_outcomes import made

from carom.scenarios.statistics import surrogate_difference


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("at", [0.0, 1.5])
def test_p_of_an_interval_over_seeds_is_that_of_the_t_test(seeds: int, at: float) -> None:
    drawn = np.random.default_rng(seeds).normal(2.0, 1.0, seeds)
    test = stats.ttest_1samp(drawn, at)
    low, high = test.confidence_interval(0.95)
    found = p_value(float(drawn.mean()), float(low), float(high), df=seeds - 1, at=at)
    assert found == pytest.approx(test.pvalue)


def test_p_of_surrogates_that_differ_on_several_victims_is_that_of_the_t_test() -> None:
    """One seed of each surrogate, three of the victim: it is the victims' seeds that are few."""
    rng = np.random.default_rng(0)
    rates = {9: 0.82, 10: 0.80, 11: 0.75}
    hits = {("a", 1, "v", v): rng.random(20_000) < rate for v, rate in rates.items()}
    hits |= {("b", 1, "v", v): rng.random(20_000) < 0.4 for v in rates}
    found = surrogate_difference(made(hits), "a", "b")
    of_victims = [hits["a", 1, "v", v].mean() - hits["b", 1, "v", v].mean() for v in rates]
    test = stats.ttest_1samp(of_victims, 0.0)
    assert p_value(found.value, found.low, found.high, df=found.df) == pytest.approx(test.pvalue, rel=0.2)


def test_p_reaches_the_level_where_the_interval_reaches_the_hypothesis() -> None:
    for df in (np.inf, 2):
        assert p_value(3.0, 0.0, 8.0, df=df) == pytest.approx(0.05)
        assert p_value(3.0, -1.0, 8.0, df=df, at=8.0) == pytest.approx(0.05)
    found = p_value(1.96, 0.0, 3.92, df=np.inf, at=1.96 - 2.576)
    assert found == pytest.approx(0.01, abs=1e-3)  # a table of the normal


def test_two_one_sided_tests() -> None:
    """Inside +-3 at the 95% level where the interval is, and no more than that at its edge."""
    assert equivalence_p(0.0, -3.0, 3.0, df=np.inf, within=3.0) == pytest.approx(0.05)
    assert equivalence_p(1.0, -1.0, 3.0, df=np.inf, within=3.0) == pytest.approx(0.05)
    assert equivalence_p(0.0, -2.0, 2.0, df=np.inf, within=3.0) < 0.05
    assert equivalence_p(0.0, -4.0, 4.0, df=np.inf, within=3.0) > 0.05
    assert equivalence_p(5.0, 4.0, 6.0, df=np.inf, within=3.0) < 0.05  # surely outside
    # outside, the near edge is the one in question, not the far one
    assert equivalence_p(5.0, 3.0, 7.0, df=np.inf, within=3.0) == pytest.approx(0.05)
    assert equivalence_p(-5.0, -9.0, -1.0, df=np.inf, within=3.0) > 0.05


def test_holm_takes_back_what_the_number_of_tests_explains() -> None:
    """Holm's own steps for p of 0.01, 0.04, 0.03 and 0.005 are 0.03, 0.06, 0.06 and 0.02."""
    ps = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    rows = [compared(name, "x > y", "", [Comparison("", "holds", p)]) for name, p in ps.items()]
    told = {row.name: row.verdict for row in corrected([*rows, Row("e", "not run", "")])}
    assert told == {"a": "holds", "b": "holds alone, p 0.06", "c": "holds alone, p 0.06", "d": "holds", "e": "–"}


def test_what_is_undecided_counts_among_the_tests_and_stays_undecided() -> None:
    alone = compared("a", "x > y", "", [Comparison("BIM", "holds", 0.02), Comparison("MI", "undecided", 0.4)])
    assert alone.verdict == "BIM holds, MI undecided"
    (row,) = corrected([dataclasses.replace(alone, name="a")])
    assert row.verdict == "BIM holds, MI undecided"
    first, _ = corrected([alone, alone])
    assert first.verdict == "BIM holds alone, p 0.08, MI undecided"
