"""How much equal trainings differ, and the allowance that follows: what a gate should not call weaker."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from carom.errors import InputError

from .ask import Answers

LEAST = 5  # trainings: of four, t at 5% is 2.35, and the standard deviation itself is known to a factor of 4
STEP = 0.001  # allowances are given in tenths of a point


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What re-trainings of one recipe say. Shares of images, 0.02 is 2 points.

    Attributes:
        accuracies: Robust accuracy of each training, in the order given.
        mean: Of them.
        sd: Standard deviation between trainings.
        largest: Largest drop from one of them to another.
        share: How often an equal training may fall by more than the allowance.
        allowance: Upper prediction limit of the drop from one training to the next, rounded up.
    """

    accuracies: tuple[float, ...]
    mean: float
    sd: float
    largest: float
    share: float
    allowance: float

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Names and values, for a table."""
        spread = " ".join(f"{100 * accuracy:.1f}%" for accuracy in self.accuracies)
        return (
            ("trainings", str(len(self.accuracies))),
            ("robust accuracy of each", spread),
            ("mean", f"{100 * self.mean:.1f}%"),
            ("standard deviation between trainings", f"{100 * self.sd:.2f} points"),
            ("largest drop from one to another", f"{100 * self.largest:.1f} points"),
            (f"allowance, exceeded by {100 * self.share:g}% of equal trainings", f"{100 * self.allowance:.1f} points"),
        )


def calibrate(answers: Sequence[Answers], share: float = 0.05) -> Calibration:
    """The allowance that fits a recipe, from trainings that differ in nothing but the seed.

    The robust accuracies of k trainings on one suite are taken as draws from a normal distribution; the drop from one
    further training to another is then at most t(k - 1) * sd * sqrt(2), but for `share` of the pairs. A gate asks
    besides that the drop be sure over images, so it is red less often than that.

    Args:
        answers: Of five or more trainings of one recipe to one suite.
        share: One-sided, above 0 and below 1/2.

    Raises:
        InputError: Fewer than five, answers to different suites, the same training twice, or a share out of range.
    """
    check_trainings(len(answers), share)
    shapes = {one.adversarial.shape for one in answers}
    if len(shapes) > 1:
        told = ", ".join(" x ".join(map(str, shape)) for shape in sorted(shapes))
        raise InputError(f"calibrate: answers of {told} (sets x images); ask all trainings the same suite")
    for (i, one), (k, other) in combinations(enumerate(answers, start=1), 2):
        if np.array_equal(one.clean, other.clean) and np.array_equal(one.adversarial, other.adversarial):
            raise InputError(
                f"calibrate: trainings {i} and {k} answer every image alike; the same training twice? Expected "
                "trainings with different seeds"
            )
    from scipy.special import stdtrit  # a gate needs no scipy, and loading it takes a gate's time

    accuracies = np.array([one.robust_accuracy for one in answers])
    sd = float(accuracies.std(ddof=1))
    limit = float(stdtrit(len(answers) - 1, 1 - share)) * sd * math.sqrt(2)
    return Calibration(
        accuracies=tuple(float(accuracy) for accuracy in accuracies),
        mean=float(accuracies.mean()),
        sd=sd,
        largest=float(accuracies.max() - accuracies.min()),
        share=share,
        allowance=min(1 - STEP, max(STEP, math.ceil(round(limit / STEP, 9)) * STEP)),
    )


def check_trainings(count: int, share: float) -> None:
    """Refuse what cannot be calibrated, before any model is asked.

    Raises:
        InputError: Fewer than five trainings, or a share out of range.
    """
    if count < LEAST:
        raise InputError(f"calibrate: {count} trainings; expected {LEAST} or more of one recipe with different seeds")
    if not 0 < share < 0.5:
        raise InputError(f"calibrate: share {share}; expected one above 0 and below 0.5, such as 0.05")
