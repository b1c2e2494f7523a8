"""The training loop: the one way in which weights come to be."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from carom.draws import stream
from carom.errors import CaromError, InputError
from carom.typing import Ids, Images, Labels, PerImage

from .architectures import Architecture
from .augment import draw, warp
from .classifier import Classifier, Preprocessing, Shape, create, load_weights, restore, weights
from .images import ImageSet
from .recipes import Recipe

_CHUNK = 1024  # images augmented at a time
_EVALUATION_BATCH = 256


class DivergedError(CaromError):
    """A loss or a logit is not finite: the training is of no use."""


@dataclass
class Passes:
    """Work done, in images: how many went forward, and how many backward, through the network being trained."""

    forward: int = 0
    backward: int = 0


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
    """

    classifier: Classifier
    optimizer: torch.optim.Optimizer
    seed: int
    epochs: int
    steps: int
    generator: torch.Generator
    passes: Passes = field(default_factory=Passes)
    model_seconds: float = 0.0
    epoch: int = 0
    step: int = 0
    batch: Batch | None = None


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """What one epoch came to.

    Attributes:
        epoch: From 1.
        loss: Mean over its steps.
        train_accuracy: On augmented images, while the weights moved.
        validation_accuracy: Macro: the mean over classes.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training came to.

    Attributes:
        best: Weights after the epoch of the highest validation macro accuracy; the latest of equals.
        last: Weights after the last epoch.
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


def train(
    recipe: Recipe,
    architecture: Architecture,
    *,
    train: ImageSet,
    validation: ImageSet,
    classes: int,
    seed: int,
    device: str | torch.device = "cpu",
    preprocessing: Preprocessing | None = None,
    start: Mapping[str, Tensor] | None = None,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Trained:
    """Train one classifier.

    All that is random (initialisation, order, augmentation, dropout) is keyed by (seed, purpose, epoch); the caller's
    generators and number of threads stay as they were. Same arguments, same weights, bit for bit on one machine.

    Args:
        recipe: How.
        architecture: What.
        train: Images to learn from, at least 2.
        validation: Images to select the epoch by; never test images.
        classes: How many.
        seed: Of everything random.
        device: Where.
        preprocessing: Before the network; None for the architecture's own.
        start: Weights to start from instead of fresh ones.
        progress: Called after each epoch with the epochs done, all epochs, and the numbers of the epoch's record.

    Raises:
        InputError: Too few images, labels beyond the classes, or other shapes.
        DivergedError: A loss or a logit is not finite.
    """
    _check(train, validation, classes)
    shape: Shape = (int(train.images.shape[1]), int(train.images.shape[2]), int(train.images.shape[3]))
    device = torch.device(device)
    began = time.perf_counter()
    with _reproducible(recipe.threads, device):
        classifier = create(
            architecture,
            shape=shape,
            classes=classes,
            seed=seed,
            preprocessing=preprocessing,
            pretrained=start is None,
        )
        if start is not None:
            load_weights(classifier, start, where="start")
        # measured on one core, 64 images of 1x16x16: 1.1 to 1.8 times as fast as n c h w, for every architecture here
        classifier = classifier.to(device).to(memory_format=torch.channels_last).train()
        slots = recipe.slots()
        optimizer = slots.optimizer(classifier)
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        steps = -(-len(train) // recipe.batch_size)
        state = State(classifier, optimizer, seed, recipe.epochs, steps * recipe.epochs, torch.Generator())
        on_device = ImageSet(train.images.to(device), train.labels.to(device), train.ids.to(device))
        judges = ImageSet(validation.images.to(device), validation.labels.to(device), validation.ids.to(device))
        history: list[EpochRecord] = []
        best, best_epoch = weights(classifier), 0

        for epoch in range(recipe.epochs):
            state.epoch = epoch
            state.generator.manual_seed(stream(seed, "recipe", epoch))
            _seed_dropout(seed, epoch, device)
            classifier.train()
            losses, right = [], []
            for batch in _batches(on_device, steps, recipe, seed, epoch):
                state.batch = batch
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * slots.schedule(state.step / state.steps)
                results: list[tuple[Tensor, Tensor]] = []

                def gradient(batch: Batch = batch, results: list[tuple[Tensor, Tensor]] = results) -> None:
                    optimizer.zero_grad()
                    start = time.perf_counter()
                    loss, logits = slots.loss(state, batch.images, batch.labels)
                    torch.autograd.backward(loss)
                    state.model_seconds += time.perf_counter() - start
                    state.passes.forward += len(batch.images)
                    state.passes.backward += len(batch.images)
                    results.append((loss.detach(), logits.detach()))

                slots.update(state, gradient)
                loss, logits = results[0]
                losses.append(loss)
                right.append((logits.argmax(1) == batch.labels).sum())
                for hook in slots.after_step:
                    hook(state)
                state.step += 1
            for hook in slots.after_epoch:
                hook(state)
            validating = time.perf_counter()
            accuracy = _validate(classifier, judges, epoch)
            state.model_seconds += time.perf_counter() - validating
            record = EpochRecord(
                epoch=epoch + 1,
                loss=_finite_mean(losses, epoch),
                train_accuracy=float(torch.stack(right).sum()) / len(train),
                validation_accuracy=accuracy,
            )
            history.append(record)
            if not best_epoch or record.validation_accuracy >= history[best_epoch - 1].validation_accuracy:
                best, best_epoch = weights(classifier), epoch + 1
            if progress is not None:
                progress(
                    epoch + 1,
                    recipe.epochs,
                    {
                        "loss": record.loss,
                        "train_accuracy": record.train_accuracy,
                        "validation_accuracy": record.validation_accuracy,
                    },
                )
        last = weights(classifier)
    return Trained(
        best=best,
        last=last,
        best_epoch=best_epoch,
        history=history,
        passes=state.passes,
        seconds=time.perf_counter() - began,
        model_seconds=state.model_seconds,
        architecture=architecture,
        preprocessing=classifier.preprocessing,
        shape=shape,
        classes=classes,
        select=recipe.select,
    )


def macro_accuracy(right: PerImage, labels: Labels) -> float:
    """Mean over the classes that occur of the mean of `right` (1 or 0 an image) within the class."""
    totals = torch.bincount(labels)
    hits = torch.bincount(labels, weights=right.double())
    return float((hits[totals > 0] / totals[totals > 0]).mean())


def _check(train: ImageSet, validation: ImageSet, classes: int) -> None:
    if len(train) < 2 or not len(validation):
        raise InputError(
            f"training: {len(train)} training and {len(validation)} validation images; expected at least 2 and 1"
        )
    if train.images.shape[1:] != validation.images.shape[1:]:
        raise InputError(
            f"training: training images are {tuple(train.images.shape[1:])}, "
            f"validation images {tuple(validation.images.shape[1:])}; expected one shape"
        )
    for name, part in (("training", train), ("validation", validation)):
        low, high = int(part.labels.min()), int(part.labels.max())
        if low < 0 or high >= classes:
            raise InputError(f"training: {name} labels run from {low} to {high}; expected 0 to {classes - 1}")


@contextmanager
def _reproducible(threads: int, device: torch.device) -> Iterator[None]:
    """Global generators and the number of threads are put back afterwards."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _seed_dropout(seed: int, epoch: int, device: torch.device) -> None:
    # not torch.manual_seed, which would also seed devices that are not forked here
    torch.default_generator.manual_seed(stream(seed, "dropout", epoch))
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(stream(seed, "dropout", epoch))


def _batches(images: ImageSet, steps: int, recipe: Recipe, seed: int, epoch: int) -> Iterator[Batch]:
    """All images once, in random order, in `steps` batches of nearly equal size.

    Nearly equal, because batch norm has no statistics of a last batch of one image.
    """
    n, size = len(images), (int(images.images.shape[2]), int(images.images.shape[3]))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(stream(seed, "order", epoch)))
    maps = draw(recipe, n, size, torch.Generator().manual_seed(stream(seed, "augmentation", epoch)))
    parts = order.tensor_split(steps)
    many = max(1, _CHUNK // recipe.batch_size)
    for first in range(0, steps, many):
        chunk = parts[first : first + many]
        index = torch.cat(chunk)
        some = images.select(index.to(images.images.device))
        warped = warp(some.pixels, None if maps is None else maps[index])
        warped = warped.to(memory_format=torch.channels_last)
        sizes = [len(part) for part in chunk]
        yield from map(Batch, *(torch.split(t, sizes) for t in (warped, some.labels, some.ids)), chunk)


def _finite_mean(losses: list[Tensor], epoch: int) -> float:
    values = torch.stack(losses).float()
    finite = values.isfinite()
    if not bool(finite.all()):
        step = int((~finite).nonzero()[0, 0])
        raise DivergedError(
            f"training: the loss is {float(values[step])} at epoch {epoch + 1}, step {step + 1} of {len(losses)}; "
            "lower the learning rate, or check the images"
        )
    return float(values.mean())


def _validate(classifier: Classifier, images: ImageSet, epoch: int) -> float:
    classifier.eval()
    with torch.inference_mode():
        logits = torch.cat([classifier(part.float() / 255) for part in torch.split(images.images, _EVALUATION_BATCH)])
    if not bool(logits.isfinite().all()):
        raise DivergedError(
            f"training: logits are not finite after epoch {epoch + 1}; lower the learning rate, or check the images"
        )
    return macro_accuracy((logits.argmax(1) == images.labels).float(), images.labels)
