"""The loop that most attacks are: read a gradient, step, project."""

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from math import prod
from typing import ClassVar

import torch

from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.typing import Images

from .gradients import Gradients
from .momentum import Momentum
from .objectives import CrossEntropy, Objective
from .rules import LookAhead, Plain, Rule
from .starts import Clean, Start
from .transformations import Transformation


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
        momentum: How gradients accumulate, or None.
        steps: How many, at least 1.
        step: Step size in units of eps. None becomes 1 / steps, so that both spellings have one key.

    Raises:
        InputError: No steps, a step that is not positive, or a look-ahead without momentum.
    """

    start: Start = field(default_factory=Clean)
    objective: Objective = field(default_factory=CrossEntropy)
    transformations: tuple[Transformation, ...] = ()
    rule: Rule = field(default_factory=Plain)
    momentum: Momentum | None = None
    steps: int = 10
    step: Fraction | None = None

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"attack: steps must be at least 1, got {self.steps}")
        if self.step is None:
            object.__setattr__(self, "step", Fraction(1, self.steps))
        elif self.step <= 0:
            raise InputError(f"attack: step must be more than 0 (in units of eps), got {self.step}")
        if isinstance(self.rule, LookAhead) and self.momentum is None:
            raise InputError("attack: a look-ahead needs momentum; add 'mi', or use 'ni', which has both")

    @property
    def copies(self) -> int:
        """Versions of each image in one reading of the gradient."""
        return prod(transformation.copies for transformation in self.transformations)

    def passes(self) -> int:
        """Gradients an image costs, each one forward and one backward pass through every active member."""
        return self.steps * self.copies * self.rule.reads

    def __call__(self, gradients: Gradients, budget: Budget, draws: Draws) -> Images:
        """Images in the ball around `gradients.x`, detached. With eps = 0 these very images, at no cost."""
        x = gradients.x
        if budget.eps == 0:
            return x.detach().clone()
        x_adv = self.start(x, budget, draws)
        size = self._step_size(budget)
        # A momentum of 1 in every pixel is a step of linf size 1, but of l2 size sqrt(pixels).
        unit = 1.0 if budget.norm == "linf" else x.shape[1:].numel() ** -0.5
        momentum: Images | None = None
        for step in range(self.steps):

            def read(at: Images, step: int = step) -> Images:
                return self._gradient(gradients, at, draws, step)

            ahead = None
            if self.momentum is not None and momentum is not None:
                ahead = momentum * (size * unit * self.momentum.decay)
            gradient = self.rule(read, x_adv, ahead)
            for transformation in self.transformations:
                gradient = transformation.gradient(gradient)
            if self.momentum is not None:
                gradient = momentum = self.momentum.accumulate(momentum, gradient)
            x_adv = budget.project(torch.add(x_adv, budget.steepest(gradient), alpha=size), x)
        return x_adv

    def _step_size(self, budget: Budget) -> float:
        assert self.step is not None
        return float(self.step * budget.eps)

    def _gradient(self, gradients: Gradients, at: Images, draws: Draws, step: int) -> Images:
        """At one point, averaged over the copies."""
        total: Images | None = None
        indices = product(*(range(transformation.copies) for transformation in self.transformations))
        for copy, index in enumerate(indices):

            def through(x: Images, copy: int = copy, index: tuple[int, ...] = index) -> Images:
                for transformation, own in zip(self.transformations, index, strict=True):
                    x = transformation.image(x, draws, step=step, index=own, copy=copy)
                return x

            gradient = gradients.at(at, self.objective, step=step, copy=copy, through=through)
            total = gradient if total is None else total + gradient
        assert total is not None
        return total if self.copies == 1 else total / self.copies
