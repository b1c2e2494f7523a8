"""GRA's steps: shorter where the sign turns."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from carom.attacks.slots import Look, Memory
from carom.errors import InputError
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class DecayIndicator:
    """Shorter steps for pixels whose direction turned (GRA; Zhu et al. 2023, ICCV pp. 4741-4750).

    Each pixel has a factor, 1 at the first step. Whenever the sign of its direction differs from that of the step
    before, the factor is multiplied by `rate`, for good. Factors scale the steepest direction of the norm, so an l2
    step gets shorter; the paper has linf only.

    Attributes:
        rate: In (0, 1]; 1 is `Steepest`.

    Raises:
        InputError: Out of this range.
    """

    rate: float = 0.94

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise InputError(f"decay indicator: rate must be in (0, 1], got {self.rate:g}")

    def __call__(self, look: Look, direction: Images, memory: Memory) -> Images:
        steepest = look.budget.steepest(direction)
        sign = steepest.sign()
        if not memory:  # a pixel without direction turns when it first has one
            factor = torch.where(sign == 0, 1 / self.rate, 1.0).to(sign.dtype)
        else:
            factor = torch.where(sign == memory["sign"], memory["factor"], memory["factor"] * self.rate)
        memory.update(sign=sign, factor=factor)
        return torch.add(look.x_adv, steepest * factor, alpha=look.size)
