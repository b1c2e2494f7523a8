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

    Two signs. It is right no more often than guessing: not above 1 / classes by the exact binomial test at the level
    `GUESSING`, where so many images could show it. Or another order explains its answers far better: an order that is
    learned on one half of each class's images is right on the other half more often than the given one, by at least
    `FAR_BETTER` of all images and by the exact sign test at the level `OTHER_ORDER`. Learned are the assignment of
    classes to answers with the most agreement, and a shift of all classes by one number. A model that is merely weak,
    or confuses a class with a larger one, is better explained by no order, as each answer belongs to one class.

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
    if chance**images <= GUESSING and (right == 0 or special.bdtrc(right - 1, images, chance) > GUESSING):
        return Misfit(why=f"right on {right} of {images} clean images, guessing gets {chance:.2g} of them", **where)
    first = _halves(labels)
    gained = lost = 0
    for learn in (first, ~first):
        judge = ~learn
        given = predictions[judge] == labels[judge]
        # of the two kinds of order the one that explains more of what it is learned on
        orders = _orders(predictions[learn], labels[learn], classes)
        best = max(orders, key=lambda order: int((predictions[learn] == order[labels[learn]]).sum()))
        other = predictions[judge] == best[labels[judge]]
        gained += int((other & ~given).sum())
        lost += int((given & ~other).sum())
    differing = gained + lost
    if gained - lost < FAR_BETTER * images or special.bdtrc(gained - 1, differing, 0.5) > OTHER_ORDER:
        return None
    return Misfit(
        why=f"right on {right} of {images} clean images, in another order of its classes on {right + gained - lost}",
        **where,
    )


def _halves(labels: Ints) -> Bools:
    """Every other image of each class."""
    order = np.argsort(labels, kind="stable")
    sizes = np.unique(labels, return_counts=True)[1]
    turn = np.concatenate([np.arange(size) for size in sizes])
    first = np.zeros(len(labels), dtype=bool)
    first[order[turn % 2 == 0]] = True
    return first


def _orders(predictions: Predictions, labels: Ints, classes: int) -> tuple[Ints, Ints]:
    """The answer that stands for each class in the two best orders; the given one where nothing is learned."""
    answered = predictions >= 0
    told, said = labels[answered], predictions[answered].astype(np.int64)
    names = np.arange(classes)
    shift = int(np.bincount((said - told) % classes, minlength=classes).argmax()) if len(said) else 0
    met = np.union1d(told, said)  # no other class has a say
    agreement = np.zeros((len(met), len(met)))
    np.add.at(agreement, (np.searchsorted(met, told), np.searchsorted(met, said)), 1)
    agreement[np.diag_indices(len(met))] += 1e-3  # what is as good in any order stays as it is
    assigned = names.copy()
    assigned[met] = met[linear_sum_assignment(agreement, maximize=True)[1]]
    return assigned, (names + shift) % classes
