"""What attackers achieve by what they know: against one victim, and against each defence."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from carom.scenarios.cases import UNDECLARED

from .attackers import column_of, own_cells, transfer_cells
from .counted import counted_table
from .outcomes import Bools, Ints, Outcomes, arrange, ratio
from .pairs import BUDGET, Pair, best_rows, by_victim, lowest_pairs, pairs
from .pooled import INTERVAL_COLUMNS, pool, rate_intervals
from .victim_rates import NAMES, By, Tally, rate_table, tally

NOISE = "sign-noise 1"  # the control that is as large as the ball lets it be
NOTHING, ANSWERS, WEIGHTS = "nothing", "answers", "weights"
KNOWN = (NOTHING, "C?", *(f"C{number}" for number in range(8, 0, -1)), ANSWERS, WEIGHTS)
"""Levels of knowledge, the least first: noise; another model, by its case; the victim's answers; its weights."""

THREATS = ("public models", "data like mine", "my answers", "my weights")
"""What an attacker has of a defended model."""

COUNTED = ("surrogate", "victim", "attack", "norm", "eps", "control", "snapshot", "n", "k")  # what counts are taken of


def asking(sets: pd.DataFrame | None) -> set[str]:
    """The attacks that ask a model for answers, of `Outcomes.sets`."""
    if sets is None or "mean_queries" not in sets:
        return set()
    return set(sets.loc[sets["mean_queries"].notna(), "attack"].astype(str))


def knowledge(cells: pd.DataFrame, asks: Collection[str]) -> Ints:
    """Which of `KNOWN` stands behind each cell, as its place there.

    -1 for cells that say nothing of it: decoys, targets, controls but noise of full size.

    Args:
        cells: Of outcomes.
        asks: As from `asking`.
    """
    place = {name: i for i, name in enumerate(KNOWN)}
    numbers = np.full(UNDECLARED + 1, -1, dtype=np.int64)
    numbers[0], numbers[UNDECLARED] = place[WEIGHTS], place["C?"]
    for number in range(1, 9):
        numbers[number] = place[f"C{number}"]
    control = _flags(cells, "control")
    found = numbers[np.where(control, 0, cells["case"].to_numpy(dtype=np.int64))]
    if "reads" in cells:
        found[_among(cells["attack"], asks) & ~_among(cells["reads"], {"surrogate"})] = place[ANSWERS]
    found[control] = np.where(_among(cells["attack"], {NOISE})[control], place[NOTHING], -1)
    found[_flags(cells, "targeted") | _flags(cells, "decoy")] = -1
    return found


def _flags(cells: pd.DataFrame, name: str) -> Bools:
    return cells[name].to_numpy(dtype=bool) if name in cells else np.zeros(len(cells), dtype=bool)


def _among(values: "pd.Series[Any]", names: Collection[str]) -> Bools:
    """Which values are among these names, asked of each category once: a large run has many cells and few names."""
    return np.asarray(values.astype("category").isin(list(names)))


def knowledge_table(outcomes: Outcomes) -> pd.DataFrame:
    """ASR against each victim by what the attacker knows, pooled over his attacks and models.

    Columns: `victim`, `norm`, `eps`, `knows` (of `KNOWN`); `cells`, `n`, `k`, `asr`, and those of `rate_intervals`.
    Targeted sets, decoys, and controls but noise of full size count nowhere; nor do snapshots of a trace.
    """
    level = knowledge(outcomes.cells, asking(outcomes.sets))
    by = ("victim", *BUDGET, "knows")
    known = outcomes.where(level >= 0)
    known = replace(known, cells=_ordered(known.cells, level[level >= 0]))
    pooled = pool(known, np.asarray(known.pooled()), by)
    counts = pooled.counts(known.success[pooled.rows], known)
    k, n = counts.sums(pooled.group, len(pooled))
    table = pooled.keys.assign(
        cells=pooled.cells(), n=n.sum(1).astype(np.int64), k=k.sum(1).astype(np.int64), asr=ratio(k.sum(1), n.sum(1))
    )
    intervals = rate_intervals(pooled, counts, known.image_source)
    return table.assign(**{c: intervals[c] for c in INTERVAL_COLUMNS})


def counted_knowledge(cells: pd.DataFrame, asks: Collection[str], *, images: int) -> pd.DataFrame:
    """The same from n and k of each cell, as `counted_table` counts."""
    level = knowledge(cells, asks)
    few = cells[[c for c in COUNTED if c in cells]]
    found = _ordered(few if (level >= 0).all() else few[level >= 0], level[level >= 0])
    return counted_table(found, ("victim", *BUDGET, "knows"), images=images)


def _ordered(cells: pd.DataFrame, level: Ints) -> pd.DataFrame:
    return cells.assign(knows=pd.Categorical.from_codes(level, dtype=pd.CategoricalDtype(list(KNOWN), ordered=True)))


# ------------------------------------------------------------------------------------------------------------ defences


def threats(outcomes: Outcomes) -> NDArray[np.object_]:
    """Which of `THREATS` made the set of each cell; "" of sets that are no attack on a victim.

    A surrogate of the public pool, of another source of images, or of a training that nobody declared is a public
    model; one that was trained on images of the victim's source is an attacker's own.
    """
    cells = outcomes.cells
    source, own_source = (column_of(cells, f"source_{side}", "") for side in "sv")
    alike = (column_of(cells, "pool", "") == "") & (source == own_source) & (source != "")
    asks = np.isin(column_of(cells, "attack", "").astype(str), list(asking(outcomes.sets)))
    transfer, own = transfer_cells(outcomes), own_cells(outcomes)
    return np.select([transfer & ~alike, transfer & alike, own & asks, own], THREATS, "").astype(object)


def defended_by_threat(outcomes: Outcomes, validation: Outcomes | None = None, *, by: By = "defense") -> pd.DataFrame:
    """Accuracy under attack apart for what the attacker has, the column `attacker_has`, in the order of `THREATS`.

    Further columns, rates with their limits as those of `defended`: `pairs` of source and attack; `average` over their
    sets; `strongest`, under the one pair that is lowest on validation images, for each victim its own; of attacks on
    the victim itself under the one that leaves least on these very images. `strongest_pair` names it.
    """
    parts = threats(outcomes)
    counts: list[Tally] = []
    words: dict[tuple[str, ...], dict[str, object]] = {}
    for part in THREATS:
        transfer = part in THREATS[:2]
        chosen: dict[tuple[str, ...], list[Pair]] = {}
        if validation is not None and transfer:
            chosen = lowest_pairs(validation, np.asarray(threats(validation) == part))
        for row, rows in by_victim(outcomes, np.asarray(parts == part)):
            strongest, pair = best_rows(outcomes, rows, chosen.get(row)) if transfer else _least(outcomes, rows)
            for rate, of in (("average", rows), ("strongest", strongest)):
                if len(of):
                    counts.append(tally((*row, part), rate, (~outcomes.wrong[of]).sum(0), len(of)))
            words[*row, part] = {"pairs": len(pairs(outcomes, rows)), "strongest_pair": pair}
    table = rate_table(outcomes, counts, words, ("average", "strongest"), by, further=("attacker_has",))
    table["attacker_has"] = pd.Categorical(table["attacker_has"], categories=THREATS, ordered=True)
    return arrange(table, [*BUDGET, *NAMES[by], "attacker_has"])


def _least(outcomes: Outcomes, rows: Ints) -> tuple[Ints, str]:
    """The one cell that leaves least right, and its attack."""
    lowest = rows[[int((~outcomes.wrong[rows]).sum(1).argmin())]]
    return lowest, str(outcomes.cells["attack"].iloc[lowest[0]])
