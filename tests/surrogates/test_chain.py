"""Builders by name: what a name, a chain and a table of settings stand for, and what is refused."""

from dataclasses import fields

import pytest

from carom.errors import InputError
from carom.surrogates import SURROGATES, Ensemble, Single, parse_builder
from carom.surrogates.builder import Training
from carom.surrogates.flatness.sam import SAM
from carom.surrogates.trajectory.directions import RandomDirections
from carom.surrogates.trajectory.lgv import LGV
from carom.surrogates.trajectory.swa import SWA


@pytest.mark.parametrize("name", sorted(SURROGATES))
def test_every_name_stands_for_a_chain_and_its_settings_can_be_given(name: str) -> None:
    entry = SURROGATES[name]
    # what is made of several weight sets needs something that gives them
    alone = f"lgv -> {name}" if name in ("subspace", "pca", "shift") else name
    called, chain = parse_builder(alone, where="b")
    assert called == alone
    assert chain.count >= 1
    assert 1 <= chain.active <= max(chain.count, 1000)
    assert entry.summary.endswith(".")
    assert "arXiv" in entry.paper
    for preset in entry.presets:
        settings = {"preset": preset} if alone == name else {name: {"preset": preset}}
        parse_builder({"name": alone, **settings}, where="b")


def test_a_chain_begins_with_one_network_where_it_does_not_say_otherwise() -> None:
    assert parse_builder("lgv -> swa -> rd", where="b")[1] == parse_builder("single -> lgv->swa -> rd", where="b")[1]
    name, chain = parse_builder("lgv -> swa -> rd", where="b")
    assert name == "lgv -> swa -> rd"
    assert chain.first == Single()
    assert [type(stage) for stage in chain.then] == [LGV, SWA, RandomDirections]
    assert isinstance(parse_builder("sam -> lgv", where="b")[1].first, SAM)


def test_settings_of_a_chain_stand_under_the_names_of_its_builders() -> None:
    chain = parse_builder(
        {"name": "lgv -> rd", "lgv": {"epochs": 1, "models_per_epoch": 1}, "rd": {"draws": 7}}, where="b"
    )[1]
    assert chain.then == (LGV(epochs=1, models_per_epoch=1), RandomDirections(draws=7))


@pytest.mark.parametrize("name", SURROGATES)
def test_a_preset_that_is_called_after_a_paper_holds_its_training(name: str) -> None:
    """Else it is called after a data set: what trains by the scenario's recipe repeats no paper."""
    entry = SURROGATES[name]
    for preset, settings in entry.presets.items():
        if not preset.startswith(("paper", "csg")):
            assert preset in ("cifar10", "imagenet")
        elif any(isinstance(stage, Training) or "learning_rate" in vars_of(stage) for stage in entry.stages):
            assert {"learning_rate", "weight_decay", "batch_size"} <= set(settings), preset


def vars_of(stage: object) -> set[str]:
    return {field.name for field in fields(stage)}  # type: ignore[arg-type]


def test_a_preset_fills_what_is_left_out() -> None:
    chain = parse_builder({"name": "lgv", "preset": "paper-imagenet", "epochs": 2}, where="b")[1]
    stage = chain.then[0]
    assert isinstance(stage, LGV)
    assert (stage.epochs, stage.batch_size) == (2, 256)


def test_how_the_weight_sets_are_read_is_said_by_the_builder_or_the_table() -> None:
    assert parse_builder("lgv", where="b")[1].schedule == "light"
    assert parse_builder("ensemble", where="b")[1].schedule == "full"
    chain = parse_builder(
        {"name": "ensemble", "size": 4, "schedule": "light", "per_step": 2, "combination": "loss"}, where="b"
    )[1]
    assert (chain.first, chain.schedule, chain.active, chain.combination) == (Ensemble(size=4), "light", 2, "loss")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("lvg", "b: unknown surrogate builder 'lvg'; did you mean 'lgv'"),
        (3, "b: expected a name such as"),
        ("lgv -> lgv", "b: 'lgv' stands twice"),
        ("lgv -> sam", "b: 'lgv -> sam': a training from scratch stands behind another builder"),
        ("ensemble -> lgv", "b: surrogate: LGV takes one network, and 3 came before it"),
        ("ensemble -> swa", "b: surrogate: SWA takes weights of one training, and 3 came before it"),
        ("lgv -> rd", "b: surrogate: RandomDirections takes one network, and 40 came before it"),
        ("extraction -> swa", "b: surrogate: Extraction has no true labels"),
        ({"name": "lgv", "epoch": 1}, "b: unknown key 'epoch'; did you mean 'epochs'"),
        ({"name": "lgv", "epochs": "many"}, "b.epochs: "),
        ({"name": "lgv", "preset": "paper"}, "b.preset: unknown preset 'paper'"),
        ({"name": "lgv -> swa", "epochs": 1}, "b: unknown key 'epochs'"),
        ({"name": "lgv -> swa", "lgv": 1}, "b.lgv: expected a table of settings, got 1"),
        ({"name": "lgv", "schedule": "lite"}, "b.schedule: unknown schedule 'lite'; did you mean 'light'"),
        ({"name": "lgv", "per_step": 41}, "b: surrogate: per_step=41; expected 1 to the number of members, 40"),
        ({"name": "lgv", "per_step": "all"}, "b.per_step: expected a whole number, got 'all'"),
        ({"name": "ensemble", "size": 0}, "b: ensemble: size=0; expected at least 1"),
    ],
)
def test_what_cannot_be_is_one_line_that_says_where(value: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        parse_builder(value, where="b")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_trainings_are_trainings_and_refinements_are_not() -> None:
    for entry in SURROGATES.values():
        assert all(not isinstance(stage, Training) for stage in entry.stages[1:])
