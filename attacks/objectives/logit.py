"""The label's logit alone."""

from dataclasses import dataclass
from typing import ClassVar

from carom.typing import Labels, Logits, PerImage


@dataclass(frozen=True, kw_only=True, slots=True)
class Logit:
    """Minus the label's logit (Zhao et al. 2021, arXiv:2012.11207).

    Made for targeted attacks: the target's logit goes on rising where the gradient of cross-entropy vanishes. An
    untargeted attack lowers the logit of the true class.
    """

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        return -of_label(logits, labels)


def of_label(scores: Logits, labels: Labels) -> PerImage:
    """The score of each image's label."""
    return scores.gather(1, labels[:, None])[:, 0]
