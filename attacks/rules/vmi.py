"""VMI and VNI: gradients tuned by how they vary nearby."""

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from carom.attacks.slots import Look, Memory
from carom.typing import Images

from .neighbours import check_neighbours, neighbour


@dataclass(frozen=True, kw_only=True, slots=True)
class VMI:
    """Variance tuning: adds to the gradient its variance at the step before (Wang and He 2021, arXiv:2103.15571).

    The variance is the mean gradient at random neighbours minus the gradient itself; at the first step it is 0. What
    is added stems from before, so neighbours read at step t serve step t + 1. Smoothing of the gradient (TI) comes
    after the sum. Neighbours are uniform in the ball of the budget's norm around the point: the box of side
    `2 radius eps` for linf, as in the paper, and the Euclidean ball for l2, which the paper does not treat. As in the
    paper they are clipped neither to the budget nor to [0, 1].

    Attributes:
        neighbours: How many, at least 1.
        radius: Of the neighbourhood, in units of eps, at least 0; 0 leaves the gradient as it is.

    Raises:
        InputError: Out of these ranges.
    """

    neighbours: int = 20
    radius: float = 1.5

    version: ClassVar[int] = 1
    needs_momentum: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_neighbours("variance tuning", self.neighbours, self.radius)

    @property
    def reads(self) -> int:
        return 1 + self.neighbours

    def __call__(self, look: Look, memory: Memory) -> Images:
        at = self._point(look)
        gradient = look.read(at)
        before = memory.get("variance")
        memory["variance"] = variance(look, at, gradient, self.neighbours, self.radius)
        return gradient if before is None else gradient + before

    def _point(self, look: Look) -> Images:
        return look.x_adv


@dataclass(frozen=True, kw_only=True, slots=True)
class VNI(VMI):
    """Variance tuning of NI: point and neighbourhood lie where the momentum alone would lead (arXiv:2103.15571).

    The authors' first code takes the gradient ahead, but neighbours around the present point, so that their difference
    holds the way between the two points besides the variance. TransferAttack takes the gradient ahead by the momentum
    before the step and the neighbours ahead by that after it. Here both are of one point: without neighbourhood VNI is
    NI.
    """

    version: ClassVar[int] = 1
    needs_momentum: ClassVar[bool] = True

    @override
    def _point(self, look: Look) -> Images:
        return look.x_adv if look.ahead is None else look.x_adv + look.ahead


def variance(look: Look, at: Images, gradient: Images, neighbours: int, radius: float) -> Images:
    """The mean gradient at random neighbours of `at` minus the gradient there; readings 1, 2, ... of the step."""
    total: Images | None = None
    for index in range(neighbours):
        near = look.read(neighbour(look, at, radius, index), 1 + index)
        # difference by difference: where all gradients are equal, it is exactly 0
        total = near - gradient if total is None else total.add_(near).sub_(gradient)
    assert total is not None
    return total.div_(neighbours)
