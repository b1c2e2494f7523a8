"""GAM: the gradient of the largest gradient norm nearby."""

import pytest
import torch
from tests.surrogates.by_hand import RATE, A, W, by_hand, same, step, trained, weights
from tests.surrogates.conftest import ground

from carom.errors import InputError
from carom.surrogates.builder import Training
from carom.surrogates.flatness.gam import GAM
from carom.zoo.training.recipes import Adaptation


def test_it_is_a_training_of_four_times_the_cost() -> None:
    assert isinstance(GAM(), Training)
    assert isinstance(GAM(), Adaptation)
    made = trained(ground(), GAM())
    assert made.passes.forward == made.passes.backward == 4 * 3 * 96


def test_weight_zero_is_the_base_optimizer() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, GAM(alpha=0.0))
    assert same(base.last, made.last)
    assert made.passes == base.passes


def test_a_step_follows_the_loss_and_the_gradient_norm_at_its_largest() -> None:
    """Of a quadratic loss, the differences are exact, so the step is that of the definition."""
    state, gradient, read = by_hand()
    step(GAM(rho=0.5, alpha=0.3, probe=0.1), state, gradient)
    w = W.clone().requires_grad_()
    (of_norm,) = torch.autograd.grad((A * w).norm(), w)
    there = (W + 0.5 * of_norm / of_norm.norm()).requires_grad_()
    torch.testing.assert_close(read[2], there.detach())
    (of_norm,) = torch.autograd.grad((A * there).norm(), there)
    torch.testing.assert_close(weights(state), W - RATE * (A * W + 0.3 * of_norm), rtol=1e-4, atol=1e-5)
    assert len(read) == 4


def test_batch_norm_takes_in_the_first_pass_alone() -> None:
    here = ground()
    base, made = here.trained(here.recipe), trained(here, GAM())
    counters = [name for name in base.last if "num_batches" in name]
    assert counters
    assert all(torch.equal(base.last[name], made.last[name]) for name in counters)


@pytest.mark.parametrize("setting", [{"rho": -1.0}, {"alpha": -1.0}, {"probe": 0.0}], ids=str)
def test_settings_out_of_range(setting: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"gam: {next(iter(setting))} must be in"):
        GAM(**setting)
