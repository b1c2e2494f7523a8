"""Searches in a low-frequency subspace: the decoding, the process against botorch's, and the random baseline."""

import builtins
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from carom.attacks import Bayes, Gradients, Oracle, SubspaceRandom
from carom.attacks.queries import bayes as module
from carom.attacks.queries.bayes import _cosines, _fitted, _most_promising, _Process, decoded
from carom.budget import Budget, l2
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Classifier, Combination

LINF, L2 = Budget.parse("linf", "1/10"), Budget.parse("l2", "1/2")


class NoGradients:
    """A source that must not be read."""

    combination: Combination = "logits"

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        raise AssertionError("a query attack read the source")


def asked_about(
    attack: Bayes | SubspaceRandom, n: int = 2, budget: Budget = LINF, start: Tensor | None = None, seed: int = 3
) -> list[Tensor]:
    """What a target that is never fooled gets to see."""
    seen: list[Tensor] = []

    def stubborn(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return torch.zeros(len(images), dtype=torch.int64)

    x = torch.full((n, 1, 8, 8), 0.5)
    gradients = Gradients(NoGradients(), x, torch.zeros(n, dtype=torch.int64), oracle=Oracle(stubborn, n))
    draws = Draws(seed, torch.arange(n))
    if start is None:
        attack(gradients, budget, draws)
    else:
        attack.from_start(gradients, budget, draws, start)
    return seen


@pytest.mark.parametrize("side", [1, 4, 7])
def test_the_cosines_are_orthonormal_and_the_first_is_flat(side: int) -> None:
    waves = _cosines(side, side)
    torch.testing.assert_close(waves @ waves.T, torch.eye(side, dtype=torch.float64))
    assert torch.allclose(waves[0], waves[0, 0])


def test_a_pattern_has_no_frequency_outside_its_block() -> None:
    latents = torch.rand(2, 3, 3, 3, generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    x = torch.full((2, 3, 12, 10), 0.5, dtype=torch.float64)
    change = decoded(latents, x, L2, x) - x
    spectrum = _cosines(12, 12) @ change @ _cosines(10, 10).T
    expected = torch.zeros_like(spectrum)
    expected[:, :, :3, :3] = 0.5 * latents / l2(latents)[:, None, None, None]
    torch.testing.assert_close(spectrum, expected)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_points_are_at_full_size_whatever_their_length(scale: float) -> None:
    latents = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = torch.full((2, 1, 8, 8), 0.5)
    assert torch.allclose((decoded(scale * latents, x, LINF, x) - x).abs(), torch.tensor(0.1))
    torch.testing.assert_close(l2(decoded(scale * latents, x, L2, x) - x), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(decoded(scale * latents, x, L2, x), decoded(latents, x, L2, x))


@pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)
def test_around_a_start_it_stays_in_the_ball_of_the_clean_image(budget: Budget) -> None:
    latents = torch.rand(2, 1, 3, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = torch.full((2, 1, 8, 8), 0.5)
    start = budget.project(x + torch.linspace(-1, 1, 64).reshape(8, 8), x)
    moved = decoded(latents, start, budget, x)
    assert float(budget.size(moved, x).max()) <= float(budget.eps) + 1e-6
    assert not torch.allclose(moved, start)
    assert not torch.allclose(moved, decoded(latents, x, budget, x))


def test_the_block_is_no_larger_than_the_image() -> None:
    assert all(seen.shape == (2, 1, 8, 8) for seen in asked_about(SubspaceRandom(queries=2, size=99)))


def test_bayes_begins_with_the_points_of_its_baseline_and_then_leaves_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_fitted", plain_fit)
    searched, drawn = asked_about(Bayes(queries=8, initial=4)), asked_about(SubspaceRandom(queries=8))
    assert [torch.equal(one, two) for one, two in zip(searched, drawn, strict=True)] == [True] * 4 + [False] * 4


@pytest.mark.parametrize("attack", [Bayes(queries=6, initial=4), SubspaceRandom(queries=6)], ids=["bayes", "random"])
def test_a_start_is_asked_first_and_costs_one_query(
    attack: Bayes | SubspaceRandom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_fitted", plain_fit)
    start = torch.full((2, 1, 8, 8), 0.52)
    seen = asked_about(attack, start=start)
    assert len(seen) == 6
    assert torch.equal(seen[0], start)
    assert not any(torch.equal(other, start) for other in seen[1:])


def plain_fit(points: Tensor) -> Any:
    number = points.new_tensor
    scale = points.new_full(points.shape[1:], 2.0)
    return module._Fit(lengthscale=scale, noise=number(1e-3), mean=number(-0.9), answers=len(points))


@pytest.fixture(scope="module")
def points() -> Tensor:
    z = torch.rand(12, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    return z / z.abs().amax(1, keepdim=True)


def test_the_posterior_and_the_improvement_are_botorchs(points: Tensor) -> None:
    from botorch.acquisition.analytic import LogExpectedImprovement
    from botorch.models import SingleTaskGP
    from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior

    kernel = get_covar_module_with_dim_scaled_prior(ard_num_dims=6)
    failures = -torch.ones(12, 1, dtype=torch.float64)
    model: Any = SingleTaskGP((points + 1) / 2, failures, covar_module=kernel, outcome_transform=None)
    fit = module._Fit(
        lengthscale=torch.linspace(0.3, 2, 6, dtype=torch.float64), noise=torch.tensor(2e-3).double(),
        mean=torch.tensor(-0.4).double(), answers=12,
    )  # fmt: skip
    kernel.lengthscale = fit.lengthscale
    model.likelihood.noise = fit.noise
    model.mean_module.constant = fit.mean
    model.eval()
    z = torch.rand(20, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1
    theirs = model.posterior((z + 1) / 2)
    mean, variance = _Process(points, fit).posterior(z)
    torch.testing.assert_close(mean, theirs.mean[:, 0].detach(), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(variance, theirs.variance[:, 0].detach(), rtol=1e-8, atol=1e-8)
    improvement = LogExpectedImprovement(model, best_f=-1.0)(((z + 1) / 2)[:, None]).detach()
    torch.testing.assert_close(_Process(points, fit).log_improvement(z), improvement, rtol=1e-6, atol=1e-6)


def test_constant_answers_are_fitted_and_nothing_is_divided_by_zero(points: Tensor) -> None:
    """An image that is not fooled yet has the same answer at every point."""
    state = torch.get_rng_state()
    one, two = _fitted(points), _fitted(points)
    assert torch.equal(state, torch.get_rng_state())  # nobody else's random numbers were used
    for name in ("lengthscale", "noise", "mean"):
        value = getattr(one, name)
        assert bool(value.isfinite().all())
        assert torch.equal(value, getattr(two, name))
    assert bool((one.lengthscale > 0).all())
    assert float(one.mean) == pytest.approx(-1, abs=0.1)
    mean, variance = _Process(points, one).posterior(points)
    torch.testing.assert_close(mean, torch.full_like(mean, -1.0), rtol=0, atol=0.05)
    assert bool((variance >= 0).all())


def test_it_climbs_from_the_best_candidate_and_stays_in_the_box(points: Tensor) -> None:
    process = _Process(points, plain_fit(points))
    candidates = torch.rand(50, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1
    chosen = _most_promising(process, candidates)
    assert float(chosen.abs().max()) <= 1
    assert float(process.log_improvement(chosen[None])) > float(process.log_improvement(candidates).max())


def test_the_hyper_parameters_are_fitted_whenever_the_answers_have_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counted(points: Tensor) -> Any:
        sizes.append(len(points))
        return plain_fit(points)

    monkeypatch.setattr(module, "_fitted", counted)
    asked_about(Bayes(queries=30, initial=3, size=2), n=1)
    assert sizes == [3, 6, 12, 24]


@pytest.mark.thorough
@pytest.mark.parametrize("budget", [LINF, L2], ids=lambda b: b.norm)
def test_with_real_fits_it_follows_seed_and_id_alone(budget: Budget) -> None:
    attack = Bayes(queries=5, initial=3, size=2)
    seen = asked_about(attack, budget=budget)
    torch.manual_seed(99)
    assert all(torch.equal(a, b) for a, b in zip(seen, asked_about(attack, budget=budget), strict=True))
    alone = asked_about(attack, n=1, budget=budget)
    for several, one in zip(seen, alone, strict=True):
        torch.testing.assert_close(several[:1], one, rtol=0, atol=1e-6)
    assert not torch.equal(seen[-1], asked_about(attack, budget=budget, seed=4)[-1])


def test_without_botorch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.split(".")[0] == "botorch":
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.delitem(sys.modules, "botorch", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"^bayes: needs botorch.*carom\[search\]"):
        asked_about(Bayes(queries=6))
    assert len(asked_about(Bayes(queries=5))) == 5  # random points need none


@pytest.mark.parametrize(
    ("build", "fields"),
    [(Bayes, {"queries": 0}), (Bayes, {"initial": 0}), (Bayes, {"size": 0}), (SubspaceRandom, {"queries": 0})],
)
def test_fields_out_of_range_are_refused(build: Any, fields: dict[str, int]) -> None:
    with pytest.raises(InputError, match=r"must be at least 1, got 0$"):
        build(**fields)
