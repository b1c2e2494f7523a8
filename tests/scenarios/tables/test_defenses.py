"""Tables of victims with defences: what is shown of them, and what is said where something is missing."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.scenarios.made_outcomes import first, made, random_outcomes

from carom.errors import InputError
from carom.scenarios.statistics import NOT_RUN, Outcomes, defended, payoffs, transfer_below_white_box
from carom.scenarios.store.database import Store
from carom.scenarios.tables import defenses
from carom.scenarios.tables.table import Table

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
        "defenses-by-threat",
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
