"""Intervals and tests: against scipy, by their promises, and by how often they cover a known truth."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import binomtest, t  # type: ignore[attr-defined]

from carom.scenarios.statistics import Outcomes, VarianceComponents, holm, marginal_effects, mcnemar, paired_wald
from carom.scenarios.statistics.intervals import paired_sums, quantiles, resampled_sums
from carom.scenarios.statistics.pooled import pool, rate_intervals

Wrong = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
Draw = Callable[[np.random.Generator, pd.DataFrame, int], tuple[Wrong, float]]


def grid(
    surrogate_seeds: Sequence[int], victim_seeds: Sequence[int], architectures: Sequence[str] = ("cnn",)
) -> pd.DataFrame:
    """Cells of surrogates x victims of one source and balance."""
    rows = [
        {
            "surrogate": f"{a}/s{s}",
            "victim": f"{b}/v{v}",
            "attack": "mi",
            "norm": "linf",
            "eps": "8/255",
            "attack_seed": 0,
            "case": 1 if a == b else 3,
            "control": False,
            "surrogate_config": a,
            "victim_config": b,
            "surrogate_seed": s,
            "victim_seed": v,
            "architecture_s": a,
            "architecture_v": b,
        }
        for a in architectures
        for s in surrogate_seeds
        for b in architectures
        for v in victim_seeds
    ]
    cells = pd.DataFrame(rows)
    for axis in ("source", "samples", "balance", "recipe"):
        cells[f"{axis}_s"] = cells[f"{axis}_v"] = "one"
    cells["victim_index"] = pd.factorize(cells["victim"])[0]
    return cells


def judged(cells: pd.DataFrame, wrong: Wrong, rng: np.random.Generator) -> Outcomes:
    """Outcomes of these wrong answers; each victim is right on about 90% of the clean images."""
    images = wrong.shape[1]
    return Outcomes(
        cells=cells,
        adversarial=wrong.astype(np.int16),
        clean_predictions=(rng.random((cells["victim_index"].max() + 1, images)) < 0.1).astype(np.int16),
        labels=np.zeros(images, dtype=np.int64),
        image_source=np.arange(images) % 2,
        image_sources=("ink", "print"),
        classes=("right", "wrong"),
    )


def row_coverage(cells: pd.DataFrame, draw: Draw, *, images: int, repetitions: int = 300) -> tuple[float, str]:
    """How often the 95% interval of all cells pooled holds the truth, and what it says that it ranges over."""
    rng = np.random.default_rng(7)
    inside = 0
    ranges_over = ""
    for _ in range(repetitions):
        wrong, truth = draw(rng, cells, images)
        outcomes = judged(cells, wrong, rng)
        pooled = pool(outcomes, outcomes.transfer, ())
        counts = pooled.counts(outcomes.success[pooled.rows], outcomes)
        row = rate_intervals(pooled, counts, outcomes.image_source).iloc[0]
        inside += bool(row["low"] <= truth <= row["high"])
        ranges_over = row["ranges_over"]
    return inside / repetitions, ranges_over


def probit(*, image: float, surrogate: float, victim: float, mean: float, these_models: bool) -> Draw:
    """Wrong answers with normal effects of images and trained models.

    The truth is the rate over all images, for these models or for all that could have been trained.
    """

    def draw(rng: np.random.Generator, cells: pd.DataFrame, images: int) -> tuple[Wrong, float]:
        s, v = (pd.factorize(cells[side])[0] for side in ("surrogate", "victim"))
        pair = mean + surrogate * rng.normal(size=s.max() + 1)[s] + victim * rng.normal(size=v.max() + 1)[v]
        score = pair[:, None] + image * rng.normal(size=images) + rng.normal(size=(len(cells), images))
        if these_models:
            return score > 0, float(ndtr(pair / np.sqrt(1 + image**2)).mean())
        return score > 0, float(ndtr(mean / np.sqrt(1 + image**2 + surrogate**2 + victim**2)))

    return draw


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("surrogates", "victims", "effects", "ranges_over"),
    [
        pytest.param(1, 1, (1.0, 0.3, 0.3), "images, these models", id="one pair of models"),
        pytest.param(1, 3, (0.3, 0.0, 0.6), "images and victim seeds", id="3 victim seeds"),
        pytest.param(4, 1, (0.3, 0.5, 0.0), "images and surrogate seeds", id="4 surrogate seeds"),
        pytest.param(5, 6, (0.3, 0.4, 0.5), "images and seeds", id="5 x 6 seeds"),
    ],
)
def test_the_interval_of_a_row_covers_what_it_ranges_over(
    surrogates: int, victims: int, effects: tuple[float, float, float], ranges_over: str
) -> None:
    image, surrogate, victim = effects
    draw = probit(
        image=image, surrogate=surrogate, victim=victim, mean=-0.3, these_models=(surrogates, victims) == (1, 1)
    )
    cells = grid(range(surrogates), range(100, 100 + victims))
    covered, said = row_coverage(cells, draw, images=80, repetitions=200 if surrogates < 5 else 80)
    assert 0.90 <= covered <= 0.99
    assert said == ranges_over


def test_few_seeds_err_to_the_wide() -> None:
    """Seeds without any effect, and two sides of two or three: never less than nominal, at the price of width."""
    for seeds, effects in (((1, 3), (1.0, 0.0, 0.0)), ((2, 3), (0.5, 0.3, 0.3))):
        draw = probit(image=effects[0], surrogate=effects[1], victim=effects[2], mean=-0.3, these_models=False)
        cells = grid(range(seeds[0]), range(100, 100 + seeds[1]))
        assert row_coverage(cells, draw, images=80, repetitions=100)[0] >= 0.94


def test_a_row_of_several_cells_covers_when_images_are_shared() -> None:
    """Sixteen cells on the same images are not sixteen times the images."""
    cells = grid((0,), (100,), ("a", "b", "c", "d"))
    draw = probit(image=1.0, surrogate=0.3, victim=0.3, mean=0.2, these_models=True)
    assert 0.90 <= row_coverage(cells, draw, images=80, repetitions=150)[0] <= 0.99


def test_rare_successes_are_covered() -> None:
    draw = probit(image=0.5, surrogate=0.0, victim=0.0, mean=-2.6, these_models=True)
    assert row_coverage(grid((0,), (100,)), draw, images=100, repetitions=150)[0] >= 0.93


@pytest.mark.thorough
def test_the_interval_of_an_effect_covers_what_new_models_would_give() -> None:
    """Each model has a level and a response to the match of its own; a mismatch costs 0.2 on average.

    Pair noise counts on both sides, so coverage is above nominal; the width is held to twice that of a known variance.
    """
    rng = np.random.default_rng(3)
    models, images, repetitions = 4, 100, 120
    cells = grid(range(models), range(100, 100 + models), ("cnn", "vit"))
    match = (cells["architecture_s"] == cells["architecture_v"]).to_numpy()
    s, v = (pd.factorize(cells[side])[0] for side in ("surrogate", "victim"))
    inside, effects, widths = 0, [], []
    for _ in range(repetitions):
        level = rng.normal(0, 0.05, 2 * models)[s] + rng.normal(0, 0.05, 2 * models)[v]
        response = 0.2 + rng.normal(0, 0.08, 2 * models)[s] + rng.normal(0, 0.08, 2 * models)[v]
        p = (0.4 + level + match * response)[:, None] + rng.uniform(-0.1, 0.1, images)
        row = marginal_effects(judged(cells, rng.random(p.shape) < p, rng)).iloc[0]
        inside += bool(row["low"] <= -0.2 <= row["high"])
        effects.append(row["effect"])
        widths.append(row["high"] - row["low"])
    assert inside / repetitions >= 0.94
    assert np.mean(effects) == pytest.approx(-0.2, abs=4 * np.std(effects) / np.sqrt(repetitions))
    assert np.mean(widths) / 2 <= 2 * 1.96 * np.std(effects)


def test_one_source_of_variance_gives_the_t_interval_and_test() -> None:
    for df in (1.0, 4.0, 60.0):
        spread = VarianceComponents(parts=((0.01, df),))
        assert spread.half_width(0.9) == pytest.approx(0.1 * t.isf(0.05, df))
        assert spread.p_value(0.25) == pytest.approx(2 * t.sf(2.5, df), rel=1e-6)
        below, above = t.sf((0.3 - 0.25) / 0.1, df), t.sf((0.3 + 0.25) / 0.1, df)
        assert spread.equivalence_p(0.25, 0.3) == pytest.approx(max(below, above), rel=1e-6)
        assert spread.equivalence_p(0.35, 0.3) == pytest.approx(1 - below, rel=1e-6)


@given(
    parts=st.lists(st.tuples(st.floats(1e-6, 1.0), st.floats(1.0, 200.0)), min_size=1, max_size=3),
    distance=st.floats(0.001, 3.0),
)
@settings(max_examples=100, deadline=None)
def test_p_is_the_level_at_which_the_interval_reaches_the_hypothesis(
    parts: list[tuple[float, float]], distance: float
) -> None:
    spread = VarianceComponents(parts=tuple(parts))
    p = spread.p_value(distance)
    assert 1e-12 <= p <= 1
    if p > 1e-11:
        assert spread.half_width(1 - p) == pytest.approx(distance, rel=1e-3)
    assert spread.half_width(0.95) >= max(VarianceComponents(parts=(part,)).half_width(0.95) for part in parts)


def test_without_variance_only_0_is_0() -> None:
    exact = VarianceComponents(parts=((0.0, 3.0),))
    assert exact.p_value(0.0) == 1
    assert exact.p_value(0.01) == 1e-12


@given(gained=st.integers(0, 400), lost=st.integers(0, 400))
@settings(max_examples=100, deadline=None)
def test_mcnemar_is_the_binomial_test_of_scipy(gained: int, lost: int) -> None:
    (p,) = mcnemar(np.array([gained]), np.array([lost]))
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert p == pytest.approx(expected, rel=1e-9)


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_its_definition(p: list[float]) -> None:
    adjusted = holm(np.array(p))
    order = sorted(range(len(p)), key=lambda i: p[i])
    running = 0.0
    for rank, i in enumerate(order):
        running = max(running, min(1.0, (len(p) - rank) * p[i]))
        assert adjusted[i] == pytest.approx(running)


def test_what_was_not_tested_is_not_in_the_family() -> None:
    adjusted = holm(np.array([0.01, np.nan, 0.02]))
    assert adjusted[[0, 2]].tolist() == [0.02, 0.02]
    assert np.isnan(adjusted[1])


@given(n=st.integers(1, 500), data=st.data())
def test_a_paired_interval_turns_with_its_sides(n: int, data: st.DataObject) -> None:
    gained = data.draw(st.integers(0, n))
    lost = data.draw(st.integers(0, n - gained))
    (low,), (high,) = paired_wald(np.array([gained]), np.array([lost]), np.array([n]))
    (back_low,), (back_high,) = paired_wald(np.array([lost]), np.array([gained]), np.array([n]))
    assert -1 <= low < high <= 1
    assert (low, high) == pytest.approx((-back_high, -back_low))


@pytest.mark.parametrize(
    ("gained", "lost", "images"), [(0, 0, 5), (0, 6, 9), (3, 1, 9), (1, 7, 40), (30, 12, 100), (6, 0, 6)]
)
def test_of_one_cell_sums_have_the_interval_of_bonett_and_price_and_clopper_and_pearsons_inside(
    gained: int, lost: int, images: int
) -> None:
    """Both by their formulas: adjusted Wald with one image added to each side, and the exact interval of a share."""
    d = np.repeat([1.0, -1.0, 0.0], [gained, lost, images - gained - lost])
    (low,), (high,), _ = paired_sums(d[None], np.ones((1, images)))
    up, down = (gained + 1) / (images + 2), (lost + 1) / (images + 2)
    half = 1.959964 * np.sqrt((up + down - (up - down) ** 2) / (images + 2))
    limits = [up - down - half, up - down + half]
    if gained + lost:
        share = binomtest(gained, gained + lost).proportion_ci(method="exact")
        exact = [(gained + lost) / images * (2 * end - 1) for end in (share.low, share.high)]
        limits = [min(limits[0], exact[0]), max(limits[1], exact[1])]
    assert [low, high] == pytest.approx([max(limits[0], -1), min(limits[1], 1)], abs=1e-6)


@pytest.mark.parametrize("case", ["many", "one of two cells"])
def test_sums_have_the_interval_of_the_images_and_two_more(case: str) -> None:
    """Two images beside them: one gains and one loses what an image that differs does, in the root mean square."""
    rng = np.random.default_rng(1)
    if case == "many":
        d, n = rng.integers(-2, 4, 200).astype(np.float64), np.full(200, 3.0)
    else:
        d, n = np.array([1.0, *[0.0] * 9]), np.full(10, 2.0)
    size, each = np.sqrt((d[d != 0] ** 2).mean()), n.mean()
    longer, counts = np.array([*d, size, -size]), np.array([*n, each, each])
    centre = longer.sum() / counts.sum()
    reach = 1.959964 * np.sqrt(((longer - centre * counts) ** 2).sum()) / counts.sum()
    low, high = centre - reach, centre + reach
    if case != "many":  # one image differs: Clopper and Pearson's interval of its share is that of 1 of 1
        low, high = min(low, (2 * 0.025 - 1) * d.sum() / n.sum()), max(high, d.sum() / n.sum())
    found = [float(limit[0]) for limit in paired_sums(d[None], n[None])[:2]]
    assert found == pytest.approx([low, high], abs=1e-6)


def test_images_that_count_in_no_cell_of_a_row_say_nothing_of_it() -> None:
    d, n = np.array([[2.0, -1.0, 0.0, 1.0]]), np.array([[2.0, 2.0, 1.0, 2.0]])
    longer, counts = (np.pad(values, ((0, 0), (0, 5))) for values in (d, n))
    np.testing.assert_allclose(np.array(paired_sums(longer, counts)), np.array(paired_sums(d, n)))


def test_draws_without_a_denominator_do_not_count() -> None:
    draws = np.random.default_rng(0).random((101, 3))
    draws[::3, 1] = np.nan
    draws[:, 2] = np.nan
    expected = [np.quantile(column[~np.isnan(column)], [0.025, 0.975]) for column in draws.T[:2]]
    for low, high in (quantiles(draws), quantiles(draws[:, :1])):
        np.testing.assert_allclose([low[0], high[0]], expected[0])
    low, high = quantiles(draws)
    np.testing.assert_allclose([low[1], high[1]], expected[1])
    assert np.isnan([low[2], high[2]]).all()


def test_images_are_drawn_within_their_source_and_alike_in_every_call() -> None:
    strata = np.array([0] * 7 + [1] * 3)
    identity = np.eye(10)
    weights = resampled_sums(identity, strata)
    assert (weights[:, :7].sum(1) == 7).all()
    assert (weights[:, 7:].sum(1) == 3).all()
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.1)
    np.testing.assert_allclose(weights.var(0), np.repeat([1 - 1 / 7, 1 - 1 / 3], [7, 3]), atol=0.12)
    assert (resampled_sums(identity[:2], strata) == weights[:, :2]).all()
