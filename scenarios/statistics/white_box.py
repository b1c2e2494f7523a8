"""Accuracy under attacks on the victim itself, and victims that a transfer attack hurts more than those."""

import numpy as np
import pandas as pd

from .attackers import own_cells, transfer_cells
from .intervals import LEVEL, paired_sums
from .outcomes import Outcomes
from .pairs import best_rows, by_pair, by_victim, lowest_pairs
from .victim_rates import By, Tally, rate_table, tally, victim_names


def white_box_accuracy(outcomes: Outcomes, *, by: By = "defense") -> pd.DataFrame:
    """Accuracy under each attack that reads the victim itself, gradients or answers: the columns `attack`, `white_box`.

    One that starts from a surrogate and goes on to ask the victim counts once for each surrogate.
    """
    counts: list[Tally] = []
    words: dict[tuple[str, ...], dict[str, object]] = {}
    for row, rows in by_victim(outcomes, own_cells(outcomes)):
        for attack, of in outcomes.cells.iloc[rows].groupby("attack", sort=False).indices.items():
            name = (*row, str(attack))
            counts.append(tally(name, "white_box", (~outcomes.wrong[rows[of]]).sum(0), len(of)))
            words[name] = {"sets": len(of)}
    return rate_table(outcomes, counts, words, ("white_box",), by, further=("attack",))


def transfer_below_white_box(outcomes: Outcomes, validation: Outcomes | None = None) -> pd.DataFrame:
    """Victims that a transfer attack hurts more than any attack on themselves: masked gradients, or a weak white box.

    An attacker who has the victim can do whatever one without it can, so at one budget the white box should leave less.
    The `pair` of source and attack is the one that is lowest on validation images. Where no validation is given or it
    met none of the pairs, every pair is judged and the lowest shown, with its interval at 1 - 0.05 / `judged`
    (Bonferroni). The white box is the lowest of its attacks on these very images, which errs against an alarm. So at
    most one victim in 40 raises an alarm at a budget where both leave equally much.

    One row a victim and budget where the pair leaves less: `pair` and `transfer`, the accuracy under it;
    `white_box_attack` and `white_box`; `difference` = transfer - white_box, below 0, with its paired interval `low`,
    `high` over the `images`, these models; `judged`: how many pairs share the level; `alarm`: all of the interval is
    below 0.

    Args:
        outcomes: Of test victims and images.
        validation: The same victims and sources on validation images; they choose the pair and nothing else.
    """
    transfer, own = transfer_cells(outcomes), own_cells(outcomes)
    names = victim_names(outcomes)
    ranked = lowest_pairs(validation, transfer_cells(validation)) if validation is not None else {}
    found = []
    for row, rows in by_victim(outcomes, transfer | own):
        theirs, mine = rows[transfer[rows]], rows[own[rows]]
        if not (len(theirs) and len(mine)):
            continue
        lowest = mine[(~outcomes.wrong[mine]).sum(1).argmin()]
        white = ~outcomes.wrong[lowest]
        chosen, name = best_rows(outcomes, theirs, ranked.get(row))
        judged = {name: chosen} if len(chosen) else by_pair(outcomes, theirs)
        right = {pair: (~outcomes.wrong[of]).sum(0) for pair, of in judged.items()}
        pair = min(judged, key=lambda pair: right[pair].mean() / len(judged[pair]))
        sets = len(judged[pair])
        difference = float(right[pair].mean() / sets - white.mean())
        if difference >= 0:
            continue
        gain, n = (right[pair] - sets * white)[None].astype(np.float64), np.full((1, len(white)), float(sets))
        low, high, _ = paired_sums(gain, n, 1 - (1 - LEVEL) / len(judged))
        victim, norm, eps = row
        found.append(
            {
                **names.loc[victim].to_dict(),
                "victim": victim,
                "norm": norm,
                "eps": eps,
                "pair": pair,
                "transfer": right[pair].mean() / sets,
                "white_box_attack": outcomes.cells["attack"].iloc[lowest],
                "white_box": white.mean(),
                "difference": difference,
                "low": low[0],
                "high": high[0],
                "images": len(white),
                "judged": len(judged),
                "alarm": bool(high[0] < 0),
            }
        )
    return pd.DataFrame(found)
