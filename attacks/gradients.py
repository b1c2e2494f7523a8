"""What an attack sees of the model that it reads: loss gradients, counted."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import torch
from jaxtyping import Int
from torch import Tensor

from carom.errors import ContractError, InputError, ModelError
from carom.protocols import Classifier, Combination, GradientSource
from carom.typing import Images, Labels, Logits

from .objectives import Objective


@dataclass(frozen=True, slots=True)
class Passes:
    """Image passes: one image through one classifier.

    Attributes:
        forward: From image to logits.
        backward: From loss to image.
    """

    forward: int = 0
    backward: int = 0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(self.forward + other.forward, self.backward + other.backward)


class Stopwatch:
    """Seconds spent in marked places; on a GPU by events, so that measuring waits for nothing."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts the time inside the `with` block."""
        if self._cuda:
            start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            start.record()
            yield
            end.record()
            self._events.append((start, end))
        else:
            began = perf_counter()
            yield
            self._seconds += perf_counter() - began

    @property
    def seconds(self) -> float:
        """The sum so far. On a GPU this waits for the work to end."""
        for start, end in self._events:
            end.synchronize()
            self._seconds += start.elapsed_time(end) / 1000
        self._events.clear()
        return self._seconds


@dataclass
class _Known:
    """What all attacks on one chunk of images share: gradients at the clean images, and that the labels fit."""

    clean: dict[tuple[Objective, int, int, tuple[int, ...]], tuple[Sequence[Classifier], Images]] = field(
        default_factory=dict
    )
    labels_checked: bool = False


class Gradients:
    """Loss gradients of one source at and near some images, with the cost counted.

    The gradient at the clean images themselves is computed once and shared by every object that came from `fresh`:
    by all attacks on a chunk and by a whole grid of eps. It is counted each time all the same: passes are a property
    of the attack, seconds of the run.

    Attributes:
        x: Clean images, `n c h w`, in [0, 1].
        y: True classes, `n`.
        target: Classes that the images should be taken for, `n`; None for untargeted.
        passes: Image passes asked for so far.
        evaluations: How often a gradient was asked for, each for all images.

    Raises:
        InputError: As many labels as images are needed, and no target may be the image's own class.
    """

    def __init__(
        self,
        source: GradientSource,
        x: Images,
        y: Labels,
        target: Labels | None = None,
        *,
        _known: _Known | None = None,
    ) -> None:
        self.source, self.x, self.y, self.target = source, x.detach(), y, target
        self.passes = Passes()
        self.evaluations = 0
        self._watch = Stopwatch(x.device)
        self._zero = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        self._finite = torch.ones((), dtype=torch.bool, device=x.device)
        if _known is None:
            for name, labels in (("labels", y), ("targets", target)):
                if labels is not None and len(labels) != len(x):
                    raise InputError(f"attack: {len(x)} images but {len(labels)} {name}; give one for each image")
            if target is not None and bool((same := target == y).any()):
                at = int(same.nonzero()[0])
                raise InputError(f"attack: image {at} is of its target class {int(y[at])}; choose another target")
        self._known = _known or _Known()

    def fresh(self) -> "Gradients":
        """The same images and source for another attack: counters at zero, gradients at the clean images shared."""
        return Gradients(self.source, self.x, self.y, self.target, _known=self._known)

    def at(
        self,
        x_adv: Images,
        objective: Objective,
        *,
        step: int = 0,
        copy: int = 0,
        through: Callable[[Images], Images] | None = None,
    ) -> Images:
        """The gradient to climb: of the summed loss of `y`, or of minus the summed loss of `target`.

        Do not change the result in place: it may be shared.

        Args:
            x_adv: Where, `n c h w`.
            objective: The loss.
            step: Which step of the attack asks; the source may show other members at another step.
            copy: Which of the passes of this step asks.
            through: What the images go through before the classifiers; differentiated too.

        Raises:
            ModelError: Logits of another shape, not finite, or without a gradient to the images. On a GPU what is not
                finite shows in `check`, since looking at once would make every step wait.
            InputError: A label that the model has no logit for.
            ContractError: `through` changed the shape.
        """
        members = tuple(self.source.members(step, copy))
        if not members:
            raise ModelError(f"surrogate: no active classifier at step {step}; a source shows at least one")
        n = len(x_adv) * len(members)
        self.passes += Passes(n, n)
        self.evaluations += 1
        point = x_adv.detach().requires_grad_()
        if through is None:
            seen = point
        else:
            with self._watch.running(), torch.enable_grad():
                seen = through(point)
        if seen.shape != point.shape:
            raise ContractError(f"a transformation made {tuple(seen.shape)} of images {tuple(point.shape)}")
        if seen is not point:
            outer = self._read(seen.detach(), objective, members)
            with self._watch.running():
                (gradient,) = torch.autograd.grad(seen, point, outer)
        elif x_adv is self.x:
            key = (objective, step, copy, tuple(id(member) for member in members))
            if key not in self._known.clean:  # the members stay alive with it, so no id is used twice
                self._known.clean[key] = (members, self._read(point.detach(), objective, members))
            gradient = self._known.clean[key][1]
        else:
            gradient = self._read(point.detach(), objective, members)
        largest = gradient.abs().flatten(1).amax(1)
        self._zero += largest == 0
        self._finite &= largest.isfinite().all()
        if not self.x.is_cuda:
            self.check()
        return gradient

    def check(self) -> None:
        """Look back at every answer so far.

        Raises:
            ModelError: A logit or a gradient was not finite.
        """
        if not bool(self._finite):
            raise ModelError(
                "surrogate: logits or gradients are not finite; check its weights and preprocessing, and that it "
                "takes images in [0, 1]"
            )

    @property
    def zero_gradients(self) -> Int[Tensor, " n"]:
        """For each image, at how many evaluations its gradient was exactly zero."""
        return self._zero.clone()

    @property
    def seconds(self) -> float:
        """Time inside forward and backward passes, through the transformations too."""
        return self._watch.seconds

    def _read(self, x: Images, objective: Objective, members: Sequence[Classifier]) -> Images:
        x = x.requires_grad_()
        with self._watch.running(), torch.enable_grad():
            if len(members) == 1 or self.source.combination != "loss":
                logits = combined([self._logits(member, x) for member in members], self.source.combination)
                return self._to_images(logits, objective, x)
            total = self._to_images(self._logits(members[0], x), objective, x)
            for member in members[1:]:  # one graph at a time: a sum of losses needs no more
                total = total + self._to_images(self._logits(member, x), objective, x)
            return total / len(members)

    def _logits(self, member: Classifier, x: Images) -> Logits:
        logits = member(x)
        if logits.ndim != 2 or len(logits) != len(x):
            raise ModelError(
                f"surrogate: expected logits {len(x)} x classes, got {tuple(logits.shape)}; a classifier maps images "
                "n c h w to logits n k"
            )
        if not logits.requires_grad:
            raise ModelError(
                "surrogate: its logits carry no gradient to the image; it must be differentiable, without no_grad or "
                "rounding inside"
            )
        self._finite &= logits.detach().isfinite().all()
        if not self._known.labels_checked:
            for labels in (self.y, self.target):
                if (
                    labels is not None
                    and len(labels)
                    and not 0 <= int(labels.min()) <= int(labels.max()) < len(logits[0])
                ):
                    bad = int(labels.max()) if int(labels.min()) >= 0 else int(labels.min())
                    raise InputError(f"attack: label {bad}, but the model has {len(logits[0])} classes (from 0)")
            self._known.labels_checked = True
        return logits

    def _to_images(self, logits: Logits, objective: Objective, x: Images) -> Images:
        loss = objective(logits, self.y) if self.target is None else -objective(logits, self.target)
        (gradient,) = torch.autograd.grad(loss.sum(), x, allow_unused=True)
        if gradient is None:
            raise ModelError("surrogate: its logits do not depend on the image; it must be differentiable")
        return gradient


def combined(logits: Sequence[Logits], combination: Combination) -> Logits:
    """One set of logits for several classifiers: their mean, or the log of their mean probabilities."""
    if len(logits) == 1:
        return logits[0]
    stacked = torch.stack(tuple(logits))
    if combination == "probabilities":
        return stacked.log_softmax(2).logsumexp(0) - math.log(len(logits))
    return stacked.mean(0)
