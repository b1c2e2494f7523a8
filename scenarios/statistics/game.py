"""The game of attackers who transfer and defenders who train: who plays what, and what it is worth."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog  # type: ignore[attr-defined]

from carom.errors import ContractError, InputError

Payoff = npt.NDArray[np.float64]
"""`d k`: what the defender gets, such as accuracy, where he plays row d and the attacker column k."""

_SLACK = 1e-7  # of the solver, in units of the largest difference of payoffs


@dataclass(frozen=True, kw_only=True, eq=False)
class Equilibrium:
    """Mixed strategies of a zero-sum game, from which neither player gains by turning away.

    Attributes:
        value: What the defender gets on average.
        defender: Probability of each row.
        attacker: Probability of each column.
    """

    value: float
    defender: npt.NDArray[np.float64]
    attacker: npt.NDArray[np.float64]


def equilibrium(payoff: npt.ArrayLike) -> Equilibrium:
    """Solve a zero-sum game by its two linear programs, and check that they agree (minimax theorem, von Neumann 1928).

    The view of Sitawarin et al. 2024, arXiv:2310.17645: rows are networks trained against some attacks, columns are
    pairs of a public model and an attack, payoffs are accuracies. For analysis; no defence trains by it. There may be
    more than one equilibrium; all have the same value.

    Raises:
        InputError: No matrix, an empty one, or numbers that are not finite.
        ContractError: The solver fails, or its two answers differ.
    """
    r = np.asarray(payoff, dtype=np.float64)
    if r.ndim != 2 or not r.size or not np.isfinite(r).all():
        raise InputError(
            f"game: expected a matrix of finite payoffs, defences by attacks, got shape {r.shape}"
            + ("" if np.isfinite(r).all() else " with numbers that are not finite")
        )
    low, high = float(r.min()), float(r.max())
    span = high - low or 1.0
    r = (r - low) / span  # so that the solver's tolerances mean the same for accuracies and percentages
    defender, secured = _maximin(r)
    attacker, conceded = _maximin(-r.T)
    if abs(secured + conceded) > _SLACK:
        raise ContractError(f"game: the defender secures {secured:.9g}, the attacker concedes {-conceded:.9g}")
    return Equilibrium(value=low + span * secured, defender=defender, attacker=attacker)


def _maximin(r: Payoff) -> tuple[npt.NDArray[np.float64], float]:
    """The row player's best mixture, and what it secures: max v such that p r >= v in each column."""
    rows, columns = r.shape
    found = linprog(  # type: ignore[no-untyped-call]
        c=np.append(np.zeros(rows), -1.0),  # variables: p, then v
        A_ub=np.hstack([-r.T, np.ones((columns, 1))]),
        b_ub=np.zeros(columns),
        A_eq=np.append(np.ones(rows), 0.0)[None],
        b_eq=[1.0],
        bounds=[(0.0, 1.0)] * rows + [(None, None)],
        method="highs",
    )
    if not found.success:
        raise ContractError(f"game: the linear program was not solved: {found.message}")
    p = np.clip(found.x[:-1], 0.0, None)
    p /= p.sum()
    return p, float((p @ r).min())
