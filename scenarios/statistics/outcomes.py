"""What the statistics read: who attacked whom, and every single prediction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from carom.errors import ContractError
from carom.scenarios.axes import TRAINING

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Predictions = NDArray[np.int16]

NO_ANSWER = -1
SET = ("surrogate", "attack", "norm", "eps", "attack_seed")  # names an adversarial set
CELL = (*SET, "victim")  # names a cell
COLUMNS = (
    *CELL,
    "victim_index",
    "case",
    "control",
    "surrogate_config",
    "victim_config",
    "surrogate_seed",
    "victim_seed",
    *(f"{axis}_{side}" for axis in TRAINING for side in "sv"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """Predictions of every cell on the same images.

    A cell is one adversarial set on one victim. A class number outside the task, -1 by custom, is no answer, and no
    answer is wrong, clean and adversarial alike.

    Attributes:
        cells: One row a cell, with the columns `COLUMNS`. `eps` is an exact rational in pixel units such as "48/255";
            `case` is -1 and `control` true for sets that no surrogate made, whose `surrogate` is "", and 99 where
            source, balance or architecture was not declared; seeds are -1 and levels of an axis "" where unknown;
            `<config>` names a model without its seed. A model that is surrogate and victim has one label. Any further
            pair of columns `<axis>_s`, `<axis>_v` is an axis too. `targeted` (optional) says that the set aims at
            `target`, `reads` (optional) whether it was made from a "surrogate", from the "victim" itself, or "both",
            `snapshot` (optional) that it is an earlier step of an attack whose last step is here too.
        adversarial: Predicted class of each cell and image, `cells images`.
        clean_predictions: Predicted class of each victim and clean image, `victims images`, rows as `victim_index`.
        labels: True class of each image.
        image_source: Index into `image_sources` of each image.
        image_sources: Names of the image sources.
        classes: Names of the classes.
        target: Target class of each image, never its label; needed if a cell is targeted.
        sets: Optional; one row an adversarial set, keyed by `SET` and, where it was made by asking one victim, `asked`
            (its label, else ""), with any of the columns `zero_gradient_fraction`,
            `mean_size_over_eps`, `mean_l2`, `mean_ssim`, `models` (how many the surrogate reads).
        image_ids: Optional identity of each image, so that two runs are never paired on different images.

    Raises:
        ContractError: Shapes, columns or ranges that do not fit together.
    """

    cells: pd.DataFrame
    adversarial: Predictions
    clean_predictions: Predictions
    labels: Ints
    image_source: Ints
    image_sources: tuple[str, ...]
    classes: tuple[str, ...]
    target: Ints | None = None
    sets: pd.DataFrame | None = None
    image_ids: Ints | None = None

    def __post_init__(self) -> None:
        """Refuse tables that would give a wrong number in silence."""
        missing = [c for c in COLUMNS if c not in self.cells]
        if missing:
            raise ContractError(f"outcomes: cells lack the columns {', '.join(missing)}")
        images, victims = len(self.labels), len(self.clean_predictions)
        shapes = {
            "adversarial": (self.adversarial.shape, (len(self.cells), images)),
            "clean_predictions": (self.clean_predictions.shape, (victims, images)),
            "image_source": (self.image_source.shape, (images,)),
        }
        for name, extra in (("target", self.target), ("image_ids", self.image_ids)):
            if extra is not None:
                shapes[name] = (extra.shape, (images,))
        for name, (came, expected) in shapes.items():
            if came != expected:
                raise ContractError(f"outcomes: {name} has shape {came}, expected {expected}")
        _in_range("labels", self.labels, len(self.classes))
        _in_range("image_source", self.image_source, len(self.image_sources))
        _in_range("victim_index", self.victim_index, victims)
        if not ((self.cells["case"] == -1) == self.cells["control"].astype(bool)).all():
            raise ContractError("outcomes: case is -1 exactly for controls")
        if self.cells.duplicated([*CELL]).any():
            twin = self.cells.loc[self.cells.duplicated([*CELL]), [*CELL]].iloc[0].to_dict()
            raise ContractError(f"outcomes: two cells are {twin}; a cell counts once")
        if self.sets is not None and not {*SET} <= {*self.sets.columns}:
            raise ContractError(f"outcomes: sets are keyed by {', '.join(SET)}")
        if self.targeted.any():
            if self.target is None:
                raise ContractError("outcomes: a cell is targeted, but no target classes came")
            if (self.target == self.labels).any():
                raise ContractError("outcomes: a target class equals the label of its image")

    @property
    def victim_index(self) -> Ints:
        """Row of `clean_predictions` of each cell."""
        return self.cells["victim_index"].to_numpy(dtype=np.int64)

    @property
    def control(self) -> Bools:
        """Cells of sets that no surrogate made."""
        return self.cells["control"].to_numpy(dtype=bool)

    @property
    def targeted(self) -> Bools:
        """Cells whose set aims at `target`."""
        if "targeted" not in self.cells:
            return np.zeros(len(self.cells), dtype=bool)
        return self.cells["targeted"].to_numpy(dtype=bool)

    @property
    def transfer(self) -> Bools:
        """Cells whose victim is another model than the surrogate's own: neither C0 nor a control."""
        return self.cells["case"].to_numpy(dtype=np.int64) > 0

    def pooled(self, by: Sequence[str] = ()) -> Bools:
        """Cells that count in the rows of `by`: see `poolable`."""
        return poolable(self.cells, by)

    @cached_property
    def right(self) -> Bools:
        """Victim right on the clean image, `victims images`: the denominator of every ASR."""
        return np.asarray(self.clean_predictions == self.labels)

    @cached_property
    def wrong(self) -> Bools:
        """Victim wrong on the adversarial image, `cells images`, whatever it said to the clean one."""
        return np.asarray(self.adversarial != self.labels)

    @cached_property
    def success(self) -> Bools:
        """Attack succeeded, `cells images`: right on the clean image, and then wrong, or the target if targeted."""
        return self.success_of(np.arange(len(self.cells)), self.targeted)

    @cached_property
    def n(self) -> Ints:
        """Images that the victim of each cell gets right: the denominator of its ASR."""
        return np.asarray(self.right.sum(1)[self.victim_index], dtype=np.int64)

    @cached_property
    def asr(self) -> Floats:
        """ASR of each cell; NaN where the victim gets no clean image right."""
        return ratio(self.success.sum(1), self.n)

    def success_of(self, rows: Ints, targeted: Bools) -> Bools:
        """Success of the cells `rows`, judged as targeted or not as told: a control is judged like its attack."""
        hit = self.wrong[rows]
        if targeted.any():
            hit[targeted] = self.adversarial[rows[targeted]] == self.target
        hit &= self.right[self.victim_index[rows]]
        return hit

    def where(self, rows: Bools) -> "Outcomes":
        """Only the cells of the mask."""
        return replace(self, cells=self.cells[rows].reset_index(drop=True), adversarial=self.adversarial[rows])

    def on(self, images: Bools) -> "Outcomes":
        """Only the images of the mask."""
        return replace(
            self,
            adversarial=self.adversarial[:, images],
            clean_predictions=self.clean_predictions[:, images],
            labels=self.labels[images],
            image_source=self.image_source[images],
            target=None if self.target is None else self.target[images],
            image_ids=None if self.image_ids is None else self.image_ids[images],
        )

    def on_source(self, name: str) -> "Outcomes":
        """Only the images of one source.

        Raises:
            ContractError: No such image source.
        """
        if name not in self.image_sources:
            raise ContractError(f"image source {name!r}: expected one of {', '.join(self.image_sources)}")
        return self.on(self.image_source == self.image_sources.index(name))


def poolable(cells: pd.DataFrame, by: Sequence[str] = ()) -> Bools:
    """Cells that count in rows pooled within each value of `by`: all but snapshots of a trace.

    A snapshot is no attack of its own, so keeping a trace must not change what a run says. It stands in rows of its own
    attack alone, where `by` has the attack.
    """
    if "snapshot" not in cells or "attack" in by:
        return np.ones(len(cells), dtype=bool)
    return ~cells["snapshot"].to_numpy(dtype=bool)


def ratio(k: NDArray[np.generic], n: NDArray[np.generic]) -> Floats:
    """The quotient k / n, NaN where n is 0."""
    top, bottom = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    return np.asarray(np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, np.nan), where=bottom > 0))


@lru_cache(maxsize=1024)
def eps_value(eps: str) -> float:
    """The number that an eps such as "48/255" stands for."""
    return float(Fraction(eps))


def arrange(frame: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Rows in the order of `by`: eps by size, controls after the cases, everything else as it first came."""
    codes: list[Floats] = []
    for column in by:
        values = frame[column]
        if column == "eps":
            codes.append(np.asarray(values.map(eps_value), dtype=np.float64))
        elif column == "case":
            codes.append(np.where(values < 0, np.inf, values))
        elif isinstance(values.dtype, pd.CategoricalDtype):
            codes.append(np.asarray(values.cat.codes, dtype=np.float64))
        else:
            codes.append(np.asarray(pd.factorize(values)[0], dtype=np.float64))
    if not codes:
        return frame
    return frame.iloc[np.lexsort(codes[::-1])].reset_index(drop=True)


def _in_range(name: str, values: Ints, end: int) -> None:
    if len(values) and not (values.min() >= 0 and values.max() < end):
        raise ContractError(f"outcomes: {name} spans {values.min()} to {values.max()}, expected 0 to {end - 1}")
