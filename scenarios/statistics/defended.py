"""How victims stand up to attacks: all that a defence is judged by, side by side.

A pair is a source and an attack: a set of images, crafted once, that every victim meets. Accuracy under attack is over
all images, so that clean errors count against a victim; its clean accuracy always stands beside it.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from .attackers import ATTACKERS, attackers, decoy_cells, own_cells, transfer_cells
from .outcomes import Ints, Outcomes, arrange
from .pairs import BUDGET, Pair, best_rows, by_victim, lowest_pairs, pairs
from .victim_rates import NAMES, By, Tally, rate_table, tally

RATES = (
    "clean",
    "average",
    "best",
    "worst",
    "white_box",
    "white_box_worst",
    "asr",
    "corrected",
    "asr_average",
    "corrected_average",
    "decoy",
)
TRANSFER = ("average", "best", "worst")
TRANSFER = ("average", "best", "worst")


def defended(outcomes: Outcomes, validation: Outcomes | None = None, *, by: By = "defense") -> pd.DataFrame:
    """What each victim, or each defence over its seeds, keeps under attack, within each norm and eps.

    Targeted sets, decoys, controls and a surrogate's own model (C0) are no transfer attack and count nowhere but where
    a column says so. Columns, each rate with its 95% limits `<rate>_low` and `<rate>_high`:

    - `defense`, `victim_config`, and `victim` in the view by victim; `norm`, `eps`; `victims`, `images`.
    - `clean`: accuracy on clean images.
    - `pairs` of source and attack; `average` accuracy over their sets; `best`, under the one pair that is lowest on
      validation images, for each victim its own, named in `best_pair`; `worst`: right under all, image by image.
    - `white_box`: accuracy under that attack on the victim itself which leaves least on these very images, named in
      `white_box_attack`; `white_box_worst`: right under all `white_box_attacks`, image by image.
    - `asr`: share of the images that are right clean that the best pair turns wrong; `corrected`: share of those wrong
      clean that it puts right. `asr_average`, `corrected_average`: the same over all pairs.
    - `decoy`: accuracy on images attacked as if another class were theirs. Such a change is nearly harmless to a
      network that looks at the image; one that learned to read labels from perturbations answers that class.
    - `ranges_over`, `victim_seeds`, `claim`: of all intervals of the row. One victim: Wilson's where each image counts
      once, else a bootstrap over images; several: over images and victim seeds. Attackers are as they are.

    A rate is NaN where nothing was met that it speaks of. `best_pair` is "not run" without validation: what is chosen
    on test images is not reported on them.

    Args:
        outcomes: Of test victims and images.
        validation: The same victims and sources on validation images; they choose the best pair and nothing else.
        by: One row a victim, or a configuration and defence over its seeds.
    """
    transfer, own, decoys = transfer_cells(outcomes), own_cells(outcomes), decoy_cells(outcomes)
    chosen = lowest_pairs(validation, transfer_cells(validation)) if validation is not None else {}
    counts: list[Tally] = []
    words: dict[tuple[str, ...], dict[str, object]] = {}
    for row, rows in by_victim(outcomes, transfer | own | decoys):
        mine, itself, shown = rows[transfer[rows]], rows[own[rows]], rows[decoys[rows]]
        clean = outcomes.right[outcomes.victim_index[rows[0]]]
        best, pair = best_rows(outcomes, mine, chosen.get(row))
        counts.append(tally(row, "clean", clean))
        counts += _transfer_counts(row, outcomes, mine, best)
        attack = ""
        if len(itself):
            survives = ~outcomes.wrong[itself]
            lowest = int(survives.sum(1).argmin())
            attack = str(outcomes.cells["attack"].iloc[itself[lowest]])
            counts += [
                tally(row, "white_box", np.asarray(survives[lowest])),
                tally(row, "white_box_worst", np.asarray(survives.all(0))),
            ]
        if len(shown):
            counts.append(tally(row, "decoy", (~outcomes.wrong[shown]).sum(0), len(shown)))
        words[row] = {
            "pairs": len(pairs(outcomes, mine)),
            "best_pair": pair,
            "white_box_attacks": len(itself),
            "white_box_attack": attack,
        }
    return rate_table(outcomes, counts, words, RATES, by)


def defended_by_attacker(outcomes: Outcomes, validation: Outcomes | None = None, *, by: By = "defense") -> pd.DataFrame:
    """Transfer accuracy apart for who attacks, the column `attackers`, in the order of `ATTACKERS`.

    "seen": models of the public pool that a defence may learn from; "held out": the pool's others, of a group that a
    seen one belongs to; "unseen group": of a group that none does; "strangers": in no pool. Further columns as those of
    `defended`: `pairs`, `average`, `best`, `best_pair` (lowest of these on validation images), `worst`.
    """
    parts = attackers(outcomes)
    transfer = transfer_cells(outcomes)
    counts: list[Tally] = []
    words: dict[tuple[str, ...], dict[str, object]] = {}
    for part in ATTACKERS:
        chosen: dict[tuple[str, ...], list[Pair]] = {}
        if validation is not None:
            chosen = lowest_pairs(validation, transfer_cells(validation) & (attackers(validation) == part))
        for row, rows in by_victim(outcomes, transfer & (parts == part)):
            best, pair = best_rows(outcomes, rows, chosen.get(row))
            counts += [c for c in _transfer_counts((*row, part), outcomes, rows, best) if c.rate in TRANSFER]
            words[*row, part] = {"pairs": len(pairs(outcomes, rows)), "best_pair": pair}
    table = rate_table(outcomes, counts, words, TRANSFER, by, further=("attackers",))
    table["attackers"] = pd.Categorical(table["attackers"], categories=ATTACKERS, ordered=True)
    return arrange(table, [*BUDGET, *NAMES[by], "attackers"])


def _transfer_counts(row: tuple[str, ...], outcomes: Outcomes, rows: Ints, best: Ints) -> Iterator[Tally]:
    if not len(rows):
        return
    clean = outcomes.right[outcomes.victim_index[rows[0]]]
    yield tally(row, "worst", np.asarray((~outcomes.wrong[rows]).all(0)))
    kinds = (("average", "asr_average", "corrected_average", rows), ("best", "asr", "corrected", best))
    for accuracy, asr, corrected, of in kinds:
        if len(of):
            right = ~outcomes.wrong[of]
            yield tally(row, accuracy, right.sum(0), len(of))
            yield tally(row, asr, (~right & clean).sum(0), len(of) * clean)
            yield tally(row, corrected, (right & ~clean).sum(0), len(of) * ~clean)
