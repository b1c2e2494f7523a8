"""AGSAM: GSAM's step, taken from the worst weights of an ellipsoid as long in each direction as the weight there."""

import pytest
import torch
from tests.surrogates.by_hand import RATE, A, W, by_hand, same, step, trained, weights
from tests.surrogates.conftest import ground

from carom.errors import InputError
from carom.surrogates.flatness.agsam import AGSAM


def test_radius_zero_is_the_base_optimizer() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, AGSAM(rho_max=0.0, rho_min=0.0))
    assert same(base.last, made.last)
    assert made.passes == base.passes


def test_a_step_by_hand() -> None:
    state, gradient, read = by_hand()
    step(AGSAM(rho_max=0.7, rho_min=0.1, alpha=0.4), state, gradient)
    g = A * W
    moved = W + 0.7 * W**2 * g / (W.abs() * g).norm()
    torch.testing.assert_close(read[1], moved)
    g_p = A * moved
    across = g - (g @ g_p) / (g_p @ g_p) * g_p
    assert across.norm() > 0.1
    torch.testing.assert_close(weights(state), W - RATE * (g_p - 0.4 * across))


def test_the_ascent_raises_the_loss_most_in_its_ellipsoid() -> None:
    """Of all e with |e / w| = rho: what a weight is scaled by scales its move alike."""
    state, gradient, read = by_hand()
    step(AGSAM(rho_max=0.3, rho_min=0.3), state, gradient)
    moved, g = read[1] - W, A * W
    assert float((moved / W).norm()) == pytest.approx(0.3, rel=1e-5)
    others = torch.randn(2000, len(W), generator=torch.Generator().manual_seed(0))
    others = 0.3 * others / others.norm(dim=1, keepdim=True) * W
    assert float(moved @ g) > float((others @ g).max())


def test_settings_out_of_range() -> None:
    with pytest.raises(InputError, match=r"agsam: rho_min=0.6 is above rho_max=0.5; exchange them"):
        AGSAM(rho_min=0.6)
