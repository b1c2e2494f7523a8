"""DeepFool: to the nearest boundary that the gradients promise, step by step."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from carom.budget import NORMS, Budget, Norm
from carom.draws import Draws
from carom.errors import InputError, ModelError
from carom.protocols import Passes, Reader
from carom.typing import Images, PerImage, per_image

_MARGIN = 1e-4  # in units of the norm: how far beyond the promised boundary each step aims
_LONGEST = 1e6  # of a step: far outside any box of pixels, and sums of such steps stay finite


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepFool:
    """The smallest change that crosses a boundary, to first order (Moosavi-Dezfooli et al. 2016, arXiv:1511.04599).

    Each step goes from where the image is to the nearest of the hyperplanes at which, to first order, another class
    catches up with the true one, in the norm of the budget. The steps are summed and the sum, enlarged by the
    overshoot, is laid on the clean image. (Enlarging each step by itself instead, as is done too, ends farther away
    where there are several steps.) The other classes are those that the clean image is most likely to be taken for. An
    image stops as soon as it is misclassified; one that already is stays as it is.

    The result is brought into the ball. Its distance before that is the column "radius": inf where `steps` did not
    suffice. A change that barely crosses the boundary may not survive rounding to 8 bits, linf ones of few grey levels
    least; for sets that are to fool, not to measure, enlarge the overshoot.

    Attributes:
        steps: At most; at least 1.
        candidates: Classes looked at, the true one among them; at least 2, and no more than there are.
        overshoot: Relative enlargement of the change, at least 0.

    Raises:
        InputError: Out of these ranges.
    """

    steps: int = 50
    candidates: int = 10
    overshoot: float = 0.02

    norms: ClassVar[tuple[Norm, ...]] = NORMS
    targeted: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"deepfool: steps must be at least 1, got {self.steps}")
        if self.candidates < 2:
            raise InputError(f"deepfool: candidates must be at least 2, got {self.candidates}")
        if not 0 <= self.overshoot < float("inf"):
            raise InputError(f"deepfool: overshoot must be at least 0, got {self.overshoot:g}")

    def passes(self, members: int = 1) -> Passes:
        return Passes(members * (2 * self.steps + 1), members * self.steps * self.candidates)

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        x, y = reader.x, reader.y
        if budget.eps == 0 or not len(x):
            return x.clone()
        logits = reader.logits(x)
        if logits.shape[1] < 2:
            raise ModelError("deepfool: the model has one class, so there is no boundary to cross")
        likely = logits.scatter(1, y[:, None], float("inf"))  # the true class comes first
        classes = likely.argsort(dim=1, descending=True, stable=True)[:, : self.candidates]
        x_adv, total = x.clone(), torch.zeros_like(x)
        going = (logits.argmax(1) == y).nonzero().flatten()
        for _ in range(self.steps):
            if not len(going):
                break
            logits, rows = reader.jacobian(x_adv[going], classes[going], going)
            total[going] += self._step(logits.gather(1, classes[going]), rows, budget.norm)
            x_adv[going] = (x[going] + (1 + self.overshoot) * total[going]).clamp(0, 1)
            going = going[reader.logits(x_adv[going]).argmax(1) == y[going]]
        radius = budget.size(x_adv, x)
        radius[going] = float("inf")
        reader.note("radius", radius)
        return budget.project(x_adv, x)

    @staticmethod
    def _step(logits: Float[Tensor, "m j"], rows: Float[Tensor, "m j c h w"], norm: Norm) -> Images:
        """From each image to its nearest hyperplane and a little beyond; the first class is the one to leave."""
        gap = logits[:, :1] - logits[:, 1:]
        normal = rows[:, 1:] - rows[:, :1]
        # divided by the largest entry first: squares of tiny gradients underflow
        scale = normal.abs().flatten(2).amax(2)
        flat = scale == 0
        scale = scale.masked_fill(flat, 1)
        normal = normal / scale[:, :, None, None, None]
        length = normal.flatten(2).abs().sum(2) if norm == "linf" else normal.flatten(2).square().sum(2).sqrt()
        distance: Tensor = (gap / scale / length).masked_fill(flat, float("inf"))
        nearest = distance.argmin(1)
        each = torch.arange(len(nearest), device=nearest.device)
        reach: PerImage = distance[each, nearest].clamp_max(_LONGEST) + _MARGIN
        towards = normal[each, nearest]
        towards = towards.sign() if norm == "linf" else towards / per_image(length[each, nearest].clamp_min(1))
        return per_image(reach) * towards
