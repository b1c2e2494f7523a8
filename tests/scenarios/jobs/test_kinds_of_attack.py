"""Attacks that read more than a surrogate's gradients, end to end: traces, victims that are asked, pools, searches."""

import json
import sqlite3
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from carom.attacks import ADAPTERS, ATTACKS
from carom.errors import InputError
from carom.scenarios.plan.plan import plan
from carom.scenarios.run.run import run_id_of, run_scenario
from carom.scenarios.spec.read import load_scenario, parse_scenario
from carom.scenarios.spec.scenario import Scenario
from carom.scenarios.spec.text import read_text
from carom.scenarios.store.artifacts import artifact_path
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_failures
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.tables.which import show_run

SMALL = """
name = "kinds"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = ATTACKS
budgets = BUDGETS
[images]
per_source = 12
[models]
source = "here"
architecture = {name = "resnet-small", width = 8}
recipe = {name = "standard", epochs = 2, shift = 0, rotation = 0, scale = 0, learning_rate = 0.02}
[[surrogates]]
seed = 1
[[victims]]
seed = [2, 3]
"""
VALIDATION = """
[[validation_victims]]
seed = 4
"""


def scenario_of(
    npz: Path, attacks: str, *, budgets: str = '[{norm = "linf", eps = "32/255"}]', more: str = ""
) -> Scenario:
    text = (SMALL + more).replace("NPZ", str(npz)).replace("ATTACKS", attacks).replace("BUDGETS", budgets)
    return parse_scenario(text, where="kinds.toml")


def done(scenario: Scenario, folder: Path) -> dict[str, dict[str, Any]]:
    """Runs it; the record of each adversarial set, by surrogate and attack, with the images under "tensors"."""
    report = run_scenario(scenario, folder, workers=0, device="cpu")
    assert not report.failures
    records = {}
    with sqlite3.connect(folder / "carom.db") as database:
        query = (
            "select s.surrogate, s.attack, a.key, a.record, a.inputs from run_sets s "
            "join artifacts a on a.id = s.artifact where s.surrogate is not null"
        )
        for surrogate, attack, key, record, inputs in database.execute(query):
            tensors = load_file(artifact_path(folder, "sets", key))
            records[f"{surrogate} {attack} {key}"] = {
                **json.loads(record),
                "attack": attack,
                "surrogate": surrogate,
                "inputs": json.loads(inputs),
                "tensors": tensors,
            }
    return records


def of(records: dict[str, dict[str, Any]], attack: str) -> list[dict[str, Any]]:
    return [record for record in records.values() if record["attack"] == attack]


def test_a_trace_has_a_set_for_each_step_from_one_run_of_the_attack(tiny_npz: Path, tmp_path: Path) -> None:
    attacks = '[{name = "mi", steps = 4, trace = [1, 3, 4]}, {name = "mi", steps = 3, step = "1/4", label = "three"}]'
    records = done(scenario_of(tiny_npz, attacks), tmp_path)
    one, three, four = (of(records, f"mi steps=4 @{step}")[0] for step in (1, 3, 4))
    assert [r["forward"] / 24 for r in (one, three, four)] == [1, 3, 4]
    (alone,) = of(records, "three")
    assert torch.equal(three["tensors"]["images"], alone["tensors"]["images"])
    assert not torch.equal(three["tensors"]["images"], four["tensors"]["images"])


def test_attacks_that_read_victims_have_a_set_for_each_and_meet_nobody_else(tiny_npz: Path, tmp_path: Path) -> None:
    attacks = '[{name = "square", queries = 20, reads = "victim"}, {name = "bim", reads = "victim"}, "fgsm"]'
    scenario = scenario_of(tiny_npz, attacks)
    records = done(scenario, tmp_path)
    with Store(tmp_path) as store:
        cells = read_outcomes(store, run_id_of(scenario)).cells
    read = cells[cells["attack"].str.endswith("on victims")]
    assert len(read) == 4
    assert (read["case"] == 0).all()
    assert (read["surrogate"] == read["victim"]).all()
    asked = of(records, "square queries=20 on victims")
    assert len(asked) == 2
    for record in asked:
        queries = record["tensors"]["queries"]
        assert int(queries.min()) >= 1
        assert int(queries.max()) <= 20
        assert record["mean_queries"] == pytest.approx(float(queries.double().mean()))
        assert record["forward"] == int(queries.sum())
        assert record["backward"] == 0


def test_a_transfer_that_goes_on_to_ask_has_a_set_for_each_pair(tiny_npz: Path, tmp_path: Path) -> None:
    table = '{name = "transfer-then-query", transfer = "fgsm", query = {name = "square", queries = 10}, label = "both"}'
    scenario = scenario_of(tiny_npz, f'["fgsm", {table}]')
    planned = plan(scenario)
    asked = [s for s in planned.sets.values() if s.asked is not None]
    assert len(asked) == 2
    assert {s.asked for s in asked} == {c.victim_key for c in planned.cells if c.set_key in {a.key for a in asked}}
    records = done(scenario, tmp_path)
    with Store(tmp_path) as store:
        outcomes = read_outcomes(store, run_id_of(scenario))
    cells = outcomes.cells.assign(k=outcomes.success.sum(1))
    both = cells[cells["attack"] == "both"].set_index("victim")["k"]
    transfer = cells[(cells["attack"] == "fgsm") & (cells["case"] != 0)].set_index("victim")["k"]
    assert len(both) == 2
    assert (both >= transfer.loc[both.index]).all()  # what the transfer won stays won
    assert all("asked" in record["inputs"] for record in of(records, "both"))


def test_attacks_that_mix_rest_on_a_fixed_pool(tiny_npz: Path, tmp_path: Path) -> None:
    records = done(scenario_of(tiny_npz, '["admix", "mi"]'), tmp_path)
    assert "partners" in of(records, "admix")[0]["inputs"]
    assert "partners" not in of(records, "mi")[0]["inputs"]


def test_a_path_is_searched_on_validation_victims_and_images(tiny_npz: Path, tmp_path: Path) -> None:
    attacks = '[{name = "pas", steps = 2, pas = {evaluations = 6}, label = "pas"}]'
    with pytest.raises(InputError, match=r"kinds.toml: attacks\[0\]: pas searches .* validation_victims"):
        scenario_of(tiny_npz, attacks)
    with pytest.raises(InputError, match="searched for untargeted attacks"):
        scenario_of(tiny_npz, attacks.replace("label", "targeted = true, label"), more=VALIDATION)
    records = done(scenario_of(tiny_npz, attacks, more=VALIDATION), tmp_path)
    made = of(records, "pas")
    assert len(made) == 2  # on test and on validation images
    assert len({tuple(record["coefficients"]) for record in made}) == 1
    assert all(len(record["coefficients"]) > 2 and record["search_forward"] > 0 for record in made)
    assert all({"judge 0", "judging"} <= set(record["inputs"]) for record in made)


@pytest.mark.thorough
def test_a_transfer_along_a_searched_path_goes_on_to_ask(tiny_npz: Path, tmp_path: Path) -> None:
    transfer = '{name = "pas", steps = 2, pas = {evaluations = 4}}'
    attacks = (
        '[{name = "transfer-then-query", transfer = TRANSFER, query = {name = "square", queries = 5}, label = "t"}]'
    )
    records = done(scenario_of(tiny_npz, attacks.replace("TRANSFER", transfer), more=VALIDATION), tmp_path)
    assert all(len(record["coefficients"]) > 2 for record in of(records, "t"))


def test_an_attack_that_does_not_suit_a_model_costs_its_own_cells_alone(tiny_npz: Path, tmp_path: Path) -> None:
    text = SMALL.replace('{name = "resnet-small", width = 8}', '"lenet"').replace("NPZ", str(tiny_npz))
    text = text.replace("ATTACKS", '["fgsm", "sgm", "mi"]').replace("BUDGETS", '[{norm = "linf", eps = "32/255"}]')
    scenario = parse_scenario(text, where="kinds.toml")
    report = run_scenario(scenario, tmp_path, workers=0, device="cpu")
    assert report.status == "failed"
    (failure,) = report.failures
    assert "sgm: " in failure
    assert "no residual branch" in failure
    with Store(tmp_path) as store:
        cells = read_outcomes(store, run_id_of(scenario)).cells
        reasons = list_failures(store, run_id_of(scenario))
    assert set(cells.loc[~cells["control"], "attack"]) == {"fgsm", "mi"}
    assert reasons["cells"].tolist() == [3]  # on the surrogate itself and on two victims


def test_what_was_asked_of_a_victim_is_not_pooled_with_transfer(tiny_npz: Path, tmp_path: Path) -> None:
    table = '{name = "transfer-then-query", transfer = "fgsm", query = {name = "square", queries = 10}, label = "both"}'
    scenario = scenario_of(tiny_npz, f'["fgsm", {{name = "bim", reads = "victim"}}, {table}]')
    done(scenario, tmp_path)
    with Store(tmp_path) as store:
        cases = next(shown for shown in show_run(store, run_id_of(scenario)) if shown.name == "cases").frame
    attacked = cases[cases["case"] != "control"]
    assert sorted(zip(attacked["reads"], attacked["case"], strict=True)) == [
        ("both", "C1"),
        ("surrogate", "C0"),
        ("surrogate", "C1"),
        ("victim", "C0"),
    ]


def test_the_preset_of_all_attacks_names_each() -> None:
    table = tomllib.loads(read_text("digits-attacks")[0])
    named = [entry if isinstance(entry, str) else entry["name"] for entry in table["attacks"]]
    parts = {part for name in named for part in name.split("+")}
    assert set(ATTACKS) <= parts
    assert {library for library in ADAPTERS if any(name.startswith(library) for name in named)} == set(ADAPTERS)
    load_scenario("digits-attacks")


def test_controls_can_be_named(tiny_npz: Path, tmp_path: Path) -> None:
    more = 'controls = ["filter-invert", {name = "box-blur", radius = 2}]\n'
    scenario = scenario_of(tiny_npz, '["fgsm"]\n' + more)
    done(scenario, tmp_path)
    with Store(tmp_path) as store:
        cells = read_outcomes(store, run_id_of(scenario)).cells
    assert {"filter-invert", "box-blur radius=2", "box-blur"} <= set(cells.loc[cells["control"], "attack"])


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        ('["cw"]', r"attacks\[0\]: cw needs l2 budgets, got linf"),
        ('[{name = "cw", norms = []}]', r"attacks\[0\].norms"),
        ('[{name = "cw", norms = "l2"}]', r"attacks\[0\].norms: no budget of the scenario is l2; add one"),
        ('[{name = "deepfool", targeted = true}]', r"attacks\[0\]: deepfool targeted cannot aim"),
        ('[{name = "mi", steps = 3, trace = [5]}]', r"attacks\[0\].trace: step 5 of an attack of 3 steps"),
        ('[{name = "square", trace = [5]}]', r"attacks\[0\].trace: square is no loop of steps"),
        ('[{name = "mi", reads = "victims"}]', r"reads: unknown model to read 'victims'; did you mean 'victim'"),
        ('[{name = "transfer-then-query", reads = "victim"}]', "reads a surrogate and asks every victim"),
        ('[{name = "transfer-then-query", transfer = "mi", query = "cw"}]', "CW cannot begin at a transferred image"),
        ('["mi+deepfool"]', "'deepfool' is a whole attack and takes no '\\+'"),
        ('["fgsm"]\ncontrols = ["sign-noise"]', "'sign-noise' is already there, as 'sign-noise 1'"),
        ('["fgsm"]\ncontrols = ["blur"]', r"controls\[0\]: unknown control 'blur'"),
    ],
)
def test_wrong_use_is_one_clear_line(attacks: str, message: str, tiny_npz: Path) -> None:
    with pytest.raises(InputError, match=message) as error:
        scenario_of(tiny_npz, attacks)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        ('[{name = "ila", ila = {point = "layer9"}}]', "no feature point 'layer9'"),
        ('["sgm"]', "no residual branch"),
    ],
)
def test_what_only_the_network_can_refuse_is_one_clear_line(
    attacks: str, message: str, tiny_npz: Path, tmp_path: Path
) -> None:
    text = SMALL.replace('{name = "resnet-small", width = 8}', '"lenet"').replace("NPZ", str(tiny_npz))
    text = text.replace("ATTACKS", attacks).replace("BUDGETS", '[{norm = "linf", eps = "32/255"}]')
    report = run_scenario(parse_scenario(text, where="kinds.toml"), tmp_path, workers=0, device="cpu")
    assert report.status == "failed"
    assert len(report.failures) == 1
    assert message in report.failures[0]
    assert "\n" not in report.failures[0]
