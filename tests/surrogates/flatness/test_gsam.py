"""GSAM: SAM's gradient less the part of the present one that is orthogonal to it."""

import pytest
import torch
from tests.surrogates.by_hand import RATE, A, W, by_hand, same, step, trained, weights
from tests.surrogates.conftest import ground, plain

from carom.errors import InputError
from carom.surrogates.builder import Training
from carom.surrogates.flatness.gsam import GSAM
from carom.surrogates.flatness.sam import SAM
from carom.zoo.training.recipes import Adaptation


def test_without_the_gap_and_at_a_constant_rate_it_is_sam() -> None:
    here = ground()
    base, made = trained(here, SAM(rho=0.1)), trained(here, GSAM(rho_max=0.1, rho_min=0.0, alpha=0.0))
    assert same(base.last, made.last)
    assert made.passes == base.passes


def test_radius_zero_is_the_base_optimizer() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, GSAM(rho_max=0.0, rho_min=0.0))
    assert same(base.last, made.last)
    assert made.passes == base.passes


def test_it_is_a_training_of_twice_the_cost() -> None:
    assert isinstance(GSAM(), Training)
    assert isinstance(GSAM(), Adaptation)
    made = trained(ground(), GSAM())
    assert made.passes.forward == made.passes.backward == 2 * 3 * 96


def test_a_step_by_hand() -> None:
    state, gradient, read = by_hand()
    step(GSAM(rho_max=0.7, rho_min=0.1, alpha=0.4), state, gradient)
    g = A * W
    moved = W + 0.7 * g / g.norm()
    torch.testing.assert_close(read[1], moved)
    g_p = A * moved
    across = g - (g @ g_p) / (g_p @ g_p) * g_p
    assert across.norm() > 0.1
    torch.testing.assert_close(weights(state), W - RATE * (g_p - 0.4 * across))


def test_the_radius_follows_the_learning_rate() -> None:
    recipe = plain(schedule="cosine")
    state, gradient, read = by_hand()
    state.step = 50  # of 100: half the peak
    step(GSAM(rho_max=0.7, rho_min=0.1), state, gradient, recipe)
    assert float((read[1] - W).norm()) == pytest.approx(0.1 + 0.6 * 0.5, rel=1e-5)
    assert GSAM(rho_max=0.7, rho_min=0.1).rho(0.0) == pytest.approx(0.1)
    assert GSAM(rho_max=0.7, rho_min=0.1).rho(1.0) == pytest.approx(0.7)


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError, match=r"gsam: rho_min=0.3 is above rho_max=0.1; exchange them"):
        GSAM(rho_max=0.1, rho_min=0.3)
    with pytest.raises(InputError, match="gsam: alpha must be in"):
        GSAM(alpha=-1.0)
