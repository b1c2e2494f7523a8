"""Which preprocessing a model wants: the usual ones are tried on the images, and the most accurate is taken.

A wrong mean or deviation makes a model look weak, or robust, for no reason. What is found is said with how sure it is:
the exact paired test against the next best, on the same images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import nn

from carom.errors import InputError, ModelError
from carom.scenarios.statistics import mcnemar
from carom.zoo.models.prepare import prepare
from carom.zoo.models.references import load_reference, reference
from carom.zoo.models.victims import Answers, ask, check_answer
from carom.zoo.tasks.attacked import attacked_images
from carom.zoo.tasks.images import ImageSet

from .images import images_table, photographs
from .model import Looked

MOST = 200  # images that candidates are tried on
SURE = 0.05
_BATCH = 50
_CHANCE = 0.01  # of as many right answers by guessing

Table = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Usual:
    """A preprocessing that models usually have.

    Attributes:
        words: What people call it.
        mean: Of each channel, on the scale of [0, 1]; None for pixels as they are.
        std: As `mean`.
        like: Those that differ by less than one grey level are of one kind: images cannot tell them apart.
    """

    words: str
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    like: str

    def table(self, channels: int) -> dict[str, Any] | None:
        """As a scenario has it."""
        if self.mean is None or self.std is None:
            return None
        return {"mean": list(self.mean[:channels]), "std": list(self.std[:channels])}


USUAL: Sequence[Usual] = (
    Usual(words="pixels in [0, 1]", mean=None, std=None, like="unit"),
    Usual(
        words="ImageNet's mean and deviation", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), like="imagenet"
    ),
    Usual(words="mean 0.5, deviation 0.5", mean=(0.5,) * 3, std=(0.5,) * 3, like="centred"),
    Usual(words="mean 127/255, deviation 128/255", mean=(127 / 255,) * 3, std=(128 / 255,) * 3, like="centred"),
    Usual(words="pixels from 0 to 255", mean=(0.0,) * 3, std=(1 / 255,) * 3, like="bytes"),
)


@dataclass(frozen=True, kw_only=True)
class Tried:
    """How a preprocessing, at one size of the images, fared."""

    words: str
    side: int
    preprocessing: Mapping[str, Any] | None
    like: str
    right: NDArray[np.bool_]
    likelihood: float

    @property
    def accuracy(self) -> float:
        """Share of the images that were tried."""
        return float(self.right.mean())


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What is taken, and how sure that is.

    Attributes:
        preprocessing: As a scenario has it; None for the model's own, or pixels in [0, 1].
        side: Rows and columns of the attacked images.
        task: The images' table in a scenario.
        said: One sentence.
        sure: The next best of another kind is surely worse, or there was nothing to choose.
    """

    preprocessing: Mapping[str, Any] | None
    side: int
    task: Table
    said: str
    sure: bool


def fit(looked: Looked, folder: str, *, labels: str | None, names: str | None, limit: int) -> Fitted:
    """The model's preprocessing.

    Raises:
        InputError: The images cannot be read, or the model is at guessing whatever is tried.
        ModelError: The model fails on them.
    """
    tables = {
        side: images_table(looked, folder, labels=labels, names=names, side=side)
        for side in dict.fromkeys(looked.sides)
    }
    first = looked.sides[0]
    some = _some(tables[first], limit)
    if looked.own:
        given = "preprocessing" in looked.table
        words = "the preprocessing that was given" if given else "its own preprocessing"
        only = _tried(looked, replace(USUAL[0], words=words), first, some)
        _refuse_guessing(looked, [only])
        return Fitted(
            preprocessing=looked.table.get("preprocessing"),
            side=first,
            task=tables[first],
            said=f"{only.words}: {_right(only)}.",
            sure=True,
        )
    tried, reasons = [], []
    for usual in USUAL:
        try:
            tried.append(_tried(looked, usual, first, some))
        except ModelError as error:  # such as a graph that takes bytes, or a service that normalises
            reasons.append(error)
    if not tried:
        raise reasons[0]
    best = max(tried, key=_fit)
    usual = next(u for u in USUAL if u.words == best.words)
    tried += [_tried(looked, usual, side, _some(tables[side], limit)) for side in looked.sides[1:]]
    _refuse_guessing(looked, tried)
    for one in tried:  # another size is taken only where it is surely better than the usual one
        if one.words == best.words and one.right.sum() > best.right.sum() and _p_value(one, best) <= SURE:
            best = one
    said, sure = _how_sure(best, tried)
    return Fitted(preprocessing=best.preprocessing, side=best.side, task=tables[best.side], said=said, sure=sure)


def _tried(looked: Looked, usual: Usual, side: int, some: ImageSet) -> Tried:
    table = dict(looked.table)
    processing = usual.table(looked.channels)
    if processing is not None:
        table["preprocessing"] = processing
    model = load_reference(
        reference(table, where="MODEL"),
        shape=(looked.channels, side, side),
        classes=looked.classes,
        where="MODEL",
    )
    asked = prepare(model) if isinstance(model, nn.Module) else model
    kind: Answers = getattr(model, "answers", "logits")
    rights, likelihoods = [], [0.0]
    for batch, truth in zip(torch.split(some.images, _BATCH), torch.split(some.labels, _BATCH), strict=True):
        with torch.no_grad():
            found = ask(asked, batch.float() / 255, name=looked.label, answers=kind)
        check_answer(found, n=len(batch), classes=looked.classes, name=looked.label, answers=kind)
        rights.append((found if kind == "labels" else found.argmax(1)) == truth)
        if kind != "labels":
            scores = found.log_softmax(1) if kind == "logits" else found.clamp_min(1e-12).log()
            likelihoods.append(float(scores.gather(1, truth[:, None]).sum()))
    return Tried(
        words=usual.words,
        side=side,
        preprocessing=processing,
        like=usual.like,
        right=torch.cat(rights).numpy(),
        likelihood=sum(likelihoods),
    )


def _some(table: Table, limit: int) -> ImageSet:
    """Images that are tried: those that are going to be attacked, or as many of them as are enough."""
    found = photographs(table)
    return attacked_images(found, "test", min(MOST, limit, len(found.photographs())), 0)[0]


def _right(one: Tried) -> str:
    return f"{100 * one.accuracy:.0f} % of {len(one.right)} images right"


def _refuse_guessing(looked: Looked, tried: Sequence[Tried]) -> None:
    """As many right answers by guessing, one of all that were tried, would be no wonder."""
    best = max(tried, key=lambda one: one.right.sum())
    n, k = len(best.right), int(best.right.sum())
    p = len(tried) * (float(special.bdtrc(k - 1, n, 1 / looked.classes)) if k else 1.0)
    if p > _CHANCE:
        what = "" if len(tried) == 1 else f", at best of {len(tried)} usual preprocessings ({best.words})"
        raise InputError(
            f"{looked.label}: {k} of {n} images right{what}, no better than guessing: check that the labels number the "
            "classes in the model's order (--names, --labels), or give the model's --preprocessing"
        )


def _how_sure(best: Tried, tried: Sequence[Tried]) -> tuple[str, bool]:
    """In words: what fits, the next best of another kind at the size where both were tried, and other sizes."""
    sizes = [one for one in tried if one.words == best.words]
    first = sizes[0]
    others = [one for one in tried if one.like != best.like]
    size = ""
    if len(sizes) > 1:
        beside = ", ".join(f"{one.side}x{one.side} {100 * one.accuracy:.0f} %" for one in sizes if one is not best)
        size = f" at {best.side}x{best.side} ({beside})"
    said = f"{best.words}{size}: {_right(best)}"
    if not others:
        return f"{said}.", True
    other = max(others, key=_fit)
    p = _p_value(first, other)
    said = f"{said}; next best {other.words} with {100 * other.accuracy:.0f} %, p {_p(p)}"
    if p <= SURE:
        return f"{said}.", True
    return f"{said}: not sure, so say which it is with --preprocessing.", False


def _fit(one: Tried) -> tuple[int, float]:
    """Right answers; between equals, how likely the model finds the right classes."""
    return int(one.right.sum()), one.likelihood


def _p_value(one: Tried, other: Tried) -> float:
    """McNemar's exact p of two that answered the same images."""
    gained, lost = int((one.right & ~other.right).sum()), int((other.right & ~one.right).sum())
    return float(mcnemar(np.array([gained]), np.array([lost]))[0])


def _p(p: float) -> str:
    return "< .001" if p < 0.0005 else f"= {p:.3f}".replace("0.", ".", 1) if p < 1 else "= 1"
