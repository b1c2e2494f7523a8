"""CW: the smallest change by optimisation, with the weight of success found by bisection."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool
from torch import Tensor

from carom.budget import Budget, Norm, l2
from carom.draws import Draws
from carom.errors import InputError, ModelError
from carom.protocols import Passes, Reader
from carom.typing import Images, Logits, PerImage, per_image

_INSIDE = 0.999999  # black and white pixels have no finite place in tanh space
_MEAN, _SQUARE, _EPSILON = 0.9, 0.999, 1e-8  # of Adam


@dataclass(frozen=True, kw_only=True, slots=True)
class CW:
    """The nearest image that fools, by gradient descent (Carlini and Wagner 2017, arXiv:1608.04644; their L2 attack).

    Minimises |x' - x|^2 + c max(margin + confidence, 0), where the margin is how far the logit of the true class is
    above the largest other one; of a targeted attack, how far the largest other one is above that of the target. The
    images are written as (tanh w + 1) / 2, so that no step leaves the box, and w follows Adam. A search starts from the
    clean image and takes `steps` steps with one c for each image. The next one takes half the way between the largest c
    that failed and the smallest that succeeded; ten times c as long as none has.

    The result is the nearest image of all steps that fools; of an image that none did, the last one tried. It is
    brought into the ball. The distance before that is the column "radius": inf where nothing fooled. Every image runs
    through all steps, so none depends on the others. Only the members of the first step are read.

    The paper takes 10,000 steps in each of 20 searches, at the same rate; its first c is small. The defaults are for
    300 times less work: fewer steps, and fewer searches from a c in the middle. On small images they come within a few
    per cent.

    Attributes:
        searches: Values of c for each image, at least 1.
        steps: Of each search, at least 1.
        rate: Learning rate of Adam, above 0.
        constant: The first c, above 0.
        confidence: By how much the margin is to be overshot, in units of the logits, at least 0.

    Raises:
        InputError: Out of these ranges.
    """

    searches: int = 6
    steps: int = 100
    rate: float = 0.01
    constant: float = 1.0
    confidence: float = 0.0

    norms: ClassVar[tuple[Norm, ...]] = ("l2",)
    targeted: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name, count in (("searches", self.searches), ("steps", self.steps)):
            if count < 1:
                raise InputError(f"cw: {name} must be at least 1, got {count}")
        for name, value in (("rate", self.rate), ("constant", self.constant)):
            if not 0 < value < float("inf"):
                raise InputError(f"cw: {name} must be above 0, got {value:g}")
        if not 0 <= self.confidence < float("inf"):
            raise InputError(f"cw: confidence must be at least 0, got {self.confidence:g}")

    def passes(self, members: int = 1) -> Passes:
        each = members * self.searches * self.steps
        return Passes(each, each)

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        x = reader.x
        if budget.eps == 0 or not len(x):
            return x.clone()
        origin = ((2 * x - 1) * _INSIDE).atanh()
        clean = (origin.tanh() + 1) / 2
        c = torch.full((len(x),), self.constant, dtype=x.dtype, device=x.device)
        failed, worked = torch.zeros_like(c), torch.full_like(c, float("inf"))
        radius, best, x_adv = worked.clone(), x, x
        for _ in range(self.searches):
            w, mean, square = origin.clone(), torch.zeros_like(x), torch.zeros_like(x)
            found = torch.zeros_like(c, dtype=torch.bool)
            for step in range(1, self.steps + 1):
                squashed = w.tanh()
                x_adv = (squashed + 1) / 2
                logits, slope = reader.scored(x_adv, lambda logits: self._margin(logits, reader))
                fools = self._fools(logits, reader)
                found |= fools
                distance = l2(x_adv - x)
                nearer = fools & (distance < radius)
                radius = torch.where(nearer, distance, radius)
                best = torch.where(nearer[:, None, None, None], x_adv, best)
                # what fools already has nothing to gain but distance
                weight = torch.where(fools, 0.0, c)
                downhill = (2 * (x_adv - clean) + per_image(weight) * slope) * (1 - squashed.square()) / 2
                mean.lerp_(downhill, 1 - _MEAN)
                square.lerp_(downhill.square(), 1 - _SQUARE)
                size = (square / (1 - _SQUARE**step)).sqrt_().add_(_EPSILON)
                w.addcdiv_(mean, size, value=-self.rate / (1 - _MEAN**step))
            worked = torch.where(found, c, worked)
            failed = torch.where(found, failed, c)
            c = torch.where(worked.isinf(), 10 * c, (failed + worked) / 2)
        reader.note("radius", radius)
        return budget.project(torch.where(radius.isinf()[:, None, None, None], x_adv, best), x)

    @staticmethod
    def _margin(logits: Logits, reader: Reader) -> PerImage:
        """What is left to do, in logits: fooled where it is below 0."""
        if logits.shape[1] < 2:
            raise ModelError("cw: the model has one class, so there is nothing to be taken for")
        labels = reader.y if reader.target is None else reader.target
        own = logits.gather(1, labels[:, None])[:, 0]
        other = logits.scatter(1, labels[:, None], float("-inf")).amax(1)
        return own - other if reader.target is None else other - own

    def _fools(self, logits: Logits, reader: Reader) -> Bool[Tensor, " n"]:
        answer = logits.argmax(1)
        aim = answer != reader.y if reader.target is None else answer == reader.target
        return aim & (self._margin(logits, reader) <= -self.confidence)
