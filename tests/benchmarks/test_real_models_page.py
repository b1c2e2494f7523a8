"""The page of real networks: white boxes are in no rate, orderings are paired, and what was not run says so."""

from pathlib import Path

import marked
import numpy as np
import pytest
from real_models_page import (
    NOT_RUN,
    PAGE,
    Ordering,
    found,
    ordering,
    pairs_above_singles,
    rates,
    texts,
)
from tests.scenarios.made_outcomes import Hits, first, made

from carom.scenarios.statistics import Outcomes
from carom.scenarios.store.database import Store

FOOLED = {"bim": 20, "mi": 40, "mi+di": 60, "mi+sia": 30, "mi+bsr": 60, "sgm": 40, "linbp": 10}  # of 100, on another
BOXES = 90  # on itself
NAMES = ("A", "B")


def outcomes(radii: tuple[str, ...] = ("2/255", "4/255", "8/255"), *, pairs: bool = False) -> Outcomes:
    """Each of two networks attacks itself and the other one; with `pairs`, both attack a third, where they win 70."""
    hits: dict[tuple[str, int, str, int], Hits] = {}
    rows = []
    for number, (attack, k) in enumerate(FOOLED.items()):
        for radius, eps in enumerate(radii):
            for surrogate in (*NAMES, *(["A+B"] if pairs else [])):
                for victim in ("A", "B", "C") if pairs else NAMES:
                    box = victim in surrogate
                    wins = BOXES if box else 70 if "+" in surrogate else k
                    # made() tells cells apart by names and seeds
                    hits[surrogate, 100 * number + radius, victim, 0] = first(wins)
                    rows.append(
                        {
                            "attack": attack,
                            "eps": eps,
                            "surrogate": surrogate,
                            "case": 0 if box else 3,
                            "victim": victim,
                        }
                        | {"surrogate_seed": -1, "victim_seed": -1}
                    )
    return made(hits, rows=rows)


def test_white_boxes_stand_behind_the_rate_and_not_in_it() -> None:
    head, _, *lines = rates(outcomes())
    assert head.startswith("| attack | passes | eps 2/255 | eps 4/255 | eps 8/255 |")
    assert len(lines) == len(FOOLED)
    for line, (attack, k) in zip(lines, FOOLED.items(), strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] == f"`{attack}`"
        assert all(cell.startswith(f"{k}.0% (") and cell.endswith("; 90.0%") for cell in cells[2:])
    assert "| `bim` | 20 |" in lines[0] or "| `bim` | 10 |" in lines[0]


@pytest.mark.parametrize(
    ("better", "worse", "points", "verdict"),
    [
        ("mi", "bim", "+20.0", "holds"),
        ("mi+sia", "mi+di", "-30.0", "does not hold"),
        ("sgm", "mi", "+0.0", "undecided"),
    ],
)
def test_an_ordering_is_the_difference_of_the_same_pairs(better: str, worse: str, points: str, verdict: str) -> None:
    row = ordering(outcomes(), Ordering(better, worse))
    parts = row.came.split("; ")
    assert [part.split(":")[0] for part in parts] == ["2/255", "4/255", "8/255"]
    assert all(f": {points} (" in part and part.endswith("n 200") for part in parts)  # two pairs of 100 images
    assert row.verdict == verdict


def test_ensembles_are_held_against_what_they_are_made_of_on_models_that_are_in_neither() -> None:
    row = pairs_above_singles(outcomes(("8/255",), pairs=True))
    mean = np.mean(list(FOOLED.values()))
    assert row.came.startswith(f"8/255: {70 - mean:+.1f} (")


def test_what_was_not_run_says_so(tmp_path: Path) -> None:
    assert found(tmp_path, "cifar10-resnets") == NOT_RUN
    parts = texts(NOT_RUN, NOT_RUN)
    assert set(parts.values()) == {NOT_RUN}
    marked.filled(PAGE.read_text(), parts, of=PAGE.name)  # each part has its place
    some = texts(outcomes(), NOT_RUN)
    assert some["imagenet-lite"] == NOT_RUN
    assert "| mi > bim |" in some["cifar10-orderings"]
    assert "(90.0%)" in some["cifar10-pairs"]


def test_a_run_of_another_scenario_is_none_of_this_one(tmp_path: Path) -> None:
    with Store(tmp_path, write=True):
        pass
    assert found(tmp_path, "imagenet-lite") == NOT_RUN
