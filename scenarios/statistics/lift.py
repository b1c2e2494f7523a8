"""Lift: what an attack gains over noise of its own size."""

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .intervals import IMAGES, paired_wald
from .outcomes import CELL, SET, Bools, Floats, Ints, Outcomes, ratio

LADDER = "sign-noise"  # controls of this name, each a share of eps: "sign-noise 1/2", "sign-noise 1"


def matched_controls(outcomes: Outcomes) -> tuple[Ints, Bools]:
    """The control cell of each cell, and whether it is at least as large.

    Of the sign-noise sets of the same norm and eps on the same victim, the smallest whose mean L2 reaches the mean L2
    of the cell's set; if none does, or sizes are unknown, the largest, marked False. The control of the same attack
    seed is preferred. -1 where there is no control, and for controls themselves.
    """
    cells = outcomes.cells
    sizes = _sizes(outcomes.sets)
    ladder: dict[tuple[object, ...], dict[str, dict[int, int]]] = {}
    is_noise = outcomes.control & cells["attack"].str.startswith(LADDER).to_numpy(dtype=bool)
    columns = [cells[c].tolist() for c in CELL]
    for row in np.flatnonzero(is_noise):
        _, attack, norm, eps, seed, victim = (column[row] for column in columns)
        ladder.setdefault((victim, norm, eps), {}).setdefault(attack, {})[seed] = int(row)
    rows, matched = np.full(len(cells), -1, dtype=np.int64), np.zeros(len(cells), dtype=bool)
    for row in np.flatnonzero(~outcomes.control):
        surrogate, attack, norm, eps, seed, victim = (column[row] for column in columns)
        rungs = ladder.get((victim, norm, eps))
        if rungs is None:
            continue
        of = surrogate, attack, norm, eps, seed
        size = sizes.get((*of, victim), sizes.get((*of, ""), np.nan))
        steps = []
        for name, seeds in rungs.items():
            control = seeds.get(seed, seeds[min(seeds)])
            key = (*(column[control] for column in columns[: len(SET)]), "")
            steps.append((sizes.get(key, np.nan), _fraction(name), control))
        large_enough = [step for step in steps if step[0] >= size]
        chosen = min(large_enough) if large_enough else max(steps, key=lambda step: step[1])
        rows[row], matched[row] = chosen[2], bool(large_enough)
    return rows, matched


def lift(outcomes: Outcomes) -> pd.DataFrame:
    """ASR minus the ASR of sign noise of at least the same mean L2, on the same images and victim.

    One row a cell that has a control: the columns of `CELL`, `n`, `asr`, `control` (its name), `control_asr`,
    `matched` (the control is at least as large), `lift`, `low`, `high` and `ranges_over`. Both rates are over the
    images that the victim gets right, and each image is its own pair: interval of Bonett and Price.
    """
    rows, matched = matched_controls(outcomes)
    have = np.flatnonzero(rows >= 0)
    mine, theirs = outcomes.success[have], outcomes.success_of(rows[have], outcomes.targeted[have])
    gained, lost = (mine & ~theirs).sum(1), (theirs & ~mine).sum(1)
    n = outcomes.n[have]
    low, high = paired_wald(gained, lost, n)
    return (
        outcomes.cells.loc[have, [*CELL, "case"]]
        .reset_index(drop=True)
        .assign(
            n=n,
            asr=ratio(mine.sum(1), n),
            control=outcomes.cells["attack"].to_numpy()[rows[have]],
            control_asr=ratio(theirs.sum(1), n),
            matched=matched[have],
            lift=ratio(gained - lost, n),
            low=low,
            high=high,
            ranges_over=IMAGES,
        )
    )


def lift_counts(outcomes: Outcomes) -> tuple[NDArray[np.int8], Bools]:
    """Success minus the control's success of each cell and image, and which cells have a control."""
    rows, _ = matched_controls(outcomes)
    have = rows >= 0
    gain = np.zeros(outcomes.success.shape, dtype=np.int8)
    theirs = outcomes.success_of(rows[have], outcomes.targeted[have])
    gain[have] = outcomes.success[have].astype(np.int8) - theirs
    return gain, have


def full_noise_asr(outcomes: Outcomes) -> Floats:
    """ASR of sign noise of full size on the victim of each cell, at its norm and eps; NaN where there is none.

    One control for all sets, whatever their size, so that nothing of a surrogate is in it. The control of the same
    attack seed is preferred. It is judged as targeted where its cell is.
    """
    cells = outcomes.cells
    columns = [cells[c].tolist() for c in ("victim", "norm", "eps")]
    seeds = cells["attack_seed"].tolist()
    full = [a.startswith(LADDER) and _fraction(a) == 1 for a in cells["attack"]]
    found: dict[tuple[object, ...], dict[int, int]] = {}
    for row in np.flatnonzero(outcomes.control & np.array(full, dtype=bool)):
        found.setdefault(tuple(column[row] for column in columns), {})[seeds[row]] = int(row)
    rows = np.full(len(cells), -1, dtype=np.int64)
    for i, key in enumerate(zip(*columns, strict=True)):
        if key in found:
            rows[i] = found[key].get(seeds[i], found[key][min(found[key])])
    asr = np.where(rows < 0, np.nan, outcomes.asr[rows])
    aimed, place = np.unique(rows[outcomes.targeted & (rows >= 0)], return_inverse=True)
    if len(aimed):
        k = outcomes.success_of(aimed, np.ones(len(aimed), dtype=bool)).sum(1)
        asr[outcomes.targeted & (rows >= 0)] = ratio(k, outcomes.n[aimed])[place]
    return asr


def _sizes(sets: pd.DataFrame | None) -> Mapping[tuple[object, ...], float]:
    """Mean L2 of each adversarial set that tells it, by `SET` and the one victim that it is for, if it is."""
    if sets is None or "mean_l2" not in sets:
        return {}
    asked = sets["asked"].tolist() if "asked" in sets else [""] * len(sets)
    keys = zip(*(sets[c].tolist() for c in SET), asked, strict=True)
    return dict(zip(keys, sets["mean_l2"].astype(float).tolist(), strict=True))


@lru_cache(maxsize=256)
def _fraction(name: str) -> float:
    """The share of eps in a control's name: 0.75 of "sign-noise 3/4"."""
    top, _, bottom = name.removeprefix(LADDER).strip().partition("/")
    try:
        return float(top) / float(bottom or 1)
    except ValueError:
        return 0.0
