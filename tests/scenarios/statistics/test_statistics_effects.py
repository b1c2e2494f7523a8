"""Marginal effects: against plain differences of means, a known truth, and bootstraps written out."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind
from tests.scenarios.made_outcomes import made

from carom.scenarios.statistics import Outcomes, VarianceComponents, cell_rates, contrast, holm, marginal_effects
from carom.scenarios.statistics.components import over_images, over_models

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
        assert not row["confounded"]


def test_on_any_grid_the_effect_is_that_of_least_squares_with_a_constant_for_each_model(make_outcomes: Make) -> None:
    """Artifact out: dummies and numpy's least squares within each attack and eps, on a grid with half of its cells."""
    outcomes = make_outcomes(2, images=30, drop=0.5)
    rates = cell_rates(outcomes).query("case > 0")
    effects = marginal_effects(outcomes).set_index("axis")
    for axis in CORE:
        flags = {a: rates[f"{a}_s"] == rates[f"{a}_v"] for a in CORE}
        others = [a for a in CORE if a != axis]
        table = rates.assign(**flags)
        sides = table.groupby(["attack", "eps", *others])[axis].transform("nunique")
        table = table[sides == 2]
        told, sizes = [], []
        for _, context in table.groupby(["attack", "eps"]):
            stratum = context[others[0]].astype(str) + context[others[1]].astype(str)
            dummies = [pd.get_dummies(c, dtype=float) for c in (context["surrogate"], context["victim"], stratum)]
            columns = np.column_stack([~context[axis], *dummies]).astype(float)
            told.append(np.linalg.lstsq(columns, context["asr"].to_numpy(), rcond=None)[0][0])
            sizes.append(len(context))
        row = effects.loc[axis]
        assert row["effect"] == pytest.approx(np.average(told, weights=sizes), abs=1e-9)
        assert row["match_cells"] + row["mismatch_cells"] == len(table)
        assert row["left_out"] == len(rates) - len(table)
        assert row["mismatch_asr"] - row["match_asr"] == pytest.approx(row["effect"])


def test_what_models_are_like_as_such_is_in_no_effect(make_outcomes: Make) -> None:
    """On half of a grid the means of matches and mismatches hold different models; the effect must not tell them."""
    strength = {"cnn": 0.1, "vit": 0.4}

    def probability(cell: dict[str, Any]) -> float:
        apart = cell["architecture_s"] != cell["architecture_v"]
        return strength[str(cell["architecture_s"])] + strength[str(cell["architecture_v"])] - 0.05 * bool(apart)

    outcomes = make_outcomes(
        13,
        images=4000,
        attacks=("mi",),
        eps=("8/255",),
        balances=("flat",),
        itself=False,
        noise=False,
        drop=0.4,
        probability=probability,
    )
    row = marginal_effects(outcomes).set_index("axis").loc["architecture"]
    assert row["effect"] == pytest.approx(-0.05, abs=0.02)


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
            "surrogate": list("ppppqq"),
            "victim": list("xwxyxy"),
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
            "surrogate": list("pppprr"),
            "victim": list("wxyzyz"),
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
    # the second surrogate met no victim of the other source, and its level is no business of the effect's
    assert source.effect(frame["asr"].to_numpy()) == pytest.approx(0.0 - 0.7)


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
    grid = make_outcomes(6, **one_source, surrogate_seeds=(0, 1), victim_seeds=(100, 101))
    assert marginal_effects(grid)["ranges_over"].tolist() == ["images and trained models"]
    cells = grid.cells
    surrogate = (cells["surrogate"] == "ink/flat/cnn/s0").to_numpy()
    assert marginal_effects(grid.where(surrogate))["ranges_over"].tolist() == ["images and trained victims"]
    victim = (cells["victim"] == "ink/flat/cnn/s100").to_numpy()
    assert marginal_effects(grid.where(victim))["ranges_over"].tolist() == ["images and trained surrogates"]
    one_each = (cells["surrogate_seed"] <= 0).to_numpy() & cells["victim_seed"].isin([-1, 100]).to_numpy()
    # four cells, and as many constants: nothing is left that could say how models differ
    assert marginal_effects(grid.where(one_each))["ranges_over"].tolist() == ["images, these models"]


def fallen(rows: pd.DataFrame, rng: np.random.Generator, sd: dict[str, float]) -> Any:
    """Effects of models, and costs of a mismatch that differ from model to model and from pair to pair."""
    value = rng.normal(0, sd["pair"], len(rows))
    for side in ("surrogate", "victim"):
        codes, labels = pd.factorize(rows[side])
        value += rng.normal(0, 1, len(labels))[codes]
        value += rng.normal(0, sd[side], len(labels))[codes] * rows["mismatch"].to_numpy()
    return value


def test_the_parts_over_models_are_the_variances_of_the_effect(make_outcomes: Make) -> None:
    """On a grid with gaps: parts of the variance from the coefficients alone, against the mean of what is found.

    What models are like as such is ten times as large as anything else here, and must not matter.
    """
    grid = make_outcomes(
        7,
        images=4,
        sources=("ink",),
        surrogate_seeds=(0, 1, 2),
        victim_seeds=(100, 101),
        attacks=("mi",),
        eps=("8/255",),
        itself=False,
        noise=False,
        drop=0.2,
    )
    rows = grid.cells.assign(mismatch=(grid.cells["architecture_s"] != grid.cells["architecture_v"]) - 0.5)
    found = contrast(grid.cells, "architecture")
    assert found is not None
    sd = {"surrogate": 0.1, "victim": 0.1, "pair": 0.08}
    weights = rows.assign(weight=found.coefficients * rows["mismatch"])
    expected = [
        *(sd[side] ** 2 * (weights.groupby(side)["weight"].sum() ** 2).sum() for side in ("surrogate", "victim")),
        sd["pair"] ** 2 * (found.coefficients**2).sum(),
    ]
    rng = np.random.default_rng(3)
    parts: list[list[float]] = []
    over: dict[str, tuple[float, float]] = {}
    for _ in range(80):
        over, _ = over_models(grid.cells, found.regressions, fallen(rows, rng, sd))
        parts.append([variance for variance, _ in over.values()])
    assert list(over) == ["surrogate", "victim", "pair"]
    assert np.mean(parts, axis=0) == pytest.approx(expected, rel=0.2)


def test_a_model_in_both_roles_is_one_cluster(make_outcomes: Make) -> None:
    outcomes = make_outcomes(8, images=10, victim_seeds=(0,), attacks=("mi",), eps=("8/255",), noise=False)
    cells = outcomes.cells[outcomes.transfer].reset_index(drop=True)
    found = contrast(cells, "architecture")
    assert found is not None
    parts, _ = over_models(cells, found.regressions, np.random.default_rng(0).random(len(cells)))
    assert list(parts) == ["model", "pair"]


def one_to_one(sides: str, *, both_roles: bool = False) -> pd.DataFrame:
    """Every surrogate on every victim, one of each a letter, which is its level; in both roles not on itself."""
    names = [f"{level}{i}" for i, level in enumerate(sides)]
    pairs = [(s, v) for s in names for v in names if not (both_roles and s == v)]
    frame = pd.DataFrame(pairs, columns=["surrogate", "victim"])
    frame = frame.assign(architecture_s=frame["surrogate"].str[0], architecture_v=frame["victim"].str[0])
    return frame if both_roles else frame.assign(surrogate="s-" + frame["surrogate"], victim="v-" + frame["victim"])


@pytest.mark.parametrize(
    ("sides", "both_roles", "freedom"),
    [
        ("aabb", True, 1),  # six pairs either way round; a constant for each of four models, and the mismatch
        ("aabb", False, 8),  # sixteen pairs; seven constants and the mismatch
    ],
)
def test_degrees_of_freedom_of_pairs_are_those_of_what_is_added_up(sides: str, both_roles: bool, freedom: int) -> None:
    cells = one_to_one(sides, both_roles=both_roles)
    found = contrast(cells, "architecture", within=())
    assert found is not None
    parts, _ = over_models(cells, found.regressions, np.random.default_rng(0).random(len(cells)))
    assert parts["pair"][1] == pytest.approx(freedom)


def test_degrees_of_freedom_of_pairs_written_out(make_outcomes: Make) -> None:
    """On a grid with gaps, weights that differ: Satterthwaite from the covariance of all sums, pair by pair."""
    outcomes = make_outcomes(15, images=4, victim_seeds=(0,), attacks=("mi",), eps=("8/255",), noise=False, drop=0.2)
    cells = outcomes.cells[outcomes.transfer].reset_index(drop=True)
    found = contrast(cells, "architecture")
    assert found is not None
    (one,) = found.regressions
    rows = cells.iloc[one.cells[0]]
    names = [min(pair) + max(pair) for pair in zip(rows["surrogate"], rows["victim"], strict=True)]
    added = pd.get_dummies(pd.Series(names), dtype=float).to_numpy().T * one.weights
    covariance = added @ (np.eye(len(rows)) - one.basis @ one.basis.T) @ added.T
    parts, _ = over_models(cells, found.regressions, np.random.default_rng(0).random(len(cells)))
    assert parts["pair"][1] == pytest.approx(np.trace(covariance) ** 2 / (covariance**2).sum())


def test_where_parts_are_not_told_apart_the_interval_holds_what_it_says() -> None:
    """Costs of a mismatch that differ from model to model by as much as images do, one model of each level a side."""
    cells = one_to_one("abc")
    found = contrast(cells, "architecture", within=())
    assert found is not None
    rows = cells.assign(mismatch=(cells["architecture_s"] != cells["architecture_v"]) - 0.5)
    by_image = 0.03  # standard deviation of each cell over images, all of their own
    over_images = (by_image**2 * float((found.coefficients**2).sum()), 1e9)
    rng = np.random.default_rng(4)
    held = []
    for _ in range(250):
        asr = fallen(rows, rng, {"surrogate": 0.04, "victim": 0.04, "pair": 0.01})
        asr += rng.normal(0, by_image, len(rows))
        parts, least = over_models(cells, found.regressions, asr, [by_image * np.eye(len(rows))])
        half = VarianceComponents(parts=(over_images, *parts.values()), least=least).half_width()
        held.append(abs(found.effect(asr)) <= half)
    assert np.mean(held) > 0.93


def test_of_one_surrogate_the_interval_is_not_narrower_than_student_s() -> None:
    """Its victims are two groups, and Student's interval of the difference of their means is exact."""
    rng = np.random.default_rng(0)
    counts = {"a": (50, 57, 64), "b": (40, 47, 54)}
    hits, rows = {}, []
    for level, of_level in counts.items():
        for seed, k in enumerate(of_level):
            hits["s", 0, level, seed] = rng.permutation(100) < k
            rows.append({"architecture_s": "a", "architecture_v": level})
    row = marginal_effects(made(hits, rows=rows)).set_index("axis").loc["architecture"]
    student = ttest_ind(np.array(counts["b"]) / 100, np.array(counts["a"]) / 100).confidence_interval(0.95)
    assert row["effect"] == pytest.approx(-0.1)
    assert row["low"] <= student.low + 1e-9
    assert row["high"] >= student.high - 1e-9


def test_controls_laid_beside_surrogates_have_no_effect(make_outcomes: Make) -> None:
    effects = marginal_effects(make_outcomes(8, images=50))
    assert effects["placebo"].abs().max() < 1e-12
    assert marginal_effects(make_outcomes(8, noise=False))["placebo"].isna().all()


def test_the_placebo_knows_nothing_of_the_size_of_the_sets(make_outcomes: Make) -> None:
    """The sets of some surrogates are small, so their lift is over a weaker control, from which one victim suffers."""
    outcomes = make_outcomes(
        14,
        images=400,
        eps=("8/255",),
        probability=lambda c: 0.9 if "noise 1" in c["attack"] and c["architecture_v"] == "vit" else 0.1,
    )
    sets = outcomes.sets
    assert sets is not None
    sets.loc[sets["surrogate"].str.contains("cnn"), "mean_l2"] = 0.4
    assert marginal_effects(outcomes)["placebo"].abs().max() < 1e-12


def test_a_lopsided_grid_is_marked_and_its_placebo_shows_the_victims(make_outcomes: Make) -> None:
    """All surrogates are of one source: a mismatch is a victim of the other source, which here is easy prey."""
    outcomes = make_outcomes(
        9, images=300, eps=("8/255",), probability=lambda c: 0.7 if c["source_v"] == "print" else 0.3
    )
    ink = ((outcomes.cells["source_s"] == "ink") | outcomes.control).to_numpy()
    row = marginal_effects(outcomes.where(ink)).set_index("axis").loc["source"]
    assert row["confounded"]
    assert row["effect"] == pytest.approx(0.4, abs=0.05)
    assert row["placebo"] == pytest.approx(0.4, abs=0.05)


def test_the_placebo_of_a_targeted_set_is_targeted(make_outcomes: Make) -> None:
    """As above, noise and attacks alike; of the wrong answers half are the target, for both."""
    outcomes = make_outcomes(
        9, images=300, eps=("8/255",), probability=lambda c: 0.7 if c["source_v"] == "print" else 0.3
    )
    aimed = dataclasses.replace(
        outcomes,
        cells=outcomes.cells.assign(targeted=~outcomes.control),
        target=(outcomes.labels + 1) % len(outcomes.classes),
    )
    ink = ((outcomes.cells["source_s"] == "ink") | outcomes.control).to_numpy()
    row = marginal_effects(aimed.where(ink)).set_index("axis").loc["source"]
    assert row["effect"] == pytest.approx(0.19, abs=0.05)
    assert row["placebo"] == pytest.approx(0.19, abs=0.05)


def test_rows_of_one_family_share_the_error(make_outcomes: Make) -> None:
    effects = marginal_effects(make_outcomes(10), by=("attack",))
    assert effects[["attack", "axis"]].values.tolist() == [[a, x] for a in ("fgsm", "mi") for x in CORE]
    assert effects["p_holm"].tolist() == pytest.approx(holm(effects["p"].to_numpy()).tolist())
    assert (effects["p_holm"] >= effects["p"]).all()


def test_equivalence_needs_an_interval_inside_the_margin(make_outcomes: Make) -> None:
    flat = marginal_effects(make_outcomes(11, images=2500, probability=lambda c: 0.5, noise=False))
    assert flat["equivalent"].all()
    assert (flat["p_holm"] > 0.05).all()
    assert (flat["power"] > 0.9).all()
    small = marginal_effects(make_outcomes(11, images=20, probability=lambda c: 0.5, noise=False))
    assert not small["equivalent"].any()
    assert (small["power"] < 0.2).all()


def test_power_is_how_often_the_equivalence_test_says_yes_where_nothing_is_there() -> None:
    spread = VarianceComponents(parts=((1e-4, 8.0), (0.5e-4, 30.0)))
    estimates = np.random.default_rng(0).normal(0, np.sqrt(1.5e-4), 4000)
    yes = np.mean([spread.equivalence_p(e, 0.03) < 0.05 for e in estimates])
    assert spread.equivalence_power(0.03, 0.05) == pytest.approx(yes, abs=0.02)
    assert spread.equivalence_power(0.02, 0.05) == 0.0


def test_effects_on_the_images_of_each_source_are_apart(make_outcomes: Make) -> None:
    outcomes = make_outcomes(12, images=60)
    both = marginal_effects(outcomes)
    for source in outcomes.image_sources:
        alone = marginal_effects(outcomes.on_source(source))
        assert both[f"effect:{source}"].tolist() == pytest.approx(alone["effect"].tolist())
