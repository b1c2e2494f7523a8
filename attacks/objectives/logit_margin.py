"""Cross-entropy of logits whose gap is always 1."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F

from carom.typing import Labels, Logits, PerImage


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitMargin:
    """Cross-entropy of logits that are divided by the gap between the largest two (Weng et al. 2023, arXiv:2303.03680).

    The gap is a constant of each image, not differentiated, so cross-entropy never saturates: the largest two of the
    scaled logits are 1 apart whatever the network's confidence. This is the paper's margin-based calibration, made for
    targeted attacks; untargeted ones raise the loss of the true class. A gap of less than a millionth of the largest
    logit counts as that much, so that ties stay finite. Needs at least two classes.
    """

    version: ClassVar[int] = 1

    def __call__(self, logits: Logits, labels: Labels, /) -> PerImage:
        values = logits.detach()
        top = values.topk(2, 1).values
        least = 1e-6 * values.abs().amax(1) + torch.finfo(logits.dtype).tiny
        gap = torch.maximum(top[:, 0] - top[:, 1], least)
        return F.cross_entropy(logits / gap[:, None], labels, reduction="none")
