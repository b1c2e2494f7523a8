"""Games whose solution is known, and games where nobody may gain by turning away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carom.errors import InputError
from carom.scenarios.statistics.game import equilibrium


def test_matching_pennies_is_a_fair_coin_for_both() -> None:
    found = equilibrium([[1.0, -1.0], [-1.0, 1.0]])
    assert found.value == pytest.approx(0, abs=1e-9)
    assert found.defender == pytest.approx([0.5, 0.5])
    assert found.attacker == pytest.approx([0.5, 0.5])


def test_a_two_by_two_game_by_hand() -> None:
    # [[a, b], [c, d]] without a saddle point: each mixes so that the other is indifferent
    found = equilibrium([[3.0, -1.0], [1.0, 2.0]])
    total = 3 + 2 - 1 - (-1)
    assert found.value == pytest.approx((3 * 2 - (-1) * 1) / total)
    assert found.defender == pytest.approx([(2 - 1) / total, (3 + 1) / total])
    assert found.attacker == pytest.approx([(2 + 1) / total, (3 - 1) / total])


def test_dominated_strategies_are_not_played() -> None:
    # row 1 is below row 0 everywhere; of what is left, column 2 is the attacker's best
    found = equilibrium([[0.8, 0.7, 0.6], [0.7, 0.6, 0.1]])
    assert found.defender == pytest.approx([1, 0])
    assert found.attacker == pytest.approx([0, 0, 1])
    assert found.value == pytest.approx(0.6)


@pytest.mark.parametrize("payoff", [[[0.3]], [[0.5, 0.5], [0.5, 0.5]], [[90.0, 40.0, 70.0]], [[0.1], [0.9]]])
def test_one_strategy_or_no_difference(payoff: list[list[float]]) -> None:
    found = equilibrium(payoff)
    assert found.value == pytest.approx(np.array(payoff).min(1).max())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**32 - 1), st.sampled_from([1.0, 100.0, 1e-3]))
def test_no_pure_deviation_gains(rows: int, columns: int, seed: int, scale: float) -> None:
    r = np.random.default_rng(seed).random((rows, columns)) * scale
    found = equilibrium(r)
    assert found.defender.min() >= 0
    assert found.attacker.min() >= 0
    assert found.defender.sum() == pytest.approx(1)
    assert found.attacker.sum() == pytest.approx(1)
    assert (r @ found.attacker).max() <= found.value + 1e-6 * scale
    assert (found.defender @ r).min() >= found.value - 1e-6 * scale
    assert found.value == pytest.approx(found.defender @ r @ found.attacker, abs=1e-6 * scale)


@pytest.mark.parametrize("payoff", [[], [0.5, 0.6], [[]], [[0.5, float("nan")]], [[float("inf")]]])
def test_what_is_no_game_is_refused(payoff: list[list[float]]) -> None:
    with pytest.raises(InputError, match="game: expected a matrix of finite payoffs") as told:
        equilibrium(payoff)
    assert ("not finite" in str(told.value)) == (not np.isfinite(np.array(payoff)).all())
