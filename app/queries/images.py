"""Adversarial sets and their images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from carom.errors import InputError, StoreError
from carom.scenarios.charts.picture import Picture
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import Pictures, list_sets, read_pictures
from carom.scenarios.store.outcomes import read_outcomes

from .cells import NO_ANSWER, budgets


def adversarial_sets(folder: Path, run: str) -> pd.DataFrame:
    """The adversarial sets of a run on its test images that were crafted, as from `list_sets`, with their budget."""
    with Store(folder) as store:
        found = list_sets(store, run)
    found = found[found["made"].astype(bool)].reset_index(drop=True)
    return found.assign(budget=budgets(found)) if len(found) else found.assign(budget="")


def set_name(seed: str, asked: str) -> str:
    """What tells apart the sets of one surrogate, attack and budget: the attack's seed, and the victim that was asked.

    Args:
        seed: Of the attack.
        asked: Label of that victim, or "".
    """
    return f"seed {seed}" + (f", asked {asked}" if asked else "")


@dataclass(frozen=True, kw_only=True, eq=False)
class OneImage:
    """One image under all attacks and radii of one surrogate, and the controls of these.

    Attributes:
        id: Of the image.
        label: Its class.
        source: Where it is from.
        sets: One row a set, as from `adversarial_sets`, in the order of the plan.
        clean: The image.
        adversarial: It in each set, `sets c h w`; None for a set whose images were freed.
        answers: One row a victim: victim, case, "clean", and what it answered in each set, a column by its `set_id`.
    """

    id: int
    label: str
    source: str
    sets: pd.DataFrame
    clean: Picture | None
    adversarial: list[Picture | None]
    answers: pd.DataFrame


def one_image(folder: Path, run: str, sets: pd.DataFrame, image: int) -> OneImage:
    """One image in some sets.

    Args:
        folder: The store.
        run: Its id.
        sets: Rows of `adversarial_sets`, of one image set.
        image: Its id.

    Raises:
        CaromError: No such image, no outcome, or a store that cannot be read.
    """
    with Store(folder) as store:
        outcomes = read_outcomes(store, run, only_sets=[int(i) for i in sets["set_id"]])
        ids = np.arange(len(outcomes.labels)) if outcomes.image_ids is None else outcomes.image_ids
        places = np.flatnonzero(ids == image)
        if not len(places):
            raise InputError(f"run {run} attacks no image {image}; expected one of its ids, such as {int(ids[0])}")
        place = int(places[0])
        clean: Picture | None = None
        adversarial: list[Picture | None] = []
        for set_id, image_set in zip(sets["set_id"], sets["image_set"], strict=True):
            try:
                first, second = read_pictures(store, int(set_id), int(image_set), [place])
            except StoreError:  # freed; the answers stay
                adversarial.append(None)
            else:
                clean = first[0]
                adversarial.append(second[0])
    names = np.array([*outcomes.classes, NO_ANSWER], dtype=object)  # -1 is the last
    cells = outcomes.cells.assign(
        clean=names[outcomes.clean_predictions[outcomes.victim_index, place]],
        seen=names[outcomes.adversarial[:, place]],
    )
    rows: dict[str, dict[str, object]] = {}
    for cell in cells.sort_values("victim_index", kind="stable").to_dict("records"):
        row = rows.setdefault(cell["victim"], {"victim": cell["victim"], "clean": cell["clean"]})
        row[str(cell["set_id"])] = cell["seen"]
    return OneImage(
        id=image,
        label=str(names[outcomes.labels[place]]),
        source=outcomes.image_sources[outcomes.image_source[place]],
        sets=sets,
        clean=clean,
        adversarial=adversarial,
        answers=pd.DataFrame(list(rows.values())),
    )


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
