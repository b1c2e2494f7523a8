"""The search for a path: one step along it, judged by networks that are no victims."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor, nn

from carom.attacks.crafting.chunks import chunk_size
from carom.attacks.crafting.craft import craft_images
from carom.attacks.iterative import Iterative
from carom.attacks.reading.networks import Prepare
from carom.budget import Budget
from carom.draws import stream
from carom.errors import InputError, ModelError
from carom.protocols import Classifier, Combination, Passes
from carom.typing import Images, Labels

from .anatomy import anatomy
from .pas import PAS, knobs_of, known_paths

Method = Literal["bayesian", "random"]
_SPREAD = 4  # paths that a search tries at random before it models the score


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One path that was tried.

    Attributes:
        coefficients: In the order of `knobs`.
        score: Mean increase of the judges' loss; NaN where it was not finite.
    """

    coefficients: tuple[float, ...]
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """What a search found.

    Attributes:
        path: The best path tried, the first of equals.
        score: Its score.
        trail: All paths, in the order of their trial; first the plain gradient, SGM and LinBP.
        passes: Image passes through the classifier and the judges.
    """

    path: PAS
    score: float
    trail: tuple[Trial, ...]
    passes: Passes


@dataclass
class _One:
    """A classifier as what an attack reads."""

    classifier: Classifier
    combination: Combination = field(default="logits")

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        return [self.classifier]


def search(
    classifier: nn.Module,
    judges: Sequence[Classifier],
    x: Images,
    y: Labels,
    budget: Budget,
    *,
    pas: PAS | None = None,
    seed: int = 0,
    method: Method = "bayesian",
    prepare: Prepare | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Searched:
    """The path along which one step of full size raises the judges' loss the most.

    The score of a path is the mean over judges and images of the increase of their cross-entropy, after one step from
    the clean images to the border of the ball. The search begins with the plain gradient, SGM and LinBP, so that it
    never ends with less on these images; then come some points of a Sobol sequence, then what promises most by log
    expected improvement under a Gaussian process. Everything chosen belongs on validation images and networks:
    neither `x` nor `judges` may be what is reported on later.

    Args:
        classifier: Whose path is searched.
        judges: Networks that stand for victims.
        x: Images, `n c h w`, floats in [0, 1].
        y: Their classes, `n`.
        budget: The ball of the step.
        pas: How many paths to try; None for the default. Its coefficients play no part.
        seed: Of the search; the same seed finds the same path.
        method: "random" draws uniformly where "bayesian" chooses, from the same beginning.
        prepare: What the classifier goes through after the path has rebuilt it.
        progress: Called with (paths tried, paths in all).

    Raises:
        InputError: No judges or images, or the bayesian search without botorch.
        ModelError: Nothing to search in the network, or no path with a finite score.
    """
    pas = pas or PAS()
    if not judges or not len(x):
        raise InputError(f"pas: a search needs judges and images, got {len(judges)} judges and {len(x)} images")
    if method == "bayesian":
        _botorch()
    found = anatomy(classifier, (x.shape[1], x.shape[2], x.shape[3]), where="pas")
    dims = len(knobs_of(found))
    before, n = _losses(judges, x, y), len(x)
    trail: list[Trial] = []

    def attempt(coefficients: tuple[float, ...]) -> None:
        step = Iterative(path=PAS(coefficients=coefficients), steps=1, step=Fraction(1))
        (crafted,) = craft_images([(step, budget)], _One(classifier), x, y, seed=seed, prepare=prepare)
        score = float((_losses(judges, crafted.images, y) - before).mean())
        trail.append(Trial(coefficients=coefficients, score=score if math.isfinite(score) else math.nan))
        if progress is not None:
            progress(len(trail), pas.evaluations)

    sobol = _rounded(torch.quasirandom.SobolEngine(dims, scramble=True, seed=_seed(seed)).draw(_SPREAD))  # type: ignore[no-untyped-call]
    for coefficients in [*known_paths(found), *sobol][: pas.evaluations]:
        attempt(coefficients)
    while len(trail) < pas.evaluations:
        attempt(_next(trail, dims, seed, method))
    finite = [trial for trial in trail if not math.isnan(trial.score)]
    if not finite:
        raise ModelError("pas: no path has a finite score; check the judges' logits")
    best = max(finite, key=lambda trial: trial.score)
    # a pass each way for every image and path, and one through each judge for every path and for the clean images
    passes = Passes(n * (len(trail) + len(judges) * (len(trail) + 1)), n * len(trail))
    return Searched(
        path=replace(pas, coefficients=best.coefficients), score=best.score, trail=tuple(trail), passes=passes
    )


def _losses(judges: Sequence[Classifier], x: Images, y: Labels) -> Tensor:
    """Cross-entropy of each judge for each image, judge after judge."""
    size = chunk_size(x.shape[1:], x.device)
    with torch.no_grad():
        losses = [
            nn.functional.cross_entropy(judge(x[begin : begin + size]), y[begin : begin + size], reduction="none")
            for judge in judges
            for begin in range(0, len(x), size)
        ]
    return torch.cat(losses).double()


def _next(trail: Sequence[Trial], dims: int, seed: int, method: Method) -> tuple[float, ...]:
    """What to try after these."""
    generator = torch.Generator().manual_seed(_seed(seed, len(trail)))
    blind = torch.rand(1, dims, generator=generator, dtype=torch.float64)
    finite = torch.tensor([trial.score for trial in trail if not math.isnan(trial.score)], dtype=torch.float64)
    # scores that are all alike, or but one, say nothing about where to go
    if method == "random" or len(finite) < 2 or float(finite.max() - finite.min()) == 0:
        return _rounded(blind)[0]
    tried = torch.tensor([trial.coefficients for trial in trail], dtype=torch.float64)
    # a path without a finite score counts as the worst: the search stays away from it
    worst = float(finite.min())
    scores = torch.tensor([worst if math.isnan(t.score) else t.score for t in trail], dtype=torch.float64)
    scale = scores.std()
    (proposed,) = _rounded(_promising(tried, (scores - scores.mean()) / scale, _seed(seed, len(trail))))
    return proposed if proposed not in {trial.coefficients for trial in trail} else _rounded(blind)[0]


def _promising(tried: Tensor, scores: Tensor, seed: int) -> Tensor:
    """The point of [0, 1]^d with the highest log expected improvement."""
    from botorch.acquisition.analytic import LogExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.optim.optimize import optimize_acqf
    from gpytorch.mlls import ExactMarginalLogLikelihood

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.enable_grad():
        # of fits that ended early or were repeated: the point found is tried in any case
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(seed)
        model = SingleTaskGP(tried, scores[:, None], outcome_transform=None)
        try:
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))  # type: ignore[no-untyped-call]
        except Exception:  # every retry failed: the prior's hyper-parameters do
            model.eval()
        bounds = torch.stack([torch.zeros(tried.shape[1]), torch.ones(tried.shape[1])]).double()
        point, _ = optimize_acqf(
            LogExpectedImprovement(model, best_f=scores.max()),
            bounds=bounds,
            q=1,
            num_restarts=2,
            raw_samples=64,
            options={"maxiter": 50, "seed": seed},
        )
    return point.detach()


def _rounded(points: Tensor) -> list[tuple[float, ...]]:
    """As they can be written into a scenario."""
    return [tuple(round(min(max(float(v), 0.0), 1.0), 4) for v in row) for row in points]


def _seed(seed: int, trial: int = 0) -> int:
    return stream(seed, "pas search", trial) % 2**31


def _botorch() -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its dependencies, about their own futures
            import botorch  # noqa: F401
    except ImportError as error:
        raise InputError(f"pas: the bayesian search needs botorch ({error}); pip install carom[search]") from None
