"""How many networks a surrogate is worth: by hand, as a ladder that rises, and how often the interval holds it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.isotonic import isotonic_regression
from tests.scenarios.made_outcomes import Hits, first, made

from carom.errors import InputError
from carom.scenarios.statistics import Outcomes, tdee
from carom.scenarios.statistics.tdee import _first, equivalent, isotonic

LADDER = {1: "one", 2: "two", 4: "four"}


def row(table: pd.DataFrame) -> Any:
    assert len(table) == 1
    return table.iloc[0]


def by_hand(asr: int, rungs: Sequence[int] = (20, 40, 60)) -> Outcomes:
    hits = {("mine", 0, "v", 100): first(asr)}
    hits |= {(name, 0, "v", 100): first(k) for name, k in zip(LADDER.values(), rungs, strict=True)}
    return made(hits)


@pytest.mark.parametrize(
    ("asr", "value", "shown"),
    [(20, 1.0, "1.00"), (30, 1.5, "1.50"), (40, 2.0, "2.00"), (50, 3.0, "3.00"), (60, 4.0, "4.00")],
)
def test_by_hand(asr: int, value: float, shown: str) -> None:
    """20, 40, 60% for 1, 2, 4 networks: 30% is worth 1.5, and 50% is worth 3."""
    found = row(tdee(by_hand(asr), LADDER))
    assert found["tdee"] == pytest.approx(value)
    assert found["shown"] == shown
    assert (found["surrogate_config"], found["n"], found["k"]) == ("mine", 100, asr)
    assert found["low"] <= value <= found["high"]
    assert not found["below"]
    assert not found["above"]
    assert found["ranges_over"] == "images, these models"


def test_only_images_that_the_victim_gets_right_count() -> None:
    right = np.arange(100) >= 10
    hits = {("mine", 0, "v", 100): first(40), ("one", 0, "v", 100): first(30), ("two", 0, "v", 100): first(50)}
    found = row(tdee(made(hits, right=right), {1: "one", 2: "two"}))
    assert (found["n"], found["k"]) == (90, 30)
    assert found["tdee"] == pytest.approx(1.5)


def test_nothing_is_extrapolated() -> None:
    """Below one network and above the largest ensemble there is an end and a flag, and no number beyond."""
    weak = row(tdee(by_hand(2), LADDER))
    assert (weak["tdee"], weak["shown"], weak["below"], weak["above"]) == (1.0, "<1", True, False)
    assert (weak["low"], weak["high"]) == (1.0, 1.0)
    assert weak["low_open"]
    assert not weak["high_open"]
    strong = row(tdee(by_hand(95), LADDER))
    assert (strong["tdee"], strong["shown"], strong["below"], strong["above"]) == (4.0, ">4", False, True)
    assert (strong["low"], strong["high"]) == (4.0, 4.0)
    assert strong["high_open"]
    assert not strong["low_open"]


def test_a_ladder_that_falls_is_flattened() -> None:
    """50, 30, 60%: the two first become 40%, and what reaches that is worth one network."""
    found = row(tdee(by_hand(40, rungs=(50, 30, 60)), LADDER))
    assert found["adjusted"]
    assert found["tdee"] == pytest.approx(1.0)
    found = row(tdee(by_hand(50, rungs=(50, 30, 60)), LADDER))
    assert found["tdee"] == pytest.approx(3.0)
    assert not row(tdee(by_hand(50), LADDER))["adjusted"]


def test_a_flat_ladder_says_nothing() -> None:
    """Where all rungs and the surrogate always succeed, the interval is the whole ladder and open above."""
    found = row(tdee(by_hand(100, rungs=(100, 100, 100)), LADDER))
    assert (found["low"], found["high"]) == (1.0, 4.0)
    assert found["low_open"]
    assert found["high_open"]


def test_victims_that_get_nothing_right_say_nothing() -> None:
    hits = {(name, 0, "v", 9): first(k) for name, k in (("one", 20), ("two", 60), ("mine", 40))}
    found = row(tdee(made(hits, right=np.zeros(100, dtype=bool)), {1: "one", 2: "two"}))
    assert np.isnan([found["tdee"], found["low"], found["high"]]).all()
    assert found["shown"] == ""


def test_isotonic_is_that_of_a_library() -> None:
    rows = np.random.default_rng(0).random((200, 5))
    rows[0], rows[1] = [1, 1, 1, 1, 1], [5, 4, 3, 2, 1]
    expected = np.stack([isotonic_regression(r) for r in rows])
    np.testing.assert_allclose(isotonic(rows), expected, atol=1e-12)


def test_a_limit_crosses_zero_on_a_straight_line() -> None:
    grid = np.array([1.0, 2.0, 4.0, 8.0])
    assert _first(np.array([0.5, 0.3, -0.1, -0.2]), grid) == pytest.approx(3.5)  # three quarters of the way from 2 to 4
    assert _first(np.array([-0.1, -0.2, -0.3, -0.4]), grid) == 1
    assert _first(np.array([0.4, 0.3, 0.2, 0.1]), grid) == 8


def test_equivalent_grows_with_the_rate() -> None:
    sizes, ladder = np.array([1.0, 2.0, 5.0]), np.array([0.3, 0.25, 0.9])
    values = [equivalent(rate, ladder, sizes)[0] for rate in np.linspace(0, 1, 101)]
    assert values == sorted(values)
    assert {values[0], values[-1]} == {1.0, 5.0}
    assert np.isnan(equivalent(float("nan"), ladder, sizes)[0])


def test_interval_is_paired() -> None:
    """A surrogate that fools the very images that a rung fools is as good as it without any doubt.

    Independent images of the same rate leave doubt.
    """
    rng = np.random.default_rng(0)
    rungs = {("one", 0, "v", 9): rng.random(400) < 0.3, ("three", 0, "v", 9): rng.random(400) < 0.7}
    rungs[("two", 0, "v", 9)] = rng.random(400) < 0.5
    ladder = {1: "one", 2: "two", 3: "three"}
    same = row(tdee(made({**rungs, ("mine", 0, "v", 9): rungs["two", 0, "v", 9]}), ladder))
    other = row(tdee(made({**rungs, ("mine", 0, "v", 9): rng.permutation(rungs["two", 0, "v", 9])}), ladder))
    assert same["tdee"] == other["tdee"] == 2.0
    assert same["high"] - same["low"] < 0.6 * (other["high"] - other["low"])


def simulated(
    rng: np.random.Generator, mine: float, *, seeds: int = 1, images: int = 300, spread: float = 0.0
) -> Outcomes:
    """Images of different difficulty; rates 0.3, 0.5, 0.7 for 1, 2, 4 networks, moved by each seed.

    Seeds move a surrogate and the ladder together, as an ensemble holds the single network of its seed.
    """
    hard = rng.normal(size=images)
    hits: dict[tuple[str, int, str, int], Hits] = {}
    rates = {"one": 0.3, "two": 0.5, "four": 0.7, "mine": mine}
    for seed in range(seeds):
        for name, rate in rates.items():
            moved = rate + rng.normal() * spread
            threshold = np.quantile(np.random.default_rng(1).normal(size=20000) * np.sqrt(1.5), moved)
            hits[name, seed, "v", 100] = hard + rng.normal(size=images) * np.sqrt(0.5) < threshold
    return made(hits)


@pytest.mark.parametrize(
    ("mine", "truth", "seeds", "spread"), [(0.6, 3.0, 1, 0.0), (0.5, 2.0, 3, 0.03), (0.6, 3.0, 5, 0.03)]
)
def test_interval_holds_the_truth(mine: float, truth: float, seeds: int, spread: float) -> None:
    """Of 40 simulated runs, an interval of 95% may miss it in 7 at most: about once in a thousand by chance."""
    rng = np.random.default_rng(7)
    missed = 0
    for _ in range(40):
        found = row(tdee(simulated(rng, mine, seeds=seeds, spread=spread, images=150), LADDER))
        missed += not found["low"] <= truth <= found["high"]
        assert found["surrogate_seeds"] == seeds
    assert missed <= 7


def test_seeds_are_in_the_interval() -> None:
    """Where seeds differ, several of them widen the interval, and say so."""
    found = row(tdee(simulated(np.random.default_rng(0), 0.5, seeds=3, spread=0.1), LADDER))
    assert found["ranges_over"] == "images and surrogate seeds"
    calm = row(tdee(simulated(np.random.default_rng(0), 0.5, seeds=3, spread=0.0), LADDER))
    assert found["high"] - found["low"] > calm["high"] - calm["low"]


def test_an_ensemble_of_two_is_worth_about_two() -> None:
    """Other networks, the same rule: an image is fooled if the mean of k noisy votes is."""
    rng = np.random.default_rng(3)
    images = 1500
    hard = rng.normal(size=images)

    def ensemble(k: int) -> Hits:
        return np.asarray(hard + rng.normal(size=(k, images)).mean(0) * 1.5 < -0.2 + 0.25 * np.log2(k))

    hits = {(f"e{k}", seed, v, 50): ensemble(k) for k in (1, 2, 4, 8) for seed in range(3) for v in ("v", "w")}
    hits |= {("other pair", seed, v, 50): ensemble(2) for seed in range(3) for v in ("v", "w")}
    found = row(tdee(made(hits), {k: f"e{k}" for k in (1, 2, 4, 8)}))
    assert found["tdee"] == pytest.approx(2, abs=0.5)
    assert found["low"] < 2 < found["high"]
    assert found["cells"] == 6


def test_only_common_cells_are_compared() -> None:
    """A victim that the ladder did not meet, and an attack that it did not run, take no part; attacks are rows."""
    hits = {(name, 0, v, 9): first(k) for name, k in (("one", 20), ("two", 60), ("mine", 40)) for v in ("v", "w")}
    hits["mine", 0, "easy", 9] = first(100)
    rows = [{"attack": "mi"}] * len(hits)
    found = row(tdee(made(hits, rows=rows), {1: "one", 2: "two"}))
    assert (found["tdee"], found["cells"], found["n"]) == (1.5, 2, 200)
    two = tdee(made({k: h for k, h in hits.items() if k[2] != "easy"}), {1: "one", 2: "two"}, ("attack", "victim"))
    assert two["victim"].tolist() == ["v/s9", "w/s9"]


def test_white_boxes_take_no_part() -> None:
    hits = {(name, 0, "v", 9): first(k) for name, k in (("one", 20), ("two", 60), ("mine", 40))}
    hits["mine", 0, "mine", 0] = first(100)
    rows: list[dict[str, Any]] = [{}, {}, {}, {"case": 0}]
    assert row(tdee(made(hits, rows=rows), {1: "one", 2: "two"}))["tdee"] == 1.5


@pytest.mark.parametrize(
    ("ladder", "of", "message"),
    [
        ({1: "one"}, "surrogate_config", "at least two"),
        ({2: "two", 4: "four"}, "surrogate_config", "the single network as 1"),
        ({1: "one", 2: "one"}, "surrogate_config", "different surrogates"),
        ({1: "one", 2: "three"}, "surrogate_config", "'three' of the ladder has no cell"),
        ({1: "one", 2: "two"}, "builder", "no column 'builder'"),
    ],
)
def test_bad_input_says_what_to_do(ladder: dict[int, str], of: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        tdee(by_hand(30), ladder, of=of)
    assert "\n" not in str(caught.value)


def test_nothing_in_common_says_nothing() -> None:
    """A victim that the ladder did not meet, or an attack that not all of it ran, gives a row without a number."""
    hits = {(name, 0, "v", 9): first(k) for name, k in (("one", 20), ("two", 60), ("mine", 40))}
    hits["other", 0, "w", 9] = first(50)
    found = tdee(made(hits), {1: "one", 2: "two"}).set_index("surrogate_config")
    assert found["cells"].to_dict() == {"mine": 1, "other": 0}
    assert found["shown"].to_dict() == {"mine": "1.50", "other": ""}
    assert np.isnan(found.loc["other", ["tdee", "low", "high"]].astype(float)).all()
    assert not found.loc["other", ["below", "above", "low_open", "high_open", "adjusted"]].any()
    rows: list[dict[str, Any]] = [{}, {"attack": "vmi"}, {}, {}]
    assert tdee(made(hits, rows=rows), {1: "one", 2: "two"})["tdee"].isna().all()
