"""RSLAD: soft answers alone, no hard labels anywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from carom.defenses.training.pgd import Start
from carom.defenses.training.trades import divergence
from carom.typing import Images, Labels, Logits
from carom.zoo.training.state import Passes

from .robust_distillation import Answers, RobustDistillation, again, told


@dataclass(frozen=True, kw_only=True)
class RSLAD(RobustDistillation):
    """Robust soft-label distillation: no hard labels anywhere (Zi et al. 2021, arXiv:2108.07969).

    Outer loss: `alpha KL(p_T(x) || p_S(x')) + (1 - alpha) KL(p_T(x) || p_S(x))`. The attack climbs the first KL, from
    Gaussian noise of deviation 0.001.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.
        alpha: Share of attacked images, 0 to 1; the paper's is 5/6.

    Raises:
        InputError: Out of range.
    """

    alpha: float = 5 / 6

    version: ClassVar[int] = 1
    start: ClassVar[Start] = "gaussian"

    def __post_init__(self) -> None:
        self._check(alpha=(0.0, 1.0))

    @override
    def objective(
        self, student: Answers, teacher: Answers, target: Logits | None, y: Labels
    ) -> Callable[[Images], Float[Tensor, "*n"]]:
        del teacher, y
        assert target is not None
        return lambda z: divergence(target, student(z))

    @override
    def target(self, teacher: Answers, x: Images, passes: Passes) -> Logits | None:
        return told(teacher, x, passes)

    @override
    def outer(
        self,
        student: Answers,
        teacher: Answers,
        x: Images,
        x_adv: Images,
        y: Labels,
        target: Logits | None,
        *,
        passes: Passes,
    ) -> tuple[Float[Tensor, ""], Logits]:
        del teacher, y
        assert target is not None
        answer = student(x_adv)
        attacked = divergence(target, answer).mean()
        if self.alpha == 1:
            return attacked, answer
        clean = again(student, x, passes)
        return self.alpha * attacked + (1 - self.alpha) * divergence(target, clean).mean(), clean
