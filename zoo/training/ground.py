"""What a model is made with beyond the plain training: an attacker's surrogate, a defender's victim."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from carom.draws import stream
from carom.protocols import Classifier as AnyClassifier
from carom.typing import Images, Labels, Logits
from carom.zoo.architectures import Architecture
from carom.zoo.models.classifier import Classifier, Shape, restore
from carom.zoo.preprocessing import Preprocessing
from carom.zoo.tasks.images import ImageSet

from .accuracy import macro_accuracy
from .loop import train
from .recipes import Adapted, Recipe
from .state import Passes
from .trained import Trained

_EVALUATION_BATCH = 256

Weights = Mapping[str, Tensor]
"""A network's parameters and buffers by name, on the CPU, without the preprocessing."""

Progress = Callable[[int, int, dict[str, float]], None]
"""Called with (units done, all units, numbers to show); units are epochs, or what a builder counts instead."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ground:
    """What somebody makes a model with: an attacker his surrogate, a defender his victim.

    Attributes:
        architecture: Of the networks.
        shape: Channels, rows and columns of the images.
        classes: How many.
        preprocessing: Before the network; None for the architecture's own.
        recipe: How the networks that came before were trained, and the augmentation and batch size.
        train: The images to learn from.
        validation: Images to judge by; never test images.
        seed: Of everything random.
        device: Where to work.
        asked: The black box that an extraction asks: float images `n c h w` to scores `n k` or labels `n`.
        judges: Validation victims, for what is chosen by transfer.
        judging: Validation images with labels, for the same; never the victims' test images.
        progress: Told how far it is.
        checkpoint: A file that a training may write to and go on from.
        expected: Weight sets that were to come before; fewer are given where some diverged.
        stored: A folder where a long step may keep what it made, under a name that is a key of what was asked, for a
            resumed or a like job; None keeps nothing.
    """

    architecture: Architecture
    shape: Shape
    classes: int
    preprocessing: Preprocessing | None = None
    recipe: Recipe
    train: ImageSet
    validation: ImageSet
    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    asked: Callable[[Images], Logits | Labels] | None = None
    judges: Sequence[AnyClassifier] = ()
    judging: ImageSet | None = None
    progress: Progress | None = None
    checkpoint: Path | None = None
    expected: int = 1
    stored: Path | None = None

    def classifier(self, weights: Weights) -> Classifier:
        """A network of its own with these weights, in eval mode, on the device.

        Raises:
            ModelError: They are not weights of this architecture.
        """
        return restore(
            self.architecture,
            weights,
            shape=self.shape,
            classes=self.classes,
            preprocessing=self.preprocessing,
        ).to(self.device)

    def accuracy(self, weights: Weights) -> float:
        """Macro accuracy of weights on the validation images; 0 where a logit is not finite."""
        classifier = self.classifier(weights)
        parts = torch.split(self.validation.images, _EVALUATION_BATCH)
        with torch.inference_mode():
            logits = torch.cat([classifier(part.to(self.device).float() / 255) for part in parts]).cpu()
        if not bool(logits.isfinite().all()):
            return 0.0
        labels = self.validation.labels.cpu()
        return macro_accuracy((logits.argmax(1) == labels).float(), labels)

    def trained(self, recipe: Recipe, start: Weights | None = None, *, images: ImageSet | None = None) -> Trained:
        """The one training loop on the images of the ground, or on other `images`; resumes from the checkpoint.

        A training that goes on from `start` draws its order and augmentation anew, not those that `start` has seen.

        Raises:
            InputError: Too few images.
            DivergedError: A loss or a logit is not finite, or no sample does better than guessing.
        """
        way = type(recipe.by).__name__ if isinstance(recipe, Adapted) else "plain"
        return train(
            recipe,
            self.architecture,
            train=self.train if images is None else images,
            validation=self.validation,
            classes=self.classes,
            seed=self.seed if start is None else stream(self.seed, f"onward, {way}"),
            device=self.device,
            preprocessing=self.preprocessing,
            start=start,
            progress=self.progress,
            checkpoint=self.checkpoint,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Built:
    """What a refinement made.

    Attributes:
        members: The weight sets, each whole, in their order.
        passes: Forward and backward image passes that it took; looking at validation images is not in it.
        record: What to note: numbers, strings and lists of them.
    """

    members: tuple[Weights, ...]
    passes: Passes
    record: Mapping[str, object] = field(default_factory=dict)
