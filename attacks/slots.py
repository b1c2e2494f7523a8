"""What a part of an iterative attack is, slot by slot, and what it sees.

In the order in which the loop (`iterative.py`) comes to them: a `Start`; an `Objective`, or a `Fitted` one that makes a
`FeatureLoss` of the clean images; then at each step `Transformation`s, a `Rule`, a `MemberRule`, an `Accumulation` and
a `StepRule`; and a `Path`, along which the networks are read. Transformations see a `View`, what makes up a step sees
a `Look`. A file of the slot's folder has one part.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from typing_extensions import TypeIs

from carom.budget import Budget
from carom.draws import Draws
from carom.protocols import Classifier, Passes, Pool, Reader
from carom.typing import Images, Labels, Logits, PerImage, per_image

Memory = dict[str, Images]
"""What a part keeps from step to step: tensors of all images, none shared by two of them."""

Averaged = Literal["gradients", "logits"]
"""What is averaged over the copies of a transformation."""

Shape = tuple[int, int, int]
"""Channels, rows and columns of an image."""


# ---------------------------------------------------------------------------------------------------------------- start


@runtime_checkable
class Start(Protocol):
    """The first adversarial images: in the ball around the clean ones."""

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images: ...


# ------------------------------------------------------------------------------------------------------------ objective


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
class Guide(Protocol):
    """The images that the attack would make with cross-entropy for its objective."""

    def __call__(self, momentum: "Accumulation | None" = None) -> Images:
        """Those images, `n c h w`.

        Args:
            momentum: In place of the attack's own; None for that.
        """
        ...


@runtime_checkable
class Fitted(Protocol):
    """An objective that first looks at the clean images: feature attacks weigh or aim at what they find there."""

    def fit(self, reader: Reader, budget: Budget, draws: Draws, guide: Guide) -> FeatureLoss:
        """The loss for these images.

        Args:
            reader: The images and their target; passes count.
            budget: Of the attack.
            draws: Randomness.
            guide: The same attack with cross-entropy, for those that start from its result.
        """
        ...

    def passes(self, members: int, distinct: int, guide: Passes) -> Passes:
        """What fitting costs an image.

        Args:
            members: How many classifiers are active at a step.
            distinct: How many there are over all steps; as many as `members` where they do not change.
            guide: What the guide of `fit` costs.
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


# ------------------------------------------------------------------------------------------------------ transformations


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """Which version of the images is asked for.

    Attributes:
        draws: The only source of randomness; image by image.
        budget: Of the attack; radii of transformations are in units of its eps.
        step: The step of the attack.
        index: Which of this transformation's own `copies`.
        copy: Which pass of the step, over all transformations and readings: draws belong to (step, copy).
        y: The images' classes, `n`.
        partners: A fixed pool of images to mix in; None where the attack was given none.
        reading: Which of the step's readings of the gradient; it has a pass for each copy of all transformations.
    """

    draws: Draws
    budget: Budget
    step: int
    index: int
    copy: int
    y: Labels
    partners: Pool | None
    reading: int = 0


@runtime_checkable
class Transformation(Protocol):
    """One of the transformations of an attack; they apply in the written order.

    Attributes:
        copies: How many versions of each image it makes. Copies of several transformations multiply.
        averages: What is averaged over its copies: the gradients, or the logits before the one loss of them all.
    """

    averages: ClassVar[Averaged]

    @property
    def copies(self) -> int: ...

    def image(self, x: Images, view: View) -> Images:
        """The images, `n c h w`, as the model is to see them: of the same shape, differentiable. May be `x` itself."""
        ...

    def gradient(self, gradient: Images) -> Images:
        """What becomes of a gradient that was read, the average over the copies; most leave it as it is."""
        ...


# ------------------------------------------------------------------------------------------------------------- the step


@runtime_checkable
class ReadMembers(Protocol):
    """How a member rule reads gradients."""

    def __call__(self, at: Images, reading: int, member: int | None, inner: int = 0, *, summed: bool = False) -> Images:
        """The gradient at a point, averaged over the copies of the transformations. Do not change it in place.

        What the transformations make of a gradient is done with it: TI has smoothed it.

        Args:
            at: Where, `n c h w`.
            reading: Which of the rule's readings of this step: it settles which classifiers are active.
            member: One of the active members, or None for all as the surrogate combines them.
            inner: Which of the member rule's own steps within this reading; random transformations draw anew for each.
            summed: Of several members, the gradient of the loss of their added logits, however the surrogate combines
                them; as `Reader.at` has it.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """One step of an attack, for its gradient rule, member rule and step rule.

    Attributes:
        x: Clean images, `n c h w`.
        x_adv: Where the attack stands.
        step: Which step, from 0.
        size: Step size in pixel units: linf or l2 length, after the budget's norm.
        unit: What makes a change of 1 in every pixel one of size 1: 1 for linf, 1 / sqrt(pixels) for l2.
        budget: The ball.
        draws: Randomness, image by image; a draw of the n-th extra reading has `copy=n`.
        momentum: What was accumulated before this step; None at the first step or without momentum.
        decay: How much of it this step keeps; 0 without momentum.
        members: How many classifiers are active.
        read_members: How member rules read one member, or all; rules call `read`.
        read_by: How the member rule makes one gradient of all members at (point, reading).
        smooth: What the transformations make of a gradient: TI smooths it. Every gradient that is read has been
            through it; a part that smooths once more, as SVRE does with what its walk led to, says so.
    """

    x: Images
    x_adv: Images
    step: int
    size: float
    unit: float
    budget: Budget
    draws: Draws
    momentum: Images | None
    decay: float
    members: int
    read_members: ReadMembers
    read_by: Callable[["Look", Images, int], Images]
    smooth: Callable[[Images], Images]

    @property
    def ahead(self) -> Images | None:
        """Where the momentum alone would move it, in pixel units; None at the first step or without momentum."""
        return None if self.momentum is None else self.momentum * (self.size * self.unit * self.decay)

    def read(self, at: Images, reading: int = 0) -> Images:
        """The gradient anywhere. Do not change it in place.

        Args:
            at: Where, `n c h w`.
            reading: Which of the readings of this step; random transformations draw anew for each.
        """
        return self.read_by(self, at, reading)

    def stride(self, gradient: Images) -> Images:
        """A change along this gradient whose mean absolute value is that of a linf step: `size` times `unit`.

        Under linf it goes as far as a step does, if not in every pixel. Under l2 it is longer than a step, by the ratio
        of the gradient's root mean square to its mean absolute value: 1.25 for normal values, more for sparse ones.
        """
        return mean_one(gradient).mul_(self.size * self.unit)


@runtime_checkable
class Rule(Protocol):
    """One step's gradient.

    Attributes:
        reads: How often one step calls `look.read`.
        needs_momentum: Whether it makes no sense without momentum.
    """

    needs_momentum: ClassVar[bool]

    @property
    def reads(self) -> int: ...

    def __call__(self, look: Look, memory: Memory) -> Images:
        """The gradient to follow from `look.x_adv`.

        Args:
            look: The step, and how to read gradients.
            memory: What this rule kept at earlier steps of this attack on these images; empty at the first.
        """
        ...


@runtime_checkable
class MemberRule(Protocol):
    """One gradient of all active members."""

    def passes(self, members: int) -> int:
        """Gradients of single members that one reading costs."""
        ...

    def __call__(self, look: Look, at: Images, reading: int, memory: Memory) -> Images:
        """The gradient at `at`.

        Args:
            look: The step; `look.read_members` reads one member, or all as the surrogate combines them.
            at: Where, `n c h w`.
            reading: Which of the readings of this step.
            memory: What this rule kept at earlier steps.
        """
        ...


@runtime_checkable
class Accumulation(Protocol):
    """What the gradients of this and earlier steps make together: the direction that the step rule follows.

    Attributes:
        decay: How much of it the next step keeps; a look-ahead goes that far along it.
    """

    @property
    def decay(self) -> float: ...

    def __call__(self, look: Look, gradient: Images, memory: Memory) -> Images:
        """The direction of this step.

        Args:
            look: The step; `look.momentum` is the direction of the step before.
            gradient: What the rule made of this step's readings. It may be shared: do not change it in place.
            memory: What this accumulation kept at earlier steps.
        """
        ...


@runtime_checkable
class StepRule(Protocol):
    """Where one step leads; the loop projects into the ball after it."""

    def __call__(self, look: Look, direction: Images, memory: Memory) -> Images:
        """The next point, not yet projected.

        Args:
            look: The step.
            direction: The gradient, or the momentum where the attack has one.
            memory: What this rule kept at earlier steps.
        """
        ...


def mean_one(gradient: Images) -> Images:
    """Each image divided by its mean absolute value, in memory of its own; a zero image stays zero."""
    mean = gradient.abs().flatten(1).mean(1)
    if gradient.is_cuda or bool(((mean < 1e-30) | (mean > 1e30)).any()):  # on a GPU asking would wait
        # A tiny mean would lose its digits or become 0, a huge one overflow. Dividing by a power of two is exact, so
        # both ways give the same bits for all other images.
        largest = gradient.abs().flatten(1).amax(1)
        gradient = gradient / per_image(torch.where(largest > 0, largest / torch.frexp(largest).mantissa, 1.0))
        mean = gradient.abs().flatten(1).mean(1)
    return gradient / per_image(torch.where(mean > 0, mean, 1.0))


# ----------------------------------------------------------------------------------------------------------------- path


@runtime_checkable
class Path(Protocol):
    """Where the gradient flows inside a network: the forward value stays, the backward path changes.

    A frozen dataclass: it is part of the attack's key, and each classifier is rebuilt once for each path.
    """

    def __call__(self, classifier: nn.Module, shape: Shape | None = None) -> nn.Module:
        """A rebuilt module that shares parameters and buffers with `classifier`, which stays as it was (`rebuilt`).

        Args:
            classifier: What to rebuild.
            shape: Channels, rows and columns of the images to come; None where only the classifier can tell.

        Raises:
            ModelError: The network has no place that this path could change.
        """
        ...


@runtime_checkable
class Redrawn(Protocol):
    """A rebuilt module with random parts of its own, as ghost networks are."""

    def redraw(self, draws: Draws, step: int, copy: int, member: int) -> None:
        """Take the parts that belong to these four, until the next call; all images have them in common.

        Args:
            draws: Randomness.
            step: As in `Reader.at`.
            copy: As in `Reader.at`.
            member: The network's place among those that are active.
        """
        ...
