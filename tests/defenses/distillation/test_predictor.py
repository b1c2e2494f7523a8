"""The predictor learns what can be learned, and says how well."""

import pytest
import torch
from torch import Tensor, nn

from carom.defenses.distillation.predictor import Predictor
from carom.draws import stream
from carom.errors import InputError


def scored(n: int = 120, noise: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """One-hot rows of 8 places with 3 levels, and scores that are a sum over the places."""
    generator = torch.Generator().manual_seed(seed)
    places = torch.randint(0, 3, (n, 8), generator=generator)
    rows = torch.nn.functional.one_hot(places, 3).flatten(1).float()
    worth = torch.rand(24, 2, generator=torch.Generator().manual_seed(9))
    scores = torch.tensor([0.6, 0.3]) + 0.02 * (rows @ worth - 4)
    return rows, scores + noise * torch.randn(n, 2, generator=generator)


def test_a_linear_target_is_learned_and_its_error_told() -> None:
    rows, scores = scored()
    fitted = Predictor(epochs=100).fit(rows, scores, seed=0)
    assert min(fitted.tau) > 0.6
    assert max(fitted.rmse) < 0.015
    assert fitted.held_out == 24
    fresh, true = scored(200, seed=5)
    error = (fitted(fresh) - true).square().mean(0).sqrt()
    assert 0.3 < float(error[0]) / fitted.rmse[0] < 3
    # better than the mean
    assert float(error.max()) < 0.7 * float(true.std(0).min())


def test_without_hidden_layers_it_is_ridge_regression() -> None:
    rows, scores = scored(60)
    fitted = Predictor(layers=0).fit(rows, scores, seed=0)
    fresh, true = scored(200, seed=5)
    assert float((fitted(fresh) - true).abs().max()) < 0.01
    assert min(fitted.tau) > 0.9
    perceptron = Predictor(epochs=60).fit(rows, scores, seed=0)
    assert fitted.rmse < perceptron.rmse
    layer = fitted.network
    assert isinstance(layer, nn.Linear)
    held = torch.randperm(60, generator=torch.Generator().manual_seed(stream(0, "predictor")))[12:]
    y = (scores[held] - fitted.mean) / fitted.deviation
    weight, bias = layer.weight.clone().requires_grad_(), layer.bias.clone().requires_grad_()
    loss = (rows[held] @ weight.T + bias - y).square().sum() + 0.5 * weight.square().sum()
    for gradient in torch.autograd.grad(loss, (weight, bias)):
        assert float(gradient.abs().max()) < 1e-3


def test_noise_is_not_learned() -> None:
    rows, scores = scored(60)
    shuffled = scores[torch.randperm(60, generator=torch.Generator().manual_seed(1))]
    fitted = Predictor(epochs=60).fit(rows, shuffled, seed=0)
    assert max(fitted.tau) < 0.6


def test_one_seed_is_one_predictor_and_the_global_generator_stays() -> None:
    rows, scores = scored(30)
    before = torch.get_rng_state()
    first, again, other = (Predictor(epochs=3).fit(rows, scores, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first(rows), again(rows))
    assert (first.rmse, first.tau) == (again.rmse, again.tau)
    assert not torch.equal(first(rows), other(rows))


def test_predictions_are_shares_and_equal_scores_have_no_order() -> None:
    rows, _ = scored(20)
    fitted = Predictor(epochs=20).fit(rows, torch.tensor([1.0, 0.0]).expand(20, 2), seed=0)
    assert fitted.tau == (0.0, 0.0)
    found = fitted(rows)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1


def test_what_is_too_little_is_refused() -> None:
    rows, scores = scored(9)
    with pytest.raises(InputError, match="9 scored sub-networks; expected at least 10"):
        Predictor().fit(rows, scores, seed=0)
    with pytest.raises(InputError, match="layers must be in"):
        Predictor(layers=7)
