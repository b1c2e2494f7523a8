"""What the active members of a target answer: logits, and gradients of them in the images."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from carom.attacks.slots import Objective, Path
from carom.draws import Draws
from carom.errors import InputError, ModelError
from carom.protocols import BlackBox, Classifier, Combination, DrawnSource, GradientSource, Passes, Pool
from carom.typing import Images, Labels, Logits, PerImage

from .counting import Counted
from .networks import Ready


@dataclass
class Known:
    """What all attacks on one chunk of images share: gradients at the clean images, labels and classes that fit."""

    clean: dict[tuple[object, ...], tuple[Sequence[Classifier], Images, Tensor, Tensor]] = field(default_factory=dict)
    labels_checked: bool = False
    classes: int = 0  # that the members have; 0 before the first answered


class Answering(Counted):
    """Images with their classes, and what the source's members answer near them.

    Attributes:
        source: Whose members are read.
        y: True classes, `n`.
        target: Classes that the images should be taken for, `n`; None for untargeted.
        ready: Makes each member ready once for each path and feature point.
        partners: A pool of images to mix in; None where there is none.
        oracle: The answers that a query attack may buy; None where there is no target to ask.

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
        partners: Pool | None = None,
        oracle: BlackBox | None = None,
        _known: Known | None = None,
    ) -> None:
        super().__init__(x)
        self.source, self.y, self.target = source, y, target
        self.ready, self.partners, self.oracle = ready or Ready(), partners, oracle
        self.ready.shape = x.shape[1], x.shape[2], x.shape[3]
        self._path: Path | None = None
        self._draws: Draws | None = None
        self._now = 0, 0
        self._places: dict[int, int] = {}  # of the members that are active now, by id
        self._redraws = isinstance(source, DrawnSource) and source.redraws()
        self._readings = 0
        if _known is None:
            for name, labels in (("labels", y), ("targets", target)):
                if labels is not None and len(labels) != len(x):
                    raise InputError(f"attack: {len(x)} images but {len(labels)} {name}; give one for each image")
            if target is not None and bool((same := target == y).any()):
                at = int(same.nonzero()[0])
                raise InputError(f"attack: image {at} is of its target class {int(y[at])}; choose another target")
        self._known = _known or Known()

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
        self, x_adv: Images, classes: Int[Tensor, "m j"], of: Int[Tensor, " m"], *, step: int = 0
    ) -> tuple[Logits, Float[Tensor, "m j c h w"]]:
        """The logits `m k`, and the gradients of the logits of the given classes, one backward pass a class.

        Args:
            x_adv: `m c h w`, versions of any of the images.
            classes: Which logits, image by image.
            of: Which image each is a version of, none twice.
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
        jacobian = torch.stack(rows, 1)
        self._evaluations[of] += 1
        self._zero[of] += (jacobian.abs().flatten(1).amax(1) == 0).to(self._zero.dtype)
        return logits.detach(), jacobian

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
        self._evaluations += 1
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
        self._known.classes = self._known.classes or logits.shape[1]
        if logits.shape[1] != self._known.classes:
            raise ModelError(
                f"surrogate: one of its models answers with {logits.shape[1]} classes, another with "
                f"{self._known.classes}; expected the same classes of all, so leave one out or cut its answer"
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

    def _differentiable(self, logits: Logits) -> Logits:
        if not logits.requires_grad:
            raise ModelError(
                "surrogate: its logits carry no gradient to the image; it must be differentiable, without no_grad or "
                "rounding inside"
            )
        return logits

    def _loss(self, logits: Logits, objective: Objective) -> PerImage:
        return objective(logits, self.y) if self.target is None else -objective(logits, self.target)

    def _to_images(self, loss: PerImage, x: Images) -> Images:
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
