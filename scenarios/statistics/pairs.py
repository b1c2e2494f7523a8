"""Pairs of source and attack: a set of images, crafted once, that every victim meets."""

from collections.abc import Iterator, Sequence

import numpy as np

from .outcomes import Bools, Ints, Outcomes

NOT_RUN = "not run"
PAIR_MARK = "×"
BUDGET = ("norm", "eps")
_MET = ("victim", *BUDGET)
Pair = tuple[str, str]  # source, attack


def by_victim(outcomes: Outcomes, chosen: Bools) -> Iterator[tuple[tuple[str, ...], Ints]]:
    """Each victim and budget, and its cells among the chosen ones."""
    where = np.flatnonzero(chosen)
    cells = outcomes.cells.iloc[where]
    place = cells.groupby(list(_MET), sort=False).ngroup().to_numpy(dtype=np.int64)
    rows = cells.drop_duplicates(list(_MET))[list(_MET)].astype(str)
    for number, row in enumerate(rows.itertuples(index=False, name=None)):
        yield row, where[place == number]


def pairs(outcomes: Outcomes, rows: Ints) -> list[Pair]:
    cells = outcomes.cells.iloc[rows]
    return list(dict.fromkeys(zip(cells["surrogate"].astype(str), cells["attack"].astype(str), strict=True)))


def lowest_pairs(validation: Outcomes, chosen: Bools) -> dict[tuple[str, ...], list[Pair]]:
    """Of each victim and budget the pairs, the lowest accuracy first."""
    found = {}
    for row, rows in by_victim(validation, chosen):
        cells = validation.cells.iloc[rows].assign(_right=(~validation.wrong[rows]).mean(1))
        mean = cells.groupby(["surrogate", "attack"], sort=False)["_right"].mean().sort_values(kind="stable")
        found[row] = [(str(source), str(attack)) for source, attack in mean.index]
    return found


def best_rows(outcomes: Outcomes, rows: Ints, ranked: Sequence[Pair] | None) -> tuple[Ints, str]:
    """The cells of the first pair that was met here too, and its name."""
    if not len(rows):
        return rows, ""
    met = pairs(outcomes, rows)
    pair = next((p for p in ranked or () if p in met), None)
    if pair is None:
        return rows[:0], NOT_RUN
    cells = outcomes.cells.iloc[rows]
    return rows[((cells["surrogate"] == pair[0]) & (cells["attack"] == pair[1])).to_numpy(dtype=bool)], pair_name(pair)


def by_pair(outcomes: Outcomes, rows: Ints) -> dict[str, Ints]:
    """The cells of each pair, by its name."""
    cells = outcomes.cells.iloc[rows]
    source, attack = (cells[column].astype(str).to_numpy() for column in ("surrogate", "attack"))
    return {pair_name(pair): rows[(source == pair[0]) & (attack == pair[1])] for pair in pairs(outcomes, rows)}


def pair_name(pair: Pair) -> str:
    return f"{pair[0]} {PAIR_MARK} {pair[1]}"
