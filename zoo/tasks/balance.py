"""Balance of the classes in training: a profile with a given distance from uniform, and subsets that follow it.

DUMB trains on two classes at 50:50, 40:60, 30:70 and 20:80, the same class always rare, with fewer images as the
imbalance grows. Here a profile is for any number of classes, which class is rare is part of it, and the number of
images is the same for all profiles that are compared.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, exp, inf, log
from typing import ClassVar, Literal

import torch

from carom.draws import Draws
from carom.errors import InputError
from carom.registry import did_you_mean

from .images import ImageSet
from .splits import apportion, choose, class_counts

Orientation = Literal["forward", "reversed"] | int
NAMED = ("uniform", "tv0.1", "tv0.1-reversed", "tv0.2", "tv0.2-reversed", "tv0.3", "tv0.3-reversed")


@dataclass(frozen=True, kw_only=True)
class Balance:
    """How often each class occurs in training.

    Class k of K has a share in proportion to rho^(-k/(K-1)), with rho such that the total variation from uniform is
    the one asked. For two classes that is 1/2 + tv to 1/2 - tv: DUMB's 40:60, 30:70 and 20:80 are tv0.1-reversed,
    tv0.2-reversed and tv0.3-reversed.

    Attributes:
        total_variation: Half the sum of |share - 1/K|: 0 is uniform, and at most 1 - 1/K exists.
        orientation: "forward" (class 0 is the most frequent), "reversed" (class 0 is the rarest), or the seed of a
            permutation of the classes.

    Raises:
        InputError: A total variation outside 0 to 1, or an orientation of the uniform profile.
    """

    total_variation: Fraction = Fraction(0)
    orientation: Orientation = "forward"

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "two classes: Alecci et al. 2023 (DUMB), arXiv:2306.15363; exponential: Cui et al. 2019"

    def __post_init__(self) -> None:
        if not 0 <= self.total_variation < 1:
            raise InputError(f"balance: total variation {self.total_variation}; expected 0 (uniform) to below 1")
        if not self.total_variation and self.orientation != "forward":
            raise InputError(f"balance: uniform has no orientation, got {self.orientation!r}; leave it out")

    @property
    def name(self) -> str:
        """What `parse_balance` reads: "uniform", "tv0.2", "tv0.2-reversed", "tv0.2-seed7"."""
        if not self.total_variation:
            return "uniform"
        turn = {"forward": "", "reversed": "-reversed"}.get(str(self.orientation), f"-seed{self.orientation}")
        return f"tv{_decimal(self.total_variation)}{turn}"

    def rho(self, classes: int) -> float:
        """Share of the most frequent class over that of the rarest; infinite above 1e308.

        Raises:
            InputError: So many classes cannot be so far from uniform.
        """
        log_rho = self._log_rho(classes)
        return exp(log_rho) if log_rho < 709 else inf

    def _log_rho(self, classes: int) -> float:
        largest = 1 - Fraction(1, classes)
        if self.total_variation > largest - Fraction(1, 10**6):
            raise InputError(
                f"balance {self.name}: {classes} classes are always less than {float(largest):g} from uniform"
            )
        if not self.total_variation:
            return 0.0
        low, high = 0.0, 1.0
        while _distance(_shares(high, classes)) < self.total_variation:
            low, high = high, 2 * high
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if _distance(_shares(middle, classes)) < self.total_variation else (low, middle)
        return high

    def proportions(self, classes: int) -> tuple[float, ...]:
        """The share of each class, in the order of the labels; they sum to 1.

        Raises:
            InputError: So many classes cannot be so far from uniform.
        """
        shares = _shares(self._log_rho(classes), classes)
        if self.orientation == "forward":
            return shares
        if self.orientation == "reversed":
            return shares[::-1]
        ranks = torch.argsort(Draws(int(self.orientation), torch.arange(classes)).bits("balance orientation"))
        return tuple(shares[rank] for rank in ranks.tolist())

    def counts(self, n: int, classes: int) -> tuple[int, ...]:
        """How many of `n` images each class gets, by largest remainder.

        Raises:
            InputError: A class would get none.
        """
        counts = apportion(n, self.proportions(classes))
        if min(counts) < 1:
            raise InputError(
                f"balance {self.name}: {n} images leave class {counts.index(0)} of {classes} without any; take "
                f"{ceil(1 / self.min_share(classes))} or more"
            )
        return counts

    def entropy(self, classes: int) -> float:
        """Entropy of the shares over that of the uniform profile, 0 to 1."""
        return -sum(p * log(p) for p in self.proportions(classes) if p) / log(classes)

    def min_share(self, classes: int) -> float:
        """The share of the rarest class."""
        return min(self.proportions(classes))


def _decimal(value: Fraction) -> str:
    """A fraction as a decimal number where that is exact."""
    text = f"{float(value):.12g}"
    return text if Fraction(text) == value else str(value)


def _shares(log_rho: float, classes: int) -> tuple[float, ...]:
    weights = [exp(-log_rho * k / (classes - 1)) for k in range(classes)]
    total = sum(weights)
    return tuple(weight / total for weight in weights)


def _distance(shares: Sequence[float]) -> float:
    return sum(abs(share - 1 / len(shares)) for share in shares) / 2


def parse_balance(text: str, *, where: str = "balance") -> Balance:
    """A profile from "uniform", "tv0.2", "tv0.2-reversed" or "tv0.2-seed7" (any total variation, any seed).

    Raises:
        InputError: No such name, with the nearest one.
    """
    if text == "uniform":
        return Balance()
    match = re.fullmatch(r"tv(\d*\.?\d+|\d+/[1-9]\d*)(?:-(?:(reversed)|seed(\d+)))?", text)
    if match is None:
        raise InputError(
            f"{where}: unknown balance {text!r}{did_you_mean(text, NAMED)} (known: uniform, tv0.2, tv0.2-reversed, "
            "tv0.2-seed7, for any total variation and seed)"
        )
    distance, reversed_, seed = match.groups()
    orientation: Orientation = int(seed) if seed else "reversed" if reversed_ else "forward"
    try:
        return Balance(total_variation=Fraction(distance), orientation=orientation)
    except InputError as error:
        raise InputError(f"{where}: {text!r}: {error}") from None


def distance(a: Balance, b: Balance, classes: int) -> float:
    """Total variation between two profiles: 0 if equal."""
    return sum(abs(p - q) for p, q in zip(a.proportions(classes), b.proportions(classes), strict=True)) / 2


def largest_n(available: Sequence[Sequence[int]], balances: Sequence[Balance]) -> int:
    """The most images that every profile can draw from every source.

    Training sets of this size differ in their balance and not in how many images they have.

    Args:
        available: For each source, how many images each class has.
        balances: The profiles that are compared.

    Raises:
        InputError: Some class of some source cannot fill even the smallest training set.
    """
    classes = len(available[0])
    least = [min(source[k] for source in available) for k in range(classes)]
    if min(least) < 1:
        raise InputError(f"balance: a source has no images of class {least.index(0)}")
    shares = [balance.proportions(classes) for balance in balances]
    # A class gets less than one image more or less than its quota, so the answer lies just below this bound.
    n = min(int((have + 1) / share) for profile in shares for have, share in zip(least, profile, strict=True))
    while any(got > have for profile in shares for got, have in zip(apportion(n, profile), least, strict=True)):
        n -= 1
    for balance in balances:
        balance.counts(n, classes)
    return n


def draw(images: ImageSet, counts: Sequence[int], seed: int) -> ImageSet:
    """`counts[k]` images of each class `k`, in the order they had.

    The seed draws one order of each class and a count takes its beginning: of two draws with one seed, the smaller
    count of a class is a subset of the larger. An image's place in that order rests on its id alone.

    Raises:
        InputError: A class has too few images; says how many of the whole would fit.
    """
    have = class_counts(images.labels, len(counts))
    if len(have) > len(counts):
        raise InputError(f"balance: counts for {len(counts)} classes, images of {len(have)}; expected equal")
    for k, (want, has) in enumerate(zip(counts, have, strict=True)):
        if want > has:
            fits = min(sum(counts) * h // c for c, h in zip(counts, have, strict=True) if c)
            raise InputError(
                f"balance: class {k} has {has} images, {want} of {sum(counts)} are wanted; take {fits} or fewer"
            )
    chosen = choose(images.labels, images.ids, counts, seed=seed, purpose="balance")
    return images.select(chosen.nonzero().flatten())
