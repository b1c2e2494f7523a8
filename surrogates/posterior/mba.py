"""MoreBayesian: a network fine-tuned towards flat regions, and a normal distribution of weights to draw it from."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from carom.draws import stream
from carom.errors import InputError
from carom.protocols import Combination, GradientSource
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.onward import Onward
from carom.surrogates.probe import Probe, along
from carom.surrogates.stack import parameter_names, with_vector
from carom.surrogates.surrogate import Schedule
from carom.surrogates.untrained import fitted_vectors
from carom.zoo.models.classifier import Classifier
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots, Update
from carom.zoo.training.state import Passes, State


@dataclass(frozen=True, kw_only=True)
class MoreBayesian:
    """A normal distribution of weights around a fine-tuned network, drawn from at each step (Li et al. 2023).

    Fine-tuning follows `g + (strength / radius) (g' - g)`, with g the gradient of the loss at w and g' that at
    `w + radius g / |g|`: it makes the loss and the length of its gradient small, and costs twice as many passes. SAM is
    strength = radius. Along the way the mean and the deviation of each weight are collected, evenly over all steps. An
    attack then reads, at each step, fresh draws from `N(mean, (scale deviation)^2)`, whose gradients are averaged; they
    share the mean's batch norm statistics, which are taken anew from a tenth of the training images.

    The authors let the second pass move batch norm's running statistics and draw other dropout masks. Here it does
    neither; the statistics make no difference to what comes out, as they are taken anew. arXiv:2302.05086.

    Attributes:
        epochs: Of fine-tuning, from 1.
        learning_rate: Constant, above 0 to 1000.
        momentum: 0 to 0.9999, plain.
        weight_decay: On all parameters, 0 to 1000.
        batch_size: Images of a step; None for the attacker's own.
        strength: Weight of the gradient's length, the paper's lambda, 0 to 1000; 0 is plain SGD, at its cost.
        radius: Where the second gradient is read, in units of the weights, the paper's gamma, above 0 to 100.
        collections: How often the moments take in the weights, from 2; at most at each step.
        scale: Of the deviations, 0 to 100; with 0 the mean alone is read.
        draws_per_step: Networks that are read at each step of an attack, from 1. With 1 it costs as much as on a single
            network.

    Raises:
        InputError: Out of range.
    """

    epochs: int = 10
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int | None = None
    strength: float = 1.0
    radius: float = 0.1
    collections: int = 100
    scale: float = 1.5
    draws_per_step: int = 20

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "full"
    takes: ClassVar[str] = "one"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(
            self,
            "morebayesian",
            epochs=(1.0, 1e6),
            learning_rate=(1e-12, 1e3),
            momentum=(0.0, 0.9999),
            weight_decay=(0.0, 1e3),
            strength=(0.0, 1e3),
            radius=(1e-12, 100.0),
            collections=(2.0, 1e6),
            scale=(0.0, 100.0),
            draws_per_step=(1.0, 1e6),
            **({} if self.batch_size is None else {"batch_size": (2.0, 1e6)}),
        )

    def count(self, given: int) -> int:
        """Two: the mean and the deviations."""
        del given
        return 2

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """The mean, and the deviations as weights of the same names, with the mean's buffers.

        Raises:
            InputError: There are too few steps to collect from, or too few images for batch norm's statistics.
            DivergedError: The loss is not finite, or the mean does no better than guessing.
        """
        recipe = adapted(
            ground.recipe,
            Probed(
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                every=0,
                strength=self.strength,
                radius=self.radius,
                collections=self.collections,
            ),
            epochs=self.epochs,
            batch_size=self.batch_size or ground.recipe.batch_size,
            learning_rate=self.learning_rate,
            schedule="constant",
            select="last",
        )
        trained = ground.trained(recipe, start=given[0])
        collected = int(trained.memory[_COUNT])
        if collected < 2:
            raise InputError(
                f"morebayesian: {collected} step to collect moments from; expected at least 2; train longer, or in "
                "smaller batches"
            )
        names = parameter_names(ground, trained.last)
        mean, squares = trained.memory[_MEAN].cpu(), trained.memory[_SQUARES].cpu()
        made = fitted_vectors(ground, [(mean, trained.last)], 1, where="morebayesian")
        deviation = (squares / collected).clamp_min(0).sqrt()
        return Built(
            members=(made.members[0], with_vector(made.members[0], names, deviation)),
            passes=Passes(trained.passes.forward + made.passes.forward, trained.passes.backward),
            record={
                "validation_accuracy": made.record["validation_accuracy"],
                "collected": collected,
                "mean_deviation": float(deviation.mean()),
            },
        )

    def source(self, classifiers: Sequence[Classifier], seed: int) -> GradientSource:
        """Draws around the first classifier, by the second's deviations."""
        mean, deviation = classifiers
        return Posterior(mean, deviation, scale=self.scale, draws=self.active(2), seed=seed)

    def answering(self, classifiers: Sequence[Classifier]) -> Sequence[Classifier]:
        """The mean."""
        return classifiers[:1]

    def active(self, count: int) -> int:
        """Draws of a step; without deviations, the mean."""
        del count
        return self.draws_per_step if self.scale else 1


@dataclass(frozen=True, eq=False)
class Posterior:
    """A gradient source of networks whose parameters are drawn from independent normal distributions.

    A draw belongs to (seed, step, draw). Each is a classifier of its own that shares everything but its parameters with
    the mean. Those of the present step are kept, and of the first, which all attacks begin with.

    Attributes:
        mean: Means, and all that is no parameter.
        deviation: Deviations, as a classifier of the same architecture.
        scale: Of the deviations; with 0 the mean itself is read, once.
        draws: Networks of a step.
        seed: The attack's.
        combination: Losses are averaged.
    """

    mean: Classifier
    deviation: Classifier
    scale: float = 1.0
    draws: int = 1
    seed: int = 0
    combination: Combination = "loss"
    _kept: dict[int, tuple[Classifier, ...]] = field(default_factory=dict, init=False, repr=False)

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        """The draws of this step, the same ones for all copies."""
        del copy
        if not self.scale:
            return (self.mean,)
        if step not in self._kept:
            for other in [kept for kept in self._kept if kept]:
                del self._kept[other]
            self._kept[step] = tuple(self._drawn(step, i) for i in range(self.draws))
        return self._kept[step]

    def _drawn(self, step: int, place: int) -> Classifier:
        generator = torch.Generator().manual_seed(stream(self.seed, "posterior draw", step, place))
        memo: dict[int, object] = {id(t): t for t in self.mean.buffers()}  # what stands here is taken, not copied
        with torch.no_grad():
            for centre, spread in zip(self.mean.parameters(), self.deviation.parameters(), strict=True):
                noise = torch.randn(centre.shape, generator=generator).to(centre)
                memo[id(centre)] = nn.Parameter(
                    torch.addcmul(centre, spread, noise, value=self.scale), requires_grad=False
                )
        return copy.deepcopy(self.mean, memo)


_COUNT, _MEAN, _SQUARES = "moments collected", "moments mean", "moments squares"


@dataclass(frozen=True, kw_only=True)
class Probed(Onward):
    """Onward along gradients that a second reading corrects, collecting moments of the weights.

    Attributes:
        strength: As in `MoreBayesian`.
        radius: As in `MoreBayesian`.
        collections: As in `MoreBayesian`.
    """

    strength: float
    radius: float
    collections: int

    @override
    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another optimizer and update, and the moments."""
        made = super().slots(slots, recipe)
        return replace(
            made,
            update=probed(self.strength, self.radius, made.update),
            after_step=(*made.after_step, lambda state: take_moments(state, self.collections)),
            collect=lambda done: False,  # spares looking at validation images after each epoch
        )


def probed(strength: float, radius: float, plain: Update) -> Update:
    """Steps along `g + (strength / radius) (g' - g)`; `plain` where the strength is 0."""

    def update(state: State, gradient: Callable[[], None]) -> None:
        probe = Probe(state, gradient)
        here = probe.here()
        there = probe.at(along(here, radius))
        probe.step([torch.lerp(a, b, strength / radius) for a, b in zip(here, there, strict=True)])

    return update if strength else plain


def take_moments(state: State, collections: int) -> None:
    """Take the weights into mean and sum of squared deviations (Welford 1962), evenly over all steps."""
    if (state.step + 1) * collections // state.steps == state.step * collections // state.steps:
        return
    weights = torch.cat([p.detach().flatten().float() for p in state.classifier.network.parameters()])
    if _COUNT not in state.memory:
        state.memory |= {
            _COUNT: torch.zeros((), dtype=torch.int64),
            _MEAN: torch.zeros_like(weights),
            _SQUARES: torch.zeros_like(weights),
        }
    count: Tensor = state.memory[_COUNT] + 1
    away = weights - state.memory[_MEAN]
    state.memory[_COUNT] = count
    state.memory[_MEAN] += away / int(count)
    state.memory[_SQUARES] += away * (weights - state.memory[_MEAN])


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "paper-imagenet": MappingProxyType(
            {
                "epochs": 10,
                "learning_rate": 0.05,
                "momentum": 0.9,
                "weight_decay": 5e-4,
                "batch_size": 1024,
                "strength": 1.0,
                "radius": 0.1,
                "collections": 300,
                "scale": 1.5,
                "draws_per_step": 20,
            }
        )
    }
)


ENTRY = Entry(
    summary="MoreBayesian: fine-tuned towards flat regions, and drawn anew at each step of an attack.",
    paper="Li et al. 2023, arXiv:2302.05086",
    stages=(MoreBayesian(),),
    presets=PRESETS,
)
