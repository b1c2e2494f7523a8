"""What an attack sees of its target: gradients and answers, counted."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from carom.attacks.objectives.logit import FeatureLoss, Objective, reads_features
from carom.attacks.queries.oracle import Oracle
from carom.draws import Draws
from carom.errors import ContractError, InputError, ModelError
from carom.protocols import Classifier, Combination, DrawnSource, GradientSource, Passes
from carom.typing import Images, Labels, Logits, PerImage

from .networks import Path, Ready
from .partners import Partners


class Stopwatch:
    """Seconds spent in marked places; on a GPU by events, so that measuring waits for nothing.

    A place marked inside another counts once.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds = 0.0
        self._inside = False
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Counts the time inside the `with` block."""
        if self._inside:
            yield
            return
        self._inside = True
        try:
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
        finally:
            self._inside = False

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

    clean: dict[tuple[object, ...], tuple[Sequence[Classifier], Images, Tensor, Tensor]] = field(default_factory=dict)
    labels_checked: bool = False


class Gradients:
    """What an attack sees: some images, and near them its target's gradients and answers, with the cost counted.

    The gradient at the clean images themselves is computed once and shared by every object that came from `fresh`:
    by all attacks on a chunk and by a whole grid of eps. It is counted each time all the same: passes are a property
    of the attack, seconds of the run.

    Attributes:
        x: Clean images, `n c h w`, in [0, 1].
        y: True classes, `n`.
        target: Classes that the images should be taken for, `n`; None for untargeted.
        partners: A pool of images to mix in; None where there is none.
        oracle: The answers that a query attack may buy; None where there is no target to ask.
        passes: Image passes asked for so far.
        evaluations: How often a gradient was asked for, each for all images.
        columns: What the attack notes of each image beside the image itself, by name, each `n`.

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
        ready: Ready | None = None,
        partners: Partners | None = None,
        oracle: Oracle | None = None,
        _known: _Known | None = None,
    ) -> None:
        self.source, self.x, self.y, self.target = source, x.detach(), y, target
        self.ready, self.partners, self.oracle = ready or Ready(), partners, oracle
        self.ready.shape = x.shape[1], x.shape[2], x.shape[3]
        self.passes = Passes()
        self.evaluations = 0
        self.columns: dict[str, Tensor] = {}
        self._path: Path | None = None
        self._draws: Draws | None = None
        self._now = 0, 0
        self._places: dict[int, int] = {}  # of the members that are active now, by id
        self._redraws = isinstance(source, DrawnSource) and source.redraws()
        self._readings = 0
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

    def fresh(self, oracle: Oracle | None = None) -> "Gradients":
        """The same images and source for another attack: counters at zero, gradients at the clean images shared."""
        return Gradients(
            self.source,
            self.x,
            self.y,
            self.target,
            ready=self.ready,
            partners=self.partners,
            oracle=oracle,
            _known=self._known,
        )

    @contextmanager
    def along(self, path: Path | None, draws: Draws) -> Iterator[None]:
        """Inside the `with` block, read along this model path; its random parts come from `draws`."""
        before = self._path, self._draws
        self._path, self._draws = path, draws
        try:
            yield
        finally:  # what comes after, such as queries, sees the target as it is
            self._path, self._draws = before

    def members(self, step: int = 0, copy: int = 0) -> tuple[Classifier, ...]:
        """The classifiers that are active at this step for this copy, as the source shows them.

        Raises:
            ModelError: There is none.
        """
        members = tuple(self.source.members(step, copy))
        if not members:
            raise ModelError(f"surrogate: no active classifier at step {step}; a source shows at least one")
        return members

    def at(
        self,
        x_adv: Images,
        objective: Objective | FeatureLoss,
        *,
        step: int = 0,
        copy: int = 0,
        member: int | None = None,
        summed: bool = False,
        through: Callable[[Images], Images] | None = None,
    ) -> Images:
        """The gradient to climb: of the summed loss of `y`, or of minus the summed loss of `target`.

        Do not change the result in place: it may be shared.

        Args:
            x_adv: Where, `n c h w`.
            objective: The loss. That of a `FeatureLoss` is climbed as it is, targeted or not.
            step: Which step of the attack asks; the source may show other members at another step.
            copy: Which of the passes of this step asks.
            member: Only this one of the active members; None for all of them.
            summed: The loss of the members' added logits, whatever the source makes of several answers. Losses of
                features are averaged all the same.
            through: What the images go through before the classifiers; differentiated too.

        Raises:
            ModelError: Logits of another shape, not finite, or without a gradient to the images. On a GPU what is not
                finite shows in `check`, since looking at once would make every step wait.
            InputError: A label that the model has no logit for.
            ContractError: `through` changed the shape.
        """
        members = self._active(step, copy, member)
        n = len(x_adv) * len(members)
        self.passes += Passes(n, n)
        self.evaluations += 1
        point = x_adv.detach().requires_grad_()
        if through is None:
            seen = point
        else:
            with self._watch.running(), torch.enable_grad():
                seen = through(point)
        if _of_shape(seen, point) is not point:
            outer = self._read(seen.detach(), objective, members, summed=summed)
            with self._watch.running():
                (gradient,) = torch.autograd.grad(seen, point, outer)
        elif x_adv is self.x and not reads_features(objective):
            # a source may change the weights of its members in place from step to step
            drawn = None if self._path is None else self._draws  # without a path nothing is
            key = (objective, step, copy, summed, self._path, drawn, *(id(member) for member in members))
            if key not in self._known.clean:  # the members stay alive with it, so no id is used twice
                self._known.clean[key] = (
                    members,
                    *_looked_at(self._read(point.detach(), objective, members, summed=summed)),
                )
            return self._noted(*self._known.clean[key][1:])
        else:
            gradient = self._read(point.detach(), objective, members, summed=summed)
        return self._noted(*_looked_at(gradient))

    def at_versions(
        self,
        x_adv: Images,
        objective: Objective | FeatureLoss,
        versions: Mapping[int, Callable[[Images], Images]],
        *,
        step: int = 0,
        member: int | None = None,
        summed: bool = False,
    ) -> Images:
        """As `at`, for several versions of the images: the gradient of one loss of their averaged logits.

        Args:
            x_adv: As in `at`.
            objective: The loss; of several versions one of logits, not of features.
            versions: For each copy, what the images go through. One alone is `at`.
            step: As in `at`.
            member: As in `at`.
            summed: As in `at`.

        Raises:
            ModelError: As for `at`.
            InputError: As for `at`.
            ContractError: As for `at`.
        """
        if len(versions) == 1:
            ((copy, through),) = versions.items()
            return self.at(x_adv, objective, step=step, copy=copy, member=member, summed=summed, through=through)
        assert not reads_features(objective)
        self.evaluations += 1
        point = x_adv.detach().requires_grad_()
        each = []
        with self._watch.running(), torch.enable_grad():
            for copy, through in versions.items():
                members = self._active(step, copy, member)
                self.passes += Passes(len(x_adv) * len(members), len(x_adv) * len(members))
                seen = _of_shape(through(point), point)
                each.append([self._logits(self._ready(member), seen) for member in members])
            averaged = [torch.stack(logits).mean(0) for logits in zip(*each, strict=True)]
            if summed or self.source.combination != "loss":
                loss = self._loss(self._one_answer(averaged, summed=summed), objective)
            else:
                loss = torch.stack([self._loss(logits, objective) for logits in averaged]).mean(0)
            gradient = self._to_images(loss, point)
        return self._noted(*_looked_at(gradient))

    def logits(self, x_adv: Images, *, step: int = 0, copy: int = 0) -> Logits:
        """The active members' answer `m k`, without gradient; where losses are averaged, the mean of the logits.

        Args:
            x_adv: `m c h w`, versions of any of the images.
            step: As in `at`.
            copy: As in `at`.

        Raises:
            ModelError: As for `at`.
        """
        members = self._active(step or self._reading(), copy, None)
        self.passes += Passes(len(x_adv) * len(members), 0)
        with self._watch.running(), torch.no_grad():
            each = [self._checked(self._ready(member)(x_adv), len(x_adv)) for member in members]
            return self._together(each)

    def jacobian(
        self, x_adv: Images, classes: Int[Tensor, "m j"], *, step: int = 0
    ) -> tuple[Logits, Float[Tensor, "m j c h w"]]:
        """The logits `m k`, and the gradients of the logits of the given classes, one backward pass a class.

        Args:
            x_adv: `m c h w`, versions of any of the images.
            classes: Which logits, image by image.
            step: As in `at`.

        Raises:
            ModelError: As for `at`.
        """
        members = self._active(step or self._reading(), 0, None)
        n = len(x_adv) * len(members)
        self.passes += Passes(n, n * classes.shape[1])
        point = x_adv.detach().requires_grad_()
        with self._watch.running(), torch.enable_grad():
            each = [self._logits(self._ready(member), point) for member in members]
            logits = self._together(each)
            rows = []
            for j in range(classes.shape[1]):
                chosen = logits.gather(1, classes[:, j : j + 1]).sum()
                rows.append(torch.autograd.grad(chosen, point, retain_graph=j + 1 < classes.shape[1])[0])
        return logits.detach(), torch.stack(rows, 1)

    def scored(self, x_adv: Images, loss: Callable[[Logits], PerImage]) -> tuple[Logits, Images]:
        """The logits `n k`, and the gradient of the sum of a loss of them: one forward and one backward pass.

        Args:
            x_adv: Where, `n c h w`: versions of all the images.
            loss: Of the logits, whatever the attack makes of them; where losses are averaged, of their mean.

        Raises:
            ModelError: As for `at`.
        """
        members = self._active(self._reading(), 0, None)
        n = len(x_adv) * len(members)
        self.passes += Passes(n, n)
        self.evaluations += 1
        point = x_adv.detach().requires_grad_()
        with self._watch.running(), torch.enable_grad():
            each = [self._logits(self._ready(member), point) for member in members]
            logits = self._together(each)
            gradient = self._to_images(loss(logits), point)
        self._zero += gradient.abs().flatten(1).amax(1) == 0
        return logits.detach(), gradient

    def answer(self, x_adv: Images) -> Logits:
        """The logits `m k` with their graph to `x_adv`, for code that differentiates them itself.

        A backward pass counts when it comes; the time of it is not measured. Where losses are averaged, the mean of the
        logits.

        Raises:
            ModelError: As for `at`.
        """
        members = self._active(self._reading(), 0, None)
        n = len(x_adv) * len(members)
        self.passes += Passes(n, 0)
        with self._watch.running():
            each = [self._checked(self._ready(member)(x_adv), len(x_adv)) for member in members]
            logits = self._together(each)
        if logits.requires_grad:
            logits.register_hook(lambda _: self._came_back(n))  # type: ignore[no-untyped-call]
        return logits

    def _together(self, each: Sequence[Logits]) -> Logits:
        """One answer of several members; where losses are averaged, the mean of the logits."""
        return combined(each, "logits" if self.source.combination == "loss" else self.source.combination)

    def _came_back(self, n: int) -> None:
        self.passes += Passes(0, n)

    def features(self, x_adv: Images, point: str, member: Classifier) -> Float[Tensor, "n ..."]:
        """What one member computes at a feature point, without gradient.

        Raises:
            InputError: It has no such point, or does not run it.
        """
        self.passes += Passes(len(x_adv), 0)
        with self._watch.running(), torch.no_grad():
            self._checked(self._ready(member, point)(x_adv), len(x_adv))
            return _full(self.ready.tap(member, self._path, point).read())

    def feature_gradient(
        self, x_adv: Images, point: str, member: Classifier, objective: Objective
    ) -> Float[Tensor, "n ..."]:
        """The gradient, at one member's feature point, of the loss that `at` would climb.

        Raises:
            InputError: It has no such point, or does not run it.
            ModelError: The logits do not depend on it.
        """
        self.passes += Passes(len(x_adv), len(x_adv))
        with self._watch.running(), torch.enable_grad():
            logits = self._logits(self._ready(member, point), x_adv.detach().requires_grad_())
            return self._to_features(self._loss(logits, objective), member, point)

    def image_gradient(self, x_adv: Images, member: Classifier, objective: Objective) -> Images:
        """The gradient that `at` would give if this member were alone.

        Raises:
            ModelError: As for `at`.
        """
        self.passes += Passes(len(x_adv), len(x_adv))
        x = x_adv.detach().requires_grad_()
        with self._watch.running(), torch.enable_grad():
            return self._to_images(self._loss(self._logits(self._ready(member), x), objective), x)

    def both_gradients(
        self, x_adv: Images, point: str, member: Classifier, inside: Objective, outside: Objective
    ) -> tuple[Float[Tensor, "n ..."], Images]:
        """`feature_gradient` of one objective and `image_gradient` of another, from one forward pass."""
        self.passes += Passes(len(x_adv), 2 * len(x_adv))
        x = x_adv.detach().requires_grad_()
        with self._watch.running(), torch.enable_grad():
            logits = self._logits(self._ready(member, point), x)
            at_point = self._to_features(self._loss(logits, inside), member, point, keep=True)
            return at_point, self._to_images(self._loss(logits, outside), x)

    def note(self, name: str, values: Num[Tensor, " n"]) -> None:
        """Keep a number of each image beside the images: its queries, its radius."""
        self.columns[name] = values.detach()

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

    def _noted(self, gradient: Images, zero: Tensor, finite: Tensor) -> Images:
        self._zero += zero
        self._finite &= finite
        if not self.x.is_cuda:
            self.check()
        return gradient

    def _reading(self) -> int:
        """The step of a reading that belongs to none: another one each time where the source draws, else the first."""
        self._readings += self._redraws
        return self._readings

    def _active(self, step: int, copy: int, member: int | None) -> tuple[Classifier, ...]:
        members = self.members(step, copy)
        self._now = step, copy
        self._places = {id(one): place for place, one in enumerate(members)}
        return members if member is None else (members[member],)

    def _ready(self, member: Classifier, point: str | None = None) -> Classifier:
        if self._path is not None and self._draws is not None:
            self.ready.redraw(member, self._path, point, self._draws, *self._now, self._places.get(id(member), 0))
        return self.ready(member, self._path, point)

    def _read(
        self, x: Images, objective: Objective | FeatureLoss, members: Sequence[Classifier], *, summed: bool
    ) -> Images:
        x = x.requires_grad_()
        with self._watch.running(), torch.enable_grad():
            if reads_features(objective):
                return self._read_features(x, objective, members)
            if summed or len(members) == 1 or self.source.combination != "loss":
                each = [self._logits(self._ready(member), x) for member in members]
                return self._to_images(self._loss(self._one_answer(each, summed=summed), objective), x)
            total: Images | None = None
            for member in members:  # one graph at a time: a sum of losses needs no more
                gradient = self._to_images(self._loss(self._logits(self._ready(member), x), objective), x)
                total = gradient if total is None else total + gradient
            assert total is not None
            return total / len(members)

    def _one_answer(self, each: Sequence[Logits], *, summed: bool) -> Logits:
        return torch.stack(tuple(each)).sum(0) if summed else combined(each, self.source.combination)

    def _read_features(self, x: Images, objective: FeatureLoss, members: Sequence[Classifier]) -> Images:
        total: Images | None = None
        for member in members:
            point = objective.point(member)
            self._logits(self._ready(member, point), x)
            loss = objective(_full(self.ready.tap(member, self._path, point).read()), member)
            gradient = self._to_images(loss, x)
            total = gradient if total is None else total + gradient
        assert total is not None
        return total / len(members)

    def _logits(self, member: Classifier, x: Images) -> Logits:
        return self._differentiable(self._checked(member(x), len(x)))

    def _checked(self, logits: Tensor, n: int) -> Logits:
        if logits.ndim != 2 or len(logits) != n:
            raise ModelError(
                f"surrogate: expected logits {n} x classes, got {tuple(logits.shape)}; a classifier maps "
                "images n c h w to logits n k"
            )
        if logits.shape[1] < 2:
            raise ModelError("surrogate: its logits have one class, so there is nothing to be taken for")
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

    def _differentiable(self, logits: Logits) -> Logits:
        if not logits.requires_grad:
            raise ModelError(
                "surrogate: its logits carry no gradient to the image; it must be differentiable, without no_grad or "
                "rounding inside"
            )
        return logits

    def _loss(self, logits: Logits, objective: Objective) -> PerImage:
        return objective(logits, self.y) if self.target is None else -objective(logits, self.target)

    def _to_features(
        self, loss: PerImage, member: Classifier, point: str, *, keep: bool = False
    ) -> Float[Tensor, "n ..."]:
        features = self.ready.tap(member, self._path, point).read()
        (gradient,) = torch.autograd.grad(loss.sum(), features, allow_unused=True, retain_graph=keep)
        if gradient is None:
            raise ModelError(f"surrogate: its logits do not depend on the feature point {point!r}; choose another")
        return _full(gradient)

    def _to_images(self, loss: PerImage, x: Images) -> Images:
        (gradient,) = torch.autograd.grad(loss.sum(), x, allow_unused=True)
        if gradient is None:
            raise ModelError("surrogate: its logits do not depend on the image; it must be differentiable")
        return gradient


def _full(features: Tensor) -> Tensor:
    """Features of a network that works in half precision, in float32: what is done with them is ours."""
    return features.float() if features.dtype in (torch.bfloat16, torch.float16) else features


def _of_shape(seen: Tensor, point: Tensor) -> Tensor:
    """What a transformation made of the images, as long as it kept their shape."""
    if seen.shape != point.shape:
        raise ContractError(f"a transformation made {tuple(seen.shape)} of images {tuple(point.shape)}")
    return seen


def _looked_at(gradient: Images) -> tuple[Images, Tensor, Tensor]:
    """A gradient, the images whose gradient is exactly zero, and whether all of it is finite."""
    largest = gradient.abs().flatten(1).amax(1)
    return gradient, largest == 0, largest.isfinite().all()


def combined(logits: Sequence[Logits], combination: Combination) -> Logits:
    """One set of logits for several classifiers: their mean, or the log of their mean probabilities."""
    if len(logits) == 1:
        return logits[0]
    stacked = torch.stack(tuple(logits))
    if combination == "probabilities":
        return stacked.log_softmax(2).logsumexp(0) - math.log(len(logits))
    return stacked.mean(0)
