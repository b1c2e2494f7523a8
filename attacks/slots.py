"""What the parts of an iterative attack see at one step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from carom.budget import Budget
from carom.draws import Draws
from carom.typing import Images, per_image

Memory = dict[str, Images]
"""What a part keeps from step to step: tensors of all images, none shared by two of them."""


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
                them; as `Gradients.at` has it.
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
