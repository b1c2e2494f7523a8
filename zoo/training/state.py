"""Where a training stands: what losses, updates and hooks may read."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from carom import protocols
from carom.typing import Ids, Images, Labels
from carom.zoo.models.classifier import Classifier
from carom.zoo.tasks.images import ImageSet


@dataclass
class Passes:
    """Work done, in images: how many went forward, and how many backward, through the network being trained."""

    forward: int = 0
    backward: int = 0

    def __add__(self, other: "Passes | protocols.Passes") -> "Passes":
        return Passes(self.forward + other.forward, self.backward + other.backward)


@dataclass(frozen=True, eq=False)
class Batch:
    """Images of one step.

    Attributes:
        images: `n c h w` in [0, 1], augmented.
        labels: `n`.
        ids: `n`, the images' ids.
        index: `n`, the images' places in the training set.
    """

    images: Images
    labels: Labels
    ids: Ids
    index: Int[Tensor, " n"]


@dataclass(eq=False)
class State:
    """Where a training stands: what losses, updates and hooks may read.

    Attributes:
        classifier: In training mode.
        optimizer: Of its parameters.
        seed: Of the training.
        epochs: How many there will be.
        steps: How many there will be, over all epochs.
        generator: Of draws that belong to the epoch; on the CPU, seeded by (seed, "recipe", epoch).
        passes: Counted so far.
        model_seconds: Time in them so far.
        epoch: The present one, from 0.
        step: The present one, from 0, over all epochs.
        batch: The present one.
        memory: What losses, updates and hooks keep from step to step, by name; part of a checkpoint.
        images: The training images, on the device; for what looks at more than a batch.
        judges: The validation images, on the device.
        stop: Set by a hook of an epoch, ends the training after it.
        history: Records of the epochs before the present one.
    """

    classifier: Classifier
    optimizer: torch.optim.Optimizer
    images: ImageSet
    judges: ImageSet
    seed: int
    epochs: int
    steps: int
    generator: torch.Generator
    passes: Passes = field(default_factory=Passes)
    model_seconds: float = 0.0
    epoch: int = 0
    step: int = 0
    batch: Batch | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)
    stop: bool = False
    history: list["EpochRecord"] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch came to.

    Attributes:
        epoch: From 1.
        loss: Mean over its steps.
        train_accuracy: On augmented images, while the weights moved.
        validation_accuracy: Macro: the mean over classes; None where it was not looked at.
        robust_accuracy: Under the recipe's attack on validation images; None where it has none.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    robust_accuracy: float | None = None
