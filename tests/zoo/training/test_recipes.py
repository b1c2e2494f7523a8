"""Recipes: schedules, what decays, what is refused."""

import pytest

from carom.errors import InputError
from carom.identity import content_key
from carom.zoo.architectures import architecture
from carom.zoo.training.recipes import RECIPES, SCHEDULES, Recipe, groups, recipe
from carom.zoo.training.slots import Loss


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_schedules_stay_in_range(name: str) -> None:
    factors = [SCHEDULES[name](step / 1000) for step in range(1000)]
    assert max(factors) == pytest.approx(1.0)
    assert min(factors) >= 0
    if name == "one-cycle":
        assert factors.index(max(factors)) == 200
    if name == "piecewise":
        assert [factors[at] for at in (0, 499, 500, 749, 750, 999)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    elif name != "constant":
        assert factors[-1] < 1e-4


def test_only_matrices_and_kernels_decay() -> None:
    network = architecture("vit-small").network((1, 16, 16), 4)
    decayed, kept = (len(list(group["params"])) for group in groups(network, 0.1))  # type: ignore[call-overload]
    matrices = [name for name, p in network.named_parameters() if p.ndim > 1 and "position" not in name]
    assert decayed == len(matrices)
    assert decayed + kept == len(list(network.parameters()))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("standart", "did you mean 'standard'"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"epochs": 0}, r"epochs must be in \[1, 1e\+06\], got 0"),
        ({"optimizer": "adam"}, "optimizer: input should be 'sgd' or 'adamw'"),
        ({"learning_rate": float("nan")}, "learning_rate must be in"),
    ],
)
def test_wrong_recipes(table: str | dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe(table, where="s.toml: recipe")


def test_recipes_in_whole_numbers_are_the_same_recipe() -> None:
    assert content_key(recipe({"shift": 2})) == content_key(Recipe(shift=2.0))
    assert content_key(Recipe()) == content_key(recipe("standard"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_defaults_and_fills_the_slots(name: str) -> None:
    made = recipe(name)
    assert type(made) is RECIPES[name]
    assert made == recipe({"name": name})
    assert made.passes > 0
    assert content_key(made) == content_key(RECIPES[name]())
    assert isinstance(made.slots().loss, Loss)
