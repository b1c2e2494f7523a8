"""Sub-networks that were measured: the good compromises among them, those within limits, the best."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from carom.errors import InputError
from carom.zoo.architectures.elastic.space import Choice

Scores = tuple[float, float]
"""Accuracy and robust accuracy, 0 to 1."""


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
