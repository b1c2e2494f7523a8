"""Robust distillation: a student learns from a teacher's answers, on images attacked as it learns.

What a way of it makes large over the ball (`inner`), and small over the weights (`outer`), for any student and any
frozen teacher. `ard.py`, `rslad.py` and `adaad.py` are the ways; `distilled.py` trains a network so.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carom.budget import Budget, Norm
from carom.defenses.training.pgd import Start, ascended, evaluating, started
from carom.defenses.training.pgd_at import ball
from carom.errors import InputError
from carom.registry import checked
from carom.typing import Images, Labels, Logits
from carom.zoo.training.state import Passes

Answers = Callable[[Images], Logits]


@dataclass(frozen=True, kw_only=True)
class RobustDistillation(ABC):
    """A student learns from a teacher's answers on attacked images: what ARD, RSLAD and AdaAD share.

    KL is summed over classes and averaged over images ("batchmean"), which for k classes is k times what the "mean" of
    the papers' code says. The teacher is the caller's to keep in eval mode; its parameters get no gradient. In the
    attack, a student that is a module is read in eval mode and put back; any other callable is read as it is, for
    networks whose batch norm has no statistics worth reading.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.

    Raises:
        InputError: Out of range.
    """

    eps: Fraction = Fraction(16, 255)
    norm: Norm = "linf"
    steps: int = 10
    step: float = 0.25

    start: ClassVar[Start]
    teachers_in_attack: ClassVar[int] = 0

    def __post_init__(self) -> None:
        self._check()

    def _check(self, **ranges: tuple[float, float]) -> None:
        name = type(self).__name__.lower()
        if getattr(self, "temperature", 1) == 0:
            raise InputError(f"{name}: temperature is 0, and divides the logits; give one above 0, such as 1")
        checked(self, name, steps=(1.0, 1e4), step=(1e-6, 10.0), **ranges)
        ball(name, self.eps, self.norm)

    @property
    def budget(self) -> Budget:
        """The ball."""
        return Budget(norm=self.norm, eps=self.eps)

    @abstractmethod
    def objective(
        self, student: Answers, teacher: Answers, target: Logits | None, y: Labels
    ) -> Callable[[Images], Float[Tensor, "*n"]]:
        """What the attack makes large, given what `target` gave."""

    @abstractmethod
    def target(self, teacher: Answers, x: Images, passes: Passes) -> Logits | None:
        """What the teacher says to clean images, where this way asks it; a constant.

        May be asked once for several readings of one batch, as by many students.
        """

    @abstractmethod
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
        """What the student makes small, and its logits on clean images, or on attacked ones where it saw no others.

        Args:
            student: In training mode.
            teacher: In eval mode; read without gradient.
            x: Clean images in [0, 1].
            x_adv: What `inner` made of them.
            y: Their classes.
            target: What `target` gave for `x`.
            passes: Gets all further passes of both, except one forward and one backward of the student, which are
                counted by whoever trains.
        """

    def inner(
        self,
        student: Answers,
        teacher: Answers,
        x: Images,
        y: Labels,
        target: Logits | None,
        *,
        generator: torch.Generator,
        passes: Passes,
    ) -> Images:
        """Attacked images, detached.

        Args:
            student: Read in eval mode where it is a module.
            teacher: In eval mode.
            x: Clean images in [0, 1].
            y: Their classes.
            target: What `target` gave for `x`.
            generator: Of the start, on the CPU.
            passes: Gets all further passes of both networks.
        """
        begin = started(x, self.budget, self.start, generator)
        objective = self.objective(student, teacher, target, y)
        readings = self.teachers_in_attack * self.steps * len(x)
        passes.forward += readings
        passes.backward += readings
        with evaluating(student) if isinstance(student, nn.Module) else nullcontext():
            return ascended(objective, x, begin, self.budget, steps=self.steps, step=self.step, passes=passes)


def told(teacher: Answers, x: Images, passes: Passes) -> Logits:
    """What the teacher answers, as a constant."""
    with torch.no_grad():
        answer = teacher(x)
    passes.forward += len(x)
    return answer


def again(student: Answers, x: Images, passes: Passes) -> Logits:
    """What the student answers, besides its first answer."""
    passes.forward += len(x)
    passes.backward += len(x)
    return student(x)
