"""Training a network on what a teacher answers."""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from carom.budget import Norm
from carom.defenses.training.pgd import robust_accuracy
from carom.errors import InputError
from carom.typing import Images, Labels, Logits
from carom.zoo.models.classifier import Classifier
from carom.zoo.training.recipes import Recipe
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State

from .adaad import AdaAD
from .ard import ARD
from .robust_distillation import RobustDistillation
from .rslad import RSLAD

LossName = Literal["rslad", "ard", "adaad"]
DISTILLATIONS: Mapping[str, type[RobustDistillation]] = MappingProxyType({"ard": ARD, "rslad": RSLAD, "adaad": AdaAD})


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """Trains a network on what a teacher answers, in one of the robust ways; the recipe's own loss is left out.

    The best epoch is the one with the highest accuracy under PGD on validation images. Passes of the teacher are
    counted with the student's.

    Attributes:
        by: The way.
        teacher: Read in eval mode, on the training's device, and left so; not part of the key, but its digest is.
        digest: Of the teacher; filled in.
    """

    by: RobustDistillation
    teacher: InitVar[Classifier]
    digest: str = field(default="", init=False)

    version: ClassVar[int] = 1

    def __post_init__(self, teacher: Classifier) -> None:
        object.__setattr__(self, "digest", teacher.fingerprint())
        object.__setattr__(self, "_teacher", teacher)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss, and the best epoch chosen under attack."""
        del recipe
        teacher: Classifier = self._teacher.eval()  # type: ignore[attr-defined]

        def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
            student, passes = state.classifier, state.passes
            target = self.by.target(teacher, x, passes)
            x_adv = self.by.inner(student, teacher, x, y, target, generator=state.generator, passes=passes)
            return self.by.outer(student, teacher, x, x_adv, y, target, passes=passes)

        return replace(slots, loss=loss, robust=lambda state: robust_accuracy(state, self.by.budget))


def distillation(
    loss: LossName, *, eps: Fraction, norm: Norm, steps: int, step: float, where: str
) -> RobustDistillation:
    """A way of robust distillation, with its paper's own settings otherwise.

    Raises:
        InputError: Out of range.
    """
    try:
        return DISTILLATIONS[loss](eps=eps, norm=norm, steps=steps, step=step)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
