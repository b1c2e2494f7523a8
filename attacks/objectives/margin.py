"""A margin between logits, which never saturates."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from carom.typing import Labels, Logits, PerImage

from .logit import of_label


@dataclass(frozen=True, kw_only=True, slots=True)
class Margin:
    """The largest other logit minus the label's (Carlini and Wagner 2017, arXiv:1608.04644).

    Without the paper's clamp at a confidence, so the gradient does not vanish where the attack has succeeded; nor does
    it where the network is certain, as that of cross-entropy does. Needs at least two classes.
    """

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        others = logits.scatter(1, labels[:, None], -torch.inf)
        return others.amax(1) - of_label(logits, labels)
