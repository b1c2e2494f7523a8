"""CWA: the common weakness of several networks."""

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from carom.attacks.slots import Look, Memory
from carom.budget import unit_l2
from carom.errors import InputError
from carom.typing import Images, per_image


@dataclass(frozen=True, kw_only=True, slots=True)
class CWA:
    """Common weakness: flat and near the optima of all members (Chen et al. 2024, arXiv:2303.09105; MI-CWA).

    Each reading first steps back, down the gradient of all members (sharpness), then visits the members one by one:
    each adds its gradient at length 1 to a momentum, which then moves the point (closeness). The answer is how far
    that led. The momentum is kept from step to step. Points stay in the ball around the clean image. TI smooths every
    gradient that is read, that of the step back too, and not the way, as in the authors' code.

    The step back goes down the loss of the members' added logits, as in the authors' code, which is sharper than that
    of their mean. They divide the way by its size over the whole batch; here each image has its own scale.

    Attributes:
        reverse: Size of the step back, in units of eps, at least 0.
        inner: How far a gradient of length 1 moves the point, more than 0: a root mean square over the pixels in
            units of eps for linf, a length in units of eps for l2. The paper's 250 for eps = 16/255 and 224 x 224
            pixels is 10.3 in these units, and far more than the ball can hold.
        decay: Of the momentum over the members, at least 0.
        summed: Whether the step back reads the members' added logits. False reads them as the surrogate combines them;
            TransferAttack takes the mean of the logits.

    Raises:
        InputError: Out of these ranges.
    """

    reverse: Fraction = Fraction(1, 15)
    inner: float = 10.0
    decay: float = 1.0
    summed: bool = True

    version: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if self.reverse < 0:
            raise InputError(f"cwa: reverse must be at least 0 (in units of eps), got {self.reverse}")
        if not 0 < self.inner < float("inf"):
            raise InputError(f"cwa: inner must be more than 0 (in units of eps), got {self.inner:g}")
        if not self.decay >= 0:
            raise InputError(f"cwa: decay must be at least 0, got {self.decay:g}")

    def passes(self, members: int) -> int:
        return 2 * members

    def __call__(self, look: Look, at: Images, reading: int, memory: Memory) -> Images:
        budget, eps = look.budget, float(look.budget.eps)
        back = float(self.reverse) * eps
        far = self.inner * eps * look.unit * at.shape[1:].numel() ** 0.5
        together = look.read_members(at, reading, None, summed=self.summed)
        point = budget.project(at.sub(budget.steepest(together), alpha=back), look.x)
        momentum = memory.get(kept := f"momentum {reading}")
        for member in range(look.members):
            gradient = unit_l2(look.read_members(point, reading, member, 1 + member))
            momentum = gradient if momentum is None else gradient.add_(momentum, alpha=self.decay)
            point = budget.project(point.add(momentum, alpha=far), look.x)
        assert momentum is not None
        memory[kept] = momentum
        # rounding of the projection is no way to go where no member had a gradient yet
        moved = momentum.flatten(1).any(1).to(momentum.dtype)
        return (point - budget.project(at, look.x)).mul_(per_image(moved))
