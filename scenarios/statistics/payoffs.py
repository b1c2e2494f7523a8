"""Payoffs: what each defence keeps under each attacker, the matrix of their game."""

import pandas as pd

from .attackers import column_of, transfer_cells
from .outcomes import Outcomes
from .pairs import BUDGET, PAIR_MARK


def payoffs(outcomes: Outcomes) -> dict[tuple[str, str], pd.DataFrame]:
    """Within each norm and eps: accuracy of each defence (rows) under each pair of source and attack that all met.

    A defence is a configuration and how it is hardened; its accuracy is the mean over its seeds.
    """
    transfer = transfer_cells(outcomes)
    cells = outcomes.cells[transfer].assign(_right=(~outcomes.wrong[transfer]).mean(1))
    cells["defense"] = column_of(outcomes.cells, "defense_v", "")[transfer]
    cells["pair"] = cells["surrogate"].astype(str) + " " + PAIR_MARK + " " + cells["attack"].astype(str)
    several = cells["victim_config"].nunique() > cells["defense"].nunique()
    cells["player"] = cells["defense"] + " · " + cells["victim_config"] if several else cells["defense"]
    found = {}
    for (norm, eps), here in cells.groupby(list(BUDGET), sort=False):
        table = here.pivot_table(index="player", columns="pair", values="_right", aggfunc="mean", sort=False)
        table = table.dropna(axis="columns")
        if table.shape[1]:
            found[str(norm), str(eps)] = table
    return found
