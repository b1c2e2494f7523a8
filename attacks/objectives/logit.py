"""What an attack raises: one loss an image."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import TypeIs

from carom.budget import Budget
from carom.draws import Draws
from carom.protocols import Classifier, Passes
from carom.typing import Labels, Logits, PerImage

if TYPE_CHECKING:
    from carom.attacks.iterative import Iterative
    from carom.attacks.reading.gradients import Gradients


@runtime_checkable
class Objective(Protocol):
    """A loss that is high where the logits speak against the labels.

    Untargeted attacks raise it for the true labels, targeted attacks lower it for the target labels.
    """

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage: ...


@runtime_checkable
class FeatureLoss(Protocol):
    """A loss of what a network computes at a feature point, made for one attack on one chunk of images."""

    def point(self, member: Classifier) -> str:
        """Name of this classifier's feature point: a module behind the preprocessing.

        Raises:
            ModelError: It has none.
        """
        ...

    def __call__(self, features: Tensor, member: Classifier, /) -> PerImage:
        """To be raised, whether the attack is targeted or not.

        Args:
            features: `n ...`, with a graph to the images.
            member: Which classifier computed them, as the source shows it. What belongs to it is made when it is first
                seen, since the members may change from step to step.
        """
        ...


@runtime_checkable
class Fitted(Protocol):
    """An objective that first looks at the clean images: feature attacks weigh or aim at what they find there."""

    def fit(self, gradients: "Gradients", budget: Budget, draws: Draws, loop: "Iterative") -> FeatureLoss:
        """The loss for these images.

        Args:
            gradients: The images and their target; passes count.
            budget: Of the attack.
            draws: Randomness.
            loop: The same attack with cross-entropy, for those that start from its result.
        """
        ...

    def passes(self, members: int, distinct: int, loop: "Iterative") -> Passes:
        """What fitting costs an image.

        Args:
            members: How many classifiers are active at a step.
            distinct: How many there are over all steps; as many as `members` where they do not change.
            loop: As for `fit`.
        """
        ...


def reads_features(objective: object) -> TypeIs[FeatureLoss]:
    """Whether it is a `FeatureLoss`. Remembered by type: asking a protocol takes as long as an operation of a step."""
    return _fits(type(objective), FeatureLoss)  # type: ignore[arg-type]  # a class has a hash


def is_fitted(objective: object) -> TypeIs[Fitted]:
    """Whether it is `Fitted`, as fast."""
    return _fits(type(objective), Fitted)  # type: ignore[arg-type]  # a class has a hash


@cache
def _fits(kind: type, protocol: type) -> bool:
    return issubclass(kind, protocol)


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossEntropy:
    """Cross-entropy of each image."""

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        return F.cross_entropy(logits, labels, reduction="none")


@dataclass(frozen=True, kw_only=True, slots=True)
class Margin:
    """The largest other logit minus the label's (Carlini and Wagner 2017, arXiv:1608.04644).

    Without the paper's clamp at a confidence, so the gradient does not vanish where the attack has succeeded; nor does
    it where the network is certain, as that of cross-entropy does. Needs at least two classes.
    """

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        others = logits.scatter(1, labels[:, None], -torch.inf)
        return others.amax(1) - _of(logits, labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Logit:
    """Minus the label's logit (Zhao et al. 2021, arXiv:2012.11207).

    Made for targeted attacks: the target's logit goes on rising where the gradient of cross-entropy vanishes. An
    untargeted attack lowers the logit of the true class.
    """

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        return -_of(logits, labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitMargin:
    """Cross-entropy of logits that are divided by the gap between the largest two (Weng et al. 2023, arXiv:2303.03680).

    The gap is a constant of each image, not differentiated, so cross-entropy never saturates: the largest two of the
    scaled logits are 1 apart whatever the network's confidence. This is the paper's margin-based calibration, made for
    targeted attacks; untargeted ones raise the loss of the true class. A gap of less than a millionth of the largest
    logit counts as that much, so that ties stay finite. Needs at least two classes.
    """

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        values = logits.detach()
        top = values.topk(2, 1).values
        least = 1e-6 * values.abs().amax(1) + torch.finfo(logits.dtype).tiny
        gap = torch.maximum(top[:, 0] - top[:, 1], least)
        return F.cross_entropy(logits / gap[:, None], labels, reduction="none")


@dataclass(frozen=True, kw_only=True, slots=True)
class Probability:
    """Minus the label's probability: what attributions of a prediction are gradients of."""

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        return -_of(logits.softmax(1), labels)


def _of(scores: Logits, labels: Labels) -> PerImage:
    """The score of each image's label."""
    return scores.gather(1, labels[:, None])[:, 0]
