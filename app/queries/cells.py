"""Single cells: which there are, those behind a field of a matrix, and what victims answered to each image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from carom.scenarios.statistics import cell_rates, class_rates, wilson
from carom.scenarios.statistics.outcomes import poolable
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_answering
from carom.scenarios.store.outcomes import read_outcomes


def budgets(cells: pd.DataFrame) -> pd.Series:
    """What an attack was allowed: "linf 48/255", or "linf 48/255 targeted"."""
    columns = ["norm", "eps", "targeted"]
    keys = cells.groupby(columns, sort=False, observed=True)
    place = keys.ngroup().to_numpy()
    _, first = np.unique(place, return_index=True)
    words = [f"{n} {e}{' targeted' if t else ''}" for n, e, t in cells[columns].iloc[first].itertuples(index=False)]
    if isinstance(cells["eps"].dtype, pd.CategoricalDtype):
        return pd.Series(pd.Categorical.from_codes(place, dtype=pd.CategoricalDtype(words)), index=cells.index)
    return pd.Series(np.array(words, dtype=object)[place], index=cells.index)


def attacked(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of surrogates: no controls."""
    return cells if cells.empty else cells[~cells["control"].astype(bool)]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The cells behind one field of a matrix.

    Attributes:
        cells: Those with the highest ASR, at most `MOST_LISTED`, with Wilson's 95% interval over images, low and high,
            and an id of each, cell: "SET-VICTIM".
        count: How many there are.
        n: Summed over all of them.
        k: Likewise.
    """

    cells: pd.DataFrame
    count: int
    n: int
    k: int


MOST_LISTED = 200


def field_cells(
    cells: pd.DataFrame,
    where: Mapping[str, str],
    *,
    attack: str | None = None,
    budget: str | None = None,
    white_box: bool = False,
) -> Pooled:
    """The cells that one field of a matrix pools.

    Args:
        cells: As `View.cells`.
        where: The level of each of the two axes.
        attack: As for `matrix`.
        budget: As for `matrix`.
        white_box: As for `matrix`.
    """
    mask = (cells["n"] > 0) & ~cells["control"].astype(bool)
    for column, level in {"attack": attack, "budget": budget, **where}.items():
        if level is not None:
            mask &= cells[column] == level
    if not white_box:
        mask &= cells["case"] != 0
    if attack is None:
        mask &= poolable(cells, tuple(where))
    return _pooled(cells[mask])


def named_cell(cells: pd.DataFrame, name: str) -> Pooled:
    """The one cell of an id such as "17-4"; none where there is no such."""
    set_id, _, victim_id = name.partition("-")
    if not (set_id.isdecimal() and victim_id.isdecimal()):
        return _pooled(cells.iloc[:0])
    return _pooled(cells[(cells["set_id"] == int(set_id)) & (cells["victim_id"] == int(victim_id)) & (cells["n"] > 0)])


def _pooled(found: pd.DataFrame) -> Pooled:
    asr = (found["k"] / found["n"]).to_numpy()
    top = found.iloc[np.argsort(-asr, kind="stable")[:MOST_LISTED]].reset_index(drop=True)
    low, high = wilson(top["k"].to_numpy(), top["n"].to_numpy())
    name = top["set_id"].astype(str) + "-" + top["victim_id"].astype(str)
    top = top.assign(asr=top["k"] / top["n"], low=low, high=high, cell=name)
    return Pooled(cells=top, count=len(found), n=int(found["n"].sum()), k=int(found["k"].sum()))


Outcome = Literal["fooled", "withstood", "wrong clean"]
OUTCOMES: dict[Outcome, str] = {
    "fooled": "the attack succeeded",
    "withstood": "the attack failed",
    "wrong clean": "wrong on the clean image already",
}
NO_ANSWER = "no answer"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """One adversarial set on some victims, image by image.

    Attributes:
        images: One row an image: place (in the set), id, label, source, target ("" where the set aims at no class).
        cells: One row a victim, in the order asked for: as from `cell_rates`.
        by_class: As from `class_rates`; its column `cell` is a row of `cells`.
        clean: Name of the class that each victim sees in each clean image, or "no answer", `victims images`.
        adversarial: The same of the adversarial images.
        outcome: What came of each, `victims images`, in `OUTCOMES`.
    """

    images: pd.DataFrame
    cells: pd.DataFrame
    by_class: pd.DataFrame
    clean: NDArray[np.object_]
    adversarial: NDArray[np.object_]
    outcome: NDArray[np.object_]


def answering(folder: Path, run: str, adversarial_set: int) -> pd.DataFrame:
    """The models that answered a set, as from `list_answering`."""
    with Store(folder) as store:
        return list_answering(store, run, adversarial_set)


def answered(folder: Path, run: str, adversarial_set: int, victims: Sequence[int]) -> Answered:
    """What these victims, rows of the store, answered to the images of one set.

    Raises:
        CaromError: No outcome of these, or a store that cannot be read.
    """
    with Store(folder) as store:
        outcomes = read_outcomes(store, run, only_sets=[adversarial_set], only_victims=victims)
    place = {victim: i for i, victim in enumerate(victims)}
    order = np.argsort([place[victim] for victim in outcomes.cells["victim_id"]])
    outcomes = replace(
        outcomes, cells=outcomes.cells.iloc[order].reset_index(drop=True), adversarial=outcomes.adversarial[order]
    )
    names = np.array([*outcomes.classes, NO_ANSWER], dtype=object)  # -1 is the last
    right = outcomes.right[outcomes.victim_index]
    targeted = outcomes.targeted.any() and outcomes.target is not None
    return Answered(
        images=pd.DataFrame(
            {
                "place": range(len(outcomes.labels)),
                "id": range(len(outcomes.labels)) if outcomes.image_ids is None else outcomes.image_ids,
                "label": names[outcomes.labels],
                "source": np.array(outcomes.image_sources, dtype=object)[outcomes.image_source],
                "target": names[outcomes.target] if targeted else "",
            }
        ),
        cells=cell_rates(outcomes),
        by_class=class_rates(outcomes),
        clean=names[outcomes.clean_predictions[outcomes.victim_index]],
        adversarial=names[outcomes.adversarial],
        outcome=np.where(outcomes.success, "fooled", np.where(right, "withstood", "wrong clean")).astype(object),
    )


def confusion(found: Answered, victim: int = 0) -> pd.DataFrame:
    """How many images a victim saw as one class clean and as another adversarial: clean, adversarial, images, share.

    `share` is of the images with that clean answer.
    """
    pairs = pd.DataFrame({"clean": found.clean[victim], "adversarial": found.adversarial[victim]})
    table = pairs.groupby(["clean", "adversarial"], sort=False).size().rename("images").reset_index()
    return table.assign(share=table["images"] / table.groupby("clean")["images"].transform("sum"))


def filtered(
    found: Answered,
    *,
    label: str | None = None,
    outcome: str | None = None,
    victim: int = 0,
    agree: bool | None = None,
) -> list[int]:
    """Places of the images that pass.

    Args:
        found: What victims answered.
        label: Only images of this class.
        outcome: Only those that ended so for one victim.
        victim: That victim, a row of `found.cells`.
        agree: Only those whose adversarial image all victims see as the same class, or (False) not all.
    """
    keep = np.ones(len(found.images), dtype=bool)
    if label is not None:
        keep &= (found.images["label"] == label).to_numpy()
    if outcome is not None:
        keep &= found.outcome[victim] == outcome
    if agree is not None:
        keep &= (found.adversarial == found.adversarial[0]).all(axis=0) == agree
    return [int(place) for place in np.flatnonzero(keep)]
