"""Momentum: gradients of earlier steps, kept."""

from dataclasses import dataclass
from typing import ClassVar

from carom.attacks.slots import Look, Memory, mean_one
from carom.errors import InputError
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class Momentum:
    """MI: accumulates gradients that are scaled to a mean absolute value of 1, image by image.

    Dong et al. 2018, arXiv:1710.06081. The paper divides by the sum of absolute values; the mean only changes the
    unit, and makes a momentum of 1 as large as a sign, which the look-ahead of NI relies on.

    Attributes:
        decay: How much of what was accumulated each step keeps, at least 0.
        normalised: Whether gradients are scaled. Zhao et al. 2021 (arXiv:2012.11207) add those of their logit loss as
            they are, as do rules whose gradients have a length of their own, such as means of scaled ones.

    Raises:
        InputError: A negative decay.
    """

    decay: float = 1.0
    normalised: bool = True

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.decay >= 0:
            raise InputError(f"momentum: decay must be at least 0, got {self.decay:g}")

    def __call__(self, look: Look, gradient: Images, memory: Memory) -> Images:
        return self.accumulate(look.momentum, gradient)

    def accumulate(self, momentum: Images | None, gradient: Images) -> Images:
        """`decay * momentum + gradient / mean(|gradient|)`, or plus the gradient; a zero gradient adds nothing."""
        new = mean_one(gradient) if self.normalised else gradient.clone()
        return new if momentum is None else new.add_(momentum, alpha=self.decay)
