"""The loop that most attacks are: read a gradient, step, project."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import compress, islice, product
from math import prod
from typing import ClassVar

from carom.budget import Budget, Norm
from carom.draws import Draws
from carom.errors import InputError
from carom.protocols import Passes, Reader
from carom.typing import Images

from .members.mean import Mean
from .objectives.cross_entropy import CrossEntropy
from .rules.plain import Plain
from .slots import (
    Accumulation,
    FeatureLoss,
    Fitted,
    Look,
    MemberRule,
    Memory,
    Objective,
    Path,
    Rule,
    Start,
    StepRule,
    Transformation,
    View,
    is_fitted,
    reads_features,
)
from .starts.clean import Clean
from .steps.steepest import Steepest


@dataclass(frozen=True, kw_only=True, slots=True)
class Iterative:
    """An attack by its slots. With all defaults: BIM (Kurakin et al. 2017, arXiv:1607.02533).

    Each step moves `step * eps` along the steepest direction of the budget's norm, then back into the ball. Targeted
    or not is a matter of the gradients. Random slots draw image by image, and nothing is shared by the images of a
    batch, so the result for an image does not depend on the batch it is in.

    Attributes:
        start: Where to begin.
        objective: What to raise.
        transformations: What the model sees instead of the images, in this order.
        rule: Where a step reads its gradient.
        members: How several networks of a surrogate make one gradient.
        momentum: How gradients accumulate, or None.
        path: How the gradient flows inside a network, or None for as it does.
        step_rule: From the gradient to the next point.
        steps: How many, at least 1.
        step: Step size in units of eps. None becomes 1 / steps, so that both spellings have one key.

    Raises:
        InputError: No steps, a step that is not positive, or a look-ahead without momentum.
    """

    start: Start = field(default_factory=Clean)
    objective: Objective | Fitted = field(default_factory=CrossEntropy)
    transformations: tuple[Transformation, ...] = ()
    rule: Rule = field(default_factory=Plain)
    members: MemberRule = field(default_factory=Mean)
    momentum: Accumulation | None = None
    path: Path | None = None
    step_rule: StepRule = field(default_factory=Steepest)
    steps: int = 10
    step: Fraction | None = None

    version: ClassVar[int] = 1
    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    targeted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"attack: steps must be at least 1, got {self.steps}")
        if self.step is None:
            object.__setattr__(self, "step", Fraction(1, self.steps))
        elif self.step <= 0:
            raise InputError(f"attack: step must be more than 0 (in units of eps), got {self.step}")
        if self.rule.needs_momentum and self.momentum is None:
            raise InputError("attack: a look-ahead needs momentum; add 'mi', or use 'ni', which has both")

    @property
    def copies(self) -> int:
        """Versions of each image in one reading of the gradient."""
        return prod(transformation.copies for transformation in self.transformations)

    def passes(self, members: int = 1, *, distinct: int | None = None, after: int | None = None) -> Passes:
        """What an image costs.

        Args:
            members: How many classifiers of the surrogate are active at a step.
            distinct: How many different ones the attack sees; None for `members`. Feature attacks look at each of them
                once before they attack it.
            after: Up to which step; None for all.
        """
        steps = self.steps if after is None else after
        gradients = steps * self.copies * self.rule.reads * self.members.passes(members)
        if not is_fitted(self.objective):
            return Passes(gradients, gradients)
        guide = self._plain().passes(members, distinct=distinct or members)
        return Passes(gradients, gradients) + self.objective.passes(members, distinct or members, guide)

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        """Images in the ball around `reader.x`, detached. With eps = 0 these very images, at no cost."""
        *_, x_adv = self.trace(reader, budget, draws)
        return x_adv

    def trace(self, reader: Reader, budget: Budget, draws: Draws) -> Iterator[Images]:
        """Where the attack stands after each step; do not change it in place."""
        if budget.eps == 0:
            yield from [reader.x.detach().clone()] * self.steps
            return
        with reader.along(self.path, draws):
            yield from self._steps(reader, budget, draws)

    def _steps(self, reader: Reader, budget: Budget, draws: Draws) -> Iterator[Images]:
        x = reader.x

        def guide(momentum: Accumulation | None = None) -> Images:
            plain = self._plain()
            return (plain if momentum is None else replace(plain, momentum=momentum))(reader, budget, draws)

        objective: Objective | FeatureLoss = (
            self.objective.fit(reader, budget, draws, guide) if is_fitted(self.objective) else self.objective
        )
        x_adv = self.start(x, budget, draws)
        size = self._step_size(budget)
        momentum: Images | None = None
        of_rule, of_members, of_momentum, of_step_rule = Memory(), Memory(), Memory(), Memory()

        def by_members(look: Look, at: Images, reading: int) -> Images:
            return self.members(look, at, reading, of_members)

        for step in range(self.steps):

            def read_members(
                at: Images, reading: int, member: int | None, inner: int = 0, *, summed: bool = False, step: int = step
            ) -> Images:
                which = _Which(step=step, reading=reading, member=member, inner=inner, summed=summed)
                return self._gradient(reader, objective, at, budget, draws, which)

            look = Look(
                x=x,
                x_adv=x_adv,
                step=step,
                size=size,
                unit=budget.unit(x.shape[1:].numel()),
                budget=budget,
                draws=draws,
                momentum=momentum,
                decay=0.0 if self.momentum is None else self.momentum.decay,
                members=len(reader.members(step)),
                read_members=read_members,
                read_by=by_members,
                smooth=self._smooth,
            )
            direction = self.rule(look, of_rule)
            if self.momentum is not None:
                direction = momentum = self.momentum(look, direction, of_momentum)
            x_adv = budget.project(self.step_rule(look, direction, of_step_rule), x)
            yield x_adv

    def _plain(self) -> "Iterative":
        """The same loop on cross-entropy."""
        return replace(self, objective=CrossEntropy())

    def _step_size(self, budget: Budget) -> float:
        assert self.step is not None
        return float(self.step * budget.eps)

    def _smooth(self, gradient: Images) -> Images:
        for transformation in self.transformations:
            gradient = transformation.gradient(gradient)
        return gradient

    def _gradient(
        self,
        reader: Reader,
        objective: Objective | FeatureLoss,
        at: Images,
        budget: Budget,
        draws: Draws,
        which: "_Which",
    ) -> Images:
        """At one point, averaged over the copies, then smoothed."""
        # the inner steps of a member rule draw new transformations, but read the classifiers of their reading
        later = which.inner * self.rule.reads * self.copies
        indices = product(*(range(transformation.copies) for transformation in self.transformations))
        apart = [one.averages == "gradients" or reads_features(objective) for one in self.transformations]
        together: dict[tuple[int, ...], dict[int, Callable[[Images], Images]]] = {}
        for copy, index in enumerate(indices, start=which.reading * self.copies):

            def through(x: Images, copy: int = copy, index: tuple[int, ...] = index) -> Images:
                for transformation, own in zip(self.transformations, index, strict=True):
                    view = View(
                        draws=draws,
                        budget=budget,
                        step=which.step,
                        index=own,
                        copy=copy + later,
                        y=reader.y,
                        partners=reader.partners,
                        reading=which.reading + which.inner * self.rule.reads,
                    )
                    x = transformation.image(x, view)
                return x

            together.setdefault(tuple(compress(index, apart)), {})[copy] = through
        total: Images | None = None
        for versions in together.values():
            gradient = reader.at_versions(
                at, objective, versions, step=which.step, member=which.member, summed=which.summed
            )
            total = gradient if total is None else total + gradient
        assert total is not None
        return self._smooth(total if len(together) == 1 else total / len(together))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Which:
    """Which gradient is read: fields as the arguments of `ReadMembers`, and the step."""

    step: int
    reading: int
    member: int | None
    inner: int
    summed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Where an iterative attack stands after some of its steps; its sets show how success grows with the steps.

    Attributes:
        attack: The whole attack; its step size stays that of all steps.
        after: How many of its steps.

    Raises:
        InputError: The attack has fewer steps.
    """

    attack: Iterative
    after: int

    version: ClassVar[int] = 1
    norms: ClassVar[tuple[Norm, ...]] = Iterative.norms
    targeted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 1 <= self.after <= self.attack.steps:
            raise InputError(f"trace: step {self.after} of an attack of {self.attack.steps} steps; expected 1 to that")

    def passes(self, members: int = 1, *, distinct: int | None = None) -> Passes:
        """What an image costs up to there; arguments as in `Iterative.passes`."""
        return self.attack.passes(members, distinct=distinct, after=self.after)

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        return next(islice(self.attack.trace(reader, budget, draws), self.after - 1, None))
