"""Several training seeds: against closed forms, with unequal numbers of them, and by how often the truth is covered."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t  # type: ignore[attr-defined]
from tests.scenarios.made_outcomes import Hits, first, made

from carom.scenarios.statistics import case_table, group_table, surrogate_difference
from carom.scenarios.statistics.seeds import Counts, Trained, over_seeds


def limits(hits: Mapping[tuple[str, int, str, int], Hits]) -> pd.Series:
    """The one row of all cells."""
    return group_table(made(hits), ()).iloc[0]


@pytest.mark.parametrize("seeds", [(2, 2), (3, 2), (5, 4), (6, 5), (2, 1)])
def test_configurations_that_differ_are_no_doubt_about_seeds(seeds: tuple[int, int]) -> None:
    """Two configurations of 90% and 10% whose seeds change nothing: as if each had one seed, whatever their numbers."""
    hits = {("easy", i, "v", 9): first(900, 1000) for i in range(seeds[0])}
    hits |= {("hard", i, "v", 9): first(100, 1000) for i in range(seeds[1])}
    row = limits(hits)
    expected = (0.9 * seeds[0] + 0.1 * seeds[1]) / sum(seeds)
    assert row["asr"] == pytest.approx(expected)
    # the images drawn, and nothing else: 1,000 of them that score 1, 1/2 or so, and 0
    spread = np.array([seeds[0] + seeds[1]] * 100 + [seeds[0]] * 800 + [0] * 100) / sum(seeds)
    half = 1.96 * spread.std() / 1000**0.5
    assert [row["low"], row["high"]] == pytest.approx([expected - half, expected + half], abs=0.1 * half)
    assert row["surrogate_seeds"] == min(seeds)
    assert row["ranges_over"] == "images and surrogate seeds"
    assert ("taken to vary" in row["claim"]) == (min(seeds) == 1)


def test_seeds_never_make_an_interval_narrower_than_images_alone() -> None:
    """Twenty seeds that change nothing, near 0: what they add below is little on the scale of the log odds."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        answers = {i: rng.random(200) < 0.012 for i in range(20)}
        told = limits({("s", i, "v", 9): hits for i, hits in answers.items()})
        hidden = limits({(f"s{i}", 0, "v", 9): hits for i, hits in answers.items()})  # one seed of each: images alone
        assert told["ranges_over"] == "images and surrogate seeds"
        assert hidden["ranges_over"] == "images, these models"
        assert told["low"] <= hidden["low"]
        assert told["high"] >= hidden["high"]


def constant(rates: Mapping[tuple[str, int], float], images: int = 4000) -> dict[tuple[str, int, str, int], Hits]:
    """Surrogates whose sets fool evenly spread images, alike among them as far as they can be."""
    return {(*model, "v", 9): first(round(rate * images), images) for model, rate in rates.items()}


def made_by(config: list[int], seed: list[int]) -> Trained:
    fixed = np.zeros(len(config), dtype=np.int64)
    return Trained(
        stratum=np.array(config),
        surrogate=np.array(config),
        surrogate_seed=np.array(seed),
        victim=fixed,
        victim_seed=fixed,
    )


def covariance(config: list[int], seed: list[int], rates: list[float], images: int = 1000) -> tuple[float, float]:
    """Variance of the mean rate over seeds, and its degrees of freedom."""
    k = np.stack([first(round(rate * images), images) for rate in rates])
    counts = Counts(k=k, n=np.ones((1, images), dtype=bool), row=np.zeros(len(rates), dtype=np.int64))
    (side,) = over_seeds(counts, made_by(config, seed), np.zeros(images, dtype=np.int64)).sides
    return float(side.covariance[0, 0]), side.df


def test_the_variance_over_seeds_in_closed_form() -> None:
    one = covariance([0, 0, 0], [1, 2, 3], [0.3, 0.5, 0.4])
    assert one == pytest.approx((0.1**2 / 3, 2))
    # two configurations that share their seeds: the means over each seed are what varies
    shared = covariance([0, 0, 1, 1], [1, 2, 1, 2], [0.3, 0.5, 0.7, 0.8])
    assert shared == pytest.approx((np.var([0.5, 0.65], ddof=1) / 2, 1))
    # that share none: their own variances, each half as heavy, and the degrees of freedom of both
    apart = covariance([0, 0, 1, 1], [1, 2, 3, 4], [0.3, 0.5, 0.7, 0.8])
    assert apart == pytest.approx(((np.var([0.3, 0.5], ddof=1) + np.var([0.7, 0.8], ddof=1)) / 2 / 4, 2))
    # the more seeds the heavier, as the rate itself is over cells
    unequal = covariance([0, 0, 0, 1, 1], [1, 2, 3, 8, 9], [0.3, 0.5, 0.4, 0.7, 0.8])
    expected = 0.6**2 * np.var([0.3, 0.5, 0.4], ddof=1) / 3 + 0.4**2 * np.var([0.7, 0.8], ddof=1) / 2
    assert unequal == pytest.approx((expected, 5**2 / (2 * 1.5**2 + 2**2)))  # Satterthwaite: a little below 3
    # one that was trained once is taken to vary as the other does: by itself, or with that of its seed
    borrowed = covariance([0, 0, 1], [1, 2, 3], [0.3, 0.5, 0.9])
    assert borrowed == pytest.approx((np.var([0.3, 0.5], ddof=1) / 3, 1))
    together = covariance([0, 0, 1], [1, 2, 1], [0.3, 0.5, 0.9])
    assert together == pytest.approx((np.var([0.3, 0.5], ddof=1) * (2**2 + 1**2) / 3**2, 1))


def test_seeds_alone_give_the_t_interval() -> None:
    """Every image is lost or won by a whole seed: nothing is left to the images."""
    rates = [0.40, 0.45, 0.47, 0.52, 0.41]
    hits = constant({("a", seed): rate for seed, rate in enumerate(rates)}, 20_000)
    row = limits(hits)
    reach = t.isf(0.025, 4) * np.std(rates, ddof=1) / 5**0.5 / (0.45 * 0.55)  # of the log odds
    limits_of_seeds = [1 / (1 + np.exp(-np.log(0.45 / 0.55) - way * reach)) - 0.45 for way in (-1, 1)]
    over_images = 1.96 * np.mean([first(round(100 * r)) for r in rates], axis=0).std() / 20_000**0.5
    expected = [-np.hypot(limits_of_seeds[0], over_images), np.hypot(limits_of_seeds[1], over_images)]
    assert [row["low"] - 0.45, row["high"] - 0.45] == pytest.approx(expected, rel=0.01)


def test_a_difference_takes_the_victims_seeds_too() -> None:
    """Victims that differ in how the two surrogates compare: the interval of the difference says so."""
    rng = np.random.default_rng(0)
    rates = {9: 0.8, 10: 0.6, 11: 0.4}
    hits = {("a", 1, "v", v): rng.random(2000) < rate for v, rate in rates.items()}
    hits |= {("b", 1, "v", v): rng.random(2000) < 0.4 for v in rates}
    found = surrogate_difference(made(hits), "a", "b")
    assert found.ranges_over == "images and victim seeds"
    half = t.isf(0.025, 2) * 0.2 / 3**0.5
    assert found.high - found.value == pytest.approx(half, rel=0.1)
    assert found.verdict == "undecided"


def test_no_difference_seen_is_not_none() -> None:
    """Five images without a difference say no more than the rule of three for paired images does."""
    found = surrogate_difference(made({("a", 1, "v", 1): first(3, 20), ("b", 1, "v", 1): first(3, 20)}), "a", "b")
    assert found.value == 0
    assert found.low < -0.05
    assert found.high > 0.05


def test_where_models_differ_by_their_luck_with_images_alone_all_of_the_variance_is_that_noise() -> None:
    """Every answer is drawn by itself, three images a source: over many such tables variance and noise agree."""
    rng = np.random.default_rng(0)
    strata = np.repeat([0, 1], 3)
    found = []
    for _ in range(2000):
        counts = Counts(k=rng.random((4, 6)) < 0.4, n=np.ones((1, 6)), row=np.zeros(4, dtype=np.int64))
        (side,) = over_seeds(counts, made_by([0] * 4, [1, 2, 3, 4]), strata).sides
        found.append((side.covariance[0, 0], side.noise[0, 0]))
    variance, noise = np.mean(found, axis=0)
    expected = 0.4 * 0.6 / 24  # of the mean of 24 answers
    assert variance == pytest.approx(expected, rel=0.08)  # a standard deviation of it is 1.8%
    assert noise == pytest.approx(expected, rel=0.02)


def test_the_fewest_seeds_of_any_configuration_are_named() -> None:
    rates = {("a", 1): 0.2, ("a", 2): 0.3, ("a", 3): 0.4, ("b", 1): 0.5, ("b", 2): 0.6}
    places = [[0, 0, 0, 1, 1], [1, 2, 3, 1, 2]]
    counts = Counts(
        k=np.stack([first(round(100 * rate)) for rate in rates.values()]),
        n=np.ones((1, 100)),
        row=np.zeros(5, dtype=np.int64),
    )
    for itself in (False, True):
        seeds = over_seeds(counts, made_by(*places), np.zeros(100, dtype=np.int64), itself=itself)
        assert seeds.surrogate_seeds == 2
        assert seeds.victim_seeds == (2 if itself else 1)  # apart, there is one victim


@pytest.mark.parametrize(
    ("seeds", "ranges_over", "claim"),
    [
        ([0], "images, these models", "these models; one seed makes no claim about recipes"),
        ([0, 1, 2], "images and seeds", "retrained models"),
    ],
)
def test_a_rate_of_models_on_themselves_has_one_side(seeds: list[int], ranges_over: str, claim: str) -> None:
    outcomes = made({("a", s, "a", s): first(40 + s) for s in seeds}, case=0)
    row = case_table(outcomes).set_index("case").loc[0]
    assert (row["ranges_over"], row["claim"]) == (ranges_over, claim)
