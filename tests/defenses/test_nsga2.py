"""The genetic search finds what trying everything finds."""

from itertools import product

import numpy as np
import pytest

from carom.defenses.nsga2 import NSGA2, crowding, fronts
from carom.errors import InputError

LEVELS = (4, 3, 4, 3, 2)


def costs(genomes):
    """Two goals that pull apart, with bumps so that the front is no straight line."""
    g = np.array(genomes, dtype=float)
    first = g @ [1.0, 0.7, 0.4, 0.2, 0.1]
    second = ((3 - g[:, 0]) * 1.1 + (2 - g[:, 1]) ** 2 + (3 - g[:, 2]) * 0.3 + abs(g[:, 3] - 1) + g[:, 4]) / 2
    return np.stack((first, second), 1)


EVERYTHING = list(product(*map(range, LEVELS)))


def unbeaten(genomes):
    found = costs(genomes)
    return {
        tuple(row)
        for row in found.round(9)
        if not any((other <= row + 1e-9).all() and (other < row - 1e-9).any() for other in found)
    }


def scores(genomes):
    return {tuple(row) for row in costs(genomes).round(9)}


def test_it_finds_the_front_of_a_small_space():
    found = NSGA2(population=40, generations=40).minimise(LEVELS, costs, seed=0)
    truth = unbeaten(EVERYTHING)
    assert scores(found) <= truth
    assert len(scores(found) & truth) >= 0.9 * len(truth)
    assert len(found) == len(set(found))


def test_limits_are_kept():
    def excess(genome):
        return max(0.0, sum(genome) - 4.0)

    found = NSGA2(population=40, generations=40).minimise(LEVELS, costs, seed=0, excess=excess)
    assert found
    assert max(map(sum, found)) <= 4
    assert scores(found) <= unbeaten([g for g in EVERYTHING if sum(g) <= 4])
    assert NSGA2(population=8, generations=3).minimise(LEVELS, costs, seed=0, excess=lambda g: 1.0) == []


def test_genomes_that_mean_the_same_stand_once():
    def canonical(genome):
        return (*genome[:4], 0) if genome[3] == 0 else genome

    found = NSGA2(population=30, generations=20).minimise(LEVELS, costs, seed=0, canonical=canonical)
    assert all(canonical(g) == g for g in found)
    assert len(found) == len(set(found))


def test_it_asks_once_about_a_population_and_never_twice_within_it():
    asked = []

    def watched(genomes):
        asked.append(list(genomes))
        return costs(genomes)

    NSGA2(population=20, generations=5).minimise(LEVELS, watched, seed=0)
    assert len(asked) <= 6
    assert all(len(set(batch)) == len(batch) <= 20 for batch in asked)


def test_one_seed_is_one_search():
    search = NSGA2(population=12, generations=4)
    assert search.minimise(LEVELS, costs, seed=3) == search.minimise(LEVELS, costs, seed=3)


def test_fronts_and_crowding_by_hand():
    values = np.array([[0.0, 3.0], [1.0, 1.0], [3.0, 0.0], [2.0, 2.0], [3.0, 3.0], [1.0, 1.0]])
    assert fronts(values, np.zeros(6)).tolist() == [0, 0, 0, 1, 2, 0]
    # what breaks a limit comes after all that keeps it, the nearer first
    assert fronts(values, np.array([0, 2, 0, 0, 0, 1.0])).tolist() == [0, 3, 0, 0, 1, 2]
    assert crowding(values[:3]).tolist() == [np.inf, 2.0, np.inf]
    assert crowding(values[:1]).tolist() == [np.inf]


def test_settings_are_checked():
    with pytest.raises(InputError, match="mutation must be in"):
        NSGA2(mutation=1.5)
