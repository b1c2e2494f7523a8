"""GSAM: SAM that also narrows the gap between the loss nearby and the loss here."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from typing_extensions import override

from carom.errors import InputError
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.networks.single import Single
from carom.surrogates.probe import TINY, Probe, Tensors, along, inner
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State


@dataclass(frozen=True, kw_only=True)
class GSAM(Single):
    """Surrogate-gap guided sharpness-aware minimisation (Zhuang et al. 2022).

    Steps along `g_p - alpha g_o`: g_p is the gradient at SAM's worst weights, and g_o the part of the present gradient
    that is orthogonal to it. The radius follows the learning rate: `rho_max` at its peak, `rho_min` where it is 0. A
    step costs twice as many passes, or as many where the radius is 0. arXiv:2203.08065.

    Attributes:
        rho_max: Largest radius, in units of the weights, 0 to 100.
        rho_min: Smallest radius, at most `rho_max`.
        alpha: Weight of what narrows the gap, 0 to 10; with 0 it is SAM.

    Raises:
        InputError: Out of range, or a smallest radius above the largest.
    """

    rho_max: float = 0.05
    rho_min: float = 0.01
    alpha: float = 0.2

    name: ClassVar[str] = "gsam"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checked(self, self.name, rho_max=(0.0, 100.0), rho_min=(0.0, 100.0), alpha=(0.0, 10.0))
        if self.rho_min > self.rho_max:
            raise InputError(f"{self.name}: rho_min={self.rho_min:g} is above rho_max={self.rho_max:g}; exchange them")

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, with another update."""
        return adapted(base, self)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another update."""
        del recipe

        def update(state: State, gradient: Callable[[], None]) -> None:
            rho = self.rho(slots.schedule(state.step / state.steps))
            if not rho:
                slots.update(state, gradient)
                return
            probe = Probe(state, gradient)
            here = probe.here()
            nearby = probe.at(self.ascent(probe.parameters, here, rho))
            if self.alpha:
                share = inner(here, nearby) / inner(nearby, nearby).clamp_min(TINY**2)
                # in place: nobody else holds these
                torch._foreach_mul_(nearby, 1 + self.alpha * share)
                torch._foreach_sub_(nearby, here, alpha=self.alpha)
            probe.step(nearby)

        return replace(slots, update=update)

    @torch.no_grad()
    def ascent(self, parameters: Tensors, gradients: Tensors, rho: float) -> Tensors:
        """From these weights to the worst ones nearby, to first order."""
        del parameters
        return along(gradients, rho)

    def rho(self, part: float) -> float:
        """The radius where the learning rate is this part of its peak."""
        return self.rho_min + (self.rho_max - self.rho_min) * part


ENTRY = Entry(
    summary="SAM that also narrows the gap between the loss nearby and here.",
    paper="Zhuang et al. 2022, arXiv:2203.08065",
    stages=(GSAM(),),
)
