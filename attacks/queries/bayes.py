"""Searches in a low-frequency subspace by labels alone: Bayesian optimisation, and its random baseline."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from carom.budget import Budget, Norm
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Passes, Reader
from carom.typing import Images

from .oracle import fooled, oracle_of

Latents = Float[Tensor, "n c s s"]
_Points = Float[Tensor, "m d"]
_Propose = Callable[[int, Int[Tensor, " m"]], Latents]

_RAW = 200  # random points, the best of which is improved
_ASCENT = 20  # steps of that
_FITTING = 30  # steps of a fit


@dataclass(frozen=True, kw_only=True, slots=True)
class SubspaceRandom:
    """Random search in a low-frequency subspace, by labels: the baseline that `bayes` must beat.

    Each query is a new point, with coefficients uniform in [-1, 1]: the first ones are those that `bayes` starts from.

    Attributes:
        queries: An image may cost, at least 1.
        size: Frequencies along each side of the block, at least 1; no more are taken than an image has pixels a side.
            Of 2 to 16, random search fools digits of 16 pixels most often with 3 or 4; the paper's example takes 12 at
            224 pixels.

    Raises:
        InputError: Out of these ranges; or, when called, no target to ask.
    """

    queries: int = 200
    size: int = 4

    version: ClassVar[int] = 1
    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    targeted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check("subspace-random", self.queries, self.size)

    def passes(self, members: int = 1) -> Passes:
        """What an image costs at most; each query reads all active classifiers."""
        return Passes(self.queries * members, 0)

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        """Images in the ball around `reader.x`; those that fooled the target are the ones it was asked about."""
        return self._search(reader, budget, draws, None)

    def from_start(self, reader: Reader, budget: Budget, draws: Draws, start: Images) -> Images:
        """As a call, around other images in the ball, `n c h w`; the first query asks about them."""
        return self._search(reader, budget, draws, start)

    def _search(self, reader: Reader, budget: Budget, draws: Draws, start: Images | None) -> Images:
        shape = _shape(reader.x, self.size)

        def propose(asked: int, rows: Int[Tensor, " m"]) -> Latents:
            return _uniform(draws.select(rows), shape, asked)

        return _search("subspace-random", propose, reader, budget, start, self.queries, self.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bayes(SubspaceRandom):
    """Bayesian optimisation in a low-frequency subspace (Shukla et al. 2021, arXiv:2007.07210), by labels alone.

    A point is a block of low-frequency coefficients of each channel; it stands for eps * sign of their pattern (linf),
    or for their pattern at length eps (l2). After some random points, a Gaussian process is fitted to the answers, -1
    for a failure and 0 for a success, and the point of the largest expected improvement is asked about. An image stops
    at its first success, so its process knows nothing but failures: the search fills the space, each point where the
    least is known.

    Each image has a process of its own, in float64 on the CPU. Its hyper-parameters (botorch's SingleTaskGP: one length
    scale a coefficient, noise, mean) are fitted anew whenever the answers have doubled; in between it is conditioned on
    every answer, exactly. The paper fits after each answer, and takes a block of Fourier coefficients where this takes
    cosines, half as many for the same frequencies.

    Attributes:
        queries: An image may cost, at least 1. The paper spends up to 1,000.
        initial: Random points before the first fit, at least 1.
        size: Frequencies along each side of the block, at least 1; no more are taken than an image has pixels a side.
            Of 2 to 16, random search fools digits of 16 pixels most often with 3 or 4; the paper's example takes 12 at
            224 pixels.

    Raises:
        InputError: Out of these ranges; or, when called, no target to ask, or no botorch.
    """

    initial: int = 5

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check("bayes", self.queries, self.size)
        if self.initial < 1:
            raise InputError(f"bayes: initial must be at least 1, got {self.initial}")

    @override
    def _search(self, reader: Reader, budget: Budget, draws: Draws, start: Images | None) -> Images:
        shape = _shape(reader.x, self.size)
        known: list[list[Float[Tensor, " d"]]] = [[] for _ in reader.x]
        fits: list[_Fit | None] = [None for _ in reader.x]

        def propose(asked: int, rows: Int[Tensor, " m"]) -> Latents:
            own = draws.select(rows)
            latents = _uniform(own, shape, asked)
            if asked >= self.initial:
                raw = own.uniform("bayes raw", (_RAW, math.prod(shape)), step=asked).double().cpu() * 2 - 1
                chosen = []
                for row, candidates in zip(rows.tolist(), raw, strict=True):
                    points = torch.stack(known[row])
                    fit = fits[row]
                    if fit is None or len(points) >= 2 * fit.answers:
                        fit = fits[row] = _fitted(points)
                    chosen.append(_most_promising(_Process(points, fit), candidates))
                latents = torch.stack(chosen).reshape(len(rows), *shape).to(latents)
            latents = latents / latents.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)  # its length says nothing
            for row, latent in zip(rows.tolist(), latents.flatten(1).double().cpu(), strict=True):
                known[row].append(latent)
            return latents

        if self.queries > self.initial:
            _botorch()
        return _search("bayes", propose, reader, budget, start, self.queries, self.size)


def decoded(latents: Latents, around: Images, budget: Budget, x: Images) -> Images:
    """The images in the ball of `budget` around `x` that lie from `around` along the patterns of these coefficients.

    A pattern is a sum of cosines, channel by channel. It counts by its direction alone: its sign (linf) or its unit
    vector (l2), times eps.
    """
    rows, columns = (_cosines(x.shape[dim], latents.shape[2]).to(x) for dim in (2, 3))
    pattern: Tensor = rows.T @ latents.to(x) @ columns
    return budget.project(around + float(budget.eps) * budget.steepest(pattern), x)


def _cosines(side: int, frequencies: int) -> Float[Tensor, "frequencies side"]:
    """The lowest of the orthonormal cosines along a side."""
    place = (torch.arange(side, dtype=torch.float64) + 0.5) * torch.pi / side
    waves: Tensor = (torch.arange(frequencies)[:, None] * place).cos() * (2 / side) ** 0.5
    waves[0] /= 2**0.5
    return waves


def _search(
    name: str,
    propose: _Propose,
    reader: Reader,
    budget: Budget,
    start: Images | None,
    queries: int,
    size: int,
) -> Images:
    """Asks about one proposed point of each image after the other, until it fools the target.

    An image that never does ends where it began: at the start, or at its first point.
    """
    x, y, target = reader.x, reader.y, reader.target
    if budget.eps == 0:
        return x.detach().clone()
    oracle = oracle_of(reader.oracle, queries, name=name)
    rows = torch.arange(len(x), device=x.device)
    best = x if start is None else start.detach()
    first = 0 if start is None else 1
    for query in range(queries):
        if not len(rows):
            break
        if query < first:
            asked = best
        else:
            around = x if start is None else start.detach()
            asked = decoded(propose(query - first, rows), around[rows], budget, x[rows])
        found = fooled(oracle.labels(asked, rows), y[rows], None if target is None else target[rows])
        if query == 0:
            best = asked.clone()
        best[rows[found]] = asked[found]
        rows = rows[~found]
    return best


def _check(name: str, queries: int, size: int) -> None:
    for what, value in (("queries", queries), ("size", size)):
        if value < 1:
            raise InputError(f"{name}: {what} must be at least 1, got {value}")


def _shape(x: Images, size: int) -> tuple[int, int, int]:
    """Of the coefficients of an image."""
    side = min(size, *x.shape[2:])
    return x.shape[1], side, side


def _uniform(draws: Draws, shape: tuple[int, int, int], asked: int) -> Latents:
    return draws.uniform("subspace", shape, step=asked) * 2 - 1


@dataclass(frozen=True, slots=True)
class _Fit:
    """Hyper-parameters of a Gaussian process with a prior variance of 1, fitted to this many answers."""

    lengthscale: Float[Tensor, " d"]
    noise: Float[Tensor, ""]
    mean: Float[Tensor, ""]
    answers: int


class _Process:
    """A Gaussian process on failures at these points, `m d` in [-1, 1]; its posterior in closed form."""

    def __init__(self, points: _Points, fit: _Fit) -> None:
        self._scale = 2 * fit.lengthscale  # the fit is on the unit cube
        self._points = points / self._scale
        covariance = self._kernel(self._points) + fit.noise * torch.eye(len(points), dtype=points.dtype)
        self._inverse = torch.cholesky_inverse(torch.linalg.cholesky(covariance))
        self._mean = fit.mean
        self._weights = self._inverse @ (-1 - fit.mean).expand(len(points))

    def posterior(self, z: Float[Tensor, "p d"]) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
        """Mean and variance at some points."""
        kernel = self._kernel(z / self._scale)
        variance = 1 - ((kernel @ self._inverse) * kernel).sum(1)
        return self._mean + kernel @ self._weights, variance.clamp_min(1e-12)

    def log_improvement(self, z: Float[Tensor, "p d"]) -> Float[Tensor, " p"]:
        """Log of the expected improvement over a failure."""
        mean, variance = self.posterior(z)
        deviation = variance.sqrt()
        u = (mean + 1) / deviation
        gain: Tensor = torch.exp(-u.square() / 2) / math.sqrt(2 * math.pi) + u * torch.special.ndtr(u)
        return deviation.log() + gain.clamp_min(1e-300).log()

    def _kernel(self, scaled: Float[Tensor, "p d"]) -> Float[Tensor, "p m"]:
        squares: Tensor = scaled.square().sum(1)[:, None] + self._points.square().sum(1) - 2 * scaled @ self._points.T
        return torch.exp(-squares.clamp_min(0) / 2)


def _most_promising(process: _Process, candidates: _Points) -> Float[Tensor, " d"]:
    """The best of some candidates, climbed from there to a larger expected improvement, in [-1, 1]."""
    from scipy.optimize import minimize

    def lower(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        z = torch.as_tensor(flat)[None].clone().requires_grad_()
        with torch.enable_grad():
            value = -process.log_improvement(z).sum()
            (slope,) = torch.autograd.grad(value, z)
        return float(value.detach()), np.asarray(slope[0], dtype=np.float64)

    best = candidates[process.log_improvement(candidates).argmax()]
    bounds = [(-1.0, 1.0)] * len(best)
    search: Any = minimize  # untyped
    found = search(lower, best.numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ASCENT})
    return torch.as_tensor(found.x)


def _botorch() -> None:
    """Imports botorch.

    Raises:
        InputError: It is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it imports
            import botorch  # noqa: F401
    except ImportError:
        raise InputError("bayes: needs botorch, which is not installed; run: pip install 'carom[search]'") from None


def _fitted(points: _Points) -> _Fit:
    """Hyper-parameters of the largest marginal likelihood, by botorch, without its random restarts."""
    from botorch.models import SingleTaskGP
    from botorch.models.utils.gpytorch_modules import get_covar_module_with_dim_scaled_prior
    from botorch.optim.fit import fit_gpytorch_mll_scipy
    from gpytorch import mlls

    failures = points.new_full((len(points), 1), -1.0)
    kernel = get_covar_module_with_dim_scaled_prior(ard_num_dims=points.shape[1])
    # no outcome transform: constants have no standard deviation to divide by
    model: Any = SingleTaskGP((points + 1) / 2, failures, covar_module=kernel, outcome_transform=None)
    likelihood: Any = mlls.ExactMarginalLogLikelihood
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # it says where it stopped
        fit_gpytorch_mll_scipy(likelihood(model.likelihood, model).train(), options={"maxiter": _FITTING})
    return _Fit(
        lengthscale=kernel.lengthscale.detach()[0],
        noise=model.likelihood.noise.detach()[0],
        mean=model.mean_module.constant.detach(),
        answers=len(points),
    )
