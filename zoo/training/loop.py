"""The training loop: the one way in which weights come to be."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from carom import protocols
from carom.draws import stream
from carom.errors import CaromError, InputError
from carom.files import read_state, write_state
from carom.identity import content_key, tensor_digest
from carom.typing import Ids, Images, Labels, PerImage
from carom.zoo.architectures import Architecture
from carom.zoo.models.classifier import Classifier, Preprocessing, Shape, create, load_weights, restore, weights
from carom.zoo.tasks.images import ImageSet

from .augment import draw, warp
from .recipes import Recipe

_CHUNK = 1024  # images augmented at a time
_EVALUATION_BATCH = 256
_SECONDS_BETWEEN_CHECKPOINTS = 10.0  # what a kill can cost, at least
_SHARE_OF_CHECKPOINTS = 0.05  # of the time may go into writing them: those of many large samples are rarer


class DivergedError(CaromError):
    """A loss or a logit is not finite: the training is of no use."""


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
    checkpoint: Path | None = None,
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
        checkpoint: A file to go on from, where one of the same training is there, and to write now and then after an
            epoch; removed at the end. What is resumed equals what was never interrupted, bit for bit.

    Raises:
        InputError: Too few images, labels beyond the classes, or other shapes.
        DivergedError: A loss or a logit is not finite, or no sample of several does better than guessing.
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
        steps = max(1, round(slots.part * -(-len(train) // recipe.batch_size)))
        on_device = ImageSet(train.images.to(device), train.labels.to(device), train.ids.to(device))
        judges = ImageSet(validation.images.to(device), validation.labels.to(device), validation.ids.to(device))
        total = steps * recipe.epochs
        state = State(classifier, optimizer, on_device, judges, seed, recipe.epochs, total, torch.Generator())
        course = _Course(best=weights(classifier), history=state.history)
        saved = None
        if checkpoint is not None:
            same = content_key(recipe, architecture, seed, train.digest, validation.digest, start_digest(start))
            saved = _Checkpoint(checkpoint, same)
            saved.load(state, course)

        for epoch in range(len(course.history), recipe.epochs):
            state.epoch = epoch
            state.generator.manual_seed(stream(seed, "recipe", epoch))
            _seed_dropout(seed, epoch, device)
            classifier.train()
            losses, right, seen = [], [], 0
            for batch in _batches(on_device, steps, slots.part, recipe, seed, epoch):
                state.batch = batch
                factor = slots.schedule(state.step / state.steps)
                if slots.factor is not None:
                    factor *= slots.factor(state)
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
                results: list[tuple[Tensor, Tensor]] = []

                def gradient(batch: Batch = batch, results: list[tuple[Tensor, Tensor]] = results) -> None:
                    optimizer.zero_grad()
                    start = time.perf_counter()
                    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                        loss, logits = slots.loss(state, batch.images, batch.labels)
                    try:
                        torch.autograd.backward(loss)
                    except RuntimeError as error:
                        raise _once_only(error) from None
                    state.model_seconds += time.perf_counter() - start
                    state.passes.forward += len(batch.images)
                    state.passes.backward += len(batch.images)
                    results.append((loss.detach(), logits.detach()))

                slots.update(state, gradient)
                loss, logits = results[0]
                losses.append(loss)
                right.append((logits.argmax(1) == batch.labels).sum())
                seen += len(batch.images)
                for hook in slots.after_step:
                    hook(state)
                state.step += 1
            for hook in slots.after_epoch:
                hook(state)
            wanted = slots.collect is not None and slots.collect(epoch + 1)
            record = EpochRecord(
                epoch=epoch + 1,
                loss=_finite_mean(losses, epoch),
                train_accuracy=float(torch.stack(right).sum()) / seen,
                validation_accuracy=_validate(state, judges)
                if wanted or slots.collect is None or epoch + 1 == recipe.epochs
                else None,
                robust_accuracy=None if slots.robust is None else slots.robust(state),
            )
            course.take(record, classifier, wanted=wanted, classes=classes)
            if saved is not None and epoch + 1 < recipe.epochs and not state.stop:
                saved.write(state, course)
            if progress is not None:
                numbers = {k: v for k, v in asdict(record).items() if k != "epoch" and v is not None}
                progress(epoch + 1, recipe.epochs, numbers)
            if state.stop:
                break
        last = weights(classifier)
    if course.diverged and not course.samples:
        raise DivergedError(
            f"training: none of the {len(course.diverged)} samples does better than guessing; lower the learning rate"
        )
    if saved is not None:
        saved.remove()
    return Trained(
        best=course.best,
        last=last,
        samples=course.samples,
        diverged=course.diverged,
        memory=state.memory,
        best_epoch=course.best_epoch,
        history=course.history,
        passes=state.passes,
        seconds=time.perf_counter() - began,
        model_seconds=state.model_seconds,
        architecture=architecture,
        preprocessing=classifier.preprocessing,
        shape=shape,
        classes=classes,
        select=recipe.select,
    )


def _once_only(error: RuntimeError) -> Exception:
    """A way of training that differentiates twice meets a layer that can be differentiated once."""
    if "derivative for" not in str(error):
        return error
    return InputError(
        f"training: {str(error).splitlines()[0]}; this way of training differentiates twice, which this architecture "
        "does not allow; use another of either"
    )


def start_digest(start: Mapping[str, Tensor] | None) -> str | None:
    """What a training starts from, by its content."""
    return None if start is None else tensor_digest(start)


@dataclass
class _Course:
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


@dataclass
class _Checkpoint:
    """A training's whole state in one file, after an epoch."""

    path: Path
    same: str
    written: float = field(default_factory=time.monotonic)
    took: float = 0.0

    def load(self, state: State, course: _Course) -> None:
        """Go on from the file; where there is none, it is damaged, or of another training, from the beginning."""
        found = read_state(self.path, self.same)
        if found is None:
            return
        load_weights(state.classifier, found["weights"], where=str(self.path))
        state.optimizer.load_state_dict(found["optimizer"])
        state.step, state.passes = found["step"], Passes(*found["passes"])
        state.model_seconds = found["model_seconds"]
        state.memory = {name: tensor.to(state.images.labels.device) for name, tensor in found["memory"].items()}
        course.best, course.best_epoch, course.best_accuracy = found["best"]
        course.history[:] = [EpochRecord(**record) for record in found["history"]]
        course.samples = [Sample(*sample) for sample in found["samples"]]
        course.diverged = found["diverged"]

    def write(self, state: State, course: _Course) -> None:
        """After an epoch, where the last time is long enough ago."""
        began = time.monotonic()
        if began - self.written < max(_SECONDS_BETWEEN_CHECKPOINTS, self.took / _SHARE_OF_CHECKPOINTS):
            return
        content = {
            "weights": weights(state.classifier),
            "optimizer": state.optimizer.state_dict(),
            "step": state.step,
            "passes": (state.passes.forward, state.passes.backward),
            "model_seconds": state.model_seconds,
            "memory": state.memory,
            "best": (course.best, course.best_epoch, course.best_accuracy),
            "history": [asdict(record) for record in course.history],
            "samples": [(s.epoch, s.weights, s.validation_accuracy) for s in course.samples],
            "diverged": course.diverged,
        }
        write_state(self.path, self.same, content)
        self.written = time.monotonic()
        self.took = (self.written - began) if _SECONDS_BETWEEN_CHECKPOINTS else 0.0

    def remove(self) -> None:
        """The training is done."""
        self.path.unlink(missing_ok=True)


def better_than_guessing(accuracy: float, classes: int) -> bool:
    """Whether weights are of use: by a fifth."""
    return accuracy > 1.2 / classes


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


def _batches(images: ImageSet, steps: int, part: float, recipe: Recipe, seed: int, epoch: int) -> Iterator[Batch]:
    """All images once, or a part of them, in random order, in `steps` batches of nearly equal size.

    Nearly equal, because batch norm has no statistics of a last batch of one image.
    """
    n, size = len(images), (int(images.images.shape[2]), int(images.images.shape[3]))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(stream(seed, "order", epoch)))
    maps = draw(recipe, n, size, torch.Generator().manual_seed(stream(seed, "augmentation", epoch)))
    if part < 1:
        order = order[: max(2, round(part * n))]
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


def _validate(state: State, images: ImageSet) -> float:
    """Macro accuracy; its time counts as the model's, its passes do not."""
    began = time.perf_counter()
    classifier, epoch = state.classifier.eval(), state.epoch
    with torch.inference_mode():
        logits = torch.cat([classifier(part.float() / 255) for part in torch.split(images.images, _EVALUATION_BATCH)])
    if not bool(logits.isfinite().all()):
        raise DivergedError(
            f"training: logits are not finite after epoch {epoch + 1}; lower the learning rate, or check the images"
        )
    accuracy = macro_accuracy((logits.argmax(1) == images.labels).float(), images.labels)
    state.model_seconds += time.perf_counter() - began
    return accuracy
