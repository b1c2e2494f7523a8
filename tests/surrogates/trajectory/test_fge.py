"""FGE: the cycles of its learning rate, and when it takes snapshots."""

import pytest
import torch
from tests.surrogates.conftest import ground, plain

from carom.errors import InputError
from carom.registry import build as built_from
from carom.surrogates.builder import Refinement
from carom.surrogates.stack import parameter_names, vector
from carom.surrogates.trajectory.fge import FGE, PRESETS, Triangles
from carom.zoo.training.recipes import Recipe
from carom.zoo.training.state import Passes

from .test_lgv import full_batch_steps, given


def test_the_rate_falls_to_the_middle_of_a_cycle_and_rises_again() -> None:
    schedule = Triangles(momentum=0.0, weight_decay=0.0, half_cycles=5, lowest=0.1).slots(Recipe().slots(), Recipe())
    at = [schedule.schedule(done / 10) for done in range(10)]
    assert at == pytest.approx([1.0, 0.55, 0.1, 0.55, 1.0, 0.55, 0.1, 0.55, 1.0, 0.55])


def test_snapshots_are_taken_where_the_rate_is_lowest() -> None:
    here = ground("mlp", recipe=plain(batch_size=96))  # one step an epoch
    way = FGE(
        cycles=2, epochs_per_cycle=4, learning_rate=0.2, lowest_learning_rate=0.02, momentum=0.0, weight_decay=0.0
    )
    made = way.build(here, [given()])
    by_hand = full_batch_steps(here, given(), [0.2, 0.11, 0.02, 0.11, 0.2, 0.11], 0.0, 0.0)
    names = parameter_names(here, given())
    assert len(made.members) == way.count(1) == 2
    for member, expected in zip(made.members, (by_hand[1], by_hand[5]), strict=True):
        torch.testing.assert_close(vector(member, names), expected, atol=1e-5, rtol=1e-4)
    assert made.passes == Passes(6 * 96, 6 * 96)


def test_settings() -> None:
    assert isinstance(FGE(), Refinement)
    assert built_from(FGE, {"learning_rate": 1}, where="fge") == FGE(learning_rate=1.0)
    assert all(built_from(FGE, dict(preset), where="fge").count(1) for preset in PRESETS.values())
    with pytest.raises(InputError, match="fge: epochs_per_cycle=3; expected an even number"):
        FGE(epochs_per_cycle=3)
    with pytest.raises(InputError, match=r"fge: lowest_learning_rate must be in \[0, 0.05\]"):
        FGE(lowest_learning_rate=0.1)
