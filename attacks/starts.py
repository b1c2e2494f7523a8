"""Where an iterative attack begins."""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from carom.budget import Budget, unit_l2
from carom.draws import Draws
from carom.typing import Images, per_image


@runtime_checkable
class Start(Protocol):
    """The first adversarial images: in the ball around the clean ones."""

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Clean:
    """The clean images themselves."""

    version: ClassVar[int] = 1

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        return x


@dataclass(frozen=True, kw_only=True, slots=True)
class Uniform:
    """Uniform in the ball, then clamped to [0, 1] (Madry et al. 2018, arXiv:1706.06083)."""

    version: ClassVar[int] = 1

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        shape = x.shape[1:]
        if budget.norm == "linf":
            noise = draws.uniform("start", shape).to(x.dtype) * 2 - 1
        else:  # the volume within radius r grows as r to the number of pixels
            radius = draws.uniform("start radius").double() ** (1 / shape.numel())
            noise = unit_l2(draws.normal("start", shape).to(x.dtype)) * per_image(radius.to(x.dtype))
        return budget.project(x + float(budget.eps) * noise, x)
