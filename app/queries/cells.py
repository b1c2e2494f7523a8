"""Single cells: which there are, those behind a field of a matrix, and what victims answered to each image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from carom.errors import InputError
from carom.scenarios.cases import UNDECLARED, case_of
from carom.scenarios.statistics import Outcomes, cell_rates, class_rates, wilson
from carom.scenarios.statistics.outcomes import eps_value, poolable
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


def budgets_in_order(cells: pd.DataFrame) -> list[str]:
    """The budgets of cells: norm by norm as they come, untargeted first, the smallest radius first.

    Args:
        cells: With the columns norm, eps, targeted and budget.
    """
    columns = ["norm", "targeted", "eps", "budget"]
    known = cells[columns].drop_duplicates().astype({"norm": str, "eps": str, "budget": str, "targeted": bool})
    norms = list(dict.fromkeys(known["norm"]))
    key: dict[str, tuple[int, bool, float]] = {
        row["budget"]: (norms.index(row["norm"]), row["targeted"], eps_value(row["eps"]))
        for row in known.to_dict("records")
    }
    return sorted(key, key=key.__getitem__)


CASE_NAMES = {number: f"{case_of(number).name} · {case_of(number).mismatch}" for number in (*range(9), UNDECLARED)}


def along(cells: pd.DataFrame, axis: str) -> pd.Series:
    """What each cell is along an axis, in words."""
    if axis != "case":
        return cells[axis]
    numbers = list(CASE_NAMES)
    place = {number: i for i, number in enumerate(numbers)}
    distinct, where = np.unique(cells["case"].to_numpy(), return_inverse=True)
    codes = np.array([place.get(int(number), -1) for number in distinct], dtype=np.int32)[where]
    words = pd.CategoricalDtype(list(CASE_NAMES.values()))
    return pd.Series(pd.Categorical.from_codes(codes, dtype=words), index=cells.index)


def attacked(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of surrogates: no controls."""
    return cells if cells.empty else cells[~cells["control"].astype(bool)]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The cells behind one field of a matrix.

    Attributes:
        cells: Those with the highest ASR, at most `MOST_LISTED`, with Wilson's 95% interval over images, low and high,
            and what each is called, `cell`.
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
    mask = counted(cells, tuple(where), attack=attack, budget=budget, white_box=white_box)
    for axis, level in where.items():
        mask &= along(cells, axis) == level
    return _pooled(cells[mask], several_seeds(cells))


def counted(
    cells: pd.DataFrame,
    axes: Sequence[str] = (),
    *,
    attack: str | None = None,
    budget: str | None = None,
    white_box: bool = False,
) -> "pd.Series[bool]":
    """Which cells the fields of a matrix pool.

    Of all attacks together those that read the surrogate alone: an attack that asks a victim is no transfer, and a
    snapshot of a trace is no attack of its own.

    Args:
        cells: As `View.cells`.
        axes: Of the matrix.
        attack: As for `matrix`.
        budget: As for `matrix`.
        white_box: As for `matrix`.
    """
    mask = (cells["n"] > 0) & ~cells["control"].astype(bool)
    for column, level in (("attack", attack), ("budget", budget)):
        if level is not None:
            mask &= cells[column] == level
    if not white_box:
        mask &= cells["case"] != 0
    if attack is None:
        mask &= poolable(cells, tuple(axes))
        if "attack" not in axes:
            mask &= cells["reads"] != "both"
    return mask


def several_seeds(cells: pd.DataFrame) -> bool:
    """Whether attacks were made with several seeds, so that a cell's name has to say which."""
    return bool(attacked(cells)["attack_seed"].nunique() > 1)


def cell_names(cells: pd.DataFrame, *, seeds: bool) -> list[str]:
    """What each cell is called, the same in every store: surrogate, victim, attack and budget, apart by " | ".

    The attack's seed and the victim that was asked follow where they tell cells apart.

    Args:
        cells: As `View.cells`.
        seeds: As from `several_seeds` of all cells.
    """
    columns = ["surrogate", "victim", "attack", "budget", "attack_seed", "asked"]
    names = []
    for surrogate, victim, attack, budget, seed, asked in cells[columns].itertuples(index=False):
        apart = [surrogate, victim, attack, budget, *([f"seed {seed}"] if seeds else [])]
        names.append(" | ".join([*apart, *([f"asked {asked}"] if asked not in ("", victim) else [])]))
    return names


def named_cell(cells: pd.DataFrame, name: str) -> Pooled:
    """The one cell of a name as from `cell_names`; none where there is no such."""
    made_on = [each for each in cells["surrogate"].unique() if each and name.startswith(f"{each} | ")]
    met = [each for each in cells["victim"].unique() if f" | {each} | " in name]
    found = cells[cells["surrogate"].isin(made_on) & cells["victim"].isin(met) & (cells["n"] > 0)]
    seeds = several_seeds(cells)
    return _pooled(found[np.array([each == name for each in cell_names(found, seeds=seeds)], dtype=bool)], seeds)


def _pooled(found: pd.DataFrame, seeds: bool) -> Pooled:
    asr = (found["k"] / found["n"]).to_numpy()
    top = found.iloc[np.argsort(-asr, kind="stable")[:MOST_LISTED]].reset_index(drop=True)
    low, high = wilson(top["k"].to_numpy(), top["n"].to_numpy())
    top = top.assign(asr=top["k"] / top["n"], low=low, high=high, cell=cell_names(top, seeds=seeds))
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


MOST_READ = 5_000  # cells whose answers are read one by one for a figure


def some_outcomes(folder: Path, run: str, cells: pd.DataFrame, wanted: Mapping[str, str | None]) -> Outcomes:
    """The outcomes of some cells, beside the controls of their budget.

    Args:
        folder: The store.
        run: Its id.
        cells: As `View.cells`.
        wanted: The level of columns such as attack or budget; None for all.

    Raises:
        CaromError: More than `MOST_READ` cells, none, or a store that cannot be read.
    """
    control = cells["control"].astype(bool)
    mask = ~control
    for column, value in wanted.items():
        if value is not None:
            mask &= cells[column] == value
    beside = control
    if wanted.get("budget") is not None:
        balls = cells.loc[mask, ["norm", "eps"]].drop_duplicates()
        beside = control & cells["norm"].isin(balls["norm"]) & cells["eps"].isin(balls["eps"])
    if mask.sum() > MOST_READ:
        raise InputError(
            f"run {run}: {int(mask.sum()):,} cells are to be read; expected at most {MOST_READ:,} for a figure; choose "
            "an attack too, or all surrogates"
        )
    chosen = cells.loc[mask | beside, "set_id"].unique()
    with Store(folder) as store:
        outcomes = read_outcomes(store, run, only_sets=[int(i) for i in chosen])
    if wanted.get("attack") is not None:  # what was asked for by name stands alone, be it a snapshot
        outcomes = replace(outcomes, cells=outcomes.cells.assign(snapshot=False))
    return outcomes


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
    answers: tuple[str, str] | None = None,
) -> list[int]:
    """Places of the images that pass.

    Args:
        found: What victims answered.
        label: Only images of this class.
        outcome: Only those that ended so for one victim.
        victim: That victim, a row of `found.cells`.
        agree: Only those whose adversarial image all victims see as the same class, or (False) not all.
        answers: Only those that this victim answered so clean and so adversarial.
    """
    keep = np.ones(len(found.images), dtype=bool)
    if label is not None:
        keep &= (found.images["label"] == label).to_numpy()
    if outcome is not None:
        keep &= found.outcome[victim] == outcome
    if agree is not None:
        keep &= (found.adversarial == found.adversarial[0]).all(axis=0) == agree
    if answers is not None:
        keep &= (found.clean[victim] == answers[0]) & (found.adversarial[victim] == answers[1])
    return [int(place) for place in np.flatnonzero(keep)]
