"""NSGA-II over the genomes of an elastic network."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from carom.draws import stream
from carom.errors import InputError
from carom.zoo.architectures.elastic.space import Choice, Space

Costs = npt.NDArray[np.float64]
"""One row for each sub-network, one column for each goal; less is better."""


_MUTATION = 0.1  # probability of each place of a genome


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
    require_pymoo()
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


def require_pymoo() -> None:
    """Imports pymoo.

    Raises:
        InputError: It is not installed.
    """
    try:
        import pymoo  # noqa: F401
    except ImportError:
        raise InputError('search: needs pymoo, which is not installed; run: pip install "carom[search]"') from None
