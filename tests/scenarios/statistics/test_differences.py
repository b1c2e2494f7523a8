"""The paired difference of two surrogates."""

from dataclasses import replace

import numpy as np
import pytest
from tests.scenarios.made_outcomes import Hits, made

from carom.errors import InputError
from carom.scenarios.statistics import surrogate_difference
from carom.scenarios.statistics.differences import difference_of_rates
from carom.scenarios.statistics.seeds import Counts, Trained


def hits(share: float, n: int = 200, seed: int = 0) -> Hits:
    return np.random.default_rng(seed).random(n) < share


def test_one_seed_by_hand() -> None:
    a, b = np.array([True, True, True, False]), np.array([True, False, False, False])
    right = np.array([True, True, False, True])
    found = surrogate_difference(made({("a", 1, "v", 1): a, ("b", 1, "v", 1): b}, right=right), "a", "b")
    assert found.value == pytest.approx(2 / 3 - 1 / 3)
    assert (found.n, found.surrogate_seeds) == (3, 1)
    assert [found.first, found.second] == pytest.approx([2 / 3, 1 / 3])


def test_equal_surrogates_differ_by_nothing() -> None:
    a = hits(0.4)
    found = surrogate_difference(made({("a", 1, "v", 1): a, ("b", 1, "v", 1): a}), "a", "b")
    assert (found.value, found.verdict) == (0.0, "undecided")
    # no image tells them apart, which 200 images may not: Bonett and Price with none gained and none lost
    assert [found.low, found.high] == pytest.approx([-1.959964 * 2**0.5 / 202, 1.959964 * 2**0.5 / 202])


def test_a_large_difference_holds_and_its_reverse_does_not() -> None:
    outcomes = made({("a", 1, "v", 1): hits(0.8), ("b", 1, "v", 1): hits(0.3, seed=1)})
    assert surrogate_difference(outcomes, "a", "b").verdict == "holds"
    back = surrogate_difference(outcomes, "b", "a")
    assert back.verdict == "does not hold"
    assert back.value == pytest.approx(-surrogate_difference(outcomes, "a", "b").value)


def test_seeds_that_disagree_widen_the_interval() -> None:
    agreeing = made({(s, k, "v", 1): hits(0.6 if s == "a" else 0.4, seed=k) for s in "ab" for k in (1, 2, 3)})
    shares = {1: 0.9, 2: 0.6, 3: 0.3}
    apart = made({(s, k, "v", 1): hits(shares[k] if s == "a" else 0.4, seed=k) for s in "ab" for k in (1, 2, 3)})
    widths = [f.high - f.low for f in (surrogate_difference(agreeing, "a", "b"), surrogate_difference(apart, "a", "b"))]
    assert widths[1] > 3 * widths[0]
    assert surrogate_difference(apart, "a", "b").verdict == "undecided"


def test_only_what_both_met_is_compared() -> None:
    a, b = hits(0.8), hits(0.2)
    cells = {("a", 1, "v", 1): a, ("b", 1, "v", 1): b, ("a", 2, "v", 1): b, ("a", 1, "w", 1): b}
    found = surrogate_difference(made(cells), "a", "b")
    assert (found.n, found.surrogate_seeds) == (200, 1)
    assert found.value == pytest.approx(a.mean() - b.mean())


def test_what_was_made_from_a_victims_own_answers_is_not_compared() -> None:
    cells = {("a", 1, "v", 1): hits(0.8), ("b", 1, "v", 1): hits(0.2), ("a", 1, "w", 1): hits(0.9)}
    cells |= {("b", 1, "w", 1): hits(0.1)}
    outcomes = made(cells)
    reads = np.where(outcomes.cells["victim"].str.startswith("w"), "both", "surrogate")
    found = surrogate_difference(replace(outcomes, cells=outcomes.cells.assign(reads=reads)), "a", "b")
    alone = {key: hit for key, hit in cells.items() if key[2] == "v"}
    assert found.value == surrogate_difference(made(alone), "a", "b").value


def test_a_difference_of_two_rates_lies_between_minus_one_and_one_and_n_is_the_firsts() -> None:
    """The first is judged on a victim that gets 3 of 4 images right, the second on one that gets all."""
    k = np.array([[1, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)
    right = np.array([[1, 1, 1, 0], [1, 1, 1, 1]], dtype=bool)
    nobody = np.zeros(2, dtype=np.int64)
    by = Trained(stratum=nobody, surrogate=nobody, surrogate_seed=nobody, victim=nobody, victim_seed=nobody)
    counts = Counts(k=k, n=right, row=np.arange(2))
    found = difference_of_rates(counts, by, np.arange(2), np.array([1.0, -1.0]), np.zeros(4, dtype=np.int64))
    assert (found.value, found.n) == (1.0, 3)
    assert found.high == 1
    assert -1 <= found.low < 1


def test_a_difference_of_differences_by_hand() -> None:
    """Four rates of 3/4, 1/4, 2/4 and 1/4: (3/4 - 1/4) - (2/4 - 1/4)."""
    k = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1]], dtype=bool)
    counts = Counts(k=k, n=np.ones((1, 4), dtype=bool), row=np.zeros(4, dtype=np.int64))
    nobody = np.zeros(4, dtype=np.int64)
    by = Trained(stratum=nobody, surrogate=nobody, surrogate_seed=nobody, victim=nobody, victim_seed=nobody)
    found = difference_of_rates(counts, by, np.arange(4), np.array([1.0, -1.0, -1.0, 1.0]), nobody)
    assert (found.value, found.first, found.second) == pytest.approx((0.25, 0.5, 0.25))
    assert -2 <= found.low <= found.value <= found.high <= 2


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(InputError, match="share no attack, victim and seed"):
        surrogate_difference(made({("a", 1, "v", 1): hits(0.5), ("b", 1, "w", 1): hits(0.5)}), "a", "b")
