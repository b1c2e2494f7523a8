"""AdaAD: the teacher answers to the attacked image too."""

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
class AdaAD(RobustDistillation):
    """Adaptive adversarial distillation: the teacher answers to the attacked image (Huang et al., CVPR 2023).

    Outer loss: `alpha KL(p_T(x') || p_S(x')) + (1 - alpha) KL(p_T(x) || p_S(x))`. The attack climbs
    `KL(p_T(x') || p_S(x'))` through both networks, from Gaussian noise of deviation 0.001, so each of its steps costs a
    pass forward and one backward of the teacher besides.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.
        alpha: Share of attacked images, 0 to 1; the paper's is 1.

    Raises:
        InputError: Out of range.
    """

    alpha: float = 1.0

    version: ClassVar[int] = 1
    start: ClassVar[Start] = "gaussian"
    teachers_in_attack: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self._check(alpha=(0.0, 1.0))

    @override
    def objective(
        self, student: Answers, teacher: Answers, target: Logits | None, y: Labels
    ) -> Callable[[Images], Float[Tensor, "*n"]]:
        del target, y
        return lambda z: divergence(teacher(z), student(z))

    @override
    def target(self, teacher: Answers, x: Images, passes: Passes) -> Logits | None:
        return None if self.alpha == 1 else told(teacher, x, passes)

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
        del y
        answer = student(x_adv)
        attacked = divergence(told(teacher, x_adv, passes), answer).mean()
        if target is None:
            return attacked, answer
        clean = again(student, x, passes)
        return self.alpha * attacked + (1 - self.alpha) * divergence(target, clean).mean(), clean
