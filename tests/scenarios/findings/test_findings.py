"""What a run found, said in sentences: true numbers, ties, and words for runs that lack something.

Outcomes are made so that every rate is known: of 100 images, all right when clean, the first so many are fooled.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import pandas as pd
import pytest
from tests.scenarios.made_outcomes import Hits, first, made

from carom.scenarios.findings import defences, victim
from carom.scenarios.findings.overview import overview
from carom.scenarios.findings.rows import scope_of
from carom.scenarios.findings.words import Finding, hundred
from carom.scenarios.statistics import Outcomes, defended, defended_by_threat, wilson
from carom.scenarios.tables.defenses import WRITTEN
from carom.scenarios.tables.knowledge import show_knowledge
from carom.scenarios.tables.rates import show_cases, show_groups
from carom.scenarios.tables.table import Table

OVER = {"ranges_over": "images, these models", "claim": "these models"}
FULL = "uci/uniform/vgg-small/standard(epochs=4,batch_size=64,flip=True)/n=3000"


def outcomes() -> Outcomes:
    """Two victims, two attacks, three kinds of surrogate, noise and white boxes, at two radii.

    By case, in percent at 8/255: C1 80, C8 30, weights 95, answers 60, noise 5. fgsm is 10 points below mi, the second
    victim 20 points below the first; at 4/255 all but noise and weights is half.
    """
    hits: dict[tuple[str, int, str, int], Hits] = {}
    rows: list[Mapping[str, Any]] = []
    sets = []

    def add(name: str, number: int, fooled: int, **row: Any) -> None:
        seed = len(hits)
        hits[name, seed, f"v{number}", 7] = first(max(0, fooled))
        rows.append({"control": False, "reads": "surrogate", "targeted": False, "snapshot": False, **row})
        one = {"surrogate": f"{name}/s{seed}", "attack_seed": 0, "asked": "", "norm": "linf"}
        asks = 9.0 if row["attack"] == "square" else float("nan")
        sets.append({**one, "attack": row["attack"], "eps": row["eps"], "mean_queries": asks})

    for eps, part in (("4/255", 2), ("8/255", 1)):
        for number, less in ((1, 0), (2, 20)):
            for attack, weaker in (("mi", 0), ("fgsm", 10)):
                for case, fooled in ((1, 80), (8, 30)):
                    add("made", number, (fooled - less - weaker) // part, eps=eps, attack=attack, case=case)
            add("itself", number, 95 - less, eps=eps, attack="pgd on victims", case=0, reads="victim")
            add("itself", number, 60 - less, eps=eps, attack="square", case=0, reads="victim")
            noise = {"surrogate": "", "surrogate_config": "", "surrogate_seed": -1, "control": True}
            add("none", number, 5, eps=eps, attack="sign-noise 1", case=-1, **noise)
    for of, row in zip(sets, rows, strict=True):
        of["surrogate"] = row.get("surrogate", of["surrogate"])
    return made(hits, rows=rows, sets=pd.DataFrame(sets))


def tables_of(found: Outcomes, *more: Table) -> dict[str, Table]:
    by = ("norm", "eps", "reads")
    tables = [
        show_cases(found, by, "run"),
        *(show_groups(found, column, by) for column in ("attack", "victim")),
        show_knowledge(found),
        *more,
    ]
    return {table.name: table for table in tables}


@pytest.fixture(scope="module")
def tables() -> dict[str, Table]:
    return tables_of(outcomes())


def effects(**of: tuple[float, float, float]) -> Table:
    """Rows of the table of effects: effect and limits of each axis."""
    rows = [
        {"axis": a, "effect": e, "low": lo, "high": hi, "equivalent": False, **OVER} for a, (e, lo, hi) in of.items()
    ]
    return Table(name="effects", title="", frame=pd.DataFrame(rows), forms={})


def said(found: list[Finding], kind: str) -> str:
    return " | ".join(finding.text for finding in found if finding.kind == kind)


# ------------------------------------------------------------------------------------------------------------ overview


def test_a_run_is_told_by_the_numbers_that_it_was_made_with(tables: dict[str, Table]) -> None:
    found = overview(tables)
    cases = said(found, "cases")  # means of two attacks and two victims: 80 - 15, 30 - 15, 95 - 10
    assert "At linf 8/255 an attacker who trains the same network on the same kind of images (C1) fools" in cases
    assert re.search(r"\(C1\) fools victims in 65 of 100 images \(\d+ to \d+; n 400\)", cases)
    assert re.search(r"another balance of classes \(C8\) in 15 \(\d+ to \d+; n 400\)", cases)
    assert re.search(r"made on turn 68 \(", cases)  # 95 and 75, 60 and 40: what asks stands in C0 as well
    assert re.search(r"no model made turn 5 \(", cases)
    assert re.search(
        r"Most exposed of 2 victims is v1, fooled in 50 of 100 images \(.*; least is v2, in 30", said(found, "victim")
    )
    assert re.search(r"strongest of 2 attacks is mi: 45 of 100 images", said(found, "attack"))
    assert "at 4/255" not in " ".join(f.text for f in found)
    assert len(found) <= 8
    assert [f.page for f in found if f.kind == "victim"] == ["model"]


def test_another_budget_is_told_when_asked_for(tables: dict[str, Table]) -> None:
    cases = said(overview(tables, "linf 4/255"), "cases")
    assert "At linf 4/255" in cases
    assert re.search(r"\(C1\) fools victims in 32 of 100", cases)  # the mean of 40, 35, 30 and 25, halves down: 32.5


def test_intervals_are_those_of_the_table(tables: dict[str, Table]) -> None:
    frame = tables["by-victim"].frame
    row = frame[(frame["victim"] == "v1/s7") & (frame["eps"] == "8/255") & (frame["reads"] == "surrogate")].iloc[0]
    text = said(overview(tables), "victim")
    assert f"({100 * row['low']:.0f} to {100 * row['high']:.0f}; n {row['n']}" in text
    assert "of the victims and the attack over images and surrogate seeds" in said(overview(tables), "intervals")


@pytest.mark.parametrize(("second", "tied"), [(0.79, True), (0.5, False)])
def test_victims_and_attacks_whose_intervals_meet_are_ties(tables: dict[str, Table], second: float, tied: bool) -> None:
    rows = [
        {"norm": "linf", "eps": "8/255", "asr": a, "low": a - 0.02, "high": a + 0.02, "n": 9, "cells": 1, **OVER}
        for a in (0.8, second)
    ]
    frame = pd.DataFrame(rows)
    mine = dict(tables)
    for name, column in (("by-victim", "victim"), ("by-attack", "attack")):
        forms = {column: "text", "norm": "text", "eps": "text", "cells": "count"}
        mine[name] = Table(name=name, title="", frame=frame.assign(**{column: ["one", "two"]}), forms=forms)  # type: ignore[arg-type]
    found = overview(mine)
    assert ("which cannot be told from 1 other" in said(found, "victim")) == tied
    assert ("cannot be told from two" in said(found, "attack")) == tied
    assert ("next comes two with 50" in said(found, "attack")) == (not tied)
    assert [f.ties for f in found if f.kind in ("victim", "attack")] == [int(tied)] * 2


def test_what_a_mismatch_costs(tables: dict[str, Table]) -> None:
    table = effects(
        source=(-0.23, -0.28, -0.18),
        architecture=(-0.2, -0.25, -0.15),
        balance=(0.001, -0.01, 0.012),
        recipe=(0.05, 0.02, 0.08),
    )
    (found,) = [f for f in overview({**tables, "effects": table}) if f.kind == "effects"]
    assert found.text == (
        "Another source of images costs the attacker 23 points (18 to 28); another network 20 points (15 to 25), which "
        "cannot be told from the first; another recipe of training helps him by 5.0 points (2.0 to 8.0); another "
        "balance of classes cannot be told from none (-1.2 to 1.0 points)."
    )
    assert (found.name, found.number) == ("another source of images", "23 points (18 to 28)")
    apart = effects(source=(-0.23, -0.28, -0.18), architecture=(-0.1, -0.12, -0.08))
    assert "told from the first" not in said(overview({**tables, "effects": apart}), "effects")


def test_the_strongest_attack_at_equal_cost(tables: dict[str, Table]) -> None:
    rows = [
        {"budget": budget, "attack": attack, "asr": asr, "low": asr - 0.05, "high": asr + 0.05, "n": 400}
        for budget, attack, asr in ((10, "fgsm", 0.4), (50, "mi", 0.7), (200, "svre", 0.74))
    ]
    frame = pd.DataFrame(rows).assign(norm="linf", eps="8/255", surrogate="single", **OVER)
    table = Table(name="equal-attack-cost", title="", frame=frame, forms={})
    (found,) = [f for f in overview({**tables, "equal-attack-cost": table}) if f.kind == "attack"]
    assert "up to 10 passes an image fgsm, 40 of 100 images (35 to 45; n 400); up to 50 passes" in found.text
    assert found.text.endswith("more than 50 passes buy nothing that can be told.")
    assert (found.name, found.number, found.table) == ("mi", "70% (65 to 75)", "equal-attack-cost")


def test_controls_stand_in_one_line(tables: dict[str, Table]) -> None:
    frame = pd.DataFrame({"control": ["eps = 0", "white box", "labels"], "status": ["failed", "passed", "passed"]})
    table = Table(name="controls", title="", frame=frame, forms={})
    assert said(overview({**tables, "controls": table}), "controls") == (
        "Controls: 1 failed, 2 passed; trust no number before eps = 0 is explained."
    )
    assert said(overview(tables), "controls") == ""  # a run without controls


def test_a_run_of_controls_alone_has_no_more_to_say() -> None:
    found = outcomes()
    alone = found.where(found.control)
    table = show_cases(alone, ("norm", "eps"), "run")
    assert scope_of(table) is None
    assert overview({"cases": table}) == []
    assert overview({}) == []


def test_names_are_what_tells_models_apart(tables: dict[str, Table]) -> None:
    frame = tables["by-victim"].frame.replace({"v1/s7": f"{FULL}/s1", "v2/s7": f"{FULL.replace('uci', 'fonts')}/s1"})
    mine = {**tables, "by-victim": Table(name="by-victim", title="", frame=frame, forms=tables["by-victim"].forms)}
    text = said(overview(mine), "victim")
    assert "victims is uci, fooled" in text
    assert "least is fonts," in text
    assert "epochs" not in text


def test_words_of_rates() -> None:
    assert [hundred(rate) for rate in (0.0, 0.001, 0.5, 0.999, 1.0)] == [
        "0",
        "fewer than 1",
        "50",
        "more than 99",
        "100",
    ]


# ----------------------------------------------------------------------------------------------------------- knowledge


def test_each_victim_by_what_the_attacker_knows(tables: dict[str, Table]) -> None:
    frame = tables["by-knowledge"].frame
    here = frame[(frame["victim"] == "v1/s7") & (frame["eps"] == "8/255")].set_index("knows")
    assert here["k"].to_dict() == {"nothing": 5, "C8": 50, "C1": 150, "answers": 60, "weights": 95}
    assert here["n"].to_dict() == {"nothing": 100, "C8": 200, "C1": 200, "answers": 100, "weights": 100}
    low, high = wilson(pd.Series([95]).to_numpy(), pd.Series([100]).to_numpy())
    assert abs(here.loc["weights", "low"] - low[0]) < 0.03  # a bootstrap of one cell is near Wilson's
    assert abs(here.loc["weights", "high"] - high[0]) < 0.03


def test_a_victim_is_told_level_by_level(tables: dict[str, Table]) -> None:
    rows = victim.ladder(tables["by-knowledge"], "v1/s7", "linf", "8/255")
    assert rows["knows"].tolist() == ["nothing", "C8", "C1", "answers", "weights"]
    told = [finding.text for finding in victim.known(rows)]
    assert re.match(r"Noise of the same size turns 5 of 100 images \(\d+ to \d+; n 100\) that it gets right\.", told[0])
    assert re.match(r"Who trains another network on another source .* \(C8\) fools it in 25 of 100 images", told[1])
    assert re.match(r"Who trains the same network on the same kind of images \(C1\) fools it in 75 of 100", told[2])
    assert re.match(r"Who may ask it fools it in 60 of 100 images", told[3])
    assert re.match(r"Who has its weights fools it in 95 of 100 images", told[4])
    assert len(told) == 5


def test_a_white_box_of_the_same_training_stands_in(tables: dict[str, Table]) -> None:
    table = tables["by-knowledge"]
    without = table.frame[(table.frame["victim"] != "v1/s7") | (table.frame["knows"] != "weights")]
    table = Table(name="by-knowledge", title="", frame=without, forms=table.forms)
    rows = victim.ladder(table, "v1/s7", "linf", "8/255", like={"v1/s7": "net", "v2/s7": "net"})
    assert rows["stands_in"].tolist()[-1] == "v2/s7"
    assert victim.known(rows)[-1].text.startswith(
        "Nobody had its weights here; with the weights of a model of the same"
    )
    other = victim.ladder(table, "v1/s7", "linf", "8/255", like={"v1/s7": "net", "v2/s7": "another"})
    assert "weights" not in other["knows"].tolist()


def test_what_noise_reaches_as_well_is_said(tables: dict[str, Table]) -> None:
    rows = victim.ladder(tables["by-knowledge"], "v1/s7", "linf", "8/255")
    assert "cannot be told from noise" not in " ".join(f.text for f in victim.known(rows))
    weak = rows.assign(low=rows["low"].where(rows["knows"] != "C8", 0.02))
    assert "that cannot be told from noise" in victim.known(weak)[1].text


def test_radii(tables: dict[str, Table]) -> None:
    found = victim.over_radii(tables["by-knowledge"], "v1/s7", "linf")
    assert found is not None
    assert re.search(r"\(C1\) turn 38 of 100 images \(.*\) at 4/255, 75 \(.*\) at 8/255\.", found.text)
    frame = tables["by-knowledge"].frame
    one = Table(name="by-knowledge", title="", frame=frame[frame["eps"] == "8/255"], forms={})
    assert victim.over_radii(one, "v1/s7", "linf") is None


# ------------------------------------------------------------------------------------------------------------ defences

KEPT = {"none": (40, 20, 0), "pgd-at": (70, 65, 60), "trades": (66, 64, 58), "pubdef": (90, 50, 70)}


def defended_outcomes() -> Outcomes:
    """What each defence keeps of 100 images: against public models, models of its own source, and its weights."""
    hits: dict[tuple[str, int, str, int], Hits] = {}
    rows: list[Mapping[str, Any]] = []
    for name, (public, alike, own) in KEPT.items():
        of = {"defense_v": name, "reads": "surrogate", "source_v": "uci", "pool": "", "decoy": False}
        for surrogate, kept, more in (
            ("public", public, {"source_s": "uci", "pool": "seen"}),
            ("foreign", public, {"source_s": "fonts"}),
            ("alike", alike, {"source_s": "uci"}),
        ):
            hits[surrogate, 1, name, 7] = first(100 - kept)
            rows.append({**of, **more})
        hits["itself", 1, name, 7] = first(100 - own)
        rows.append({**of, "source_s": "uci", "case": 0, "reads": "victim", "attack": "pgd on victims"})
    sets = pd.DataFrame(columns=["surrogate", "attack", "norm", "eps", "attack_seed", "asked"])
    return made(hits, rows=rows, sets=sets)


@cache
def judged() -> tuple[pd.DataFrame, pd.DataFrame]:
    found = defended_outcomes()
    return defended(found, found), defended_by_threat(found, found)


def defence_tables(alarms: Mapping[str, int]) -> dict[str, Table]:
    main, apart = (table.rename(columns=dict(WRITTEN)) for table in judged())
    main["alarms"] = [float(alarms.get(name, 0)) for name in main["defense"]]
    main["training passes"] = [100.0 if name == "none" else 600.0 for name in main["defense"]]
    frames = {"defenses": main, "defenses-by-threat": apart}
    return {name: Table(name=name, title="", frame=frame, forms={}) for name, frame in frames.items()}


def test_defences_apart_for_what_the_attacker_has() -> None:
    _, table = judged()
    known = {
        (row["defense"], str(row["attacker_has"])): (
            round(100 * row["average"]),
            round(100 * row["strongest"]),
            row["pairs"],
        )
        for row in table.to_dict("records")
    }
    for name, (public, alike, own) in KEPT.items():
        assert known[name, "public models"] == (public, public, 2)
        assert known[name, "data like mine"] == (alike, alike, 1)
        assert known[name, "my weights"] == (own, own, 1)
    assert len(known) == 3 * len(KEPT)


def test_the_best_defence_differs_with_the_attacker() -> None:
    tables = defence_tables({})
    assert defences.threats_of(tables, "linf", "8/255") == ["public models", "data like mine", "my weights"]
    public = defences.recommended(tables, "public models", "linf", "8/255")
    assert public.text.startswith(
        "Against attackers who have public models only deploy pubdef: it keeps 90 of 100 images"
    )
    assert "No other comes near enough to tie." in public.text
    assert "its training takes 6 times the passes" in public.text
    assert "One training of each" in public.text
    alike = defences.recommended(tables, "data like mine", "linf", "8/255")
    assert "deploy pgd-at" in alike.text
    assert re.search(r"It cannot be told from trades with 64 \(\d+ to \d+\)", alike.text)
    ranked = defences.ranked(tables, "data like mine", "linf", "8/255").rows
    assert ranked["defence"].tolist() == ["pgd-at", "trades", "pubdef", "undefended"]
    assert ranked["tied"].tolist() == [True, True, ranked["high"][2] >= ranked["low"][0], False]


def test_what_has_signs_of_masked_gradients_is_not_recommended_against_who_has_the_weights() -> None:
    trusted = defences.recommended(defence_tables({}), "my weights", "linf", "8/255")
    assert trusted.name == "pubdef"
    doubted = defences.recommended(defence_tables({"pubdef": 1}), "my weights", "linf", "8/255")
    assert doubted.name == "pgd-at"
    assert "pubdef would be ahead, but with signs of masked gradients" in doubted.text
    none = defences.recommended(defence_tables(dict.fromkeys(KEPT, 2)), "my weights", "linf", "8/255")
    assert "nothing can be recommended" in none.text
    public = defences.recommended(defence_tables({"pubdef": 1}), "public models", "linf", "8/255")
    assert public.name == "pubdef"
    assert "; 1 sign of masked gradients" in public.text


def test_a_run_with_defences_says_two_of_them_in_short(tables: dict[str, Table]) -> None:
    found = overview({**tables, **defence_tables({})})
    told = [finding for finding in found if finding.kind == "defence"]
    assert [finding.name for finding in told] == ["pubdef", "pubdef"]
    assert re.search(r"keeps 90 of 100 images \(.*\) right, where an undefended model keeps 40", told[0].text)
    assert len(found) <= 8


def test_below_each_name_stand_place_cost_and_signs() -> None:
    rows = defences.ranked(defence_tables({"trades": 2}), "data like mine", "linf", "8/255").rows
    said = defences.beside(rows)
    assert said[:2] == ["1, tied · 6× · no signs", "2, tied · 6× · 2 signs"]
    assert said[-1] == "4 · 1× · no signs"


def test_sentences_load_neither_torch_nor_altair_nor_streamlit() -> None:
    code = (
        "import sys, carom.scenarios.findings.overview, carom.scenarios.findings.victim\n"
        "print([name for name in ('torch', 'altair', 'streamlit') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
