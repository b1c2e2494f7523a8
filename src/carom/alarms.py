"""When the numbers of a defence say that its gradients are masked, so that attacks on it prove little.

The checks are those of Athalye, Carlini and Wagner 2018 (arXiv:1802.00420), Carlini et al. 2019 (arXiv:1902.06705) and
AutoAttack's flags (Croce and Hein 2020, arXiv:2003.01690). Only numbers come in, so that tables can be judged later.
"""

from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise
from math import exp, floor, lgamma, log, log1p

WORSE_THAN_FGSM = Fraction(1, 100)
"""Many small steps may leave this much more accuracy than one large one."""
LEFT_BY_20_STEPS = Fraction(2, 100)
"""100 steps with restarts may find this much more than 20 steps."""
BELOW_WHITE_BOX = Fraction(1, 100)
"""An attack without gradients may be this much stronger than those with them."""
ABOVE_CHANCE = Fraction(5, 100)
"""At a radius where an image can become almost any other, accuracy may stay this far above guessing."""
ABOVE_CLEAN = Fraction(1, 100)
"""Attacked images may be right this much more often than clean ones."""
FALLING_LOSS = 0.01
"""Of the loss at a smaller radius, that may be missing at a larger one."""
ZERO_GRADIENTS = Fraction(1, 100)
"""Share of exactly zero gradients."""
UNLIKE_ITSELF = 1e-4
"""Of the largest logit, that two answers to one image may differ by."""
BY_CHANCE = 0.025
"""How often images like these may differ by so much where the difference is just what it may be."""

_GRADIENTS = 10**6  # of at most so many, a share says exactly how many


def alarms(numbers: Mapping[str, float], *, transfer: float | None = None) -> tuple[str, ...]:
    """A sentence for each sign of masked gradients; none where all is well.

    The images are a sample. A share counts as beyond its slack only if a share of the slack would give as many images
    as seldom as `BY_CHANCE` (exact binomial, one-sided). Accuracies are taken for the counts of images that they are,
    so the last bits of a float decide nothing. Which images differ is not told, so this takes them all to differ one
    way; where some differ the other way too, an alarm is surer than it should be. Of gradients, those of one image are
    taken to be zero together, parts of an image rounded down. The losses need no such test: a larger ball holds the
    smaller one, so the largest loss of no image falls with the radius, however few there are.

    Args:
        numbers: As `Examined.numbers` gives them; accuracies from 0 to 1.
        transfer: Lowest accuracy under attacks made on other models, with the same budget and images; None where there
            is none.
    """
    images = round(numbers["images"])

    def counted(share: float) -> Fraction:
        """A share of the images."""
        return Fraction(round(share * images), images)

    clean, fgsm, pgd, long, square = (counted(numbers[name]) for name in ("clean", "fgsm", "pgd20", "pgd100", "square"))
    white_box = min(fgsm, pgd, long)
    found: list[str] = []

    def more(by: Fraction, than: Fraction) -> bool:
        """Whether a difference counts."""
        return by > than and _tail(floor(by * images), images, float(than)) <= BY_CHANCE

    if more(pgd - fgsm, WORSE_THAN_FGSM):
        found.append(f"PGD with 20 steps leaves {_share(pgd)} right, one step of FGSM only {_share(fgsm)}")
    if more(pgd - long, LEFT_BY_20_STEPS):
        found.append(
            f"PGD with 20 steps leaves {_share(pgd)} right, 100 steps with {numbers['restarts']:.0f} restarts only "
            f"{_share(long)}: 20 steps do not reach the end"
        )
    if more(white_box - square, BELOW_WHITE_BOX):
        found.append(
            f"Square, which reads no gradient, leaves {_share(square)} right, attacks with gradients "
            f"{_share(white_box)}"
        )
    if transfer is not None and more(white_box - counted(transfer), BELOW_WHITE_BOX):
        found.append(
            f"attacks made on other models leave {_share(transfer)} right, those made on this one {_share(white_box)}"
        )
    chance = Fraction(1, round(numbers["classes"]))
    if more(counted(numbers["large"]), chance + ABOVE_CHANCE):
        found.append(
            f"at the radius {numbers['large_eps']:.4g} PGD leaves {_share(numbers['large'])} right, guessing gets "
            f"{_share(chance)}"
        )
    losses = [numbers[name] for name in ("loss_half", "loss", "loss_double")]
    if any(after < before * (1 - FALLING_LOSS) for before, after in pairwise(losses)):
        found.append(
            "the loss under PGD does not grow with the radius: "
            + ", ".join(f"{loss:.4g}" for loss in losses)
            + " at half of it, all of it and twice as much"
        )
    if more(max(pgd, long) - clean, ABOVE_CLEAN):
        found.append(f"{_share(max(pgd, long))} are right under attack, but {_share(clean)} of the clean images")
    if more(Fraction(numbers["zero_gradients"]).limit_denominator(_GRADIENTS), ZERO_GRADIENTS):
        found.append(f"{_share(numbers['zero_gradients'])} of the gradients are exactly zero")
    if numbers["difference"] > UNLIKE_ITSELF and numbers["draws"] <= 1:
        found.append(
            f"two answers to the same images differ by {numbers['difference']:.2g} of the largest logit, and the "
            "attacks did not average over draws"
        )
    if numbers["probabilities"] > 0:
        found.append("it answers probabilities instead of logits, so its gradients vanish where it is sure")
    return tuple(found)


def _tail(k: int, n: int, p: float) -> float:
    """Probability of k or more of n, each with probability p, above 0 and below 1."""
    ways = (lgamma(n + 1) - lgamma(j + 1) - lgamma(n - j + 1) for j in range(k, n + 1))
    return sum(exp(of + j * log(p) + (n - j) * log1p(-p)) for j, of in enumerate(ways, start=k))


def _share(value: float | Fraction) -> str:
    return f"{100 * float(value):.1f}%"
