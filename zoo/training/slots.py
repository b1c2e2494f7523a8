"""What a recipe fills and the training loop calls: loss, update, optimizer, schedule, hooks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carom.typing import Images, Labels, Logits

from .state import State


@runtime_checkable
class Loss(Protocol):
    """What a step makes smaller."""

    def __call__(self, state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
        """The loss of one batch, and the logits that its training accuracy is read from.

        Args:
            state: The classifier (in training mode), and where the training stands. What a loss draws comes from
                `state.generator` or from draws of (state.seed, purpose, state.epoch); passes beyond one forward and one
                backward per image are added to `state.passes`.
            x: Augmented images in [0, 1], `n c h w`; `state.batch` has their ids.
            y: Classes, `n`.
        """
        ...


@runtime_checkable
class Update(Protocol):
    """How a loss changes the weights."""

    def __call__(self, state: State, gradient: Callable[[], None]) -> None:
        """One step of `state.optimizer`.

        Args:
            state: Where the training stands.
            gradient: Sets every parameter's gradient to that of the batch's loss at the present weights. May be called
                again after the weights moved, as sharpness-aware minimisation does.
        """
        ...


def cross_entropy(label_smoothing: float = 0.0) -> Loss:
    """Mean cross-entropy of a batch."""

    def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
        logits = state.classifier(x)
        return nn.functional.cross_entropy(logits, y, label_smoothing=label_smoothing), logits

    return loss


def descend(state: State, gradient: Callable[[], None]) -> None:
    """Follow the gradient."""
    gradient()
    state.optimizer.step()


@dataclass(frozen=True, kw_only=True)
class Slots:
    """The functions that the training loop calls.

    Attributes:
        optimizer: From the classifier to an optimizer of its parameters.
        schedule: From the part of the steps that is done, in [0, 1), to the factor on the optimizer's learning rates.
        loss: What a step makes smaller.
        update: How.
        after_step: Called after each step.
        after_epoch: Called after each epoch, before its validation.
        part: Part of the images that an epoch sees, freshly drawn each time; 1 for all of them.
        collect: From the number of epochs done to whether the weights are kept as a sample of the training; None keeps
            none. Where samples are kept, other epochs are not validated.
        factor: A further factor on the learning rates, asked before each step: what a schedule cannot know beforehand.
        robust: Accuracy in [0, 1] under attack on images of `state.judges`, asked after each epoch, with the classifier
            in eval mode; the best epoch is then that of the highest, not that of the highest clean accuracy. Its passes
            are looking, not training: they are not counted.
    """

    optimizer: Callable[[nn.Module], torch.optim.Optimizer]
    schedule: Callable[[float], float]
    loss: Loss
    update: Update = descend
    after_step: tuple[Callable[[State], None], ...] = ()
    after_epoch: tuple[Callable[[State], None], ...] = ()
    part: float = 1.0
    collect: Callable[[int], bool] | None = None
    factor: Callable[[State], float] | None = None
    robust: Callable[[State], float] | None = None
