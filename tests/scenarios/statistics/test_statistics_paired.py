"""Intervals and p of paired differences: against exact tests, in agreement, and by how often they err."""

import itertools

import numpy as np
import pytest
from scipy.special import gammaln, xlogy
from scipy.stats import binomtest  # type: ignore[attr-defined]
from tests.scenarios.made_outcomes import first, made

from carom.scenarios.statistics import compare, compare_pooled, paired_wald
from carom.scenarios.statistics.intervals import paired_sums


@pytest.mark.parametrize(("gained", "exact"), [(4, 0.125), (5, 0.0625), (6, 0.03125), (7, 0.015625)])
@pytest.mark.parametrize("cells", [1, 40])
def test_few_images_that_differ_have_the_exact_p(gained: int, exact: float, cells: int) -> None:
    """Of 500 images some are gained and none is lost, by one cell or by 40 that move together."""
    names = [("s", seed, "v", 99) for seed in range(cells)]
    a, b = (made(dict.fromkeys(names, first(k, 500))) for k in (gained, 0))
    row = compare_pooled(a, b).iloc[0]
    assert row["robust_difference"] == pytest.approx(gained / 500)
    for name, sign in (("robust", 1), ("asr", -1)):
        assert row[f"{name}_p"] == pytest.approx(exact)
        low, high = sorted((sign * row[f"{name}_low"], sign * row[f"{name}_high"]))
        assert (low > 0) == (exact < 0.05)
        assert low < gained / 500 < high


def rows(d: np.ndarray, images: int) -> tuple[float, float, float]:
    """Of numbers that images gain, the others none."""
    gains = np.zeros((1, images))
    gains[0, : len(d)] = d
    low, high, p = paired_sums(gains, np.full((1, images), float(max(1, np.abs(d).max(initial=1)))))
    return float(low[0]), float(high[0]), float(p[0])


def test_p_and_interval_agree_about_no_difference() -> None:
    """All ways in which up to 30 of 30, or of 500, images may differ."""
    for images, (gained, lost) in itertools.product((30, 500), itertools.product(range(31), repeat=2)):
        if gained + lost <= 30:
            low, high, p = rows(np.array([1.0] * gained + [-1.0] * lost), images)
            assert p == pytest.approx(binomtest(gained, gained + lost).pvalue if gained + lost else 1.0)
            assert (p < 0.05) == (not low <= 0 <= high)
            plain = [float(x[0]) for x in paired_wald(np.array([gained]), np.array([lost]), np.array([images]))]
            assert low <= plain[0] + 1e-12
            assert high >= plain[1] - 1e-12
    rng = np.random.default_rng(0)
    for _ in range(300):
        low, high, p = rows(rng.integers(-2, 5, rng.integers(1, 40)).astype(float), 500)
        assert (p < 0.05) == (not low <= 0 <= high)


def test_few_images_that_differ_unequally_have_the_p_of_turned_signs() -> None:
    d = np.array([4.0, 1.0, 2.0, 1.0, -1.0])
    all_ways = [abs(np.dot(signs, d)) >= 7 for signs in itertools.product((-1, 1), repeat=5)]
    assert rows(d, 500)[2] == pytest.approx(np.mean(all_ways))


def test_the_error_of_one_cell_is_at_most_what_it_says() -> None:
    """Every outcome of 40 images with its probability, where nothing differs: no simulation."""
    counts = np.array([(gained, lost, 40 - gained - lost) for gained in range(41) for lost in range(41 - gained)])
    d = np.stack([np.repeat([1.0, -1.0, 0.0], of) for of in counts])
    low, high, p = paired_sums(d, np.ones_like(d))

    def chance(gain: float, loss: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        logs = gammaln(41) - gammaln(counts + 1).sum(1) + xlogy(counts, [gain, loss, 1 - gain - loss]).sum(1)
        return np.asarray(np.exp(logs))

    for moved in (0.02, 0.05, 0.1, 0.3):
        assert chance(moved, moved)[p < 0.05].sum() <= 0.05
        assert chance(moved, moved)[(low > 0) | (high < 0)].sum() <= 0.05
    # and where one side gains, the interval holds the difference
    for gain, loss in ((0.05, 0.0), (0.1, 0.02), (0.4, 0.1)):
        assert chance(gain, loss)[(low <= gain - loss) & (gain - loss <= high)].sum() >= 0.93


def test_the_error_of_pooled_cells_is_about_what_it_says() -> None:
    """Cells that share images: victims of two runs that differ on some images by none to all of 12 cells."""
    rng = np.random.default_rng(3)
    for moved, images in ((0.02, 200), (0.1, 200), (0.1, 60)):
        at = rng.random((1500, images)) < moved
        sizes = rng.binomial(12, rng.beta(0.5, 0.5, at.shape)) * rng.choice([-1, 1], at.shape)
        low, high, p = paired_sums(np.where(at, sizes, 0.0), np.full(at.shape, 12.0))
        assert (p < 0.05).mean() <= 0.06
        assert ((low <= 0) & (high >= 0)).mean() >= 0.94


def test_of_one_cell_the_two_tables_are_one() -> None:
    rng = np.random.default_rng(1)
    hits = [rng.random(90) < share for share in (0.5, 0.6)]
    a, b = (made({("s", 1, "v", 2): hit}, right=~first(9, 90)) for hit in hits)
    single, pooled = compare(a, b).iloc[0], compare_pooled(a, b).iloc[0]
    for name in ("robust", "asr"):
        for column in ("difference", "low", "high", "p"):
            assert single[f"{name}_{column}"] == pytest.approx(pooled[f"{name}_{column}"])
