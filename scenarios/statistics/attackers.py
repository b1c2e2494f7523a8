"""Who attacks a victim: another model, the victim itself, or one who wants a wrong label; and of which pool he is."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .outcomes import Bools, Outcomes

ATTACKERS = ("seen", "held out", "unseen group", "strangers")


def transfer_cells(outcomes: Outcomes) -> Bools:
    """Untargeted sets made on another model alone: no white box, no control, no decoy."""
    untargeted = outcomes.transfer & outcomes.pooled() & ~outcomes.targeted
    return np.asarray(untargeted & ~_decoy(outcomes) & (_reads(outcomes) == "surrogate"))


def own_cells(outcomes: Outcomes) -> Bools:
    """Untargeted sets made from the victim's own gradients or answers."""
    untargeted = ~outcomes.control & outcomes.pooled() & ~outcomes.targeted
    return np.asarray(untargeted & ~_decoy(outcomes) & (_reads(outcomes) != "surrogate"))


def decoy_cells(outcomes: Outcomes) -> Bools:
    """Sets made on another model against a wrong label."""
    return outcomes.transfer & outcomes.pooled() & _decoy(outcomes)


def attackers(outcomes: Outcomes) -> NDArray[np.object_]:
    """Which of `ATTACKERS` made the set of each cell; "" of sets that no model made."""
    pool = column_of(outcomes.cells, "pool", "")
    return np.where(outcomes.control, "", np.where(pool == "", "strangers", pool)).astype(object)


def _reads(outcomes: Outcomes) -> NDArray[np.object_]:
    return column_of(outcomes.cells, "reads", "surrogate")


def _decoy(outcomes: Outcomes) -> Bools:
    return column_of(outcomes.cells, "decoy", False).astype(bool)


def column_of(cells: pd.DataFrame, name: str, otherwise: object) -> NDArray[np.object_]:
    if name not in cells:
        return np.full(len(cells), otherwise, dtype=object)
    return cells[name].to_numpy(dtype=object)
