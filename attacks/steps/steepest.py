"""One step size along the steepest direction."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from carom.attacks.slots import Look, Memory
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class Steepest:
    """One step size along the steepest direction of the norm: the sign (linf), the gradient at length 1 (l2)."""

    version: ClassVar[int] = 1

    def __call__(self, look: Look, direction: Images, memory: Memory) -> Images:
        return torch.add(look.x_adv, look.budget.steepest(direction), alpha=look.size)
