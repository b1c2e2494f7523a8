"""ARD: the teacher's soft answer to the clean image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from carom.defenses.training.pgd import Start, summed_cross_entropy
from carom.defenses.training.trades import divergence
from carom.typing import Images, Labels, Logits
from carom.zoo.training.state import Passes

from .robust_distillation import Answers, RobustDistillation, again, told


@dataclass(frozen=True, kw_only=True)
class ARD(RobustDistillation):
    """Adversarially robust distillation: the teacher's soft answer to the clean image (Goldblum et al. 2020).

    Outer loss: `alpha T^2 KL(p_T(x) || p_S(x')) + (1 - alpha) CE(S(x), y)`, probabilities at temperature T. The attack
    climbs the student's cross-entropy from a uniform start. With alpha 1 the student sees no clean image.
    arXiv:1905.09747.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.
        temperature: T, above 0 and up to 1000.
        alpha: Share of the teacher, 0 to 1.

    Raises:
        InputError: Out of range.
    """

    temperature: float = 30.0
    alpha: float = 1.0

    version: ClassVar[int] = 1
    start: ClassVar[Start] = "uniform"

    def __post_init__(self) -> None:
        self._check(temperature=(1e-3, 1e3), alpha=(0.0, 1.0))

    @override
    def objective(
        self, student: Answers, teacher: Answers, target: Logits | None, y: Labels
    ) -> Callable[[Images], Float[Tensor, "*n"]]:
        del teacher, target
        loss = summed_cross_entropy(y)
        return lambda z: loss(student(z))

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
        del teacher
        assert target is not None
        answer, heat = student(x_adv), self.temperature
        loss = self.alpha * heat**2 * divergence(target / heat, answer / heat).mean()
        if self.alpha == 1:
            return loss, answer
        clean = again(student, x, passes)
        return loss + (1 - self.alpha) * nn.functional.cross_entropy(clean, y), clean
