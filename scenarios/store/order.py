"""The order of a plan, which rows of artefacts do not have: what an earlier run made has an earlier row."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def victims_in_order(models: Iterable[tuple[int, str]], own: Sequence[str]) -> dict[int, int]:
    """The place of each model along an axis of victims: those that are judged as the plan has them, then the others.

    Args:
        models: Row and role of each, in the order of the plan.
        own: The roles that count, that of the judged last.
    """
    known = list(models)
    found = dict.fromkeys(row for role in (own[-1], *own[:-1]) for row, of in known if of == role)
    return {row: i for i, row in enumerate(found)}


def ranked(values: NDArray[np.int64], order: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The distinct values as they stand in an order, and the place of each value among these."""
    found, place = np.unique(values, return_inverse=True)
    rank = {value: i for i, value in enumerate(order)}
    by_rank = np.argsort([rank[int(value)] for value in found], kind="stable")
    return found[by_rank], np.argsort(by_rank, kind="stable")[place]
