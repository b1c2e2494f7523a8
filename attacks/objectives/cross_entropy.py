"""The loss that networks are trained on."""

from dataclasses import dataclass
from typing import ClassVar

from torch.nn import functional as F

from carom.typing import Labels, Logits, PerImage


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossEntropy:
    """Cross-entropy of each image."""

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        return F.cross_entropy(logits, labels, reduction="none")
