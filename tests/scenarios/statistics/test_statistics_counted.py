"""Rows counted from n and k: against the t interval of means, and a known truth."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t  # type: ignore[attr-defined]

from carom.scenarios.statistics import counted_table, wilson


def counted(rates: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", n: int = 1000) -> pd.DataFrame:
    """Cells of surrogates x victims with these rates."""
    surrogates, victims = rates.shape
    return pd.DataFrame(
        {
            "surrogate": np.repeat([f"s{i}" for i in range(surrogates)], victims),
            "victim": np.tile([f"v{i}" for i in range(victims)], surrogates),
            "attack": "mi",
            "control": False,
            "n": n,
            "k": np.rint(rates * n).astype(int).ravel(),
            "row": 0,
        }
    )


def test_one_victim_has_the_t_interval_of_the_means_of_its_surrogates() -> None:
    rates = np.array([[0.2], [0.35], [0.5], [0.41]])
    row = counted_table(counted(rates), ("row",), images=1000).iloc[0]
    expected = t.interval(0.95, 3, loc=rates.mean(), scale=rates.std(ddof=1) / 2)
    assert [row["low"], row["high"]] == pytest.approx(expected)
    assert row["ranges_over"] == "trained surrogates"


def test_two_sides_add_in_quadrature() -> None:
    """Without noise of pairs each side's half-width is that of its own means."""
    rates = 0.4 + np.array([[-0.1], [0.02], [0.08]]) + np.array([[-0.03, 0.03]])
    row = counted_table(counted(rates), ("row",), images=1000).iloc[0]
    halves = [
        t.isf(0.025, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
        for means in (rates.mean(1), rates.mean(0))
    ]
    assert (row["high"] - 0.4) == pytest.approx(np.hypot(*halves))
    assert row["ranges_over"] == "trained surrogates and victims"


def test_models_on_themselves_have_the_t_interval_of_their_means() -> None:
    """The white box: each model is surrogate and victim, and is drawn once."""
    rates = np.array([0.7, 0.85, 0.9, 0.77])
    cells = counted(np.diag(rates))
    cells["victim"] = cells["victim"].str.replace("v", "s")
    row = counted_table(cells[cells["surrogate"] == cells["victim"]], ("row",), images=1000).iloc[0]
    expected = t.interval(0.95, 3, loc=rates.mean(), scale=rates.std(ddof=1) / 2)
    assert [row["low"], row["high"]] == pytest.approx(expected)
    assert row["ranges_over"] == "trained models"


def test_models_in_both_roles_are_drawn_once() -> None:
    """What makes a model a strong surrogate makes it an easy victim here, so that its two roles move together."""
    rng = np.random.default_rng(7)
    held = []
    for _ in range(200):
        own = rng.normal(0, 0.06, 8)
        rates = 0.5 + own[:, None] + own + rng.normal(0, 0.02, (8, 8))
        cells = counted(rates)
        cells["victim"] = cells["victim"].str.replace("v", "s")
        row = counted_table(cells[cells["surrogate"] != cells["victim"]], ("row",), images=1000).iloc[0]
        held.append(row["low"] <= 0.5 <= row["high"])
    assert 0.91 <= np.mean(held) <= 0.99  # 0.95 is nominal; one standard error is 1.5 points


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_models_that_all_agree_leave_the_images(rate: float) -> None:
    row = counted_table(counted(np.full((3, 3), rate), n=50), ("row",), images=60).iloc[0]
    low, high = wilson(np.array([rate * 50]), np.array([50]))
    assert [row["low"], row["high"]] == pytest.approx([low[0], high[0]])
    assert row["ranges_over"] == "images, these models"


@pytest.mark.thorough
@pytest.mark.parametrize(("surrogates", "victims"), [(2, 2), (5, 5), (2, 12)])
def test_intervals_of_few_models_hold_the_truth(surrogates: int, victims: int) -> None:
    rng = np.random.default_rng(surrogates * victims)
    held = []
    for _ in range(200):
        rates = 0.5 + rng.normal(0, 0.06, (surrogates, 1)) + rng.normal(0, 0.06, victims)
        rates = rng.binomial(1000, rates + rng.normal(0, 0.02, rates.shape)) / 1000
        row = counted_table(counted(rates), ("row",), images=1000).iloc[0]
        held.append(row["low"] <= 0.5 <= row["high"])
    assert np.mean(held) >= 0.93  # 0.95 is nominal; one standard error is 1.5 points
