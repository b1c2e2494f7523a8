"""Which sub-networks of an elastic network to take: the good compromises of accuracy, robustness and size.

Some random sub-networks are measured, a predictor learns from them, NSGA-II searches the space by the predictor, and
what it finds is measured too: only measured numbers are ever told. All of them are of validation images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from carom.budget import Budget, Norm
from carom.defenses.defense import PublicModel
from carom.defenses.training.pgd import withstood
from carom.draws import stream
from carom.errors import InputError
from carom.registry import checked
from carom.zoo.architectures import Architecture
from carom.zoo.architectures.elastic.family import Elastic
from carom.zoo.architectures.elastic.space import Choice, Space
from carom.zoo.models.classifier import Classifier, weights
from carom.zoo.preprocessing import Shape
from carom.zoo.training.accuracy import macro_accuracy
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe
from carom.zoo.training.state import Passes

from .predictor import Fitted, Predictor
from .student import accuracy, elastic_of, recalibrate, taken_out

Scores = tuple[float, float]
"""Accuracy and robust accuracy, 0 to 1."""

Costs = npt.NDArray[np.float64]
"""One row for each sub-network, one column for each goal; less is better."""

_MUTATION = 0.1  # probability of each place of a genome
_TRIES = 20  # random genomes for each sub-network wanted, before a small space counts as used up


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A sub-network that was measured.

    Attributes:
        choice: Which one.
        accuracy: On clean validation images, 0 to 1.
        robustness: On validation images under PGD.
        macs: Multiplications for one image.
        parameters: How many.
        predicted: What the search had expected of accuracy and robustness; None for one of the random sample.
    """

    choice: Choice
    accuracy: float
    robustness: float
    macs: int
    parameters: int
    predicted: Scores | None = None


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large sub-networks are.

    Attributes:
        architecture: The elastic family.
        shape: Channels, rows and columns of what the network gets.
        classes: How many.
    """

    architecture: Elastic
    shape: Shape
    classes: int

    @property
    def space(self) -> Space:
        """What can be chosen."""
        return self.architecture.space

    def macs(self, choice: Choice) -> int:
        """Multiplications for one image."""
        return self.architecture.macs(choice, self.shape, self.classes)

    def parameters(self, choice: Choice) -> int:
        """How many."""
        return self.architecture.parameters(choice, self.shape, self.classes)


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
        _pymoo()  # before anything is measured
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


class Measure:
    """Accuracy and robust accuracy of sub-networks on validation images, means over classes; always the same images.

    Each sub-network is taken out, and batch norm's statistics are taken anew on training images. PGD starts from the
    same points for all of them, so that two differ by themselves alone.

    Attributes:
        ground: Whose architecture is elastic.
        given: Weights of the elastic network.
        budget: Of PGD.
        steps: Of PGD, each of 2.5 / steps of the radius.
        passes: Taken so far, in images: those of recalibration too.
    """

    def __init__(self, ground: Ground, given: Weights, budget: Budget, *, steps: int = 20) -> None:
        self.ground, self.given, self.budget, self.steps = ground, given, budget, steps
        self.passes = Passes()

    def student(self, choice: Choice) -> Classifier:
        """The sub-network as a plain network with statistics of its own, in eval mode."""
        classifier = taken_out(self.ground, self.given, choice)
        self.passes.forward += recalibrate(classifier, self.ground.train, seed=self.ground.seed)
        return classifier

    def __call__(self, choice: Choice) -> Scores:
        """Of this sub-network."""
        ground, held = self.ground, self.ground.validation
        classifier = self.student(choice)
        x, y = held.images.to(ground.device).float() / 255, held.labels.to(ground.device)
        generator = torch.Generator().manual_seed(stream(ground.seed, "search PGD"))
        right = withstood(classifier, x, y, self.budget, steps=self.steps, step=2.5 / self.steps, generator=generator)
        self.passes.forward += (2 + self.steps) * len(held)
        self.passes.backward += self.steps * len(held)
        return accuracy(classifier, held), macro_accuracy(right.cpu(), held.labels)


def evolved(
    space: Space,
    costs: Callable[[Sequence[Choice]], Costs],
    excess: Callable[[Choice], tuple[float, ...]],
    *,
    population: int,
    generations: int,
    seed: int,
) -> list[Choice]:
    """The good compromises that pymoo's NSGA-II finds (Deb et al. 2002, doi:10.1109/4235.996017), each once.

    Uniform crossover, and mutation to a random level.

    Args:
        space: What is searched.
        costs: What to make small; at least two goals.
        excess: By how much a sub-network breaks each limit; what is at most 0 keeps it.
        population: Genomes.
        generations: How many.
        seed: Of all draws.

    Raises:
        InputError: pymoo is not installed.
    """
    _pymoo()
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.config import Config
    from pymoo.core.duplicate import DefaultDuplicateElimination
    from pymoo.core.evaluator import Evaluator
    from pymoo.core.problem import Problem
    from pymoo.core.variable import Integer
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.rm import ChoiceRandomMutation
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.problems.static import StaticProblem

    choice_of = cache(space.choice)
    genome_of = cache(space.genome)

    def choices(people: Any) -> list[Choice]:
        return [choice_of(tuple(row)) for row in people.get("X").astype(int).tolist()]

    def meant(people: Any) -> npt.NDArray[np.float64]:
        """Genomes that differ in skipped blocks alone are one."""
        return np.array([genome_of(choice) for choice in choices(people)], dtype=np.float64)

    Config.warnings["not_compiled"] = False  # would be printed to stdout
    problem = Problem(
        vars={place: Integer(bounds=(0, levels - 1)) for place, levels in enumerate(space.levels)},
        n_obj=costs([space.smallest]).shape[1],
        n_ieq_constr=len(excess(space.smallest)),
    )
    algorithm = NSGA2(
        pop_size=population,
        sampling=IntegerRandomSampling(),
        crossover=UniformCrossover(),
        mutation=ChoiceRandomMutation(prob_var=_MUTATION),
        eliminate_duplicates=DefaultDuplicateElimination(func=meant),
    )
    algorithm.setup(problem, termination=("n_gen", generations), seed=stream(seed, "nsga2"))
    while algorithm.has_next():
        people = algorithm.ask()
        if people is None or not len(people):  # a small space is used up
            break
        found = choices(people)
        over = np.array([excess(choice) for choice in found], dtype=np.float64)
        Evaluator().eval(StaticProblem(problem, F=costs(found), G=over), people)
        algorithm.tell(infills=people)
    best = algorithm.result().opt
    return [] if best is None else list(dict.fromkeys(choices(best)))


def _pymoo() -> None:
    """Imports pymoo.

    Raises:
        InputError: It is not installed.
    """
    try:
        import pymoo  # noqa: F401
    except ImportError:
        raise InputError('search: needs pymoo, which is not installed; run: pip install "carom[search]"') from None


def unbeaten(candidates: Sequence[Candidate], *, by_macs: bool = False) -> list[Candidate]:
    """Those that no other beats in accuracy and robustness (and MACs), by falling robustness; each choice once."""
    each = list({c.choice: c for c in reversed(candidates)}.values())
    if not each:
        return []
    costs = np.array([[-c.accuracy, -c.robustness, *([float(c.macs)] if by_macs else [])] for c in each])
    beats = (costs[:, None] <= costs[None]).all(2) & (costs[:, None] < costs[None]).any(2)
    front = [c for c, beaten in zip(each, np.asarray(beats.any(0)), strict=True) if not beaten]
    return sorted(front, key=lambda c: (-c.robustness, -c.accuracy, c.macs, str(c.choice)))


def meeting(
    candidates: Sequence[Candidate],
    *,
    max_macs: int | None = None,
    max_parameters: int | None = None,
    min_accuracy: float = 0.0,
    min_robustness: float = 0.0,
) -> list[Candidate]:
    """The candidates that meet all of these.

    Args:
        candidates: Measured ones.
        max_macs: Multiplications for one image; None for any number.
        max_parameters: None for any number.
        min_accuracy: On clean images, 0 to 1.
        min_robustness: Under PGD, 0 to 1.

    Raises:
        InputError: None does; names the nearest one, whose largest miss in units of what was asked is smallest.
    """
    if not candidates:
        raise InputError("search: no candidates; search first")

    def misses(candidate: Candidate) -> list[tuple[float, str]]:
        found = []
        for name, has, most in (
            ("MACs", candidate.macs, max_macs),
            ("parameters", candidate.parameters, max_parameters),
        ):
            if most is not None and has > most:
                found.append((has / max(most, 1) - 1, f"{has:,} {name}, allowed {most:,}"))
        for name, share, least in (
            ("accuracy", candidate.accuracy, min_accuracy),
            ("robustness", candidate.robustness, min_robustness),
        ):
            if share < least:
                found.append((1 - share / least, f"{name} {share:.3f}, wanted {least:.3f}"))
        return found

    good = [c for c in candidates if not misses(c)]
    if good:
        return good
    nearest = min(candidates, key=lambda c: (max(misses(c))[0], str(c.choice)))
    raise InputError(
        f"search: none of {len(candidates)} students meets all constraints; the nearest, {str(nearest.choice)!r}, has "
        + " and ".join(text for _, text in misses(nearest))
        + "; loosen them, or search longer"
    )


def pick(candidates: Sequence[Candidate]) -> Candidate:
    """The most robust candidate; of equally robust ones the most accurate, then the smallest."""
    return min(candidates, key=lambda c: (-c.robustness, -c.accuracy, c.macs, str(c.choice)))
