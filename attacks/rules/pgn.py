"""PGN: gradients of flat places."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from carom.attacks.slots import Look, Memory
from carom.errors import InputError
from carom.typing import Images

from .neighbours import check_neighbours, neighbour


@dataclass(frozen=True, kw_only=True, slots=True)
class PGN:
    """Penalised gradient norm: seeks a high loss where it is flat (Ge et al. 2023, arXiv:2306.05225).

    At each random neighbour p of the point it reads the gradient g, and the gradient h one step down from p, and
    averages `(1 - balance) g + balance h` over the neighbours. One step down goes along -g, scaled to a mean absolute
    value of 1, times the step size, under an l2 budget divided by the square root of the number of pixels; that is
    longer than an l2 step where the gradient is uneven (`Look.stride`). Neighbours are drawn as those of `VMI`; nothing
    is clipped.

    Attributes:
        neighbours: How many, at least 1.
        radius: Of the neighbourhood, in units of eps, at least 0.
        balance: Weight of the gradient one step down, in [0, 1].

    Raises:
        InputError: Out of these ranges.
    """

    neighbours: int = 20
    radius: float = 3.0
    balance: float = 0.5

    version: ClassVar[int] = 1
    needs_momentum: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_neighbours("pgn", self.neighbours, self.radius)
        if not 0 <= self.balance <= 1:
            raise InputError(f"pgn: balance must be in [0, 1], got {self.balance:g}")

    @property
    def reads(self) -> int:
        return 2 * self.neighbours

    def __call__(self, look: Look, memory: Memory) -> Images:
        total: Images | None = None
        for index in range(self.neighbours):
            near = neighbour(look, look.x_adv, self.radius, index)
            here = look.read(near, 2 * index)
            down = look.read(near - look.stride(here), 2 * index + 1)
            gradient = torch.lerp(here, down, self.balance)
            total = gradient if total is None else total.add_(gradient)
        assert total is not None
        return total.div_(self.neighbours)
