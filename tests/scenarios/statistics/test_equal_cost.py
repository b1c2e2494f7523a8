"""Costs beside transfer: means over seeds, what a budget buys, and that test chooses nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.scenarios.made_outcomes import Hits, first, made

from carom.errors import InputError
from carom.scenarios.statistics import (
    CostTable,
    Outcomes,
    SurrogateCost,
    cost_against_transfer,
    equal_attack_cost,
    equal_training_cost,
    group_table,
)

SEEDS = (0, 1)
PASSES = {"one": 100, "sam": 200, "lgv": 110, "four": 400, "dear": 390}


def outcomes(asr: Mapping[str, int], *, name: str = "v", case: int = 3) -> Outcomes:
    """Two seeds of each surrogate on two victims, at these ASR in percent; seed 1 has one success more."""
    hits: dict[tuple[str, int, str, int], Hits] = {
        (surrogate, seed, name, victim): first(k + seed)
        for surrogate, k in asr.items()
        for seed in SEEDS
        for victim in (100, 101)
    }
    sets = pd.DataFrame(
        [
            {"surrogate": f"{s}/s{seed}", "attack": "mi", "norm": "linf", "eps": "8/255", "attack_seed": 0}
            for s in asr
            for seed in SEEDS
        ]
    ).assign(forward=1000, backward=1000)
    return made(hits, case=case, sets=sets)


def costs(passes: Mapping[str, int] = PASSES) -> list[SurrogateCost]:
    """Seed 1 takes two passes more, so that means are seen to be means."""
    return [
        SurrogateCost(surrogate=f"{s}/s{seed}", passes=p + 2 * seed, seconds=p / 10, parameters=7 * p)
        for s, p in passes.items()
        for seed in SEEDS
    ]


def by_name(table: CostTable) -> Any:
    assert not table.frame.duplicated("surrogate_config").any()
    return table.frame.set_index("surrogate_config")


def test_costs_beside_transfer() -> None:
    run = outcomes({"one": 20, "sam": 40, "lgv": 30, "four": 60, "dear": 50})
    found = by_name(cost_against_transfer(run, costs()))
    assert found["training_passes"].to_dict() == {n: p + 1 for n, p in PASSES.items()}
    assert found["seconds"].to_dict() == {n: p / 10 for n, p in PASSES.items()}
    assert found["parameters"].to_dict() == {n: 7 * p for n, p in PASSES.items()}
    assert set(found["passes_per_image"]) == {20.0}
    # 20 and 21 of 100 on each of two victims
    assert found.loc["one", ["cells", "n", "k"]].tolist() == [4, 400, 82]
    assert found.loc["one", "asr"] == 82 / 400
    assert found.loc["one", ["surrogate_seeds", "victim_seeds"]].tolist() == [2, 2]
    same = group_table(run, ("surrogate_config",)).set_index("surrogate_config")
    pd.testing.assert_frame_equal(
        found[["asr", "low", "high"]], same.loc[found.index, ["asr", "low", "high"]], check_names=False
    )


def test_what_another_row_beats_is_not_efficient() -> None:
    """Dearer than "sam" and no better, or as dear and worse; the cheapest and the best always are."""
    run = outcomes({"one": 20, "sam": 40, "lgv": 30, "four": 60, "dear": 40})
    found = by_name(cost_against_transfer(run, costs()))
    assert found["efficient"].to_dict() == {"one": True, "sam": True, "lgv": True, "four": True, "dear": False}
    run = outcomes({"one": 35, "sam": 40, "lgv": 30, "four": 60, "dear": 50})
    assert not by_name(cost_against_transfer(run, costs())).loc["lgv", "efficient"]
    run = outcomes({"sam": 40, "dear": 40})
    free = [replace(cost, passes=0) for cost in costs()]  # as dear as each other: the better one
    assert by_name(cost_against_transfer(run, free))["efficient"].all()
    run = outcomes({"sam": 40, "dear": 30})
    assert by_name(cost_against_transfer(run, free))["efficient"].to_dict() == {"sam": True, "dear": False}


def test_what_has_no_cost_is_named() -> None:
    """One seed without a cost leaves the surrogate out: the mean over the others would be of another."""
    run = outcomes({"one": 20, "sam": 40})
    found = cost_against_transfer(run, [c for c in costs() if c.surrogate != "sam/s1"])
    assert by_name(found).index.tolist() == ["one"]
    assert found.left_out == ("sam",)


def test_another_seed_is_no_mismatch() -> None:
    run = outcomes({"one": 20}, case=1)
    found = cost_against_transfer(run, costs())
    assert found.frame.empty
    assert found.left_out == ("one",)
    assert len(cost_against_transfer(run, costs(), mismatching=False).frame) == 1


def test_passes_are_those_of_the_attack_and_not_of_its_snapshots() -> None:
    """Ten steps of one forward and one backward pass; the set after the first of them is of the trace."""
    steps = {"mi @1": 1, "mi @10": 10}
    names = [*steps]
    rows = [{"attack": name, "snapshot": name == "mi @1"} for name in names]
    sets = pd.DataFrame(
        [{"surrogate": "one/s0", "attack": name, "norm": "linf", "eps": "8/255", "attack_seed": 0} for name in names]
    ).assign(forward=[100 * steps[name] for name in names], backward=[100 * steps[name] for name in names])
    run = made({("one", 0, "v", 100): first(20), ("one", 0, "v", 101): first(40)}, rows=rows, sets=sets)
    found = by_name(cost_against_transfer(run, costs(), by=("norm", "eps")))
    assert found.loc["one", ["cells", "asr", "passes_per_image"]].tolist() == [1, 0.4, 20.0]


def test_sets_that_do_not_tell_their_passes() -> None:
    run = outcomes({"one": 20})
    run = Outcomes(**{**vars(run), "sets": None})
    assert np.isnan(cost_against_transfer(run, costs()).frame["passes_per_image"]).all()


def test_equal_training_cost() -> None:
    """What fits and wins on validation is reported on test, whatever test says of the others."""
    validation = outcomes({"one": 20, "sam": 40, "lgv": 45, "four": 60, "dear": 55}, name="val")
    test = outcomes({"one": 90, "sam": 10, "lgv": 15, "four": 30, "dear": 80})
    found = equal_training_cost(test, validation, costs(), "one")
    frame = found.frame
    assert frame["budget"].tolist() == [1, 2, 4, 8]
    assert frame["surrogate_config"].tolist() == ["one", "lgv", "four", "four"]
    assert frame["candidates"].tolist() == [1, 3, 5, 5]
    assert frame["validation_asr"].tolist() == pytest.approx([0.205, 0.455, 0.605, 0.605])
    assert frame["asr"].tolist() == pytest.approx([0.905, 0.155, 0.305, 0.305])
    assert frame["trainings"].tolist() == pytest.approx([1, 111 / 101, 401 / 101, 401 / 101])
    assert (frame["low"] <= frame["asr"]).all()
    assert (frame["asr"] <= frame["high"]).all()
    assert found.left_out == ()


def test_slack_lets_small_extras_fit() -> None:
    validation, test = outcomes({"one": 20, "lgv": 45}, name="val"), outcomes({"one": 20, "lgv": 45})
    for slack, expected in ((0.0, "one"), (0.1, "lgv")):
        found = equal_training_cost(test, validation, costs(), "one", budgets=[1], slack=slack)
        assert found.frame["surrogate_config"].tolist() == [expected]


def test_a_budget_that_nothing_fits_has_no_row() -> None:
    run = outcomes({"one": 20, "sam": 40})
    found = equal_training_cost(run, run, costs(), "one", budgets=[0.5, 1])
    assert found.frame["budget"].tolist() == [1]
    nothing = equal_training_cost(run, run, costs(), "one", budgets=[0.5])
    assert nothing.frame.empty
    assert list(nothing.frame.columns) == list(found.frame.columns)


def test_of_equals_the_cheapest() -> None:
    validation, test = (
        outcomes({"one": 20, "four": 40, "sam": 40}, name="val"),
        outcomes({"one": 1, "four": 2, "sam": 3}),
    )
    assert equal_training_cost(test, validation, costs(), "one", budgets=[4]).frame["surrogate_config"].item() == "sam"


def test_a_surrogate_that_test_did_not_meet_is_not_chosen() -> None:
    validation, test = outcomes({"one": 20, "sam": 40}, name="val"), outcomes({"one": 20, "dear": 90})
    found = equal_training_cost(test, validation, costs(), "one", budgets=[8])
    assert found.frame["surrogate_config"].tolist() == ["one"]
    assert found.left_out == ("dear",)


def attacks(asr: Mapping[tuple[str, str], tuple[int, int]], *, name: str = "v") -> Outcomes:
    """Surrogate and attack to ASR in percent and passes per image; one seed, one victim."""
    hits: dict[tuple[str, int, str, int], Hits] = {}
    rows, sets = [], []
    for i, ((surrogate, attack), (k, passes)) in enumerate(asr.items()):
        hits[surrogate, i, name, 100] = first(k)
        rows.append({"attack": attack, "surrogate_seed": 0, "surrogate": f"{surrogate}/s0"})
        half = 50 * passes  # of 100 images
        key = {"surrogate": f"{surrogate}/s0", "attack": attack, "norm": "linf", "eps": "8/255", "attack_seed": 0}
        sets.append({**key, "forward": half, "backward": half})
    return made(hits, rows=rows, sets=pd.DataFrame(sets))


def test_equal_attack_cost() -> None:
    """The best setting of each surrogate with at most P passes per image; passes are forward and backward."""
    settings = {
        ("one", "mi steps=5"): (20, 10),
        ("one", "mi steps=25"): (30, 50),
        ("one", "vmi"): (60, 210),
        ("sam", "mi steps=5"): (50, 10),
        ("sam", "mi steps=25"): (40, 50),
    }
    test = attacks({key: (100 - k, passes) for key, (k, passes) in settings.items()})
    found = equal_attack_cost(test, attacks(settings, name="val"))
    rows = found.frame.set_index(["surrogate_config", "budget"])
    assert rows["attack"].to_dict() == {
        ("one", 10): "mi steps=5",
        ("one", 50): "mi steps=25",
        ("one", 200): "mi steps=25",
        ("sam", 10): "mi steps=5",
        ("sam", 50): "mi steps=5",
        ("sam", 200): "mi steps=5",
    }
    chosen = rows.loc[("one", 200), ["candidates", "validation_asr", "asr", "passes_per_image"]]
    assert list(chosen) == [2, 0.3, 0.7, 50]
    assert rows["n"].tolist() == [100] * 6


@pytest.mark.parametrize("change", [{"case": 0}, {"reads": "victim"}])
def test_white_boxes_and_attacks_on_the_victim_itself_are_never_the_best(change: dict[str, Any]) -> None:
    """The same sets on their own models, or made with the victim's weights, always succeed, and change no row."""
    settings = {("one", "mi steps=5"): (20, 10), ("one", "mi steps=25"): (30, 50), ("sam", "mi steps=5"): (50, 10)}

    def beside(outcomes: Outcomes) -> Outcomes:
        cells = outcomes.cells.assign(reads="surrogate")
        own = cells.assign(victim="own", **change)
        return replace(
            outcomes,
            cells=pd.concat([cells, own], ignore_index=True),
            adversarial=np.concatenate([outcomes.adversarial, np.ones_like(outcomes.adversarial)]),
        )

    test, validation = attacks(settings), attacks(settings, name="val")
    expected = equal_attack_cost(test, validation)
    found = equal_attack_cost(beside(test), beside(validation))
    pd.testing.assert_frame_equal(found.frame, expected.frame)


def test_a_setting_that_never_fits_is_named() -> None:
    settings = {("one", "mi"): (20, 10), ("rich", "mi"): (90, 1000)}
    found = equal_attack_cost(attacks(settings), attacks(settings, name="val"))
    assert set(found.frame["surrogate_config"]) == {"one"}
    assert found.left_out == ("rich",)


BAD: dict[str, tuple[Any, str]] = {
    "twice": (lambda run: cost_against_transfer(run, [*costs(), costs()[0]]), "two costs"),
    "single": (lambda run: equal_training_cost(run, run, costs(), "two"), "no cost of a single network 'two'"),
    "budget": (lambda run: equal_training_cost(run, run, costs(), "one", budgets=[0]), "above 0"),
    "no budget": (lambda run: equal_attack_cost(run, run, budgets=[]), "at least one"),
    "slack": (lambda run: equal_training_cost(run, run, costs(), "one", slack=-0.1), "slack=-0.1"),
    "no passes": (lambda run: equal_attack_cost(run, Outcomes(**{**vars(run), "sets": None})), "do not tell"),
    "negative": (lambda _: SurrogateCost(surrogate="a", passes=-1, seconds=0.0, parameters=0), "passes=-1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_to_do(case: str) -> None:
    act, message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        act(outcomes({"one": 20, "sam": 40}))
    assert "\n" not in str(caught.value)
