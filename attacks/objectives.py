"""What an attack raises: one loss an image."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from torch.nn import functional as F

from carom.typing import Labels, Logits, PerImage


@runtime_checkable
class Objective(Protocol):
    """A loss that is high where the logits speak against the labels.

    Untargeted attacks raise it for the true labels, targeted attacks lower it for the target labels.
    """

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossEntropy:
    """Cross-entropy of each image."""

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        return F.cross_entropy(logits, labels, reduction="none")
