"""Rates, tables and lifts against naive loops over cells and images."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[attr-defined]

from carom.errors import ContractError
from carom.scenarios.statistics import (
    CELL,
    Outcomes,
    case_table,
    cell_rates,
    class_rates,
    group_table,
    lift,
    marginal_effects,
    source_levels,
    wilson,
)
from carom.scenarios.statistics.lift import full_noise_asr

Make = Callable[..., Outcomes]


def naive(outcomes: Outcomes, cell: int, images: list[int]) -> tuple[int, int]:
    """Images right when clean, and those of them wrong when attacked, counted one by one."""
    n = k = 0
    for i in images:
        victim = int(outcomes.cells["victim_index"].iloc[cell])
        if outcomes.clean_predictions[victim, i] == outcomes.labels[i]:
            n += 1
            k += outcomes.adversarial[cell, i] != outcomes.labels[i]
    return n, int(k)


def test_cell_rates_are_what_loops_count(make_outcomes: Make) -> None:
    outcomes = make_outcomes(3, images=17, classes=4)
    rates = cell_rates(outcomes)
    everything = list(range(17))
    for cell in range(0, len(rates), 7):
        row = rates.iloc[cell]
        n, k = naive(outcomes, cell, everything)
        assert (row["n"], row["k"], row["asr"]) == (n, k, k / n)
        clean = outcomes.clean_predictions[row["victim_index"]]
        assert row["clean_accuracy"] == np.mean([c == y for c, y in zip(clean, outcomes.labels, strict=True)])
        assert row["robust_accuracy"] == pytest.approx(np.mean(outcomes.adversarial[cell] == outcomes.labels))
        classes = [naive(outcomes, cell, [i for i in everything if outcomes.labels[i] == c]) for c in range(4)]
        assert row["macro_asr"] == pytest.approx(np.mean([k_c / n_c for n_c, k_c in classes if n_c]))
        for s, source in enumerate(outcomes.image_sources):
            n_s, k_s = naive(outcomes, cell, [i for i in everything if outcomes.image_source[i] == s])
            assert (row[f"n:{source}"], row[f"k:{source}"]) == (n_s, k_s)
    by_class = class_rates(outcomes)
    assert len(by_class) == 4 * len(rates)
    for _, row in by_class.iloc[::53].iterrows():
        c = outcomes.classes.index(row["class"])
        images = [i for i in everything if outcomes.labels[i] == c]
        assert (row["n"], row["k"]) == naive(outcomes, row["cell"], images)


def test_no_answer_is_wrong_clean_and_adversarial_alike(make_outcomes: Make) -> None:
    outcomes = make_outcomes(0)
    outcomes.clean_predictions[:, 0] = -1
    outcomes.clean_predictions[:, 1] = outcomes.labels[1]
    outcomes.adversarial[:, 1] = -1
    assert not outcomes.right[:, 0].any()
    assert not outcomes.success[:, 0].any()
    assert outcomes.success[:, 1].all()


def test_every_case_has_the_denominators_of_its_own_victims(make_outcomes: Make) -> None:
    """The published testbed forgot the clean errors of C5 to C8; here every case divides by clean-right images."""
    outcomes = make_outcomes(5, images=40)
    rates = cell_rates(outcomes)
    for label, cells in rates.groupby("victim"):
        right = int((outcomes.clean_predictions[cells["victim_index"].iloc[0]] == outcomes.labels).sum())
        assert 0 < right < 40, label
        assert set(cells["n"]) == {right}
    table = case_table(outcomes)
    for _, row in table.iterrows():
        mine = rates
        for column in ("attack", "norm", "eps", "case"):
            mine = mine[mine[column] == row[column]]
        assert (row["cells"], row["n"], row["k"]) == (len(mine), mine["n"].sum(), mine["k"].sum())
        assert row["asr"] == mine["k"].sum() / mine["n"].sum()
        assert row["clean_accuracy"] == pytest.approx(mine["clean_accuracy"].mean())
        assert row["robust_accuracy"] == pytest.approx(mine["robust_accuracy"].mean())
        for source in outcomes.image_sources:
            assert (row[f"n:{source}"], row[f"k:{source}"]) == (mine[f"n:{source}"].sum(), mine[f"k:{source}"].sum())
        assert row["low"] <= row["asr"] <= row["high"]


def test_the_case_table_names_every_case_once_in_order(make_outcomes: Make) -> None:
    table = case_table(make_outcomes(1, eps=("48/255", "8/255", "16/255")))
    assert list(table.columns[:6]) == ["attack", "norm", "eps", "case", "name", "mismatch"]
    fgsm = table[table["attack"] == "fgsm"]
    assert fgsm["eps"].drop_duplicates().tolist() == ["8/255", "16/255", "48/255"]
    assert fgsm[fgsm["eps"] == "8/255"]["name"].tolist() == [f"C{i}" for i in range(9)]
    assert set(table[table["attack"].str.startswith("sign-noise")]["name"]) == {"control"}


def test_transfer_averages_hold_no_white_box_and_no_control(make_outcomes: Make) -> None:
    outcomes = make_outcomes(2)
    rates = cell_rates(outcomes)
    transfer = rates[rates["case"] > 0]
    for by in (["surrogate"], ["attack", "eps"], ["victim"], []):
        table = group_table(outcomes, by)
        assert table["n"].sum() == transfer["n"].sum()
        assert table["k"].sum() == transfer["k"].sum()
        assert len(table) == (len(transfer.drop_duplicates(by)) if by else 1)


def test_source_levels_say_whose_samples_the_surrogate_had(make_outcomes: Make) -> None:
    outcomes = make_outcomes(4)
    cells = outcomes.cells
    pools = {"flat": "a", "steep": "b"}
    cells["samples_s"] = np.where(cells["architecture_s"] == "cnn", "all", cells["balance_s"].map(pools).fillna(""))
    cells["samples_v"] = cells["balance_v"].map(pools)
    table = source_levels(outcomes).set_index("source_level")
    expected: dict[str, int] = {}
    for _, row in cells[cells["case"] > 0].iterrows():
        if row["source_s"] != row["source_v"]:
            level = "other source"
        elif row["samples_s"] == row["samples_v"]:
            level = "same samples"
        else:
            level = "overlapping samples" if row["samples_s"] == "all" else "disjoint samples"
        expected[level] = expected.get(level, 0) + 1
    assert table["cells"].to_dict() == expected
    assert list(table.index) == ["same samples", "overlapping samples", "disjoint samples", "other source"]


def test_lift_is_against_the_smallest_noise_that_is_as_large(make_outcomes: Make) -> None:
    outcomes = make_outcomes(6)
    table = lift(outcomes)
    assert set(table["control"]) == {"sign-noise 3/4"}  # 0.7 of eps in L2: 1/2 is too small, 1 larger than needed
    assert table["matched"].all()
    cells = outcomes.cells
    for _, row in table.iloc[::11].iterrows():
        both = []
        for surrogate, attack in ((row["surrogate"], row["attack"]), ("", row["control"])):
            here = (cells["surrogate"] == surrogate) & (cells["attack"] == attack)
            here &= (cells["victim"] == row["victim"]) & (cells["eps"] == row["eps"])
            (cell,) = np.flatnonzero(here)
            both.append(naive(outcomes, int(cell), list(range(len(outcomes.labels)))))
        (n, k), (control_n, control_k) = both
        assert n == control_n == row["n"]
        assert row["lift"] == pytest.approx((k - control_k) / n)
        assert row["asr"] - row["control_asr"] == pytest.approx(row["lift"])
        assert row["low"] <= row["lift"] <= row["high"]


@pytest.mark.parametrize(("size", "control", "matched"), [(0.2, "1/2", True), (1.0, "1", True), (1.5, "1", False)])
def test_a_set_larger_than_every_control_is_marked(
    make_outcomes: Make, size: float, control: str, matched: bool
) -> None:
    outcomes = make_outcomes(6)
    assert outcomes.sets is not None
    outcomes.sets.loc[outcomes.sets["surrogate"] != "", "mean_l2"] = size
    table = lift(outcomes)
    assert set(table["control"]) == {f"sign-noise {control}"}
    assert set(table["matched"]) == {matched}


def test_the_lift_of_a_row_is_that_of_its_cells(make_outcomes: Make) -> None:
    outcomes = make_outcomes(7)
    cells = lift(outcomes)
    table = case_table(outcomes).query("case >= 0")
    for _, row in table.iterrows():
        mine = cells[(cells["attack"] == row["attack"]) & (cells["eps"] == row["eps"]) & (cells["case"] == row["case"])]
        assert row["lift"] == pytest.approx((mine["lift"] * mine["n"]).sum() / mine["n"].sum())
    assert case_table(make_outcomes(7, noise=False))["lift"].isna().all()


def test_relative_transfer_divides_by_the_white_box_of_the_same_sets(make_outcomes: Make) -> None:
    outcomes = make_outcomes(8, eps=("8/255",), probability=lambda cell: 0.5)
    rates = cell_rates(outcomes)
    own = rates[rates["case"] == 0].set_index(["surrogate", "attack"])["asr"]
    for _, row in group_table(outcomes, ["surrogate", "attack"]).iterrows():
        assert row["relative_transfer"] == pytest.approx(row["asr"] / own[row["surrogate"], row["attack"]])
    assert case_table(outcomes).query("case == 0")["relative_transfer"].tolist() == pytest.approx([1.0, 1.0])
    assert group_table(make_outcomes(8, itself=False), ["attack"])["relative_transfer"].isna().all()


def test_the_order_of_cells_changes_no_row(make_outcomes: Make) -> None:
    """Controls before what they are the controls of, and all backwards."""
    outcomes = make_outcomes(7, eps=("8/255",), surrogate_seeds=(0, 1))
    table = case_table(outcomes, ()).set_index("case").sort_index()
    for order in (
        np.argsort(outcomes.cells["attack"] != "sign-noise 3/4", kind="stable"),
        np.arange(len(outcomes.cells))[::-1],
    ):
        moved = replace(
            outcomes, cells=outcomes.cells.iloc[order].reset_index(drop=True), adversarial=outcomes.adversarial[order]
        )
        pd.testing.assert_frame_equal(case_table(moved, ()).set_index("case").sort_index(), table)


def test_a_row_says_what_it_would_say_alone(make_outcomes: Make) -> None:
    outcomes = make_outcomes(7, eps=("8/255",), surrogate_seeds=(0, 1, 2))
    table = group_table(outcomes, ["surrogate_config"]).set_index("surrogate_config")
    for name, row in table.iterrows():
        alone = group_table(outcomes.where((outcomes.cells["surrogate_config"] == name).to_numpy()), []).iloc[0]
        assert [row["asr"], row["low"], row["high"]] == pytest.approx([alone["asr"], alone["low"], alone["high"]])


def test_nothing_is_relative_to_a_white_box_that_fails(make_outcomes: Make) -> None:
    outcomes = make_outcomes(8, eps=("8/255",), probability=lambda cell: 0.0 if cell["case"] == 0 else 0.5)
    assert group_table(outcomes, ["surrogate"])["relative_transfer"].isna().all()


def test_images_whose_source_one_side_does_not_say_are_of_no_level(make_outcomes: Make) -> None:
    outcomes = make_outcomes(8, eps=("8/255",))
    blank = outcomes.cells["architecture_v"] == "vit"
    cells = outcomes.cells.assign(source_v=outcomes.cells["source_v"].where(~blank, ""))
    table = source_levels(replace(outcomes, cells=cells), ["architecture_v"])
    assert set(table.loc[table["architecture_v"] == "vit", "source_level"]) == {"unknown"}
    assert "unknown" not in set(table.loc[table["architecture_v"] != "vit", "source_level"])


def test_one_model_of_an_ensemble_is_not_its_white_box(make_outcomes: Make) -> None:
    """Two models that attack together, of which one is a victim too: the other was never asked."""
    outcomes = make_outcomes(8, eps=("8/255",))
    assert outcomes.sets is not None
    alone = group_table(outcomes, ["surrogate"])["relative_transfer"]
    for models, known in ((1, True), (2, False)):
        table = group_table(replace(outcomes, sets=outcomes.sets.assign(models=models)), ["surrogate"])
        assert (table["relative_transfer"] == alone if known else table["relative_transfer"].isna()).all()


def test_a_random_surrogate_is_at_the_floor(make_outcomes: Make) -> None:
    """With images that owe nothing to the surrogate, an attack is no better than noise, and its lift says so."""
    outcomes = make_outcomes(9, images=400, probability=lambda cell: 0.3, eps=("8/255",))
    table = case_table(outcomes).query("case >= 0")
    assert ((table["lift_low"] <= 0) & (table["lift_high"] >= 0)).mean() >= 0.9
    assert table["lift"].abs().max() < 0.1
    strong = make_outcomes(9, images=400, probability=lambda cell: 0.3 if cell["control"] else 0.6, eps=("8/255",))
    assert (case_table(strong).query("case >= 0")["lift_low"] > 0).all()


@pytest.mark.parametrize("first", [0, 1])
def test_the_order_of_cells_changes_no_number(make_outcomes: Make, first: int) -> None:
    """A control first, then anything: each cell and each row has the numbers that it had."""
    plain = make_outcomes(13, images=30)
    rng = np.random.default_rng(first)
    start = int(np.flatnonzero(plain.control)[first])
    order = [start, *(i for i in rng.permutation(len(plain.cells)) if i != start)]
    mixed = replace(plain, cells=plain.cells.iloc[order].reset_index(drop=True), adversarial=plain.adversarial[order])
    keys = [*CELL]
    for table in (lift, cell_rates):
        before, after = (table(of).sort_values(keys, ignore_index=True) for of in (plain, mixed))
        pd.testing.assert_frame_equal(before, after)
    for by in (["attack", "eps"], ["surrogate", "eps"]):
        before, after = (group_table(of, by).sort_values(by, ignore_index=True) for of in (plain, mixed))
        pd.testing.assert_frame_equal(before, after)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_of_full_size_is_judged_as_the_cell_is(make_outcomes: Make, seed: int) -> None:
    """Cells in any order, the control first too: each has the rate of the noise on its victim, by a plain loop."""
    plain = make_outcomes(12, images=30, classes=4, eps=("8/255", "4/255"))
    rng = np.random.default_rng(seed)
    full = np.flatnonzero(plain.cells["attack"] == "sign-noise 1")
    order = [full[seed], *(i for i in rng.permutation(len(plain.cells)) if i != full[seed])]
    cells = plain.cells.iloc[order].reset_index(drop=True)
    aimed = replace(
        plain,
        cells=cells.assign(targeted=(cells["attack"] == "mi").to_numpy()),
        adversarial=plain.adversarial[order],
        target=(plain.labels + 1) % 4,
    )
    expected = []
    for row in aimed.cells.to_dict("records"):
        for i, other in enumerate(aimed.cells.to_dict("records")):
            alike = all(other[c] == row[c] for c in ("victim", "norm", "eps"))
            if other["attack"] == "sign-noise 1" and alike:
                right = aimed.clean_predictions[other["victim_index"]] == aimed.labels
                answers = aimed.adversarial[i]
                hit = answers == aimed.target if row["targeted"] else answers != aimed.labels
                expected.append((right & hit).sum() / right.sum())
    assert full_noise_asr(aimed).tolist() == pytest.approx(expected)


def test_targeted_success_is_the_target_and_only_the_target(make_outcomes: Make) -> None:
    plain = make_outcomes(10, images=30, classes=4, eps=("8/255",))
    target = (plain.labels + 1) % 4
    cells = plain.cells.assign(targeted=plain.cells["attack"] == "mi")
    aimed = replace(plain, cells=cells, target=target)
    rates, plain_rates = cell_rates(aimed), cell_rates(plain)
    for cell in range(len(cells)):
        victim = cells["victim_index"].iloc[cell]
        right = plain.clean_predictions[victim] == plain.labels
        hits = int((right & (plain.adversarial[cell] == target)).sum())
        assert rates["target_rate"].iloc[cell] == hits / right.sum()
        expected = hits if cells["targeted"].iloc[cell] else plain_rates["k"].iloc[cell]
        assert rates["k"].iloc[cell] == expected
    assert (rates["robust_accuracy"] == plain_rates["robust_accuracy"]).all()
    with pytest.raises(ContractError, match="equals the label"):
        replace(plain, cells=cells, target=plain.labels)


def test_images_of_one_source_and_chosen_cells_are_outcomes_too(make_outcomes: Make) -> None:
    outcomes = make_outcomes(11)
    rates = cell_rates(outcomes)
    ink = cell_rates(outcomes.on_source("ink"))
    assert (ink["k"] == rates["k:ink"]).all()
    assert (ink["n"] == rates["n:ink"]).all()
    some = (outcomes.cells["victim_index"] == 2).to_numpy()
    assert cell_rates(outcomes.where(some))["asr"].tolist() == rates["asr"][some].tolist()
    with pytest.raises(ContractError, match="expected one of ink, print"):
        outcomes.on_source("blood")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda o: {"cells": o.cells.drop(columns="eps")}, "lack the columns eps"),
        (lambda o: {"adversarial": o.adversarial[1:]}, "adversarial has shape"),
        (lambda o: {"labels": o.labels + 3}, "labels spans"),
        (lambda o: {"cells": o.cells.assign(control=False)}, "exactly for controls"),
        (lambda o: {"cells": o.cells.assign(victim="one")}, "a cell counts once"),
        (lambda o: {"cells": o.cells.assign(targeted=True)}, "no target classes came"),
        (lambda o: {"sets": o.sets.drop(columns="norm")}, "sets are keyed by"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    make_outcomes: Make, change: Callable[[Outcomes], dict[str, Any]], message: str
) -> None:
    outcomes = make_outcomes(0)
    with pytest.raises(ContractError, match=message):
        replace(outcomes, **change(outcomes))


def test_tables_of_nothing_are_empty(make_outcomes: Make) -> None:
    outcomes = make_outcomes(0)
    nothing = outcomes.where(np.zeros(len(outcomes.cells), dtype=bool))
    tables = [make(nothing) for make in (cell_rates, class_rates, case_table, lift, marginal_effects)]
    for table in (*tables, group_table(nothing, [])):
        assert isinstance(table, pd.DataFrame)
        assert len(table) == 0


@given(n=st.integers(0, 5000), share=st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_wilson_is_that_of_scipy(n: int, share: float) -> None:
    k = round(share * n)
    low, high = wilson(np.array([k]), np.array([n]))
    if n == 0:
        assert math.isnan(low[0])
        assert math.isnan(high[0])
        return
    expected = binomtest(k, n).proportion_ci(method="wilson")
    assert low[0] == pytest.approx(expected.low, abs=1e-12)
    assert high[0] == pytest.approx(expected.high, abs=1e-12)


def test_the_same_outcomes_give_the_same_table(make_outcomes: Make) -> None:
    for seeds in ((0,), (0, 1), tuple(range(5))):
        kwargs = {"surrogate_seeds": seeds, "victim_seeds": tuple(100 + s for s in seeds), "balances": ("flat",)}
        first, second = (case_table(make_outcomes(1, **kwargs)) for _ in range(2))
        pd.testing.assert_frame_equal(first, second, check_exact=True)
