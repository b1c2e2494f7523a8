"""What a training keeps on the way, and what it came to."""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from carom.errors import CaromError
from carom.zoo.architectures import Architecture
from carom.zoo.models.classifier import Classifier, Shape, restore, weights
from carom.zoo.preprocessing import Preprocessing

from .accuracy import better_than_guessing
from .state import EpochRecord, Passes


class DivergedError(CaromError):
    """A loss or a logit is not finite: the training is of no use."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Weights that a training passed through and kept.

    Attributes:
        epoch: After so many epochs.
        weights: By name, on the CPU.
        validation_accuracy: Macro.
    """

    epoch: int
    weights: dict[str, Tensor]
    validation_accuracy: float


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training came to.

    Attributes:
        best: Weights after the epoch of the highest validation macro accuracy, or accuracy under attack where the
            recipe asks for it; the latest of equals.
        last: Weights after the last epoch.
        samples: Weights that the recipe asked to keep on the way, in their order.
        diverged: Epochs whose weights were to be kept and were not, as they do no better than guessing.
        memory: What the recipe's losses, updates and hooks kept from step to step.
        best_epoch: From 1.
        history: One record an epoch.
        passes: Forward and backward image passes of the training; validation is not in it.
        seconds: Wall time.
        model_seconds: Of these, in forward and backward passes, validation included.
        architecture: What was trained.
        preprocessing: With which it was trained.
        shape: Of the images.
        classes: How many.
        select: Which weights the recipe keeps.
    """

    best: dict[str, Tensor]
    last: dict[str, Tensor]
    samples: list[Sample]
    diverged: list[int]
    memory: dict[str, Tensor]
    best_epoch: int
    history: list[EpochRecord]
    passes: Passes
    seconds: float
    model_seconds: float
    architecture: Architecture
    preprocessing: Preprocessing
    shape: Shape
    classes: int
    select: Literal["best", "last"]

    def classifier(self, which: Literal["best", "last"] | None = None) -> Classifier:
        """A classifier of its own with the weights that the recipe keeps, or those of `which`; in eval mode."""
        return restore(
            self.architecture,
            self.best if (which or self.select) == "best" else self.last,
            shape=self.shape,
            classes=self.classes,
            preprocessing=self.preprocessing,
        )


@dataclass
class Course:
    """What a training has come to so far."""

    best: dict[str, Tensor]
    history: list[EpochRecord]  # the state's own
    best_epoch: int = 0
    best_accuracy: float = -1.0
    samples: list[Sample] = field(default_factory=list)
    diverged: list[int] = field(default_factory=list)

    def take(self, record: EpochRecord, classifier: Classifier, *, wanted: bool, classes: int) -> None:
        """Count an epoch; keep its weights as a sample where they are wanted and do better than guessing."""
        self.history.append(record)
        accuracy = record.validation_accuracy
        if accuracy is None:
            return
        score = accuracy if record.robust_accuracy is None else record.robust_accuracy
        if score >= self.best_accuracy:
            self.best, self.best_epoch, self.best_accuracy = weights(classifier), record.epoch, score
        if not wanted:
            return
        if better_than_guessing(accuracy, classes):
            self.samples.append(Sample(record.epoch, weights(classifier), accuracy))
        else:
            self.diverged.append(record.epoch)
