"""EMI: gradients along the last direction, averaged."""

from dataclasses import dataclass
from typing import ClassVar

from carom.attacks.slots import Look, Memory
from carom.errors import InputError
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class EMI:
    """Enhanced momentum: the mean of gradients read forth and back along the mean of the step before.

    Wang et al. 2021, arXiv:2103.10609. The points are `x_adv + c d` for `samples` factors c evenly from `-radius` to
    `radius`, where d is the last mean gradient, scaled to a mean absolute value of 1, times the step size, under an l2
    budget divided by the square root of the number of pixels; that is longer than an l2 step where the gradient is
    uneven (`Look.stride`). At the first step all points are one. They are clipped neither to the budget nor to [0, 1].

    Attributes:
        samples: How many points, at least 2.
        radius: Largest factor, in such d, at least 0; 0 leaves the gradient as it is.

    Raises:
        InputError: Out of these ranges.
    """

    samples: int = 11
    radius: float = 7.0

    version: ClassVar[int] = 1
    needs_momentum: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.samples < 2:
            raise InputError(f"emi: samples must be at least 2, got {self.samples}")
        if not 0 <= self.radius < float("inf"):
            raise InputError(f"emi: radius must be at least 0 (in steps), got {self.radius:g}")

    @property
    def reads(self) -> int:
        return self.samples

    def __call__(self, look: Look, memory: Memory) -> Images:
        last = memory.get("mean")
        direction = None if last is None else look.stride(last)
        first: Images | None = None
        excess: Images | None = None
        for sample in range(self.samples):
            factor = self.radius * (2 * sample / (self.samples - 1) - 1)
            at = look.x_adv if direction is None else look.x_adv.add(direction, alpha=factor)
            gradient = look.read(at, sample)
            # as differences from the first: where all gradients are equal, their mean is the same to the last bit
            if first is None:
                first = gradient
            else:
                excess = gradient - first if excess is None else excess.add_(gradient).sub_(first)
        assert first is not None
        assert excess is not None
        mean = memory["mean"] = excess.div_(self.samples).add_(first)
        return mean
