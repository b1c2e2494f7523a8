"""Defended victims, the public pool and wrappers, end to end: what is made, what it rests on, what is refused."""

import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from carom.defenses.masking import examined
from carom.errors import InputError
from carom.scenarios.plan.models import BuiltModel
from carom.scenarios.plan.plan import Plan, plan
from carom.scenarios.run.run import run_id_of, run_scenario
from carom.scenarios.spec.read import parse_scenario
from carom.scenarios.spec.scenario import Scenario
from carom.scenarios.store.artifacts import artifact_path
from carom.scenarios.store.database import Store
from carom.scenarios.store.free import collect
from carom.scenarios.store.lists import list_victims
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.tables.which import show_run

SMALL = """
name = "defended"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = [{name = "mi", steps = 3}, {name = "pgd", steps = 3, reads = "victim"}, {name = "fgsm", decoy = true}]
budgets = [{norm = "linf", eps = "32/255"}]
[images]
per_source = 12
[models]
source = "here"
architecture = "mlp"
recipe = {name = "standard", epochs = 2, optimizer = "sgd", learning_rate = 0.1, shift = 0, rotation = 0, scale = 0}
[[surrogates]]
seed = 1
"""
POOL = """
[[pool]]
group = "normal"
seed = [10, 11]
[[pool]]
group = "linf"
seed = 12
defense = {name = "pgd-at", steps = 2}
[[pool]]
group = "linf"
seed = 13
held_out = true
"""
VICTIMS = """
[[victims]]
seed = 2
defense = ["none", {name = "pubdef", copies = 1, steps = 2}, {name = "pgd-at -> jpeg", pgd-at = {steps = 2}}, "noise"]
"""


def scenario_of(npz: Path, *parts: str) -> Scenario:
    return parse_scenario("".join([SMALL, *parts]).replace("NPZ", str(npz)), where="defended.toml")


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Few images are looked at for masked gradients, and not long: that it is right is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("plan.measures", "plan.lacking", "jobs.examine"):
            patch.setattr(f"carom.scenarios.{module}.EXAMINED_IMAGES", 4)
        patch.setattr("carom.defenses.masking.examined", partial(examined, restarts=1, queries=2, draws=1))
        yield


@pytest.fixture(scope="module")
def ran(quick: None, tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Scenario, Plan, Path]:
    """The small scenario, run once."""
    scenario, folder = scenario_of(tiny_npz, POOL, VICTIMS), tmp_path_factory.mktemp("defended")
    report = run_scenario(scenario, folder, workers=0)
    assert report.failures == []
    return scenario, plan(scenario), folder


def test_every_cell_has_an_outcome_and_a_second_run_finds_all(ran: tuple[Scenario, Plan, Path]) -> None:
    scenario, _, folder = ran
    again = run_scenario(scenario, folder, workers=0)
    assert again.nothing_to_do


def test_victims_meet_validation_images_only_as_victims(ran: tuple[Scenario, Plan, Path]) -> None:
    """There is no validation victim, and still each victim's best attack can be chosen without test images."""
    scenario, _, folder = ran
    with Store(folder) as store:
        run = run_id_of(scenario)
        test = read_outcomes(store, run)
        seen = read_outcomes(store, run, split="validation", role="victim")
        with pytest.raises(InputError, match="validation victim"):
            read_outcomes(store, run, split="validation")
    assert set(seen.cells["victim"]) == set(test.cells.loc[test.cells["case"] != 0, "victim"])
    assert set(seen.cells.loc[~seen.cells["control"], "reads"]) == {"surrogate"}
    assert seen.image_ids is not None
    assert test.image_ids is not None
    assert not set(seen.image_ids.tolist()) & set(test.image_ids.tolist())


def test_attackers_of_the_pool_are_told_apart_and_decoys_are_no_attacks(ran: tuple[Scenario, Plan, Path]) -> None:
    scenario, _, folder = ran
    with Store(folder) as store:
        cells = read_outcomes(store, run_id_of(scenario)).cells
        decoys = read_outcomes(store, run_id_of(scenario), decoys=True).cells
    by_pool = cells[(cells["reads"] == "surrogate") & ~cells["control"]].groupby("pool")["surrogate"].nunique()
    assert by_pool.to_dict() == {"": 1, "held out": 1, "seen": 3}
    assert not cells["decoy"].any()
    assert set(decoys.loc[decoys["decoy"], "attack"]) == {"fgsm decoy"}


def test_pubdef_rests_on_the_seen_pool_alone(ran: tuple[Scenario, Plan, Path]) -> None:
    _, planned, _ = ran
    built = [m.model for m in planned.models.values() if getattr(m.model, "pool", ())]
    labels = {planned.models[key].label for model in built for key in getattr(model, "pool")}  # noqa: B009
    assert len(built) == 1
    assert all("s13" not in label for label in labels)
    assert len(labels) == 3


def test_pubdef_after_plain_training_shares_the_undefended_network(tiny_npz: Path) -> None:
    victims = '[[victims]]\nseed = 2\ndefense = ["none", {name = "plain -> pubdef", pubdef = {copies = 1}}]\n'
    planned = plan(scenario_of(tiny_npz, POOL, victims))
    (hardened,) = [m.model for m in planned.models.values() if isinstance(m.model, BuiltModel)]
    (start,) = hardened.given
    assert planned.models[start].label == "here/uniform/mlp/s2"  # the victim without a defence
    assert len(planned.models) == 1 + 4 + 2  # a surrogate, the pool, and two of the victims: nothing is trained twice


def test_what_a_victim_cost_counts_its_trainings_and_not_the_pool(ran: tuple[Scenario, Plan, Path]) -> None:
    scenario, _, folder = ran
    with Store(folder) as store:
        known = list_victims(store, run_id_of(scenario)).set_index("victim")
    plain = known[known["defense"] == "none"]["forward"].iloc[0]
    hardened = known[known["defense"].str.startswith("pgd-at")]["forward"]
    assert plain == 2 * 90
    assert (hardened > 2 * plain).all()
    assert (known["parameters"] > 0).all()
    # JPEG has no weights of its own
    assert all(count == known["parameters"].iloc[0] for count in known["parameters"])


def test_the_tables_show_defences(ran: tuple[Scenario, Plan, Path]) -> None:
    scenario, _, folder = ran
    with Store(folder) as store:
        shown = {t.name: t for t in show_run(store, run_id_of(scenario))}
    assert len(shown["defenses"].frame) >= 4


@pytest.mark.thorough
def test_a_wrapped_model_is_made_anew_with_what_is_behind_it(tiny_npz: Path, tmp_path: Path) -> None:
    victims = '[[victims]]\nseed = 2\ndefense = ["jpeg"]\n'
    scenario = scenario_of(tiny_npz, victims)
    assert run_scenario(scenario, tmp_path, workers=0).failures == []
    planned = plan(scenario)
    (behind,) = (k for k, m in planned.models.items() if "plain" in m.label)
    path = artifact_path(tmp_path, "weights", behind)
    path.write_bytes(path.read_bytes()[:-1])
    again = run_scenario(scenario, tmp_path, workers=0)
    assert again.failures == []
    assert again.trained == 1  # the same bits, so nothing that rests on them is lost
    assert again.evaluated == 0


@pytest.mark.thorough
def test_a_wrapper_before_a_model_of_the_user(tiny_npz: Path, tmp_path: Path, carom: Any) -> None:
    own = tmp_path / "own.safetensors"
    assert carom("train", "standard", "digits", "--architecture", "mlp", "--epochs", "1", "-o", own).code == 0
    text = SMALL.replace('task = {name = "npz", path = "NPZ", layout = "nhw"}', 'task = "digits"').replace(
        'source = "here"', 'source = "uci"\nn = 100'
    )
    victims = f'[[victims]]\nmodel = "{own}"\narchitecture = "mlp"\ndefense = ["none", "jpeg"]\n'
    scenario = parse_scenario(text + victims, where="own.toml")
    report = run_scenario(scenario, tmp_path / "store", workers=0)
    assert report.failures == []
    assert report.evaluated == report.cells


def test_gc_keeps_what_a_run_shows_and_frees_copies_on_request(ran: tuple[Scenario, Plan, Path]) -> None:
    _, _, folder = ran
    copies = list((folder / "artifacts" / "copies").glob("*"))
    assert copies
    collect(folder)
    assert all(path.exists() for path in copies)
    with sqlite3.connect(folder / "carom.db") as database:
        kept = database.execute("select count(*) from artifacts where kind = 'measures'").fetchone()[0]
    assert kept == 4
    collect(folder, sets=True)
    assert not any(path.exists() for path in copies)


def test_randomised_victims_draw_alike_for_clean_and_unchanged_images(ran: tuple[Scenario, Plan, Path]) -> None:
    """At eps 0 no answer changes, though the victim draws."""
    scenario, _, folder = ran
    with Store(folder) as store:
        outcomes = read_outcomes(store, run_id_of(scenario))
    cells = outcomes.cells
    zero = ((cells["eps"] == "0/255") & (cells["defense_v"] == "noise")).to_numpy()
    assert zero.sum() == 1
    clean = outcomes.clean_predictions[cells["victim_index"].to_numpy()[zero]]
    assert (outcomes.adversarial[zero] == clean).all()


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (
            ['[[victims]]\nseed = 2\ndefense = "pubdef"\n'],
            "defended.toml: pubdef:here/uniform/mlp/s2: pubdef learns from public models, and the pool has none that "
            "is not held out; add [[pool]] tables",
        ),
        (
            ["[[pool]]\nseed = 5\n", VICTIMS],
            'defended.toml: pool[0]: group is missing; name how the model was trained, such as "normal", "linf", '
            '"l2" or "corruption"',
        ),
        (
            ['[[pool]]\ngroup = "normal"\nseed = 2\n', VICTIMS],
            "defended.toml: training seed 2 is in two roles: victim 'here/uniform/mlp/s2' and public pool seen "
            "'here/uniform/mlp/s2'; give each role models and seeds of its own (a surrogate meets itself by `itself = "
            "true`)",
        ),
        (
            ['[[pool]]\ngroup = "normal"\nseed = 5\ndefense = "pubdef"\n', VICTIMS],
            "defended.toml: pool[0].defense: pubdef learns from the pool, so it cannot be in it",
        ),
        (
            ['[[victims]]\nseed = 2\ndefense = "jpge"\n'],
            "defended.toml: victims[0].defense: unknown defense 'jpge'; did you mean 'jpeg'?",
        ),
        (
            ['[[victims]]\nseed = 2\ndefense = "jpeg -> pgd-at"\n'],
            "defended.toml: victims[0].defense: 'jpeg -> pgd-at': first how it is trained, then what is made of that, "
            "then wrappers",
        ),
        (
            [POOL, '[[victims]]\nseed = 2\ndefense = {name = "pubdef", groups = ["lnf"]}\n'],
            "no public model is of group 'lnf'; did you mean 'linf'? (groups of the pool: linf, normal)",
        ),
        (
            ['[[victims]]\nseed = 2\ndefense = "trades -> proard -> student"\n'],
            "proard: needs a network of sub-networks, got MLP; use elastic-resnet or elastic-mobile",
        ),
        (
            [
                '[[victims]]\nseed = 2\narchitecture = "elastic-resnet"\n'
                'defense = {name = "trades -> proard -> student", student = {choice = "w9 d1"}}\n'
            ],
            "student.choice: 'w9 d1'",
        ),
        (
            [
                '[[pool]]\ngroup = "normal"\nname = "A"\nseed = 5\n',
                '[[victims]]\nseed = 2\nname = "A"\ndefense = "jpeg"\n',
            ],
            "a victim and a public model are both called 'A'; give each its own name",
        ),
        (
            ['[[victims]]\nseed = 2\ndefense = {name = "pgd-at", eps = 0}\n'],
            "eps",
        ),
    ],
)
def test_what_cannot_be_is_one_line(tiny_npz: Path, parts: list[str], expected: str) -> None:
    with pytest.raises(InputError) as error:
        scenario_of(tiny_npz, *parts)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_that_draws_answers_in_float32(tiny_npz: Path) -> None:
    text = 'precision = "bfloat16"' + SMALL + '[[victims]]\nseed = 2\ndefense = "noise"\n'
    with pytest.raises(
        InputError, match="precision: noise:here/uniform/mlp/s2 draws, and a model that draws answers in"
    ):
        parse_scenario(text.replace("NPZ", str(tiny_npz)), where="defended.toml")
