"""Two runs or victims side by side."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from carom.errors import InputError
from carom.scenarios.statistics import CELL, SET, Outcomes, compare, compare_pooled

Make = Callable[..., Outcomes]


def pair(make: Make, **kwargs: object) -> tuple[Outcomes, Outcomes]:
    """Two runs on the same images: the second has other predictions."""
    a = make(1, **kwargs)
    rng = np.random.default_rng(2)
    labels = np.broadcast_to(a.labels, a.adversarial.shape)
    kept = np.where(rng.random(a.adversarial.shape) < 0.4, labels, a.adversarial).astype(np.int16)
    clean = np.where(rng.random(a.clean_predictions.shape) < 0.1, -1, a.clean_predictions).astype(np.int16)
    return a, replace(a, adversarial=kept, clean_predictions=clean)


def test_every_pair_is_what_loops_count(make_outcomes: Make) -> None:
    a, b = pair(make_outcomes, images=31)
    table = compare(a, b)
    assert len(table) == len(a.cells)
    cells = a.cells.reset_index().set_index(list(CELL))["index"]
    for _, row in table.iloc[::17].iterrows():
        c = int(cells[tuple(row[list(CELL)])])
        v = a.cells["victim_index"].iloc[c]
        both = wins_a = wins_b = robust_a = robust_b = 0
        for i, y in enumerate(a.labels):
            robust_a += a.adversarial[c, i] == y
            robust_b += b.adversarial[c, i] == y
            if a.clean_predictions[v, i] == y and b.clean_predictions[v, i] == y:
                both += 1
                wins_a += a.adversarial[c, i] != y
                wins_b += b.adversarial[c, i] != y
        assert (row["robust_a"], row["robust_b"]) == (robust_a / 31, robust_b / 31)
        assert row["robust_difference"] == pytest.approx((robust_b - robust_a) / 31)
        assert row["both_right"] == both
        assert (row["asr_a"], row["asr_b"]) == (wins_a / both, wins_b / both)
        assert row["asr_low"] <= row["asr_difference"] <= row["asr_high"]
        assert row["b_only"] - row["a_only"] == robust_b - robust_a


def test_a_run_does_not_differ_from_itself(make_outcomes: Make) -> None:
    a = make_outcomes(3)
    table = compare(a, a)
    assert (table[["robust_difference", "asr_difference"]] == 0).all(axis=None)
    assert (table[["robust_p", "asr_p", "robust_p_holm"]] == 1).all(axis=None)
    pooled = compare_pooled(a, a, ("attack", "eps"))
    assert (pooled["robust_p"] == 1).all()


def test_pooled_rows_add_up_their_cells(make_outcomes: Make) -> None:
    a, b = pair(make_outcomes, images=60)
    single, pooled = compare(a, b), compare_pooled(a, b, ("attack",))
    for _, row in pooled.iterrows():
        mine = single[single["attack"] == row["attack"]]
        assert row["cells"] == len(mine)
        assert row["robust_difference"] == pytest.approx(mine["robust_difference"].mean())
        assert row["both_right"] == mine["both_right"].sum()
        weighted = (mine["asr_difference"] * mine["both_right"]).sum() / mine["both_right"].sum()
        assert row["asr_difference"] == pytest.approx(weighted)
        assert row["asr_low"] < row["asr_difference"] < row["asr_high"]
    everything = compare_pooled(a, b)
    assert everything["cells"].tolist() == [len(a.cells)]
    with pytest.raises(InputError, match="expected a part of"):
        compare_pooled(a, b, ("case",))


def test_a_real_gain_is_found_and_corrected_for_the_family(make_outcomes: Make) -> None:
    a, b = pair(make_outcomes, images=400, eps=("8/255",), probability=lambda c: 0.6)
    table = compare(a, b)
    assert (table["robust_p_holm"] < 0.05).mean() > 0.9
    assert (table["robust_p_holm"] >= table["robust_p"]).all()
    assert (compare_pooled(a, b)["robust_p"] < 1e-6).all()


def test_two_victims_of_a_run_are_matched_by_set(make_outcomes: Make) -> None:
    a = make_outcomes(4)
    first, second = (a.where((a.cells["victim_index"] == v).to_numpy()) for v in (0, 1))
    table = compare(first, second, on=SET)
    assert len(table) == len(first.cells.merge(second.cells, on=list(SET)))
    with pytest.raises(InputError, match="no cell of one run is in the other"):
        compare(first, second)
    with pytest.raises(InputError, match="names several cells of run a"):
        compare(a, a, on=SET)


def test_other_images_are_refused(make_outcomes: Make) -> None:
    a = make_outcomes(5)
    with pytest.raises(InputError, match="different images"):
        compare(a, make_outcomes(5, images=30))
    ids = np.arange(len(a.labels))
    with pytest.raises(InputError, match="other images"):
        compare(replace(a, image_ids=ids), replace(a, image_ids=ids + 1))
    with pytest.raises(InputError, match="other images"):
        compare(a, replace(a, image_sources=("ink", "paint")))
