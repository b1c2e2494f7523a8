"""Marginal effects: against plain differences of means, a known truth, and bootstraps written out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t  # type: ignore[attr-defined]

from carom.scenarios.statistics import Outcomes, cell_rates, contrast, holm, marginal_effects
from carom.scenarios.statistics.effects import over_images

Make = Callable[..., Outcomes]
CORE = ("source", "balance", "architecture")


def test_on_a_balanced_grid_the_effect_is_the_difference_of_marginal_means(make_outcomes: Make) -> None:
    outcomes = make_outcomes(1, images=30)
    rates = cell_rates(outcomes).query("case > 0")
    effects = marginal_effects(outcomes).set_index("axis")
    assert list(effects.index) == list(CORE)
    for axis in CORE:
        same = rates[f"{axis}_s"] == rates[f"{axis}_v"]
        plain = rates.loc[~same, "asr"].mean() - rates.loc[same, "asr"].mean()
        row = effects.loc[axis]
        assert row["effect"] == pytest.approx(plain, abs=1e-12)
        assert (row["match_cells"], row["mismatch_cells"], row["left_out"]) == (same.sum(), (~same).sum(), 0)
        assert row["mismatch_asr"] - row["match_asr"] == pytest.approx(row["effect"])
        assert row["balanced"]


def test_on_any_grid_the_effect_is_the_weighted_mean_over_strata(make_outcomes: Make) -> None:
    outcomes = make_outcomes(2, images=30, drop=0.5)
    rates = cell_rates(outcomes).query("case > 0")
    effects = marginal_effects(outcomes).set_index("axis")
    for axis in CORE:
        flags = {a: (rates[f"{a}_s"] == rates[f"{a}_v"]).to_numpy() for a in CORE}
        top, total = 0.0, 0
        others = [a for a in CORE if a != axis]
        for _, stratum in rates.assign(**flags).groupby(["attack", "eps", *others]):
            same, other = stratum.loc[stratum[axis], "asr"], stratum.loc[~stratum[axis], "asr"]
            if len(same) and len(other):
                top += len(stratum) * float(other.mean() - same.mean())
                total += len(stratum)
        assert effects.loc[axis, "effect"] == pytest.approx(top / total, abs=1e-12)
        row = effects.loc[axis]
        assert row["match_cells"] + row["mismatch_cells"] == total
        assert row["left_out"] == len(rates) - total


def test_the_white_box_enters_no_effect(make_outcomes: Make) -> None:
    with_itself, without = (make_outcomes(3, itself=itself, noise=False) for itself in (True, False))
    changed = with_itself.cells["case"].to_numpy() == 0
    with_itself.adversarial[changed] = -1
    before = marginal_effects(make_outcomes(3, noise=False))
    after = marginal_effects(with_itself)
    assert (before["effect"] == after["effect"]).all()
    assert len(marginal_effects(without)) == 3


def test_strata_with_one_side_say_nothing() -> None:
    """Fgsm ran on matches only; its rates must not enter, however high they are."""
    frame = pd.DataFrame(
        {
            "attack": ["fgsm"] * 2 + ["mi"] * 4,
            "source_s": list("aaaabb"),
            "source_v": list("aaabab"),
            "asr": [1.0, 1.0, 0.5, 0.25, 0.35, 0.7],
        }
    )
    found = contrast(frame, "source", within=("attack",))
    assert found is not None
    assert found.effect(frame["asr"].to_numpy()) == pytest.approx(0.3 - 0.6)
    assert found.coefficients[:2].tolist() == [0, 0]
    assert contrast(frame.iloc[:2], "source", within=("attack",)) is None


def test_samples_are_compared_within_a_source_only() -> None:
    frame = pd.DataFrame(
        {
            "source_s": list("aaaabb"),
            "source_v": list("aabbbb"),
            "samples_s": list("xxxxxx"),
            "samples_v": list("xyxyxy"),
            "asr": [0.9, 0.5, 0.0, 0.0, 0.7, 0.1],
        }
    )
    samples, source = (contrast(frame, axis, within=()) for axis in ("samples", "source"))
    assert samples is not None
    assert source is not None
    assert samples.effect(frame["asr"].to_numpy()) == pytest.approx(0.3 - 0.8)
    assert samples.coefficients[2:4].tolist() == [0, 0]
    assert source.effect(frame["asr"].to_numpy()) == pytest.approx(0.0 - 0.55)


def test_a_further_axis_needs_no_more_than_its_two_columns(make_outcomes: Make) -> None:
    outcomes = make_outcomes(4, images=200, probability=lambda c: 0.7 - 0.4 * (c["balance_s"] != c["balance_v"]))
    cells = outcomes.cells
    cells["resolution_s"] = cells["balance_s"]
    cells["resolution_v"] = cells["balance_v"]
    cells["balance_s"] = cells["balance_v"] = "flat"
    effects = marginal_effects(outcomes).set_index("axis")
    assert list(effects.index) == ["source", "architecture", "resolution"]
    # eps 0 makes half of the cells zero, so the effect is half of the simulated one.
    assert effects.loc["resolution", "effect"] == pytest.approx(-0.2, abs=0.02)
    assert effects["p_holm"]["resolution"] < 0.01


def test_the_variance_over_images_is_that_of_a_bootstrapover_images(make_outcomes: Make) -> None:
    """One model a side leaves the images alone, so the linearised interval can be checked by drawing images."""
    outcomes = make_outcomes(
        5, images=150, sources=("ink",), balances=("flat",), noise=False, itself=False, drop=0.0, eps=("8/255",)
    )
    effects = marginal_effects(outcomes)
    found = contrast(outcomes.cells, "architecture")
    assert found is not None
    rng = np.random.default_rng(0)
    draws = []
    for _ in range(600):
        some = rng.integers(150, size=150)
        right = outcomes.right[:, some].sum(1)[outcomes.victim_index]
        draws.append(found.effect(outcomes.success[:, some].sum(1) / right))
    variance, _ = over_images(outcomes, np.arange(len(outcomes.cells)), found.coefficients, outcomes.asr)
    assert np.sqrt(variance) == pytest.approx(np.std(draws), rel=0.1)
    half = (effects["high"] - effects["low"]).iloc[0] / 2
    assert half > 1.96 * np.sqrt(variance)


def test_each_number_of_models_says_what_it_ranges_over(make_outcomes: Make) -> None:
    one_source: dict[str, Any] = {"sources": ("ink",), "balances": ("flat",), "itself": False}
    grid = make_outcomes(6, **one_source)
    assert marginal_effects(grid)["ranges_over"].tolist() == ["images and trained models"]
    surrogate = (grid.cells["surrogate"] == "ink/flat/cnn/s0").to_numpy()
    assert marginal_effects(grid.where(surrogate))["ranges_over"].tolist() == ["images and trained victims"]
    victim = (grid.cells["victim"] == "ink/flat/cnn/s100").to_numpy()
    assert marginal_effects(grid.where(victim))["ranges_over"].tolist() == ["images and trained surrogates"]


@pytest.mark.parametrize("shared", [False, True], ids=["two roles apart", "one model in both roles"])
def test_the_variance_over_models_is_that_of_weights_drawn_for_each_model(make_outcomes: Make, shared: bool) -> None:
    """Written out: a weight for each label, once for surrogates and once for victims, or once for both."""
    outcomes = make_outcomes(
        7,
        images=60,
        victim_seeds=(0,) if shared else (100,),
        attacks=("mi",),
        eps=("8/255",),
        itself=False,
        noise=False,
        probability=lambda c: 0.3 + 0.3 * (c["architecture_s"] == c["architecture_v"]) + 0.3 * ("ink" in c["victim"]),
    )
    cells, asr = outcomes.cells, outcomes.asr
    flags = [cells[f"{a}_s"] == cells[f"{a}_v"] for a in CORE]
    match = flags[2].to_numpy()
    strata = [np.flatnonzero((flags[0] == d) & (flags[1] == b)) for d in (True, False) for b in (True, False)]
    strata = [rows for rows in strata if len(set(match[rows])) == 2]  # one model in both roles leaves no C1
    used = np.concatenate(strata)
    rng = np.random.default_rng(1)

    def naive(roles: tuple[str, ...]) -> float:
        labels = sorted({label for role in roles for label in cells[role].iloc[used]})
        effects = []
        for _ in range(1500):
            weight = dict(zip(labels, rng.exponential(size=len(labels)), strict=True))
            w = np.prod([[weight.get(label, 0.0) for label in cells[role]] for role in roles], axis=0)
            effects.append(
                sum(
                    len(rows)
                    / len(used)
                    * (
                        np.average(asr[rows[~match[rows]]], weights=w[rows[~match[rows]]])
                        - np.average(asr[rows[match[rows]]], weights=w[rows[match[rows]]])
                    )
                    for rows in strata
                )
            )
        return float(np.var(effects)) * (len(labels) + 1) / (len(labels) - 1)

    roles: list[tuple[str, ...]] = [("surrogate", "victim")] if shared else [("surrogate",), ("victim",)]
    expected = sum(naive(role) for role in roles) * t.isf(0.025, 7) ** 2  # eight models a side
    found = contrast(cells, "architecture")
    assert found is not None
    over, df = over_images(outcomes, np.arange(len(cells)), found.coefficients, asr)
    row = marginal_effects(outcomes).set_index("axis").loc["architecture"]
    half = (row["high"] - row["low"]) / 2
    assert half**2 - over * t.isf(0.025, df) ** 2 == pytest.approx(expected, rel=0.15)
    assert row["ranges_over"] == "images and trained models"


def test_controls_laid_beside_surrogates_have_no_effect(make_outcomes: Make) -> None:
    effects = marginal_effects(make_outcomes(8, images=50))
    assert effects["placebo"].abs().max() < 1e-12
    assert marginal_effects(make_outcomes(8, noise=False))["placebo"].isna().all()


def test_a_lopsided_grid_is_marked_and_its_placebo_shows_the_victims(make_outcomes: Make) -> None:
    """All surrogates are of one source: a mismatch is a victim of the other source, which here is easy prey."""
    outcomes = make_outcomes(
        9, images=300, eps=("8/255",), probability=lambda c: 0.7 if c["source_v"] == "print" else 0.3
    )
    ink = ((outcomes.cells["source_s"] == "ink") | outcomes.control).to_numpy()
    row = marginal_effects(outcomes.where(ink)).set_index("axis").loc["source"]
    assert not row["balanced"]
    assert row["effect"] == pytest.approx(0.4, abs=0.05)
    assert row["placebo"] == pytest.approx(0.4, abs=0.05)


def test_rows_of_one_family_share_the_error(make_outcomes: Make) -> None:
    effects = marginal_effects(make_outcomes(10), by=("attack",))
    assert effects[["attack", "axis"]].values.tolist() == [[a, x] for a in ("fgsm", "mi") for x in CORE]
    assert effects["p_holm"].tolist() == pytest.approx(holm(effects["p"].to_numpy()).tolist())
    assert (effects["p_holm"] >= effects["p"]).all()


def test_equivalence_needs_an_interval_inside_the_margin(make_outcomes: Make) -> None:
    flat = marginal_effects(make_outcomes(11, images=2500, probability=lambda c: 0.5, noise=False))
    assert flat["equivalent"].all()
    assert (flat["p_holm"] > 0.05).all()
    small = marginal_effects(make_outcomes(11, images=20, probability=lambda c: 0.5, noise=False))
    assert not small["equivalent"].any()


def test_effects_on_the_images_of_each_source_are_apart(make_outcomes: Make) -> None:
    outcomes = make_outcomes(12, images=60)
    both = marginal_effects(outcomes)
    for source in outcomes.image_sources:
        alone = marginal_effects(outcomes.on_source(source))
        assert both[f"effect:{source}"].tolist() == pytest.approx(alone["effect"].tolist())
