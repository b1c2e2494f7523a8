"""What a model answers to a suite: forward passes only."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from carom.errors import InputError, ModelError, one_line
from carom.zoo.models.victims import CallableVictim, VictimCheck, ask, check_answer, check_victim, device_of

from .suite import Suite

BATCH = 100  # of a small network on a CPU: two thirds of the time of 250, whose activations leave the cache


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """Which images a model gets right.

    Attributes:
        clean: `n`.
        adversarial: Of each set, `sets n`.
    """

    clean: NDArray[np.bool_]
    adversarial: NDArray[np.bool_]

    @property
    def clean_accuracy(self) -> float:
        """Over all images."""
        return float(self.clean.mean())

    @property
    def robust_accuracy(self) -> float:
        """Over all images, the mean of the sets."""
        return float(self.adversarial.mean())

    @property
    def asr(self) -> float:
        """Attack success rate: wrong answers to adversarial images that were right clean; NaN if none was."""
        return float((~self.adversarial[:, self.clean]).mean()) if self.clean.any() else float("nan")


def ask_suite(model: Callable[..., Any], suite: Suite, *, name: str = "the model", device: str = "cpu") -> Answers:
    """Ask a model about every clean and every adversarial image.

    A module is in eval mode and on `device` for the questions, and afterwards as it was. A `CallableVictim`, which
    a name may stand for, is asked on the CPU, where it was loaded. A randomised defence, which has `answer(x, ids)`,
    draws by the suite's ids, as in a run. A targeted set's image counts as wrong when the answer is anything but the
    label, as for the others.

    Args:
        model: A module from float images `n c h w` in [0, 1] to logits, or a function; a function may say by attributes
            `answers` ("logits", "probabilities", "labels") and `deterministic` what it does.
        suite: What is asked.
        name: For errors.
        device: Where the questions are asked.

    Raises:
        InputError: No such device.
        ModelError: The model fails, or answers with NaN, probabilities where logits are promised, another number of
            classes or rows, or differently each time.
    """
    _check_device(device)
    if isinstance(model, CallableVictim):
        device = "cpu"
    module = model if isinstance(model, nn.Module) else None
    modes = [(part, part.training) for part in module.modules()] if module is not None else []
    place = None if module is None else device_of(module, torch.device("cpu"))
    try:
        if module is not None:
            _move(module, device, name)
        check = check_victim(
            model,
            name=name,
            shape=suite.shape,
            classes=len(suite.classes),
            images=torch.from_numpy(suite.clean[:BATCH]).to(device),
            gradient=False,
        )
        by_image = draws_by_image(model)
        with torch.no_grad():  # not inference mode: a model may take gradients of its own inside
            right = [
                _right(model, check, pixels, suite, device, by_image) for pixels in (suite.clean, *suite.adversarial)
            ]
    finally:
        for part, training in modes:
            part.training = training
        if module is not None and place is not None:
            module.to(place)
    return Answers(clean=right[0], adversarial=np.stack(right[1:]))


def draws_by_image(model: Callable[..., Any]) -> bool:
    """Whether a model has `answer(x, ids)`, as carom's randomised defences do: the same images, the same answers."""
    answer = getattr(model, "answer", None)
    try:
        return callable(answer) and list(inspect.signature(answer).parameters)[:2] == ["x", "ids"]
    except (TypeError, ValueError):  # it has no signature to look at
        return False


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # torch raises what it likes
        raise InputError(
            f"device={device!r}: cannot be used here ({one_line(error)}); expected a device of this machine, such as "
            '"cpu" or "cuda"'
        ) from None


def _move(module: nn.Module, device: str, name: str) -> None:
    try:
        module.to(device)
    except Exception as error:  # out of memory, or weights that are nowhere yet
        raise ModelError(f"{name}: cannot be moved to {device}: {one_line(error)}") from error


def _right(
    model: Callable[..., Any], check: VictimCheck, pixels: NDArray[np.uint8], suite: Suite, device: str, by_image: bool
) -> NDArray[np.bool_]:
    classes, parts = len(suite.classes), []
    every = torch.from_numpy(suite.ids)
    for batch, ids in zip(torch.split(torch.from_numpy(pixels), BATCH), torch.split(every, BATCH), strict=True):
        asked = partial(_answer, model, ids) if by_image else model
        answer = ask(asked, batch.to(device).float() / 255, name=check.name, answers=check.answers)
        check_answer(answer, n=len(batch), classes=classes, name=check.name, answers=check.answers)
        parts.append((answer if answer.ndim == 1 else answer.argmax(1)).cpu())
    return np.asarray(torch.cat(parts).numpy() == suite.labels)


def _answer(model: Any, ids: torch.Tensor, x: torch.Tensor) -> Any:
    return model.answer(x, ids)
