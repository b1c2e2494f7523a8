"""Robust distillation: a student learns from a teacher's answers, on images attacked as it learns.

What ARD, RSLAD and AdaAD make large over the ball (`inner`), and small over the weights (`outer`), for any student and
any frozen teacher; and `Distilled`, which trains a network so.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import InitVar, dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from carom.budget import Budget, Norm
from carom.defenses.training.pgd import (
    Start,
    ascended,
    evaluating,
    robust_accuracy,
    started,
    summed_cross_entropy,
)
from carom.defenses.training.pgd_at import ball
from carom.defenses.training.trades import divergence
from carom.errors import InputError
from carom.registry import checked
from carom.typing import Images, Labels, Logits
from carom.zoo.models.classifier import Classifier
from carom.zoo.training.recipes import Recipe
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import Passes, State

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
        return _told(teacher, x, passes)

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
        clean = _again(student, x, passes)
        return loss + (1 - self.alpha) * nn.functional.cross_entropy(clean, y), clean


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
        return _told(teacher, x, passes)

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
        clean = _again(student, x, passes)
        return self.alpha * attacked + (1 - self.alpha) * divergence(target, clean).mean(), clean


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
        return None if self.alpha == 1 else _told(teacher, x, passes)

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
        attacked = divergence(_told(teacher, x_adv, passes), answer).mean()
        if target is None:
            return attacked, answer
        clean = _again(student, x, passes)
        return self.alpha * attacked + (1 - self.alpha) * divergence(target, clean).mean(), clean


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


def _told(teacher: Answers, x: Images, passes: Passes) -> Logits:
    """What the teacher answers, as a constant."""
    with torch.no_grad():
        answer = teacher(x)
    passes.forward += len(x)
    return answer


def _again(student: Answers, x: Images, passes: Passes) -> Logits:
    """What the student answers, besides its first answer."""
    passes.forward += len(x)
    passes.backward += len(x)
    return student(x)
