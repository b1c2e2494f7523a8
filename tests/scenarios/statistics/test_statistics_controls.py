"""Controls: each passes on a sound run and speaks up on a broken one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest  # type: ignore[attr-defined]

from carom.scenarios.statistics import ControlCheck, Outcomes, controls
from carom.scenarios.statistics.controls import gradients_are_there

Make = Callable[..., Outcomes]
NAMES = [
    "eps = 0",
    "white box",
    "controls, balance",
    "controls, architecture",
    "ASR over eps",
    "zero gradients",
    "size / eps",
    "labels",
]


def sound(cell: dict[str, Any]) -> float:
    """P(wrong) of a run as it should be: a white box nearly always wins, more eps helps."""
    strength = {"8/255": 0.4, "16/255": 0.6}.get(cell["eps"], 0.0)
    return 0.99 if cell["case"] == 0 else strength


def by_name(checks: list[ControlCheck]) -> dict[str, ControlCheck]:
    return {check.name: check for check in checks}


def run(make: Make, **kwargs: Any) -> Outcomes:
    return make(**{"seed": 1, "images": 200, "eps": ("0/1", "8/255", "16/255"), "probability": sound, **kwargs})


def test_a_sound_run_passes_every_control(make_outcomes: Make) -> None:
    checks = controls(run(make_outcomes))
    assert [check.name for check in checks] == NAMES
    assert {check.status for check in checks} == {"passed"}


def test_a_changed_answer_at_eps_0_fails(make_outcomes: Make) -> None:
    outcomes = run(make_outcomes)
    cell = int(np.flatnonzero(outcomes.cells["eps"] == "0/1")[3])
    image = int(np.flatnonzero(outcomes.right[outcomes.victim_index[cell]])[0])
    outcomes.adversarial[cell, image] = -1
    check = by_name(controls(outcomes))["eps = 0"]
    assert (check.status, check.numbers["k"]) == ("failed", 1)


def test_a_weak_white_box_warns_and_names_the_model(make_outcomes: Make) -> None:
    weak = "print/flat/vit/s0"

    def probability(cell: dict[str, Any]) -> float:
        return 0.5 if cell["case"] == 0 and cell["victim"] == weak else sound(cell)

    check = by_name(controls(run(make_outcomes, probability=probability)))["white box"]
    assert check.status == "warned"
    assert weak in check.came
    assert check.numbers["below"] == 1


def test_one_strong_attack_on_the_own_model_is_enough(make_outcomes: Make) -> None:
    def probability(cell: dict[str, Any]) -> float:
        return 0.5 if cell["case"] == 0 and cell["attack"] == "fgsm" else sound(cell)

    assert by_name(controls(run(make_outcomes, probability=probability)))["white box"].status == "passed"


def test_attacks_without_gradients_are_no_white_box(make_outcomes: Make) -> None:
    outcomes = run(make_outcomes)
    assert outcomes.sets is not None
    for backward, status in ((0, "not run"), (1, "passed"), (7, "passed")):
        told = replace(outcomes, sets=outcomes.sets.assign(backward=backward))
        assert by_name(controls(told))["white box"].status == status


def test_the_white_box_is_judged_at_the_headline_eps_and_on_undefended_models(make_outcomes: Make) -> None:
    def probability(cell: dict[str, Any]) -> float:
        return 0.5 if cell["case"] == 0 and cell["eps"] == "8/255" else sound(cell)

    outcomes = run(make_outcomes, probability=probability)
    assert by_name(controls(outcomes))["white box"].status == "passed"
    assert by_name(controls(outcomes, headline_eps="8/255"))["white box"].status == "warned"
    defended = replace(outcomes, cells=outcomes.cells.assign(defense_v="pgd-at"))
    assert by_name(controls(defended, headline_eps="8/255"))["white box"].status == "not run"


@pytest.mark.parametrize("axis", ["balance", "architecture"])
def test_a_control_that_depends_on_the_surrogate_fails(make_outcomes: Make, axis: str) -> None:
    """A control set made once for each surrogate must still be one set; here its rate follows the match."""
    outcomes = run(make_outcomes, eps=("8/255",))
    cells = outcomes.cells
    mine = ((cells["surrogate"] != "") & (cells["case"] > 0) & (cells["attack"] == "mi")).to_numpy()
    copied = outcomes.where(mine)
    changed = copied.cells.assign(control=True, case=-1, attack="blur")
    same = (changed[f"{axis}_s"] == changed[f"{axis}_v"]).to_numpy()
    adversarial = np.repeat(outcomes.labels[None].astype(np.int16), len(changed), axis=0)
    one_set = replace(copied, cells=changed, adversarial=adversarial)
    name = f"controls, {axis}"
    assert by_name(controls(one_set))[name].status == "passed"
    image = int(np.flatnonzero(outcomes.right[outcomes.victim_index].all(0))[0])
    adversarial = adversarial.copy()
    adversarial[same, image] = -1
    check = by_name(controls(replace(one_set, adversarial=adversarial)))[name]
    assert check.status == "failed"
    assert check.numbers["not zero"] == len(set(changed["victim"]))


def test_a_fall_over_eps_warns(make_outcomes: Make) -> None:
    def probability(cell: dict[str, Any]) -> float:
        falls = cell["attack"] == "mi" and cell["case"] == 3 and cell["eps"] == "16/255"
        return 0.2 if falls else sound(cell)

    check = by_name(controls(run(make_outcomes, probability=probability)))["ASR over eps"]
    assert check.status == "warned"
    assert check.numbers["falls"] == 1
    assert "mi (linf, C3) from 8/255 to 16/255" in check.came


def test_noise_alone_rarely_warns_of_a_fall(make_outcomes: Make) -> None:
    alarms = 0
    for seed in range(20):
        outcomes = make_outcomes(
            seed, images=100, balances=("flat",), eps=("8/255", "16/255"), probability=lambda c: 0.5, noise=False
        )
        alarms += by_name(controls(outcomes))["ASR over eps"].status == "warned"
    assert alarms <= 4  # 5% of 20 runs are expected; P(more than 4) is 0.3%


@pytest.mark.parametrize("images", [10, 200])
def test_few_images_without_gradients_are_no_sign_of_masking(make_outcomes: Make, images: int) -> None:
    """Up to 10% of all images may have none; of those attacked it may be more by chance, over all sets at 5%."""
    outcomes = run(make_outcomes, images=images, eps=("8/255",))
    assert outcomes.sets is not None
    for few in range(images // 10, images // 2, max(1, images // 50)):
        sets = outcomes.sets.assign(zero_gradient_fraction=[few / images, *[0.0] * (len(outcomes.sets) - 1)])
        p = binomtest(few, images, 0.1, alternative="greater").pvalue * len(sets)
        check = by_name(controls(replace(outcomes, sets=sets)))["zero gradients"]
        assert check.status == ("warned" if p <= 0.05 else "passed")


@pytest.mark.parametrize("recorded", ["no column", "no number", "nothing"])
def test_gradients_that_nobody_recorded_are_no_sign(make_outcomes: Make, recorded: str) -> None:
    sets = make_outcomes(6).sets
    assert sets is not None
    given = {
        "no column": sets.drop(columns="zero_gradient_fraction"),
        "no number": sets.assign(zero_gradient_fraction=np.nan),
        "nothing": None,
    }
    assert gradients_are_there(given[recorded], 50).status == "not run"


def test_masked_gradients_warn_and_a_set_outside_the_ball_fails(make_outcomes: Make) -> None:
    outcomes = run(make_outcomes)
    assert outcomes.sets is not None
    outcomes.sets.loc[3, "zero_gradient_fraction"] = 0.4
    outcomes.sets.loc[5, "mean_size_over_eps"] = 1.01
    checks = by_name(controls(outcomes))
    assert checks["zero gradients"].status == "warned"
    assert "0.400" in checks["zero gradients"].came
    assert checks["size / eps"].status == "failed"


def test_a_victim_with_classes_in_another_order_is_named(make_outcomes: Make) -> None:
    sound_run = run(make_outcomes)
    shifted = sound_run.clean_predictions.copy()
    shifted[1] = (sound_run.labels + 1) % len(sound_run.classes)
    check = by_name(controls(replace(sound_run, clean_predictions=shifted)))["labels"]
    name = sound_run.cells.loc[sound_run.victim_index == 1, "victim"].iloc[0]
    assert check.status == "warned"
    assert check.came.startswith(f"{name} right on 0 of ")
    assert "order of classes? of " in check.came
    assert (check.numbers["misfits"], check.numbers["models"]) == (1, len(shifted))


def test_what_cannot_run_says_so(make_outcomes: Make) -> None:
    bare = make_outcomes(0, eps=("8/255",), itself=False, noise=False, sources=("ink",), balances=("flat",))
    bare = bare.where(bare.cells["case"].to_numpy() == 1)
    statuses = {c.name: c.status for c in controls(replace(bare, sets=None))}
    assert statuses == dict.fromkeys(NAMES, "not run") | {"labels": "passed"}
