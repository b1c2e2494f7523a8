"""Which sub-networks of an elastic network to take: the good compromises of accuracy, robustness and size.

Some random sub-networks are measured, a predictor learns from them, NSGA-II searches the space by the predictor, and
what it finds is measured too: only measured numbers are ever told. All of them are of validation images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Literal

import numpy as np
import torch

from carom.budget import Budget, Norm
from carom.defenses.defense import PublicModel
from carom.draws import stream
from carom.errors import InputError
from carom.registry import checked
from carom.stages import Entry
from carom.zoo.architectures import Architecture
from carom.zoo.architectures.elastic.family import Elastic
from carom.zoo.architectures.elastic.space import Choice
from carom.zoo.models.classifier import weights
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe

from .candidates import Candidate, Scores, meeting, pick, unbeaten
from .measure import Measure, Sizes
from .nsga2 import Costs, evolved, require_pymoo
from .predictor import Fitted, Predictor
from .taken_out import elastic_of

_TRIES = 20  # random genomes for each sub-network wanted, before a small space counts as used up


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What a search found.

    Attributes:
        sampled: The random sub-networks that the predictor learned from.
        searched: Those that NSGA-II chose by the predictor, measured.
        predictor: With its error on sub-networks held out.
    """

    sampled: tuple[Candidate, ...]
    searched: tuple[Candidate, ...]
    predictor: Fitted

    def front(self, *, by_macs: bool = False) -> list[Candidate]:
        """Of all measured ones, those that no other beats in accuracy and robustness (and MACs), by falling robustness.

        The best of many measured on one set of images looks better than it is: judge what is picked on other images.
        """
        return unbeaten([*self.searched, *self.sampled], by_macs=by_macs)

    @property
    def optimism(self) -> Scores:
        """By how much the predictor overstated what it chose, in the mean: accuracy and robustness."""
        gaps = [
            (c.predicted[0] - c.accuracy, c.predicted[1] - c.robustness)
            for c in self.searched
            if c.predicted is not None
        ]
        return (0.0, 0.0) if not gaps else (sum(a for a, _ in gaps) / len(gaps), sum(r for _, r in gaps) / len(gaps))


@dataclass(frozen=True, kw_only=True)
class Search:
    """The best student of an elastic network under limits, by predictor and NSGA-II (ProARD, arXiv:2506.07666).

    Random sub-networks are measured, a predictor learns from them, NSGA-II looks through the space by the predictor,
    and the front that it finds is measured. A stage: goes on from an elastic network, and makes the plain network of
    the most robust measured sub-network that meets all constraints, with batch norm's statistics of its own. ProARD
    measures 2,000 sub-networks, and its search has a population and generations of 100. A measured sub-network costs a
    recalibration, and `2 steps + 2` passes of each validation image; the search itself costs none. All measured numbers
    are means over classes on validation images, under PGD from the same starts; no test image is looked at.

    Attributes:
        samples: Random sub-networks to measure, 10 to 10,000; the largest and the smallest are among them. Fewer where
            the space or the limits hold no more.
        measured: Of the front that the predictor shows, at most so many are measured, evenly spread along it; 1 to
            10,000.
        by_macs: A front of three goals: few MACs too.
        max_macs: Multiplications for one image that are allowed; 0 for any number.
        max_parameters: Parameters that are allowed; 0 for any number.
        min_accuracy: On clean images, 0 to 1.
        min_robustness: Accuracy under PGD, 0 to 1.
        population: Of NSGA-II, 4 to 10,000.
        generations: Of NSGA-II, 1 to 10,000.
        layers: Hidden ones of the predictor, 0 to 6; with 0 it is linear, which is better for small samples.
        width: ReLUs in each of them, 1 to 400.
        eps: Radius of the ball, pixels in [0, 1].
        norm: "linf" or "l2".
        steps: Of PGD, 1 to 10,000, each of 2.5 / steps of the radius.

    Raises:
        InputError: Out of these ranges; or, when called, fewer than ten sub-networks keep the limits, or no pymoo.
    """

    samples: int = 200
    measured: int = 20
    by_macs: bool = False
    max_macs: int = 0
    max_parameters: int = 0
    min_accuracy: float = 0.0
    min_robustness: float = 0.0
    population: int = 100
    generations: int = 100
    layers: int = 3
    width: int = 100
    eps: Fraction = Fraction(16, 255)
    norm: Norm = "linf"
    steps: int = 20

    version: ClassVar[int] = 2
    takes: ClassVar[Literal["one", "none", "either"]] = "one"
    pool: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(
            self,
            "search",
            samples=(10, 10_000),
            measured=(1, 10_000),
            max_macs=(0, 10**15),
            max_parameters=(0, 10**15),
            min_accuracy=(0, 1),
            min_robustness=(0, 1),
            population=(4, 10_000),
            generations=(1, 10_000),
            steps=(1, 10_000),
        )
        if self.budget.eps == 0:
            raise InputError("search: eps is 0, so robustness would be accuracy; give a radius above 0")
        self._predictor()

    @property
    def budget(self) -> Budget:
        """Of PGD."""
        return Budget(norm=self.norm, eps=self.eps)

    def _predictor(self) -> Predictor:
        return Predictor(layers=self.layers, width=self.width)

    def planned(self, given: Architecture, groups: Sequence[str]) -> Architecture | None:
        """Nobody knows before the search.

        Raises:
            InputError: The architecture holds no sub-networks.
        """
        del groups
        elastic_of(given, "search")
        return None

    def passes(self, recipe: Recipe) -> float:
        """What is measured, had each of it a tenth as many validation images as there are for training."""
        del recipe
        return (self.samples + self.measured) * 0.1 * (2 * self.steps + 2)

    def architecture(self, given: Architecture, weights: Weights) -> Architecture:
        """A plain network; which one stands in the names and shapes of its weights.

        Raises:
            InputError: They are not of a sub-network of `given`.
        """
        if not isinstance(given, Elastic):
            raise InputError(f"search: {type(given).__name__} has no sub-networks")
        return given.student(weights)

    def build(self, ground: Ground, given: Sequence[Weights], pool: Sequence[PublicModel]) -> Built:
        """Search, pick, take out.

        Raises:
            InputError: The network is not elastic, or no measured sub-network meets the constraints; names the nearest.
        """
        del pool
        elastic = elastic_of(ground.architecture, "search")
        shape = ground.shape if ground.preprocessing is None else ground.preprocessing.output_shape(ground.shape)
        sizes = Sizes(architecture=elastic, shape=shape, classes=ground.classes)
        measure = Measure(ground, given[0], self.budget, steps=self.steps)
        done = 0

        def watched(choice: Choice) -> Scores:
            nonlocal done
            clean, robust = measure(choice)
            done += 1
            if ground.progress is not None:
                ground.progress(done, self.samples + self.measured, {"accuracy": clean, "robust accuracy": robust})
            return clean, robust

        found = self(sizes, watched, seed=ground.seed)
        front = found.front(by_macs=self.by_macs)
        best = pick(meeting(front, min_accuracy=self.min_accuracy, min_robustness=self.min_robustness))
        return Built(
            members=(weights(measure.student(best.choice)),),
            passes=measure.passes,
            record={
                "choice": str(best.choice),
                "macs": best.macs,
                "parameters": best.parameters,
                "accuracy": best.accuracy,
                "robust accuracy": best.robustness,
                "sampled": len(found.sampled),
                "searched": len(found.searched),
                "predictor rmse": list(found.predictor.rmse),
                "predictor tau": list(found.predictor.tau),
                "predictor optimism": list(found.optimism),
                "front": [str(c.choice) for c in front],
                "front accuracy": [c.accuracy for c in front],
                "front robust accuracy": [c.robustness for c in front],
                "front macs": [c.macs for c in front],
            },
        )

    def __call__(self, sizes: Sizes, measure: Callable[[Choice], Scores], *, seed: int) -> Found:
        """Sample, learn, search, measure.

        Args:
            sizes: The space, and how large its sub-networks are.
            measure: Accuracy and robust accuracy of a sub-network on validation images: see `Measure`.
            seed: Of all draws.
        """
        require_pymoo()  # before anything is measured
        space = sizes.space

        def candidate(choice: Choice) -> Candidate:
            clean, robust = measure(choice)
            return Candidate(
                choice=choice,
                accuracy=clean,
                robustness=robust,
                macs=sizes.macs(choice),
                parameters=sizes.parameters(choice),
            )

        sampled = [candidate(choice) for choice in self._sample(sizes, seed)]
        rows = torch.stack([space.one_hot(c.choice) for c in sampled])
        scores = torch.tensor([[c.accuracy, c.robustness] for c in sampled])
        fitted = self._predictor().fit(rows, scores, seed=seed)

        def predicted(choices: Sequence[Choice]) -> Costs:
            return fitted(torch.stack([space.one_hot(c) for c in choices])).double().numpy()

        def costs(choices: Sequence[Choice]) -> Costs:
            goals = 1 - predicted(choices)
            if not self.by_macs:
                return goals
            macs = np.array([[sizes.macs(c)] for c in choices], dtype=np.float64)
            return np.concatenate((goals, macs), axis=1)

        chosen = evolved(
            space,
            costs,
            lambda choice: self._excess(sizes, choice),
            population=self.population,
            generations=self.generations,
            seed=seed,
        )
        if chosen:
            order = np.argsort(costs(chosen)[:, 0], kind="stable")
            places = np.unique(np.linspace(0, len(chosen) - 1, min(self.measured, len(chosen))).round().astype(int))
            chosen = [chosen[i] for i in order[places]]
        expected = predicted(chosen) if chosen else np.zeros((0, 2))
        known = {c.choice: c for c in sampled}
        searched = []
        for choice, (clean, robust) in zip(chosen, expected.tolist(), strict=True):
            of = known.get(choice) or candidate(choice)  # what a sub-network scored, it would score again
            searched.append(replace(of, predicted=(clean, robust)))
        return Found(sampled=tuple(sampled), searched=tuple(searched), predictor=fitted)

    def _sample(self, sizes: Sizes, seed: int) -> list[Choice]:
        """Different ones that keep the limits."""
        space = sizes.space
        generator = torch.Generator().manual_seed(stream(seed, "search sample"))
        chosen = dict.fromkeys(c for c in (space.largest, space.smallest) if self._keeps(sizes, c))
        for _ in range(_TRIES * self.samples):
            if len(chosen) >= self.samples:
                break
            choice = space.random(generator)
            if self._keeps(sizes, choice):
                chosen[choice] = None
        if len(chosen) < 10:
            raise InputError(
                f"search: found {len(chosen)} sub-networks within the limits, 10 are needed; the smallest has "
                f"{sizes.macs(space.smallest):,} MACs and {sizes.parameters(space.smallest):,} parameters"
            )
        return list(chosen)

    def _excess(self, sizes: Sizes, choice: Choice) -> tuple[float, ...]:
        """For each limit, by what part of it a sub-network is above it; below 0 where it is under."""
        macs = (sizes.macs(choice) / self.max_macs - 1,) if self.max_macs else ()
        return (*macs, *((sizes.parameters(choice) / self.max_parameters - 1,) if self.max_parameters else ()))

    def _keeps(self, sizes: Sizes, choice: Choice) -> bool:
        return all(excess <= 0 for excess in self._excess(sizes, choice))


ENTRY = Entry(
    summary="The most robust student within limits of size and accuracy, by predictor and NSGA-II.",
    paper="Mousavi et al. 2025, arXiv:2506.07666",
    stages=(Search(),),
)
