"""What victims keep under attack: against plain loops, what always holds, and that test chooses nothing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.scenarios.made_outcomes import Hits, first, made

from carom.errors import InputError
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
from carom.scenarios.store.database import Store
from carom.scenarios.tables import defenses
from carom.scenarios.tables.table import Table

DEFENSES = {"none": (0.7, 0.1), "pgd-at": (0.3, 0.1), "pubdef": (0.2, 0.4)}  # errors under transfer, in the white box
SOURCES: Mapping[str, Mapping[str, Any]] = {
    "one": {},
    "seen": {"pool": "seen", "group": "normal"},
    "kin": {"pool": "held out", "group": "normal"},
    "far": {"pool": "unseen group", "group": "corruption"},
}
RATES = ["clean", "average", "best", "worst", "white_box", "white_box_worst"]


def random_outcomes(
    seed: int,
    *,
    images: int = 30,
    victim_seeds: Iterable[int] = (100, 101),
    attacks: Iterable[str] = ("mi", "di"),
    own: Iterable[str] = ("pgd on victims", "square on victims"),
    more: bool = True,
) -> Outcomes:
    """Each defence under sets of each source, white boxes, and what must not count: targeted, decoys, C0, controls."""
    rng = np.random.default_rng(seed)
    cells: list[dict[str, Any]] = []
    victims: list[str] = []
    answers: list[Hits] = []

    def add(of: tuple[str, str, int], rate: float, **row: Any) -> None:
        victim, defense, seed = of
        if victim not in victims:
            victims.append(victim)
        base = {"attack": "mi", "norm": "linf", "eps": "8/255", "attack_seed": 0, "case": 3, "control": False}
        names = {"victim": victim, "victim_config": f"net/{defense}", "victim_seed": seed, "defense_v": defense}
        attacker = {"surrogate_config": "", "surrogate_seed": -1, "pool": "", "group": "", "reads": "surrogate"}
        axes = {f"{a}_{s}": "" for a in ("source", "samples", "balance", "architecture", "recipe") for s in "sv"}
        cells.append(
            {**base, **axes, **names, **attacker, "decoy": False, "targeted": False, "defense_s": "", **row}
            | {"victim_index": victims.index(victim)}
        )
        answers.append((rng.random(images) < rate) * rng.choice([1, 2, -1], images))

    for defense, (transfer, white) in DEFENSES.items():
        for victim_seed in victim_seeds:
            of = (f"net/{defense}/s{victim_seed}", defense, victim_seed)
            for eps in ("8/255", "16/255"):
                for source, pool in SOURCES.items():
                    made_by: dict[str, Any] = {"surrogate": source, "surrogate_config": source, "eps": eps, **pool}
                    for attack in attacks:
                        add(of, transfer, **made_by, attack=attack)
                        if more:
                            add(of, 0.9, **made_by, attack=f"{attack} targeted", targeted=True)
                            add(of, 0.2, **made_by, attack=f"{attack} decoy", decoy=True)
                for attack in own:
                    itself: dict[str, Any] = {
                        "surrogate": of[0],
                        "surrogate_config": of[0],
                        "case": 0,
                        "reads": "victim",
                        "eps": eps,
                    }
                    add(of, white, **itself, attack=attack)
            if more:
                add(of, 0.99, surrogate="", attack="noise", case=-1, control=True)
    if more:
        add(("one", "none", -1), 0.99, surrogate="one", surrogate_config="one", case=0)
    labels = np.zeros(images, dtype=np.int64)
    clean = ((rng.random((len(victims), images)) < 0.3) * rng.choice([1, 2, -1], (len(victims), images))).astype(
        np.int16
    )
    return Outcomes(
        cells=pd.DataFrame(cells),
        adversarial=np.stack(answers).astype(np.int16),
        clean_predictions=clean,
        labels=labels,
        image_source=np.arange(images) % 2,
        image_sources=("a", "b"),
        classes=("x", "y", "z"),
        target=np.ones(images, dtype=np.int64),
    )


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


# -------------------------------------------------------------------------------------------------------------- tables


GOOD = {
    "clean": 0.9, "fgsm": 0.5, "pgd20": 0.4, "pgd100": 0.4, "square": 0.45, "large": 0.1, "large_eps": 0.5,
    "loss_half": 1.0, "loss": 2.0, "loss_double": 4.0, "zero_gradients": 0.0, "difference": 0.0, "probabilities": 0.0,
    "draws": 1.0, "restarts": 2.0, "macs": 5000.0, "parameters": 70.0, "passes": 9.0, "images": 100.0, "classes": 3.0,
}  # fmt: skip


def victims_of(outcomes: Outcomes, **changed: Mapping[str, float]) -> pd.DataFrame:
    """As a store lists them; those of a defence in `changed` (its name with _ for -) with other numbers."""
    rows = []
    for row in outcomes.cells[outcomes.cells["case"] > 0].drop_duplicates("victim").to_dict("records"):
        numbers = changed.get(row["defense_v"].replace("-", "_"), GOOD)
        known = {"victim": row["victim"], "defense": row["defense_v"], "victim_config": row["victim_config"]}
        cost = {"forward": 100 * row["victim_seed"], "backward": 100, "seconds": 2.0, "parameters": 70}
        rows.append({**known, "victim_seed": row["victim_seed"], **cost, "numbers": numbers})
    return pd.DataFrame(rows)


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Table]]:
    """The tables of outcomes, by name."""

    def shown(
        outcomes: Outcomes, validation: Outcomes | None, known: pd.DataFrame, split: str = "test"
    ) -> dict[str, Table]:
        def read(store: object, run: str, *, split: str, role: str | None = None, decoys: bool = False) -> Outcomes:
            if decoys:
                return outcomes
            assert (split, role) == ("validation", "victim")
            if validation is None:
                raise InputError("none")
            return validation

        monkeypatch.setattr(defenses, "read_outcomes", read)
        monkeypatch.setattr(defenses, "list_victims", lambda store, run: known)
        with Store(tmp_path / "store", write=True) as store:
            attacks = outcomes.where(~np.asarray(outcomes.cells.get("decoy", outcomes.control), dtype=bool))
            found = defenses.defense_tables(store, "run", attacks, split=split)
        for table in found:
            assert len(table.formatted()) == len(table.frame) > 0
            assert {c for c, form in table.forms.items() if c in table.frame} == set(table.forms), table.name
        return {table.name: table for table in found}

    return shown


def test_tables_of_a_run_with_defences(tables: Callable[..., dict[str, Table]]) -> None:
    outcomes, validation = random_outcomes(20), random_outcomes(21)
    known = victims_of(outcomes, pubdef={**GOOD, "pgd20": 0.6, "zero_gradients": 0.5}, none={})
    found = tables(outcomes, validation, known)
    assert list(found) == [
        "defenses",
        "defenses-intervals",
        "defenses-by-victim",
        "defenses-by-attacker",
        "white-box-attacks",
        "label-leaking",
        "masking",
        "game",
    ]
    main = found["defenses"].frame.set_index(["defense", "eps"])
    raw = defended(outcomes, validation).set_index(["defense", "eps"])
    leaking = found["label-leaking"].frame
    assert leaking["decoy"].tolist() == raw["decoy"].tolist()
    assert leaking["gain"].tolist() == pytest.approx((raw["best"] - raw["clean"]).tolist())
    for written, name in (("clean", "clean"), ("best", "best"), ("white box", "white_box"), ("best pair", "best_pair")):
        assert main[written].tolist() == raw[name].tolist()
    assert main["training passes"].tolist() == [(100 * 100 + 100 * 101) / 2 + 100] * 6
    assert set(main["MACs"].dropna()) == {5000}
    assert main["MACs"].isna().tolist() == [defense == "none" for defense, _ in main.index]  # nobody looked
    below = transfer_below_white_box(outcomes, validation)
    below = below[below["alarm"]]
    for defense, eps in main.index:
        own = 2 * {"none": 0, "pgd-at": 0, "pubdef": 3}[defense]  # pubdef: two signs of steps, one of zero gradients
        own += int(((below["defense"] == defense) & (below["eps"] == eps)).sum())
        assert main.loc[(defense, eps), "alarms"] == own or (defense == "none" and not own)
    masking = found["masking"].frame
    assert (masking["sign"] == "not examined").sum() == 2
    assert masking["alarm"].sum() == 6 + len(below)
    assert "configuration" not in found["defenses"].forms


def test_no_alarm_is_said(tables: Callable[..., dict[str, Table]]) -> None:
    outcomes = random_outcomes(22, own=())
    found = tables(outcomes, None, victims_of(outcomes))
    assert found["masking"].frame["sign"].tolist() == ["none"]
    assert found["defenses"].frame["alarms"].tolist() == [0] * 6
    assert "white-box-attacks" not in found
    assert any("not run" in note for note in found["defenses"].notes)
    assert found["defenses"].formatted()["best"].tolist() == ["–"] * 6


def test_on_validation_no_best_pair_is_chosen(tables: Callable[..., dict[str, Table]]) -> None:
    outcomes = random_outcomes(23)
    found = tables(outcomes, outcomes, victims_of(outcomes), split="validation")
    assert set(found["defenses"].frame["best pair"]) == {NOT_RUN}


def test_the_game_is_worth_what_both_sides_get(tables: Callable[..., dict[str, Table]]) -> None:
    outcomes = random_outcomes(24)
    game = tables(outcomes, None, pd.DataFrame())["game"].frame
    for eps, rows in game.groupby("eps"):
        payoff = payoffs(outcomes)["linf", str(eps)]
        mix = rows[rows["side"] == "defender"].set_index("plays")["probability"]
        attack = rows[rows["side"] == "attacker"].set_index("plays")["probability"]
        assert mix.sum() == pytest.approx(1)
        assert attack.sum() == pytest.approx(1)
        value = rows["value"].iloc[0]
        assert payoff.mul(mix, axis=0).sum().min() == pytest.approx(value, abs=1e-6)
        assert payoff[attack.index].mul(attack, axis=1).sum(axis=1).max() == pytest.approx(value, abs=1e-6)


def test_runs_without_defences_have_no_such_tables(tables: Callable[..., dict[str, Table]]) -> None:
    assert tables(made({("a", 0, "v", 7): first(30)}), None, pd.DataFrame()) == {}
    plain_run = made({("a", 0, "v", 7): first(30)}, rows=[{"defense_v": "none"}])
    assert tables(plain_run, None, pd.DataFrame()) == {}
