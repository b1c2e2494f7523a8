"""What victims keep under attack: against plain loops, what always holds, and that test chooses nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scenarios.made_outcomes import DEFENSES, SOURCES, Hits, first, made, random_outcomes

from carom.scenarios.cases import UNDECLARED
from carom.scenarios.statistics import (
    NOT_RUN,
    Outcomes,
    defended,
    defended_by_attacker,
    payoffs,
    transfer_below_white_box,
    white_box_accuracy,
)
from carom.scenarios.statistics.intervals import wilson
from carom.scenarios.statistics.knowledge import KNOWN, asking, knowledge, threats

RATES = ["clean", "average", "best", "worst", "white_box", "white_box_worst"]


def counted(outcomes: Outcomes, victim: str, eps: str, kind: str) -> list[tuple[str, str, list[bool]]]:
    """Source, attack and which images stay right, of the cells of a kind."""
    found = []
    for i, cell in enumerate(outcomes.cells.to_dict("records")):
        if (cell["victim"], cell["eps"]) != (victim, eps) or cell["control"] or cell["targeted"]:
            continue
        kind_of = "own" if cell["reads"] == "victim" else "decoy" if cell["decoy"] else "transfer"
        if kind_of == kind and (cell["case"] != 0 or kind == "own"):
            right = [int(a) == int(y) for a, y in zip(outcomes.adversarial[i], outcomes.labels, strict=True)]
            found.append((cell["surrogate"], cell["attack"], right))
    return found


def plain(outcomes: Outcomes, validation: Outcomes, victim: str, eps: str, sources: Iterable[str]) -> dict[str, Any]:
    """All rates of one victim by loops."""
    row = next(c["victim_index"] for c in outcomes.cells.to_dict("records") if c["victim"] == victim)
    clean = [int(a) == int(y) for a, y in zip(outcomes.clean_predictions[row], outcomes.labels, strict=True)]
    transfer = [t for t in counted(outcomes, victim, eps, "transfer") if t[0] in sources]
    tried = [t for t in counted(validation, victim, eps, "transfer") if t[0] in sources]
    chosen = min(tried, key=lambda t: sum(t[2]))[:2]
    best = next(right for *pair, right in transfer if tuple(pair) == chosen)
    own = [right for *_, right in counted(outcomes, victim, eps, "own")]
    decoys = [right for *_, right in counted(outcomes, victim, eps, "decoy")]
    n = len(clean)
    every = [right for *_, right in transfer]
    return {
        "clean": sum(clean) / n,
        "average": sum(map(sum, every)) / n / len(every),
        "best": sum(best) / n,
        "best_pair": f"{chosen[0]} × {chosen[1]}",
        "worst": sum(all(right[i] for right in every) for i in range(n)) / n,
        "white_box": min(map(sum, own)) / n,
        "white_box_worst": sum(all(right[i] for right in own) for i in range(n)) / n,
        "asr": sum(c and not b for c, b in zip(clean, best, strict=True)) / sum(clean),
        "corrected": sum(b and not c for c, b in zip(clean, best, strict=True)) / (n - sum(clean)),
        "asr_average": sum(sum(c and not b for c, b in zip(clean, right, strict=True)) for right in every)
        / (len(every) * sum(clean)),
        "corrected_average": sum(sum(b and not c for c, b in zip(clean, right, strict=True)) for right in every)
        / (len(every) * (n - sum(clean))),
        "decoy": sum(map(sum, decoys)) / n / len(decoys),
        "pairs": len(every),
    }


def test_each_victim_against_plain_loops() -> None:
    outcomes, validation = random_outcomes(0), random_outcomes(1)
    found = defended(outcomes, validation, by="victim").set_index(["victim", "eps"])
    assert len(found) == 2 * 2 * len(DEFENSES)
    for victim, eps in found.index:
        expected = plain(outcomes, validation, victim, eps, SOURCES)
        row = found.loc[(victim, eps)]
        for name, value in expected.items():
            assert row[name] == (pytest.approx(value) if isinstance(value, float) else value), (victim, eps, name)
    assert (found["white_box_attacks"] == 2).all()
    assert (found["images"] == 30).all()


def test_a_surrogates_own_model_is_no_victim() -> None:
    assert "one" not in set(defended(random_outcomes(0), by="victim")["victim"])


def test_a_defence_is_the_mean_over_its_seeds() -> None:
    outcomes, validation = random_outcomes(2), random_outcomes(3)
    by_victim = defended(outcomes, validation, by="victim")
    found = defended(outcomes, validation)
    assert found["victims"].tolist() == found["victim_seeds"].tolist() == [2] * 6
    assert set(found["ranges_over"]) == {"images and victim seeds"}
    for row in found.to_dict("records"):
        of = by_victim[(by_victim["defense"] == row["defense"]) & (by_victim["eps"] == row["eps"])]
        for rate in ("clean", "average", "best", "worst", "white_box", "white_box_worst", "decoy"):
            assert row[rate] == pytest.approx(of[rate].mean())
            assert row[f"{rate}_low"] <= row[rate] <= row[f"{rate}_high"]
        assert set(row["best_pair"].split("; ")) == set(of["best_pair"])


def test_intervals_say_what_they_range_over() -> None:
    outcomes = random_outcomes(4, victim_seeds=(100,))
    found = defended(outcomes, random_outcomes(5, victim_seeds=(100,)))
    assert set(found["ranges_over"]) == {"images, these models"}
    assert set(found["claim"]) == {"these models; one seed makes no claim about recipes"}
    n = len(outcomes.labels)
    for rate in ("clean", "best", "worst", "white_box", "white_box_worst"):
        low, high = wilson(found[rate].to_numpy() * n, np.full(len(found), n))
        assert found[f"{rate}_low"].to_numpy() == pytest.approx(low)
        assert found[f"{rate}_high"].to_numpy() == pytest.approx(high)
    # nine sets that fool the same images are no more images than one
    shared = defended(made({(f"s{i}", 0, "v", 7): first(40) for i in range(9)})).iloc[0]
    low, high = wilson(np.array([60]), np.array([100]))
    assert shared["average_high"] - shared["average_low"] == pytest.approx(float(high[0] - low[0]), rel=0.1)
    five = defended(random_outcomes(6, victim_seeds=range(100, 105)))
    assert (five["victim_seeds"] == 5).all()
    assert (five["clean_low"] < five["clean"]).all()


def test_without_validation_the_best_pair_is_not_run() -> None:
    for found in (defended(random_outcomes(0)), defended_by_attacker(random_outcomes(0))):
        assert set(found["best_pair"]) == {NOT_RUN}
        assert found["best"].isna().all()
        assert found[["average", "worst"]].notna().all(axis=None)


def test_test_images_choose_no_pair() -> None:
    """The pair that is lowest on validation is reported, whatever test says of the others."""
    right = {"a": 20, "b": 60}
    test = made({(s, 0, "v", 7): first(100 - k) for s, k in right.items()})
    validation = made({(s, 0, "v", 7): first(k) for s, k in right.items()})
    (row,) = defended(test, validation, by="victim").to_dict("records")
    assert (row["best_pair"], row["best"], row["average"], row["worst"]) == ("b/s0 × mi", 0.6, 0.4, 0.2)
    (row,) = defended(test, test, by="victim").to_dict("records")
    assert (row["best_pair"], row["best"]) == ("a/s0 × mi", 0.2)


def test_a_pair_that_test_did_not_meet_is_passed_over() -> None:
    test = made({("a", 0, "v", 7): first(30)})
    validation = made({("a", 0, "v", 7): first(10), ("b", 0, "v", 7): first(90)})
    assert defended(test, validation)["best_pair"].tolist() == ["a/s0 × mi"]


def test_attackers_apart_against_plain_loops() -> None:
    outcomes, validation = random_outcomes(8), random_outcomes(9)
    found = defended_by_attacker(outcomes, validation, by="victim")
    assert len(found) == 4 * 12
    parts = {"strangers": "one", "seen": "seen", "held out": "kin", "unseen group": "far"}
    for row in found.to_dict("records"):
        expected = plain(outcomes, validation, row["victim"], row["eps"], [parts[row["attackers"]]])
        for name in ("average", "best", "worst", "pairs", "best_pair"):
            assert row[name] == (pytest.approx(expected[name]) if name != "best_pair" else expected[name])
    one = found[(found["victim"] == "net/none/s100") & (found["eps"] == "8/255")]
    assert one["attackers"].tolist() == ["seen", "held out", "unseen group", "strangers"]


def test_who_has_the_victim_itself_has_more_than_data_like_its() -> None:
    outcomes = random_outcomes(0)
    alike = outcomes.cells.assign(pool="", source_s="ink", source_v="ink")
    elsewhere = alike.assign(source_v="print")
    assert {*threats(replace(outcomes, cells=elsewhere))} == {"public models", "my weights", ""}
    found = threats(replace(outcomes, cells=alike))
    assert {*found} == {"data like mine", "my weights", ""}
    assert set(found[(alike["reads"] == "victim").to_numpy()]) <= {"my weights", ""}


def test_what_stands_behind_each_cell() -> None:
    """By hand: attack, case, what was read, control, targeted -> what the attacker knows."""
    table = {
        ("mi", 3, "surrogate", False, False): "C3",
        ("mi", 0, "surrogate", False, False): "weights",
        ("mi", UNDECLARED, "surrogate", False, False): "C?",
        ("pgd on victims", 0, "victim", False, False): "weights",
        ("square on victims", 0, "victim", False, False): "answers",
        ("square after mi", 5, "both", False, False): "answers",
        ("square", 4, "surrogate", False, False): "C4",  # who asks his own model alone knows no answer of the victim's
        ("sign-noise 1", -1, "surrogate", True, False): "nothing",
        ("sign-noise 1/2", -1, "surrogate", True, False): None,
        ("mi targeted", 3, "surrogate", False, True): None,
    }
    cells = pd.DataFrame([*table], columns=["attack", "case", "reads", "control", "targeted"])
    found = knowledge(cells, {"square", "square on victims", "square after mi"})
    assert [KNOWN[place] if place >= 0 else None for place in found] == [*table.values()]
    blind = knowledge(cells.drop(columns="reads"), {"square"})  # nobody says what was read
    assert [KNOWN[place] for place in blind[:2]] == ["C3", "weights"]
    assert KNOWN[blind[6]] == "C4"


def test_without_an_attack_on_the_victim_itself_nothing_is_compared() -> None:
    assert transfer_below_white_box(made({("s", 0, "v", 7): first(60)})).empty
    itself = made({("s", 0, "v", 7): first(60)}, rows=[{"reads": "victim"}])
    assert transfer_below_white_box(itself).empty


def test_attacks_that_ask_are_those_whose_sets_tell_how_often() -> None:
    sets = pd.DataFrame({"attack": ["mi", "square", "square"], "mean_queries": [np.nan, 40.0, 50.0]})
    assert asking(sets) == {"square"}
    assert asking(sets[["attack"]]) == set()
    assert asking(None) == set()


def test_each_white_box_attack() -> None:
    outcomes = random_outcomes(10)
    found = white_box_accuracy(outcomes, by="victim")
    assert len(found) == 2 * 12
    for row in found.to_dict("records"):
        own = {attack: right for _, attack, right in counted(outcomes, row["victim"], row["eps"], "own")}
        assert row["white_box"] == pytest.approx(np.mean(own[row["attack"]]))
    lowest = found.groupby(["victim", "eps"])["white_box"].min()
    rows = defended(outcomes, by="victim").set_index(["victim", "eps"])["white_box"]
    pd.testing.assert_series_equal(rows.sort_index(), lowest.sort_index(), check_names=False)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 12))
def test_averages_are_above_the_lowest_pair_and_that_above_the_worst_of_each_image(
    seed: int, attacks: int, images: int
) -> None:
    names = [f"a{i}" for i in range(attacks)]
    outcomes = random_outcomes(seed, images=images, attacks=names, victim_seeds=(1,), own=names, more=False)
    # the same outcomes as validation: the pair that is lowest there is the lowest here
    rows = defended(outcomes, outcomes, by="victim")
    tiny = 1e-12
    for lower, upper in (("worst", "best"), ("best", "average"), ("white_box_worst", "white_box")):
        assert (rows[lower] <= rows[upper] + tiny).all()
    chosen = defended(outcomes, random_outcomes(seed + 1, images=5, attacks=names, victim_seeds=(1,)), by="victim")
    assert (rows["best"] <= chosen["best"] + tiny).all()
    assert (chosen["worst"] <= chosen["best"] + tiny).all()
    for side in ("low", "high"):
        limits = chosen[[f"{rate}_{side}" for rate in RATES]].to_numpy(dtype=float)
        assert ((limits >= 0) & (limits <= 1)).all()


def test_a_transfer_that_hurts_more_than_the_white_box_is_listed() -> None:
    outcomes = random_outcomes(11)
    found = transfer_below_white_box(outcomes)
    assert {"none", "pgd-at"} <= set(found["defense"])  # made so: their white boxes are weak
    listed = {(r["victim"], r["eps"]): r for r in found.to_dict("records")}
    for victim, eps in defended(outcomes, by="victim").set_index(["victim", "eps"]).index:
        transfer = min(sum(right) for *_, right in counted(outcomes, victim, eps, "transfer"))
        white = min(sum(right) for *_, right in counted(outcomes, victim, eps, "own"))
        assert ((victim, eps) in listed) == (transfer < white)
        if transfer < white:
            row = listed[victim, eps]
            assert (row["transfer"], row["white_box"]) == (transfer / 30, white / 30)
            assert row["low"] <= row["difference"] < 0


def test_a_pair_of_several_sets_counts_as_their_mean() -> None:
    """Two draws of one pair turn 60 and 80 of 100 images, the attack on the victim itself 50."""
    hits = {("s", i, "v", 7): first(turned) for i, turned in enumerate((60, 80, 50))}
    rows = [{"surrogate": "s", "attack_seed": i, "reads": "victim" if i == 2 else "surrogate"} for i in range(3)]
    (row,) = transfer_below_white_box(made(hits, rows=rows)).to_dict("records")
    assert (row["transfer"], row["white_box"]) == (pytest.approx(0.3), pytest.approx(0.5))
    assert row["difference"] == pytest.approx(-0.2)
    assert row["judged"] == 1


def equally_strong(seed: int, pairs: int, images: int = 300) -> Outcomes:
    """A victim that 2 attacks on itself and many pairs leave 40% each, on images of shared difficulty."""
    rng = np.random.default_rng(seed)
    hits: dict[tuple[str, int, str, int], Hits] = {}
    rows: list[Mapping[str, Any]] = []
    hard = rng.normal(size=images)
    for i in range(pairs + 2):
        hits[f"s{i}", 0, "v", 7] = 0.95 * hard + np.sqrt(1 - 0.95**2) * rng.normal(size=images) > -0.2533
        rows.append({"reads": "surrogate" if i < pairs else "victim"})
    return made(hits, rows=rows)


@pytest.mark.parametrize("pairs", [5, 60])
@pytest.mark.parametrize("validated", [True, False])
def test_where_nothing_is_masked_few_alarms_are_raised(pairs: int, validated: bool) -> None:
    """Equally strong attacks: 2.5% by what is said, 3 of 50 by chance; the lowest pair by itself is below in most."""
    below, raised = 0, 0
    for seed in range(50):
        validation = equally_strong(10_000 + seed, pairs) if validated else None
        found = transfer_below_white_box(equally_strong(seed, pairs), validation)
        below += len(found)
        raised += len(found) and bool(found["alarm"].all())
    assert raised <= 3
    if not validated:
        assert below >= 30


def test_a_masked_victim_raises_an_alarm() -> None:
    """By one pair that leaves 20%, where the white box leaves 60%, among 20 that leave 90%."""
    rng = np.random.default_rng(0)
    hits = {(f"s{i}", 0, "v", 7): rng.random(200) < (0.8 if i == 3 else 0.1) for i in range(20)}
    hits["own", 0, "v", 7] = rng.random(200) < 0.4
    outcomes = made(hits, rows=[{"reads": "surrogate"}] * 20 + [{"reads": "victim"}])
    for validation, judged in ((outcomes, 1), (None, 20)):
        (row,) = transfer_below_white_box(outcomes, validation).to_dict("records")
        assert (row["pair"], row["judged"], row["alarm"]) == ("s3/s0 × mi", judged, True)
        assert row["difference"] == pytest.approx(row["transfer"] - row["white_box"])
        assert row["low"] < row["difference"] < row["high"] < 0


def test_no_answer_is_wrong() -> None:
    outcomes = made({("a", 0, "v", 7): np.full(10, -1)}, right=first(4, 10))
    silent = replace(outcomes, clean_predictions=np.where(outcomes.clean_predictions == 1, -1, 0).astype(np.int16))
    (row,) = defended(silent, silent).to_dict("records")
    assert (row["clean"], row["best"], row["asr"], row["corrected"]) == (0.4, 0, 1, 0)


def test_label_leaking_is_seen() -> None:
    """What the clean images get wrong the attack puts right: robust accuracy above clean accuracy."""
    hits = {("a", 0, "v", 7): first(1, 10), ("b", 0, "v", 7): first(6, 10)}
    rows: list[Mapping[str, Any]] = [{"decoy": False}, {"attack": "mi decoy", "decoy": True}]
    outcomes = made(hits, right=~first(5, 10), rows=rows)
    (row,) = defended(outcomes, outcomes).to_dict("records")
    assert (row["clean"], row["best"], row["asr"]) == (0.5, 0.9, 0)
    assert (row["corrected"], row["decoy"], row["pairs"]) == (0.8, 0.4, 1)


def test_payoffs_are_accuracies_of_defences_under_what_all_met() -> None:
    outcomes = random_outcomes(12)
    some = outcomes.cells["defense_v"].eq("pubdef") & outcomes.cells["attack"].eq("di")
    some &= outcomes.cells["surrogate"].eq("far") & ~outcomes.cells["targeted"] & ~outcomes.cells["decoy"]
    found = payoffs(outcomes.where(~some.to_numpy()))[("linf", "8/255")]
    assert found.index.tolist() == list(DEFENSES)
    assert "far × di" not in found.columns
    assert found.shape == (3, 7)
    right = [
        np.mean(r)
        for victim in ("net/none/s100", "net/none/s101")
        for s, a, r in counted(outcomes, victim, "8/255", "transfer")
        if (s, a) == ("kin", "mi")
    ]
    assert found.loc["none", "kin × mi"] == pytest.approx(np.mean(right))


def test_a_run_without_transfer_has_empty_tables() -> None:
    outcomes = random_outcomes(0)
    none = outcomes.where(outcomes.control)
    assert defended(none).empty
    assert defended_by_attacker(none).empty
    assert white_box_accuracy(none).empty
    assert transfer_below_white_box(none).empty
    assert payoffs(none) == {}
