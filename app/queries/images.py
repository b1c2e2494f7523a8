"""Adversarial sets and their images."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from carom.errors import InputError
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import Pictures, list_sets, read_pictures

from .cells import budgets


def adversarial_sets(folder: Path, run: str) -> pd.DataFrame:
    """The adversarial sets of a run on its test images that were crafted, as from `list_sets`, with their budget."""
    with Store(folder) as store:
        found = list_sets(store, run)
    found = found[found["made"].astype(bool)].reset_index(drop=True)
    return found.assign(budget=budgets(found)) if len(found) else found.assign(budget="")


def pictures(folder: Path, run: str, adversarial_set: int, places: Sequence[int]) -> tuple[Pictures, Pictures]:
    """Clean and adversarial images at these places of a set of a run, as from `read_pictures`.

    Raises:
        CaromError: Images that were freed, or a store that cannot be read.
    """
    with Store(folder) as store:
        known = list_sets(store, run)
        here = known.loc[known["set_id"] == adversarial_set, "image_set"]
        if here.empty:
            raise InputError(f"run {run} has no adversarial set {adversarial_set}; choose one of the run's sets")
        return read_pictures(store, adversarial_set, int(here.iloc[0]), places)
