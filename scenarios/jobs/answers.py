"""What a model answers: its classes for 8-bit images, in a scenario's precision, of several weight sets their mean."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from carom.defenses import Randomised
from carom.errors import CaromError, ModelError, one_line
from carom.scenarios.spec.scenario import Precision
from carom.scenarios.store.predictions import NO_ANSWER, Predictions
from carom.zoo.models.prepare import prepare

EVALUATION_BATCH = 128  # fixed places, so that outcomes do not depend on how the work was cut


@torch.inference_mode()
def answers(
    victim: Callable[..., Any],
    images: torch.Tensor,
    ids: torch.Tensor | None = None,
    *,
    classes: int,
    device: str,
    name: str,
) -> Predictions:
    """The class that a victim gives each 8-bit image, `n` int16; -1 where it gives none (scores that are not finite).

    Where `ids` are given, the victim gets those of each batch as well: it draws by image.

    Raises:
        ModelError: It raised, or answered in another shape than promised; names the batch.
    """
    parts = []
    several = [None] * len(images) if ids is None else torch.split(ids, EVALUATION_BATCH)
    for number, (batch, of) in enumerate(zip(torch.split(images, EVALUATION_BATCH), several, strict=False)):
        x = batch.to(device).float() / 255
        try:
            answer = victim(x) if of is None else victim(x, of)
        except Exception as error:  # the user's model may raise anything
            why = str(error) if isinstance(error, CaromError) else one_line(error)
            raise ModelError(
                f"{name}: batch {number + 1}: {why}; mend the model and run again: what was computed is kept"
            ) from None
        parts.append(_classes(answer, len(x), classes, name))
    return np.concatenate(parts)


def _classes(answer: object, n: int, classes: int, name: str) -> Predictions:
    values = torch.as_tensor(answer).detach().cpu()
    if values.ndim == 2 and values.shape == (n, classes):
        chosen = values.argmax(1)
        return torch.where(values.isfinite().all(1), chosen, NO_ANSWER).short().numpy()
    if values.ndim == 1 and len(values) == n and not values.is_floating_point():
        inside = (values >= 0) & (values < classes)
        return torch.where(inside, values, NO_ANSWER).short().numpy()
    raise ModelError(
        f"{name}: answered {tuple(values.shape)} {values.dtype} to {n} images; expected scores ({n}, {classes}) or "
        f"{n} whole-number labels"
    )


class Bfloat16(nn.Module):
    """Runs a classifier's arithmetic in bfloat16 and answers in float32; the image itself stays float32."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `n k`, float32."""
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            logits: torch.Tensor = self.classifier(x)
        return logits.float()


def with_precision(classifier: nn.Module, precision: Precision) -> nn.Module:
    """The classifier in a scenario's declared precision."""
    return Bfloat16(classifier) if precision == "bfloat16" else classifier


class Joint(nn.Module):
    """Several weight sets as one victim: the mean of their logits."""

    def __init__(self, classifiers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.classifiers = nn.ModuleList(classifiers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits `n k`."""
        return torch.stack([classifier(x) for classifier in self.classifiers]).mean(0)


def answering(model: Any, precision: Precision) -> Callable[[torch.Tensor], torch.Tensor]:
    """The victim as query attacks see it; one that draws, with draws of their own for all queries."""
    if isinstance(model, Randomised):
        prepared = prepare(model)
        assert isinstance(prepared, Randomised)
        return prepared.asked
    return with_precision(prepare(model), precision) if isinstance(model, nn.Module) else model
