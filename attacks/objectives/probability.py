"""The label's probability."""

from dataclasses import dataclass
from typing import ClassVar

from carom.typing import Labels, Logits, PerImage

from .logit import of_label


@dataclass(frozen=True, kw_only=True, slots=True)
class Probability:
    """Minus the label's probability: what attributions of a prediction are gradients of."""

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        return -of_label(logits.softmax(1), labels)
