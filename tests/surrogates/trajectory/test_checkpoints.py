"""The weights that a plain training passed through."""

from dataclasses import replace

import pytest
import torch
from tests.surrogates.conftest import ground, plain

from carom.errors import InputError
from carom.surrogates.trajectory.checkpoints import Checkpoints


def test_checkpoints_are_the_plain_training_epoch_by_epoch() -> None:
    here = ground(recipe=plain(epochs=4))
    made = here.trained(Checkpoints().recipe(here.recipe))
    assert [s.epoch for s in made.samples] + made.diverged == [1, 2, 3, 4]
    short = here.trained(replace(here.recipe, epochs=2))
    whole = here.trained(here.recipe)
    for epoch, weights in ((2, short.last), (4, whole.last)):
        kept = next(s.weights for s in made.samples if s.epoch == epoch)
        assert all(torch.equal(kept[name], weights[name]) for name in kept)
    assert made.passes == whole.passes


@pytest.mark.parametrize(("epochs", "kept"), [(3, [1, 2, 3]), (10, [2, 5, 7, 10]), (4, [1, 2, 3, 4])], ids=str)
def test_of_many_epochs_some_at_even_distances(epochs: int, kept: list[int]) -> None:
    recipe = Checkpoints(most=4).recipe(plain(epochs=epochs))
    collect = recipe.slots().collect
    assert collect is not None
    assert [epoch for epoch in range(1, epochs + 1) if collect(epoch)] == kept


def test_too_few_checkpoints() -> None:
    with pytest.raises(InputError, match="most must be at least 2"):
        Checkpoints(most=1)
