"""Whether a victim's answers to clean images fit their labels, or look as if its classes stood in another order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special
from scipy.optimize import linear_sum_assignment  # type: ignore[attr-defined]

from .outcomes import Bools, Ints, Predictions

GUESSING = 0.05
"""Level of the exact binomial test that has to find a victim more often right than guessing."""
OTHER_ORDER = 0.001
"""Level of the exact sign test by which another order of the classes has to explain more answers."""
FAR_BETTER = 0.05
"""Share of the images that another order has to explain beyond the given one."""


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """Why answers do not fit the labels, and the confusion that shows it best.

    Attributes:
        why: In words.
        label: The class whose images are most often called another.
        called: That other class.
        of: Images of the class.
        times: Of these, how many are called so.
    """

    why: str
    label: int
    called: int
    of: int
    times: int

    def words(self, classes: Sequence[str]) -> str:
        """One clause, with the classes by name."""
        many = "image" if self.of == 1 else "images"
        verb = "is" if self.times == 1 else "are"
        shown = f"of {self.of} {many} labelled {classes[self.label]!r} {self.times} {verb} called"
        return f"{self.why}: order of classes? {shown} {classes[self.called]!r}"


def misfit(predictions: Predictions, labels: Ints, classes: int) -> Misfit | None:
    """What is wrong with the order of a victim's classes, as far as its answers to clean images tell; None if nothing.

    Two signs. It is right no more often than guessing: not above 1 / classes, and below half-way from there to 1, both
    by exact binomial tests at the level `GUESSING`; few images can show neither. Or another order explains its answers
    far better: an order that is learned on every other image is right on the rest more often than the given one, by at
    least `FAR_BETTER` of all images and by the sign test at the level `OTHER_ORDER`. Two kinds of order are learned and
    judged, each at half of that level: the assignment of the classes met to one another with the most agreement, and a
    shift of all classes by one number. The test takes the two halves, each of which learns what the other judges, for
    independent; simulations find at most one false alarm in 200. A model that is merely weak, or confuses a class with
    another one, is better explained by no order, as each answer belongs to one class.

    Args:
        predictions: Class of each image as the victim says, -1 for no answer.
        labels: Its class.
        classes: How many there are.
    """
    images, right = len(labels), int((predictions == labels).sum())
    wrong = (predictions != labels) & (predictions >= 0)
    if not images or not wrong.any():
        return None
    pairs, counts = np.unique(np.stack([labels[wrong], predictions[wrong]]), axis=1, return_counts=True)
    label, called = (int(v) for v in pairs[:, counts.argmax()])
    where = {"label": label, "called": called, "of": int((labels == label).sum()), "times": int(counts.max())}
    chance = 1 / classes
    not_above = chance**images <= GUESSING and (right == 0 or special.bdtrc(right - 1, images, chance) > GUESSING)
    if not_above and special.bdtr(right, images, (1 + chance) / 2) <= GUESSING:
        return Misfit(why=f"right on {right} of {images} clean images, guessing gets {chance:.2g} of them", **where)
    first = _halves(labels)
    gained, lost = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    for learn in (first, ~first):
        judge = ~learn
        given = predictions[judge] == labels[judge]
        for kind, order in enumerate(_orders(predictions[learn], labels[learn], classes)):
            other = predictions[judge] == order[labels[judge]]
            gained[kind] += (other & ~given).sum()
            lost[kind] += (given & ~other).sum()
    best = int((gained - lost).argmax())
    more, differing = int(gained[best] - lost[best]), int(gained[best] + lost[best])
    if more < FAR_BETTER * images or special.bdtrc(gained[best] - 1, differing, 0.5) > OTHER_ORDER / 2:
        return None
    return Misfit(
        why=f"right on {right} of {images} clean images, in another order of its classes on {right + more}",
        **where,
    )


def _halves(labels: Ints) -> Bools:
    """Every other image in the order of the classes: half of each class, and of classes with one image every other."""
    first = np.zeros(len(labels), dtype=bool)
    first[np.argsort(labels, kind="stable")[::2]] = True
    return first


def _orders(predictions: Predictions, labels: Ints, classes: int) -> tuple[Ints, Ints]:
    """The answer that stands for each class in the two best orders; the given one where nothing is learned."""
    answered = predictions >= 0
    told, said = labels[answered], predictions[answered].astype(np.int64)
    names = np.arange(classes)
    shift = int(np.bincount((said - told) % classes, minlength=classes).argmax()) if len(said) else 0
    met = np.unique(told)  # an answer that no image is labelled as may be any mistake
    inside = np.isin(said, met)
    agreement = np.zeros((len(met), len(met)))
    np.add.at(agreement, (np.searchsorted(met, told[inside]), np.searchsorted(met, said[inside])), 1)
    agreement[np.diag_indices(len(met))] += 1e-6  # what is as good in any order stays as it is
    assigned = names.copy()
    assigned[met] = met[linear_sum_assignment(agreement, maximize=True)[1]]
    return assigned, (names + shift) % classes
