"""Feature attacks: what they raise is an inner layer's answer, weighed by what they found at the clean images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar, Literal, Protocol
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from carom.attacks.momentum.momentum import Momentum
from carom.attacks.reading.networks import middle_point
from carom.attacks.slots import Guide, Objective
from carom.budget import Budget, unit_l2
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Classifier, Passes, Reader
from carom.typing import Images, PerImage

from .cross_entropy import CrossEntropy
from .logit import Logit
from .probability import Probability

Features = Float[Tensor, "n ..."]


class Score(Protocol):
    """The loss of one member's features, images apart."""

    def __call__(self, features: Features, /) -> PerImage: ...


class Scores:
    """A feature loss that is made for each classifier when the attack first sees it.

    Attributes:
        named: The feature point; None for the middle one of each classifier.
        make: From a classifier and its point to its loss.
    """

    def __init__(self, named: str | None, make: Callable[[Classifier, str], Score]) -> None:
        self.named, self.make = named, make
        # weak: members may come and go with each step, as draws of weights do
        self._points: WeakKeyDictionary[Classifier, str] = WeakKeyDictionary()
        self._made: WeakKeyDictionary[Classifier, Score] = WeakKeyDictionary()

    def point(self, member: Classifier) -> str:
        if self.named is not None:
            return self.named
        if member not in self._points:
            self._points[member] = middle_point(member)
        return self._points[member]

    def __call__(self, features: Features, member: Classifier, /) -> PerImage:
        if member not in self._made:
            self._made[member] = self.make(member, self.point(member))
        return self._made[member](features)


@dataclass(frozen=True, eq=False)
class Projection:
    """How far the features lie along a direction, from an origin on.

    Attributes:
        direction: One an image, of length 1 or, where nothing is known, 0.
        origin: Features that count as 0; None for zero features.
    """

    direction: Features
    origin: Features | None = None

    def __call__(self, features: Features, /) -> PerImage:
        along = features if self.origin is None else features - self.origin
        return (along * self.direction).flatten(1).sum(1)


@dataclass(frozen=True, eq=False)
class Attribution:
    """What the features contribute to a class, those that speak against it weighed on their own.

    Attributes:
        direction: Gradient of the class's score at the features, one an image, of length 1.
        origin: Features of the baseline.
        gamma: Weight of negative contributions.
        sign: 1 to raise the class, -1 to lower it.
    """

    direction: Features
    origin: Features
    gamma: float
    sign: int

    def __call__(self, features: Features, /) -> PerImage:
        each = (features - self.origin) * self.direction
        weighed = each if self.gamma == 1 else torch.where(each < 0, self.gamma * each, each)
        return self.sign * weighed.flatten(1).sum(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ILA:
    """The intermediate level attack, by projection (Huang et al. 2019, arXiv:1907.10823).

    Runs the same loop with cross-entropy, and takes how it moved the features for a guide. Then starts anew and raises
    the projection of the features' displacement onto the guide, each image on its own. The guide has length 1, so the
    loss is a distance between features; its scale changes no step of a single network. Targeted attacks differ in
    their first loop alone: the guide leads to the target.

    The authors' second loop has no momentum, and neither has TransferAttack's, whose first loop has: `decay = 0` and
    `guide_decay = 1` are that attack.

    Attributes:
        point: Feature point, or None for the middle one of the network.
        guide_decay: Momentum of the first loop, at least 0; None for that of the attack.

    Raises:
        InputError: The point is empty, or the decay negative.
    """

    point: str | None = None
    guide_decay: float | None = None

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_point("ila", self.point)
        if self.guide_decay is not None and not self.guide_decay >= 0:
            raise InputError(f"ila: guide_decay must be at least 0, got {self.guide_decay:g}")

    def fit(self, reader: Reader, budget: Budget, draws: Draws, guide: Guide) -> Scores:
        guided = guide(None if self.guide_decay is None else Momentum(decay=self.guide_decay))

        def make(member: Classifier, point: str) -> Projection:
            origin = reader.features(reader.x, point, member)
            return Projection(_unit(reader.features(guided, point, member) - origin), origin)

        return Scores(self.point, make)

    def passes(self, members: int, distinct: int, guide: Passes) -> Passes:
        return guide + Passes(2 * distinct, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class FIA:
    """Feature importance-aware attack (Wang et al. 2021, arXiv:2107.14185).

    A feature's weight is the gradient of the true class's logit there, summed over copies of the image of which random
    pixels are set to zero, each channel on its own, so that what only one image shows averages out. The attack lowers
    the weighted sum of the features: it weakens those that speak for the class, and strengthens those against it.
    Weights have length 1 for each image. A targeted attack weighs by the target's logit and raises the sum.

    Attributes:
        point: Feature point, or None for the middle one of the network.
        samples: Masked copies, at least 1; 30 in the paper.
        drop: Probability of a value to be set to zero, in [0, 1); 0.3 as the authors run it.
        score: What of the class the weights are gradients of: its "logit", as in the paper, or its "probability", as
            TransferAttack has it.

    Raises:
        InputError: Out of these ranges.
    """

    point: str | None = None
    samples: int = 30
    drop: float = 0.3
    score: Literal["logit", "probability"] = "logit"

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_point("fia", self.point)
        _check_samples("fia", self.samples)
        if not 0 <= self.drop < 1:
            raise InputError(f"fia: drop must be in [0, 1), got {self.drop:g}")

    def fit(self, reader: Reader, budget: Budget, draws: Draws, guide: Guide) -> Scores:
        x = reader.x
        scores: dict[str, Objective] = {"logit": Logit(), "probability": Probability()}

        def masked(copy: int) -> Images:
            return x * (draws.uniform("fia mask", x.shape[1:], copy=copy) >= self.drop)

        def make(member: Classifier, point: str) -> Projection:
            each = (
                reader.feature_gradient(masked(copy), point, member, scores[self.score]) for copy in range(self.samples)
            )
            return Projection(_unit(reduce(torch.add, each)))

        return Scores(self.point, make)

    def passes(self, members: int, distinct: int, guide: Passes) -> Passes:
        return Passes(self.samples * distinct, self.samples * distinct)


@dataclass(frozen=True, kw_only=True, slots=True)
class NAA:
    """Neuron attribution-based attack (Zhang et al. 2022, arXiv:2204.00008).

    A feature's attribution is how far it lies from that of the black image, times the gradient of the true class's
    probability, averaged over the straight path from black to the image. Over all features they sum up to nearly the
    probability gained on the path. The attack lowers that sum, negative attributions weighed by gamma, linearly in
    both. Gradients have length 1 for each image. A targeted attack raises the target's attributions likewise.

    The authors' program adds noise to the path's images; this is the path as it is, ending at the image as theirs does.

    Attributes:
        point: Feature point, or None for the middle one of the network.
        samples: Images on the path, at least 1; 30 in the paper: x/30, 2x/30, ..., x.
        gamma: Weight of negative attributions, at least 0; 1 in the paper.

    Raises:
        InputError: Out of these ranges.
    """

    point: str | None = None
    samples: int = 30
    gamma: float = 1.0

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_point("naa", self.point)
        _check_samples("naa", self.samples)
        if not 0 <= self.gamma < float("inf"):
            raise InputError(f"naa: gamma must be at least 0 and finite, got {self.gamma:g}")

    def fit(self, reader: Reader, budget: Budget, draws: Draws, guide: Guide) -> Scores:
        x = reader.x
        sign = -1 if reader.target is None else 1

        def make(member: Classifier, point: str) -> Attribution:
            path = self._path(x)
            each = (reader.feature_gradient(on_path, point, member, Probability()) for on_path in path)
            total = reduce(torch.add, each)
            black = reader.features(torch.zeros_like(x), point, member)
            return Attribution(sign * _unit(total), black, self.gamma, sign)

        return Scores(self.point, make)

    def passes(self, members: int, distinct: int, guide: Passes) -> Passes:
        return Passes((self.samples + 1) * distinct, self.samples * distinct)

    def _path(self, x: Images) -> Iterator[Images]:
        return (x * (n / self.samples) for n in range(1, self.samples + 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class BFA:
    """Black-box feature attack (Wang et al. 2024, doi:10.1016/j.neucom.2024.127863).

    As FIA, but the copies on which the features are weighed are made by the gradient: the first is the image moved
    along the gradient of cross-entropy there, each further one the image moved along the gradient at the copy before.
    What holds only for this network is disturbed in them, and what is left transfers. The moves have one L2 length and
    are not clipped. Targeted attacks move the copies towards the target, and raise the features that speak for it.

    Attributes:
        point: Feature point, or None for the middle one of the network.
        samples: Copies, at least 1; 30 in the paper.
        length: Of a move, in units of the L2 length of the largest change that the budget allows, at least 0. The
            paper's is 28; which pixels it speaks of is not known here. On images of 3 x 299 x 299 in [0, 1] at linf
            16/255 it is 0.86, the default; on TransferAttack's, of 3 x 224 x 224, it is 1.15.

    Raises:
        InputError: Out of these ranges.
    """

    point: str | None = None
    samples: int = 30
    length: float = 0.86

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_point("bfa", self.point)
        _check_samples("bfa", self.samples)
        if not 0 <= self.length < float("inf"):
            raise InputError(f"bfa: length must be at least 0 and finite, got {self.length:g}")

    def fit(self, reader: Reader, budget: Budget, draws: Draws, guide: Guide) -> Scores:
        x = reader.x
        largest = x.shape[1:].numel() ** 0.5 if budget.norm == "linf" else 1.0
        length = self.length * float(budget.eps) * largest

        def moved(gradient: Images) -> Images:
            return torch.add(x, unit_l2(gradient), alpha=length)

        def make(member: Classifier, point: str) -> Projection:
            copy = moved(reader.image_gradient(x, member, CrossEntropy()))
            total: Features | None = None
            for _ in range(self.samples - 1):
                weights, gradient = reader.both_gradients(copy, point, member, Logit(), CrossEntropy())
                total = weights if total is None else total + weights
                copy = moved(gradient)
            last = reader.feature_gradient(copy, point, member, Logit())
            return Projection(_unit(last if total is None else total + last))

        return Scores(self.point, make)

    def passes(self, members: int, distinct: int, guide: Passes) -> Passes:
        return Passes((self.samples + 1) * distinct, 2 * self.samples * distinct)


def _unit(features: Features) -> Features:
    """Each image's features scaled to length 1; zero stays zero."""
    return unit_l2(features.reshape(len(features), 1, 1, -1)).reshape(features.shape)


def _check_point(name: str, point: str | None) -> None:
    if point is not None and not point:
        raise InputError(f'{name}: point is empty; expected the name of a module such as "layer2", or leave it out')


def _check_samples(name: str, samples: int) -> None:
    if samples < 1:
        raise InputError(f"{name}: samples must be at least 1, got {samples}")
