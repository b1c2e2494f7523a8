"""Surrogates that are built in stages, end to end: every builder, resuming, what they cost, what is refused."""

import json
import re
import sqlite3
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import carom.scenarios.jobs.job
from carom.attacks.iterative import Iterative
from carom.errors import InputError
from carom.scenarios.jobs.job import Job, Result, Worker
from carom.scenarios.plan.plan import plan
from carom.scenarios.run.run import run_id_of, run_scenario
from carom.scenarios.spec.read import load_scenario, parse_scenario
from carom.scenarios.spec.scenario import Scenario, SurrogateSpec, TrainedModel
from carom.scenarios.store.artifacts import artifact_path
from carom.scenarios.store.database import Store
from carom.scenarios.store.free import collect
from carom.scenarios.store.lists import list_failures, list_surrogates
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.stamps import find_unchanged, stamp
from carom.scenarios.tables.which import show_run
from carom.surrogates import SURROGATES
from carom.surrogates.geometry import measured

SMALL = """
name = "built"
task = {name = "npz", path = "NPZ", layout = "nhw"}
attacks = [{name = "mi", steps = 4}]
budgets = [{norm = "linf", eps = "32/255"}]
[images]
per_source = 12
[models]
source = "here"
architecture = "mlp"
recipe = {name = "standard", epochs = 3, optimizer = "sgd", learning_rate = 0.1, shift = 0, rotation = 0, scale = 0}
[[surrogates]]
seed = 1
builder = BUILDERS
[[victims]]
seed = [2, 3]
"""
JUDGED = "\n[[validation_victims]]\nseed = 4\n"


def scenario_of(npz: Path, builders: str, *, more: str = "") -> Scenario:
    return parse_scenario((SMALL + more).replace("NPZ", str(npz)).replace("BUILDERS", builders), where="built.toml")


def weights_of(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """Digest and record of every model, by key."""
    with sqlite3.connect(folder / "carom.db") as database:
        rows = database.execute("select key, digest, record from artifacts where kind = 'weights'").fetchall()
    return {key: (digest, json.loads(record)) for key, digest, record in rows}


def completed(text: str) -> str:
    """The preset's text, with builders that it does not name at their defaults."""
    unnamed = [name for name in SURROGATES if not re.search(rf'["> ]{name}[" ]', text)]
    return text + f"\n[[surrogates]]\nseed = 1\nbuilder = {json.dumps(unnamed)}\n" if unnamed else text


def test_a_builder_that_the_preset_does_not_name_runs_beside_those_that_it_names() -> None:
    written = load_scenario("digits-surrogates").text
    assert '"gam",' in written
    found = parse_scenario(written, where="every.toml").surrogates
    without = parse_scenario(completed(written.replace('"gam",', "")), where="every.toml").surrogates
    assert {spec.builder for spec in without} == {spec.builder for spec in found}


def stages_of(preset: str) -> dict[str, list[SurrogateSpec]]:
    found: dict[str, list[SurrogateSpec]] = {}
    for spec in load_scenario(preset).surrogates:
        found.setdefault(spec.builder_name, []).append(spec)
    return found


def test_weight_sets_are_read_in_turn_except_where_a_name_says_full() -> None:
    """As docs/science/surrogates.md says of its rows: else a row costs several times what it is compared with."""
    full = [
        name
        for name, specs in stages_of("fashion-surrogates").items()
        if specs[0].builder.count > 1 and specs[0].builder.schedule == "full" and specs[0].builder.active > 1
    ]
    assert full == ["4 DNN, full"]


def test_what_a_claim_is_compared_with_differs_in_that_alone() -> None:
    """Sampling from a posterior with the same cycles without noise; early stopping with the last epoch; same seeds."""
    specs = stages_of("fashion-surrogates")
    noisy: Any = specs["csghmc"][0].builder.first
    cold: Any = specs["csghmc, no noise"][0].builder.first
    assert noisy.temperature > 0
    assert cold == replace(noisy, temperature=0.0)
    kept, last = (specs[name][0].base for name in ("single", "single, last epoch"))
    assert isinstance(kept, TrainedModel)
    assert isinstance(last, TrainedModel)
    assert kept.configuration.recipe.select == "best"
    assert last.configuration == replace(kept.configuration, recipe=replace(kept.configuration.recipe, select="last"))
    stopping: Any = specs["early-stopping"][0].builder.then[0]
    scenario = load_scenario("fashion-surrogates")
    assert (stopping.attack, stopping.eps) == (scenario.attacks[0].attack, scenario.budgets[0].eps)
    seeds = {name: [s.base.seed for s in specs[name] if isinstance(s.base, TrainedModel)] for name in specs}
    three = ("csghmc", "csghmc, no noise", "single", "single, last epoch", "early-stopping")
    assert {name: seeds[name] for name in three} == {name: [1, 2, 3] for name in three}


def test_what_is_said_to_be_tuned_has_an_axis() -> None:
    tuning = load_scenario("fashion-surrogates-tuning")
    first: list[Any] = [spec.builder.first for spec in tuning.surrogates if spec.builder_name.startswith("csghmc")]
    assert "temperature" in tuning.description
    assert len({way.temperature for way in first if way.learning_rate == 0.2}) >= 3


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scenario, Path]:
    """The preset, run with fewer images and steps after the trainings, and with a rough geometry."""
    text = completed(load_scenario("digits-surrogates").text)
    for long, short in (
        ("geometry = {images = 50", "geometry = {images = 10"),
        ("per_source = 50", "per_source = 10"),
        ("steps = 10", "steps = 2"),
    ):
        assert long in text, long
        text = text.replace(long, short)
    scenario = parse_scenario(text, where="every.toml")
    folder = tmp_path_factory.mktemp("every")
    with pytest.MonkeyPatch.context() as patch:  # that it is right is tested beside it, at length
        patch.setattr("carom.surrogates.geometry.measured", partial(measured, draws=2, rays=1))
        report = run_scenario(scenario, folder, workers=0, device="cpu")
    assert not report.failures
    assert report.evaluated == report.cells
    return scenario, folder


@pytest.mark.thorough
def test_every_builder_runs_and_its_cost_is_known(every: tuple[Scenario, Path]) -> None:
    scenario, folder = every
    with Store(folder) as store:
        table = list_surrogates(store, run_id_of(scenario))
    assert set(table["surrogate"]) == {s.label for s in scenario.surrogates}
    assert (table[["members", "parameters", "forward", "seconds"]] > 0).all().all()
    by = table[table["asked"] == ""].set_index("builder")
    single = by.loc["single"]
    assert (single["members"], single["active"], single["networks"]) == (1, 1, 1)
    n, epochs = 300, 4
    assert single["forward"] == single["backward"] == n * epochs
    assert by.loc["sam", "forward"] == 2 * n * epochs
    assert by.loc["ensemble(size=2)", "forward"] == 2 * single["forward"]
    lgv = by.loc["lgv(epochs=2)"]
    assert (lgv["members"], lgv["active"], lgv["schedule"]) == (8, 1, "light")
    assert single["forward"] < lgv["forward"] <= single["forward"] + 2 * n


@pytest.mark.thorough
def test_what_is_measured_stands_beside_each_surrogate(every: tuple[Scenario, Path]) -> None:
    scenario, folder = every
    with Store(folder) as store:
        table = list_surrogates(store, run_id_of(scenario))
    for measures in table["measures"]:
        assert {"hessian_top", "hessian_trace", "gradient_norm", "loss"} <= set(measures)
    by = dict(zip(table["builder"], table["measures"], strict=True))
    assert "alignment" in by["ensemble(size=2)"]
    assert "alignment" not in by["single"]


@pytest.mark.thorough
def test_a_second_run_finds_everything(every: tuple[Scenario, Path]) -> None:
    scenario, folder = every
    assert run_scenario(scenario, folder, workers=0, device="cpu").nothing_to_do


@pytest.mark.thorough
def test_several_weight_sets_are_one_file_that_holds_each_once(every: tuple[Scenario, Path]) -> None:
    scenario, folder = every
    planned = plan(scenario)
    lgv = next(s for s in planned.surrogates if s.spec.builder_name == "lgv(epochs=2)")
    single = next(s for s in planned.surrogates if s.spec.builder_name == "single")
    sizes = [artifact_path(folder, "weights", s.members[0]).stat().st_size for s in (lgv, single)]
    assert sizes[0] == pytest.approx(8 * sizes[1], rel=0.2)  # the header is not


def test_chains_share_what_they_have_in_common(tiny_npz: Path) -> None:
    chains = (
        '["single", {name = "lgv", epochs = 1}, {name = "lgv -> swa", lgv = {epochs = 1}}, {name = "rd", draws = 2}]'
    )
    planned = plan(scenario_of(tiny_npz, chains))
    rests_on = {s.spec.builder_name: s.rests_on for s in planned.surrogates}
    single, lgv = rests_on["single"], rests_on["lgv(epochs=1)"]
    assert lgv[: len(single)] == single
    assert rests_on["lgv -> swa(lgv=epochs=1)"][:2] == lgv
    assert rests_on["rd(draws=2)"][0] == single[0]


def test_a_builder_that_asks_makes_one_surrogate_for_each_victim(tiny_npz: Path, tmp_path: Path) -> None:
    scenario = scenario_of(tiny_npz, '{name = "extraction", queries = 24, start = 12, epochs = 2}')
    report = run_scenario(scenario, tmp_path, workers=0, device="cpu")
    assert not report.failures
    with Store(tmp_path) as store:
        table = list_surrogates(store, run_id_of(scenario))
        cells = read_outcomes(store, run_id_of(scenario)).cells
    assert sorted(table["asked"]) == sorted(v.label for v in scenario.victims)
    met = cells[~cells["control"] & (cells["case"] != 0)]
    assert len(met) == 2  # each surrogate attacks the victim that it asked, and no other
    assert set(met["reads"]) == {"both"}
    assert {record.get("queries") for _, record in weights_of(tmp_path).values()} <= {None, 24}


def test_a_run_that_is_stopped_between_stages_ends_like_one_that_was_not(
    tiny_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = scenario_of(tiny_npz, '{name = "lgv -> swa", lgv = {epochs = 1, models_per_epoch = 2}}')
    assert not run_scenario(scenario, tmp_path / "whole", workers=0, device="cpu").failures
    perform = carom.scenarios.jobs.job.perform
    done = 0

    def stopping(job: Job, worker: Worker) -> Result:
        nonlocal done
        if job.kind == "build" and done == 1:  # the average, behind what it is of
            raise KeyboardInterrupt
        done += job.kind == "build"
        return perform(job, worker)

    monkeypatch.setattr("carom.scenarios.run.executors.processes.perform", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_scenario(scenario, tmp_path / "stopped", workers=0, device="cpu")
    monkeypatch.undo()
    run_scenario(scenario, tmp_path / "stopped", workers=0, device="cpu")
    whole, stopped = weights_of(tmp_path / "whole"), weights_of(tmp_path / "stopped")
    assert {k: digest for k, (digest, _) in whole.items()} == {k: digest for k, (digest, _) in stopped.items()}


def test_a_stage_that_fails_takes_what_rests_on_it_and_no_more(tiny_npz: Path, tmp_path: Path) -> None:
    wild = '{name = "lgv -> swa", lgv = {learning_rate = 1000, epochs = 1, models_per_epoch = 1}}'
    scenario = scenario_of(tiny_npz, f'["single", {wild}]')
    report = run_scenario(scenario, tmp_path, workers=0, device="cpu")
    assert len(report.failures) == 1
    assert "lower the learning rate" in report.failures[0]
    assert report.evaluated > 0
    with Store(tmp_path) as store:
        failures = list_failures(store, run_id_of(scenario))
    assert len(failures) == 1
    assert "lgv" in failures["reason"][0]


def test_fewer_steps_than_members_is_warned_of(tiny_npz: Path) -> None:
    warnings = plan(scenario_of(tiny_npz, '["single", {name = "lgv", epochs = 2}]')).warnings
    assert len(warnings) == 1
    assert (
        "mi steps=4 has 4 steps and reads 4 of 8 members: its transfer is understated; take more steps" in warnings[0]
    )


@pytest.mark.parametrize(
    ("builders", "message"),
    [
        ('"early-stopping"', "chooses by transfer to validation victims, and there are none; add validation_victims"),
        ('{name = "extraction", queries = 0}', "built.toml: surrogates[0].builder: extraction: "),
        ('["single", "sgld", "lvg"]', "built.toml: surrogates[0].builder: unknown surrogate builder"),
        ('{name = "ensemble", size = 2, label = 3}', "built.toml: surrogates[0].builder.label: expected a string"),
    ],
)
def test_wrong_builders_are_one_line(builders: str, message: str, tiny_npz: Path) -> None:
    with pytest.raises(InputError) as error:
        scenario_of(tiny_npz, builders)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_early_stopping_keeps_the_epoch_that_transfers_best(tiny_npz: Path, tmp_path: Path) -> None:
    scenario = scenario_of(tiny_npz, '{name = "early-stopping", images = 12}', more=JUDGED)
    assert not run_scenario(scenario, tmp_path, workers=0, device="cpu").failures
    curves = [record for _, record in weights_of(tmp_path).values() if "asr" in record]
    assert len(curves) == 1
    assert 1 <= curves[0]["chosen"] <= len(curves[0]["asr"]) == 3
    assert curves[0]["asr"][curves[0]["chosen"] - 1] == max(curves[0]["asr"])


def test_early_stopping_judges_as_the_scenario_attacks(tiny_npz: Path) -> None:
    """With its first attack in its largest ball, which are in the key; what is set stays."""
    found = {}
    for eps in ("24/255", "40/255"):
        text = (SMALL + JUDGED).replace("NPZ", str(tiny_npz)).replace("BUILDERS", BY_ITSELF)
        scenario = parse_scenario(
            re.sub('eps = "[^"]*"', f'eps = ["8/255", "{eps}"]', text, count=1), where="built.toml"
        )
        found[eps] = plan(scenario)
        stages: list[Any] = [spec.builder.then[0] for spec in scenario.surrogates]
        assert [stage.eps for stage in stages] == [Fraction(eps), Fraction(4, 255)]
        assert [stage.attack for stage in stages] == [
            scenario.attacks[0].attack,
            Iterative(steps=3, step=Fraction(1, 10)),
        ]
    small, large = ({s.spec.builder_name: s.members for s in planned.surrogates} for planned in found.values())
    assert small["early-stopping"] != large["early-stopping"]
    assert small["own"] == large["own"]


BY_ITSELF = '["early-stopping", {name = "early-stopping", eps = "4/255", steps = 3, label = "own"}]'
STEALING = '{name = "extraction", queries = 24, start = 12, epochs = 1}'


def test_answers_in_another_precision_make_another_surrogate(tiny_npz: Path) -> None:
    keys = {}
    for precision in ("float32", "bfloat16"):
        text = f'precision = "{precision}"\n' + SMALL
        text = text.replace("NPZ", str(tiny_npz)).replace("BUILDERS", f'["single", {STEALING}]')
        planned = plan(parse_scenario(text, where="built.toml"))
        keys[precision] = {s.spec.builder_name: s.members for s in planned.surrogates}
    assert keys["float32"]["single"] == keys["bfloat16"]["single"]
    assert not set(keys["float32"].popitem()[1]) & set(keys["bfloat16"].popitem()[1])


def test_what_trains_by_itself_has_a_seed_of_its_own_too(tiny_npz: Path) -> None:
    text = (SMALL + JUDGED).replace("NPZ", str(tiny_npz)).replace("BUILDERS", STEALING)
    with pytest.raises(InputError, match="training seed 2 is in two roles"):
        parse_scenario(text.replace("seed = 1", "seed = 2"), where="built.toml")


def test_two_builders_of_one_name_are_refused(tiny_npz: Path) -> None:
    twins = '[{name = "ensemble", size = 2, label = "some"}, {name = "ensemble", size = 3, label = "some"}]'
    with pytest.raises(InputError, match="two builders are called 'some'; give each a label of its own"):
        scenario_of(tiny_npz, twins)


def test_surrogates_of_other_numbers_of_images_are_other_rows(tiny_npz: Path, tmp_path: Path) -> None:
    text = SMALL.replace("NPZ", str(tiny_npz)).replace("BUILDERS", '["single", {name = "ensemble", size = 2}]')
    scenario = parse_scenario(text.replace("seed = 1\n", "seed = 1\nn = [20, 40]\n"), where="built.toml")
    assert not run_scenario(scenario, tmp_path, workers=0, device="cpu").failures
    with Store(tmp_path) as store:
        shown = {table.name: table.frame for table in show_run(store, run_id_of(scenario))}
    costs = shown["surrogates"].set_index("surrogate")
    assert sorted(costs.index) == sorted(
        ["single on n=20", "single on n=40", "ensemble(size=2) on n=20", "ensemble(size=2) on n=40"]
    )
    assert set(costs["trainings"]) == {1.0, 2.0}
    assert (costs["T-DEE"] != "–").sum() == 2  # the ladder of one base says nothing of another


@pytest.mark.thorough
def test_tables_stand_while_a_rung_of_the_ladder_has_no_outcome(tiny_npz: Path, tmp_path: Path) -> None:
    ladder = '["single", {name = "ensemble", size = 2}, {name = "ensemble", size = 3}, "sam"]'
    scenario = scenario_of(tiny_npz, ladder, more=JUDGED)
    assert not run_scenario(scenario, tmp_path, workers=0, device="cpu").failures
    run = run_id_of(scenario)
    with Store(tmp_path) as store:
        names = {table.name for table in show_run(store, run)}
        assert {"surrogates", "equal-training-cost", "equal-attack-cost"} <= names
        on_validation = {table.name for table in show_run(store, run, split="validation")}
        assert "surrogates" in on_validation
        assert not {"equal-training-cost", "equal-attack-cost"} & on_validation
    with sqlite3.connect(tmp_path / "carom.db") as database:
        database.execute(
            "delete from cells where adversarial_set in (select artifact from run_sets where surrogate like '%size=2%' "
            "or surrogate not like '%:%')"
        )
    with Store(tmp_path) as store:
        names = {table.name for table in show_run(store, run)}
    assert "surrogates" in names
    assert "equal-training-cost" not in names  # there is no single network to compare with


@pytest.mark.thorough
def test_gc_takes_checkpoints_that_nobody_goes_on_from(tiny_npz: Path, tmp_path: Path) -> None:
    scenario = scenario_of(tiny_npz, '["single"]')
    assert not run_scenario(scenario, tmp_path, workers=0, device="cpu").failures
    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    for name in ("dead.pt", ".dead.pt.part"):
        (tmp_path / "checkpoints" / name).write_bytes(b"0")
    collect(tmp_path)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_what_was_measured_and_is_lost_is_measured_again(tmp_path: Path) -> None:
    text = """
name = "measured"
task = "digits"
attacks = ["fgsm"]
budgets = [{norm = "linf", eps = "48/255"}]
geometry = {images = 20, members = 1}
[images]
per_source = 10
[models]
source = "uci"
architecture = "mlp"
n = 40
recipe = {epochs = 1}
[[surrogates]]
seed = 1
[[victims]]
seed = 2
"""
    scenario = parse_scenario(text, where="measured.toml")
    assert not run_scenario(scenario, tmp_path, workers=0, device="cpu").failures
    stamp_of = stamp(scenario.name, scenario.text)
    assert find_unchanged(tmp_path, stamp_of) is not None
    for path in (tmp_path / "artifacts" / "measures").iterdir():
        path.unlink()
    assert find_unchanged(tmp_path, stamp_of) is None
    assert not run_scenario(scenario, tmp_path, workers=0, device="cpu").nothing_to_do
    with Store(tmp_path) as store:
        assert "geometry" in {table.name for table in show_run(store, run_id_of(scenario))}
