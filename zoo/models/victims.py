"""Models that only answer, and what is checked of any model before a run rests on it."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from carom.errors import CaromError, InputError, ModelError, one_line
from carom.typing import Images, Labels, Pixels
from carom.zoo.preprocessing import Shape

Answers = Literal["logits", "probabilities", "labels"]

_CHECKED = 8  # images that a model answers on load
_Z = 2.5758293035489004  # of a two-sided 99% interval
_BATCH = 250


@dataclass(frozen=True, eq=False)
class CallableVictim:
    """A function of images as a victim: it can be asked, not differentiated.

    Attributes:
        function: Gets float images `n c h w` in [0, 1]; returns a tensor or an array.
        name: For errors.
        answers: "logits" or "probabilities", `n k`, or "labels", `n`.
        deterministic: The same images always get the same answer, alone or among others.
    """

    function: Callable[[Tensor], object]
    name: str
    answers: Answers = "logits"
    deterministic: bool = True

    def __call__(self, x: Images) -> Tensor:
        """Scores `n k`, or labels `n` as int64.

        Raises:
            ModelError: The function failed, or returned something else.
        """
        return ask(self.function, x, name=self.name, answers=self.answers)


@dataclass(frozen=True, kw_only=True)
class VictimCheck:
    """What a check found.

    Attributes:
        name: Of the model.
        answers: What it answers with.
        differentiable: Gradients reach the images; False too where that was not asked.
        deterministic: It answered the same images the same way; None where that was not asked of it.
        was_training: It came in training mode, and was put into eval mode.
    """

    name: str
    answers: Answers
    differentiable: bool
    deterministic: bool | None
    was_training: bool


@dataclass(frozen=True, kw_only=True)
class StatedAccuracy:
    """The clean accuracy that a user states of a model, and that it is held to.

    A wrong mean, channel order or size costs a model much of its accuracy, and makes it look weak or robust for no
    reason. More accuracy than stated is no fault: a model from outside may have learned from these very images.

    Attributes:
        clean_accuracy: Share of images, in (0, 1].
        tolerance: How much less is accepted, as a share. None for half a 99% binomial interval at the number of images
            that are checked.

    Raises:
        InputError: Out of range.
    """

    clean_accuracy: float
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.clean_accuracy <= 1:
            raise InputError(f"clean_accuracy must be in (0, 1], such as 0.94, got {self.clean_accuracy:g}")
        if self.tolerance is not None and not 0 <= self.tolerance < 1:
            raise InputError(f"tolerance must be in [0, 1), such as 0.02, got {self.tolerance:g}")

    def allowed(self, n: int) -> float:
        """How much less is accepted on `n` images."""
        if self.tolerance is not None:
            return self.tolerance
        p = self.clean_accuracy
        return float(_Z * (p * (1 - p) / n) ** 0.5 + 0.5 / n)


def check_accuracy(
    model: Callable[..., Any],
    stated: StatedAccuracy,
    *,
    name: str,
    images: Pixels,
    labels: Labels,
    classes: int,
    what: str = "validation",
) -> float:
    """The model's clean accuracy; refuse it where that is below what is stated of it.

    Raises:
        ModelError: It is, or the model's answers are none to these images.
    """
    n, right = len(images), 0
    answers: Answers = getattr(model, "answers", "logits")
    place = device_of(model, images.device) if isinstance(model, nn.Module) else images.device
    with torch.no_grad():
        for batch, truth in zip(torch.split(images, _BATCH), torch.split(labels, _BATCH), strict=True):
            answer = ask(model, batch.to(place).float() / 255, name=name, answers=answers)
            check_answer(answer, n=len(batch), classes=classes, name=name, answers=answers)
            said = answer if answer.ndim == 1 else answer.argmax(1)
            right += int((said.cpu() == truth.cpu()).sum())
    accuracy = right / n
    if accuracy < stated.clean_accuracy - stated.allowed(n):
        raise ModelError(
            f"{name}: clean accuracy {accuracy:.1%} on {n} {what} images, stated {stated.clean_accuracy:.1%} "
            f"({stated.allowed(n):.1%} less is accepted): check the preprocessing (mean, std, channel order, resize) "
            "and the order of the classes"
        )
    return accuracy


def device_of(module: nn.Module, otherwise: torch.device) -> torch.device:
    """Where a module's first weight or buffer is."""
    first = next(chain(module.parameters(), module.buffers()), None)
    return otherwise if first is None else first.device


def asked_only(module: nn.Module) -> Callable[[Tensor], object]:
    """A module in eval mode as a function without gradients."""
    module.eval()

    def function(x: Tensor) -> object:
        with torch.no_grad():
            return module(x)

    return function


def ask(model: Callable[[Tensor], Any], x: Images, *, name: str, answers: Answers = "logits") -> Tensor:
    """The model's answer to images in [0, 1], as a tensor of the promised number of dimensions.

    Raises:
        ModelError: The model failed, or returned something else than a tensor or an array of that kind.
    """
    try:
        answer = model(x)
    except CaromError:
        raise
    except Exception as error:
        raise ModelError(f"{name}: failed on images {tuple(x.shape)} in [0, 1]: {one_line(error)}") from error
    if isinstance(answer, np.ndarray):
        try:
            answer = torch.from_numpy(np.ascontiguousarray(answer))
        except TypeError:
            raise ModelError(f"{name}: expected an array of numbers, got one of {answer.dtype}") from None
    if not isinstance(answer, Tensor):
        raise ModelError(f"{name}: expected a tensor or an array, got {type(answer).__name__}; return {answers} alone")
    if answers == "labels":
        if answer.ndim != 1 or answer.is_floating_point() or answer.is_complex() or answer.dtype == torch.bool:
            raise ModelError(
                f"{name}: expected labels as {len(x)} integers, got {answer.dtype} {tuple(answer.shape)}; "
                'declare answers = "logits" if it returns scores'
            )
        return answer.long()
    if answer.ndim != 2 or not answer.is_floating_point():
        raise ModelError(
            f"{name}: expected {answers} as floats n k, got {answer.dtype} {tuple(answer.shape)}; "
            'declare answers = "labels" if it returns classes'
        )
    return answer


def check_victim(
    model: Callable[..., Any],
    *,
    name: str,
    shape: Shape,
    classes: int,
    images: Pixels,
    surrogate: bool = False,
    gradient: bool = True,
) -> VictimCheck:
    """Ask a model a few real images, and refuse it where its answers cannot be relied on.

    A module in training mode is put into eval mode. A model may declare `answers` and `deterministic` as attributes, as
    `CallableVictim` does; a module promises logits.

    Args:
        model: A `Classifier`, another module, or a callable.
        name: For errors.
        shape: Channels, rows and columns of the task.
        classes: Of the task.
        images: Real images of the task; the first few are used.
        surrogate: Gradients are needed too.
        gradient: Look whether a module has gradients; without, it makes forward passes only.

    Raises:
        ModelError: It fails; or answers with the wrong type, number of rows or classes, NaN, probabilities where logits
            are promised, another answer each time, or one that depends on the rest of the batch; or, for a surrogate,
            has no gradient; or is a function, and its answer has one.
    """
    module = model if isinstance(model, nn.Module) else None
    if surrogate and module is None:
        raise ModelError(
            f"{name}: a surrogate needs gradients, so it must be a torch module; got {type(model).__name__}"
        )
    if tuple(images.shape[1:]) != shape:
        raise ModelError(f"{name}: images are {tuple(images.shape[1:])}, the task's shape is {shape}")
    was_training = module is not None and any(part.training for part in module.modules())
    if module is not None:
        module.eval()
    answers: Answers = getattr(model, "answers", "logits")
    deterministic = bool(getattr(model, "deterministic", True))
    place = images.device if module is None else device_of(module, images.device)
    x = images[:_CHECKED].to(place).float() / 255

    with torch.no_grad():
        first = ask(model, x.clone(), name=name, answers=answers)
        check_answer(first, n=len(x), classes=classes, name=name, answers=answers)
        if deterministic:
            check_steady(model, first, x, name=name, answers=answers)
    if module is None and _leaks(model, x[:1]):
        raise ModelError(
            f"{name}: answers with a gradient although it is only asked; wrap its answer in torch.no_grad(), or name "
            "the torch module itself"
        )
    looked = gradient or surrogate
    differentiable = looked and module is not None and _has_gradient(module, x, name, required=surrogate)
    return VictimCheck(
        name=name,
        answers=answers,
        differentiable=differentiable,
        deterministic=True if deterministic else None,
        was_training=was_training,
    )


def check_steady(model: Callable[..., Any], first: Tensor, x: Images, *, name: str, answers: Answers) -> None:
    """Refuse a model that answers the same images otherwise the second time, or alone.

    Args:
        model: Any.
        first: What it answered to `x`, as `ask` gives it.
        x: A few images.
        name: For errors.
        answers: What it answers with.

    Raises:
        ModelError: It does.
    """
    again = ask(model, x.clone(), name=name, answers=answers)
    if not _agree(first, again, tolerance=1e-4):
        raise ModelError(
            f"{name}: the same images got another answer the second time; fix its random state, "
            "or declare deterministic = false"
        )
    alone = torch.cat([ask(model, part, name=name, answers=answers) for part in torch.split(x.clone(), 1)])
    _check_rows(alone, len(x), name)
    if not _agree(first, alone, tolerance=0.05):
        raise ModelError(
            f"{name}: an image gets another answer alone than among others; batch norm in training mode does "
            "that: call .eval() inside, or declare deterministic = false"
        )


def check_gradient(module: nn.Module, x: Images, *, name: str) -> None:
    """Refuse a module whose answers have no finite gradient to the images.

    Raises:
        ModelError: It detaches them, its backward pass fails, or is not finite.
    """
    _has_gradient(module, x, name, required=True)


def _check_rows(answer: Tensor, n: int, name: str) -> None:
    if len(answer) != n:
        raise ModelError(f"{name}: answered {n} images with {len(answer)} rows; expected one row an image")


def check_answer(answer: Tensor, *, n: int, classes: int, name: str, answers: Answers) -> None:
    """Refuse an answer of `ask` that cannot be one to `n` images of a task with these classes.

    Raises:
        ModelError: Another number of rows or classes, NaN, or probabilities where logits are promised.
    """
    _check_rows(answer, n, name)
    if answers == "labels":
        if not bool(((answer >= 0) & (answer < classes)).all()):
            low, high = int(answer.min()), int(answer.max())
            raise ModelError(f"{name}: answered with classes from {low} to {high}; the task has 0 to {classes - 1}")
        return
    if answer.shape[1] != classes:
        raise ModelError(
            f"{name}: answers with {answer.shape[1]} classes, the task has {classes}; expected the same classes"
        )
    finite = answer.isfinite()
    if not bool(finite.all()):
        image, label = (int(i) for i in (~finite).nonzero()[0])
        raise ModelError(
            f"{name}: the score of image {image} for class {label} is {float(answer[image, label])}; "
            "expected finite numbers"
        )
    if answers == "logits" and _are_probabilities(answer):
        raise ModelError(
            f"{name}: rows are in [0, 1] and sum to 1: probabilities, where logits are expected; return what comes "
            'before the softmax, or declare answers = "probabilities" for a victim that is a function'
        )


def _are_probabilities(answer: Tensor) -> bool:
    scores = answer.double()
    inside = bool(((scores >= 0) & (scores <= 1)).all())
    return inside and bool(((scores.sum(1) - 1).abs() < 1e-3).all())


def _agree(one: Tensor, other: Tensor, *, tolerance: float) -> bool:
    """Equal labels; or scores that differ by at most `tolerance` of the largest spread within an image."""
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    spread = (one.amax(1) - one.amin(1)).amax()
    return bool((one - other).abs().amax() <= tolerance * spread + 1e-12)


def _leaks(function: Callable[..., Any], x: Images) -> bool:
    """Whether the answer of what is only asked can be differentiated for the images."""
    # torch warns where a function makes numbers of images that want a gradient
    with torch.enable_grad(), warnings.catch_warnings(action="ignore"):
        x = x.clone().requires_grad_()
        try:
            answer = function(x.clone())  # which a function may change in place
        except Exception:  # it leaves torch, which refuses images that want a gradient: then there is none
            return False
        if not isinstance(answer, Tensor) or not answer.requires_grad:
            return False
        return torch.autograd.grad(answer.sum(), x, allow_unused=True)[0] is not None


def _has_gradient(module: nn.Module, x: Images, name: str, *, required: bool) -> bool:
    try:
        # torch warns where a compiled module gets images that are no leaves
        with torch.enable_grad(), warnings.catch_warnings(action="ignore"):
            x = x.clone().requires_grad_()
            scores = ask(module, x.clone(), name=name)[:, 0].sum()  # it may change its images in place
            gradient = torch.autograd.grad(scores, x, allow_unused=True)[0] if scores.requires_grad else None
    except Exception as error:  # it answers, as was seen before; but not where gradients are wanted
        if not required:
            return False
        if isinstance(error, CaromError):
            raise
        raise ModelError(f"{name}: its gradient at a clean image failed: {one_line(error)}") from error
    fine = gradient is not None and bool(gradient.isfinite().all())
    if required and gradient is None:
        raise ModelError(f"{name}: no gradient reaches the images; a surrogate must not detach or use no_grad")
    if required and not fine:
        raise ModelError(f"{name}: its gradient at a clean image is not finite; expected finite numbers")
    return fine
