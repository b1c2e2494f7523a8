"""What a model answers to a suite: forward passes only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from carom.zoo.victims import VictimCheck, ask, check_answer, check_victim

from .suite import Suite

BATCH = 250


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

    A module is in eval mode and on `device` for the questions, and afterwards as it was. A targeted set's image counts
    as wrong when the answer is anything but the label, as for the others.

    Args:
        model: A module from float images `n c h w` in [0, 1] to logits, or a function; a function may say by attributes
            `answers` ("logits", "probabilities", "labels") and `deterministic` what it does.
        suite: What is asked.
        name: For errors.
        device: Where the questions are asked.

    Raises:
        ModelError: The model fails, or answers with NaN, probabilities where logits are promised, another number of
            classes or rows, or differently each time.
    """
    module = model if isinstance(model, nn.Module) else None
    modes = [(part, part.training) for part in module.modules()] if module is not None else []
    place = None if module is None else next((p.device for p in module.parameters()), None)
    try:
        clean = torch.from_numpy(suite.clean)
        check = check_victim(model, name=name, shape=suite.shape, classes=len(suite.classes), images=clean)
        if module is not None:
            module.to(device)
        with torch.inference_mode():
            right = [_right(model, check, pixels, suite, device) for pixels in (suite.clean, *suite.adversarial)]
    finally:
        for part, training in modes:
            part.training = training
        if module is not None and place is not None:
            module.to(place)
    return Answers(clean=right[0], adversarial=np.stack(right[1:]))


def _right(
    model: Callable[..., Any], check: VictimCheck, pixels: NDArray[np.uint8], suite: Suite, device: str
) -> NDArray[np.bool_]:
    classes, parts = len(suite.classes), []
    for batch in torch.split(torch.from_numpy(pixels), BATCH):
        answer = ask(model, batch.to(device).float() / 255, name=check.name, answers=check.answers)
        check_answer(answer, n=len(batch), classes=classes, name=check.name, answers=check.answers)
        parts.append((answer if answer.ndim == 1 else answer.argmax(1)).cpu())
    return np.asarray(torch.cat(parts).numpy() == suite.labels)
