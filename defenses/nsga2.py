"""NSGA-II: search for all good compromises between several goals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from carom.draws import stream
from carom.registry import checked

Genome = tuple[int, ...]
Costs = npt.NDArray[np.float64]
"""One row for each genome, one column for each goal; less is better."""


@dataclass(frozen=True, kw_only=True)
class NSGA2:
    """The genetic search of Deb, Pratap, Agarwal and Meyarivan 2002 (doi:10.1109/4235.996017), on discrete choices.

    Uniform crossover, mutation to a random level, constrained domination: what keeps the limits beats what does not,
    and of two that do not, the nearer one. No genome stands twice in a population.

    Attributes:
        population: Genomes, 4 to 10,000.
        generations: 1 to 10,000.
        mutation: Probability of each place of a genome, 0 to 1.

    Raises:
        InputError: Out of these ranges.
    """

    population: int = 100
    generations: int = 100
    mutation: float = 0.1

    def __post_init__(self) -> None:
        checked(self, "nsga2", population=(4.0, 10_000.0), generations=(1.0, 10_000.0), mutation=(0.0, 1.0))

    def minimise(
        self,
        levels: Sequence[int],
        costs: Callable[[list[Genome]], Costs],
        *,
        seed: int,
        excess: Callable[[Genome], float] = lambda genome: 0.0,
        canonical: Callable[[Genome], Genome] = lambda genome: genome,
    ) -> list[Genome]:
        """The genomes of the last population that no other one beats in every goal, and that keep the limits.

        Args:
            levels: How many levels each place of a genome has.
            costs: What to make small.
            seed: Of all draws.
            excess: By how much a genome breaks limits; 0 where it keeps them.
            canonical: One genome for all that mean the same.
        """
        generator = torch.Generator().manual_seed(stream(seed, "nsga2"))
        of = torch.tensor(levels)

        def random(n: int) -> torch.Tensor:
            return (torch.rand(n, len(of), generator=generator, dtype=torch.float64) * of).long()

        def named(rows: torch.Tensor) -> list[Genome]:
            return [canonical(tuple(row)) for row in rows.tolist()]

        people = list(dict.fromkeys(named(random(self.population))))
        scored = _Scored(people, costs(people), np.array([float(excess(g)) for g in people]))
        for _ in range(self.generations):
            parents = torch.tensor(scored.genomes)[scored.tournament(2 * self.population, generator)]
            first, second = parents.chunk(2)
            mixed = torch.where(torch.rand(first.shape, generator=generator) < 0.5, first, second)
            mutated = torch.rand(mixed.shape, generator=generator) < self.mutation
            children = named(torch.where(mutated, random(len(mixed)), mixed))
            known = set(scored.genomes)
            fresh = [g for g in dict.fromkeys(children) if g not in known]
            if fresh:
                more = _Scored(fresh, costs(fresh), np.array([float(excess(g)) for g in fresh]))
                scored = scored.joined(more).best(self.population)
        return [g for g, rank, over in zip(scored.genomes, scored.rank, scored.over, strict=True) if rank == over == 0]


class _Scored:
    """A population with its costs, and for each how many fronts lie before its own, and how lonely it is there."""

    def __init__(self, genomes: list[Genome], costs: Costs, over: Costs) -> None:
        self.genomes, self.costs, self.over = genomes, costs, over
        self.rank = fronts(costs, over)
        self.distance = np.zeros(len(genomes))
        for front in np.unique(self.rank):
            inside = self.rank == front
            self.distance[inside] = crowding(costs[inside])

    def joined(self, other: "_Scored") -> "_Scored":
        """Both together."""
        return _Scored(
            self.genomes + other.genomes,
            np.concatenate((self.costs, other.costs)),
            np.concatenate((self.over, other.over)),
        )

    def best(self, n: int) -> "_Scored":
        """The first fronts, and of the last one that has room, the loneliest."""
        kept = np.lexsort((-self.distance, self.rank))[:n]
        return _Scored([self.genomes[i] for i in kept], self.costs[kept], self.over[kept])

    def tournament(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """`n` places, each the better of two random ones."""
        pairs = torch.randint(len(self.genomes), (n, 2), generator=generator).numpy()
        place = np.empty(len(self.genomes))
        place[np.lexsort((-self.distance, self.rank))] = np.arange(len(self.genomes))
        return torch.from_numpy(np.where(place[pairs[:, 0]] <= place[pairs[:, 1]], pairs[:, 0], pairs[:, 1]))


def dominates(costs: Costs, over: Costs) -> npt.NDArray[np.bool_]:
    """Whether one (row) beats another (column): no worse in any goal, better in one; limits come first."""
    a, b = costs[:, None], costs[None]
    better = (a <= b).all(2) & (a < b).any(2)
    return np.where(over[:, None] == over[None], better, over[:, None] < over[None])


def fronts(costs: Costs, over: Costs) -> npt.NDArray[np.int64]:
    """0 for what nothing beats, 1 for what nothing but those beats, and so on."""
    beats = dominates(costs, over)
    rank = np.full(len(costs), -1)
    front = 0
    while (rank < 0).any():
        left = rank < 0
        rank[left & ~beats[left].any(0)] = front
        front += 1
    return rank


def crowding(costs: Costs) -> Costs:
    """How far apart the neighbours of each lie, summed over the goals; infinite at the ends."""
    distance = np.zeros(len(costs))
    for goal in costs.T:
        order = goal.argsort(kind="stable")
        span = goal[order[-1]] - goal[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (goal[order[2:]] - goal[order[:-2]]) / span
    return distance
