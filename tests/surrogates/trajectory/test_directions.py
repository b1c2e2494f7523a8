"""Random directions: how far draws lie, and what sigma 0 leaves alone."""

from dataclasses import replace

import pytest
import torch
from tests.surrogates.conftest import ground

from carom.errors import InputError
from carom.registry import build as built_from
from carom.surrogates.builder import Refinement
from carom.surrogates.stack import parameter_names, vector
from carom.surrogates.trajectory.directions import PRESETS, RandomDirections
from carom.zoo.training.state import Passes
from carom.zoo.training.trained import DivergedError

from .test_lgv import given, same


def test_sigma_zero_is_the_network_bit_for_bit() -> None:
    start = given("resnet-small")
    made = RandomDirections(sigma=0.0, draws=3).build(ground(), [start])
    assert len(made.members) == 3
    assert all(same(member, start) for member in made.members)
    assert made.passes == Passes()


def test_draws_are_normal_around_the_network_and_independent() -> None:
    here, start = ground("mlp"), given()
    names = parameter_names(here, start)
    made = RandomDirections(sigma=0.01, draws=4).build(here, [start])
    away = torch.stack([vector(member, names) - vector(start, names) for member in made.members])
    assert away.std(1).tolist() == pytest.approx([0.01] * 4, rel=0.02)
    assert float(away.mean().abs()) < 1e-4
    correlations = torch.corrcoef(away) - torch.eye(4)
    assert float(correlations.abs().max()) < 0.02
    again = RandomDirections(sigma=0.01, draws=2).build(here, [start])
    assert all(same(a, b) for a, b in zip(again.members, made.members, strict=False))  # a draw has a number of its own


def test_each_draw_has_batch_norm_of_its_own() -> None:
    here, start = ground(), given("resnet-small")
    made = RandomDirections(sigma=0.005, draws=2).build(here, [start])
    norms = [name for name in start if name.endswith("running_var")]
    a, b = made.members
    assert not any(torch.equal(a[name], b[name]) or torch.equal(a[name], start[name]) for name in norms)
    assert made.passes == Passes(forward=2 * 32)


def test_draws_too_far_away_are_refused() -> None:
    told: list[tuple[int, int]] = []
    here = replace(ground("mlp"), progress=lambda done, total, numbers: told.append((done, total)))
    with pytest.raises(DivergedError, match="rd: none of 1 weight sets does better than guessing"):
        RandomDirections(sigma=100.0, draws=1).build(here, [given()])
    assert told == [(1, 1)]


def test_settings() -> None:
    assert isinstance(RandomDirections(), Refinement)
    assert built_from(RandomDirections, {"sigma": 1}, where="rd") == RandomDirections(sigma=1.0)
    assert built_from(RandomDirections, dict(PRESETS["paper-imagenet"]), where="rd").count(1) == 50
    with pytest.raises(InputError, match=r"rd: sigma must be in \[0, 100\]"):
        RandomDirections(sigma=-1.0)
