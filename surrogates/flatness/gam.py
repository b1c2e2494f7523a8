"""Gradient norm aware minimisation: places where the gradient is small all around."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch
from typing_extensions import override

from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.networks.single import Single
from carom.surrogates.probe import Probe, along
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State


@dataclass(frozen=True, kw_only=True)
class GAM(Single):
    """Adds the largest gradient norm nearby to the loss (Zhang et al. 2023).

    The loss is `L(w) + alpha max |grad L(w')|` over w' within `rho` of w. The largest norm, to first order, lies along
    the gradient of the norm, and that is a Hessian times a direction, taken as a difference of two gradients `probe`
    apart. With u(v) the vector v at length 1, a step takes four gradients and follows the first and the last two:

    - g0 at w, and g1 at `w + probe u(g0)`; their difference points to where the norm grows;
    - g2 at `w' = w + rho u(g1 - g0)`, and g3 at `w' + probe u(g2)`;
    - the step is along `g0 + alpha (g3 - g2) / probe`.

    This is the paper's objective, by its definition. The authors' code reads its gradients at the same four points, but
    follows a weighted sum of g1 and g3 less a share of what in g0 and g2 is orthogonal to it; so it is not what they
    ran. A step costs four times as many passes. arXiv:2303.03108.

    Attributes:
        rho: Radius of the neighbourhood, in units of the weights, 0 to 100.
        alpha: Weight of the norm, 0 to 100; 0 for the base optimizer, at its cost.
        probe: Distance of two gradients whose difference is taken, in units of the weights, 1e-4 to 10.

    Raises:
        InputError: Out of range.
    """

    rho: float = 0.1
    alpha: float = 0.02
    probe: float = 0.03

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checked(self, "gam", rho=(0.0, 100.0), alpha=(0.0, 100.0), probe=(1e-4, 10.0))

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, with another update."""
        return adapted(base, self)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another update."""
        del recipe
        return replace(slots, update=self._update) if self.alpha else slots

    def _update(self, state: State, gradient: Callable[[], None]) -> None:
        probe = Probe(state, gradient)
        here = probe.here()
        ahead = probe.at(along(here, self.probe))
        away = along(list(torch._foreach_sub(ahead, here)), self.rho)
        there = probe.at(away)
        beyond = probe.at(list(torch._foreach_add(away, along(there, self.probe))))
        torch._foreach_sub_(beyond, there)
        probe.step(list(torch._foreach_add(here, beyond, alpha=self.alpha / self.probe)))


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    # radius and distance of the authors' code for ResNets; its weights belong to another combination
    {"cifar10": MappingProxyType({"rho": 0.2, "probe": 0.03})}
)


ENTRY = Entry(
    summary="Trained towards small gradients all around.",
    paper="Zhang et al. 2023, arXiv:2303.03108",
    stages=(GAM(),),
    presets=PRESETS,
)
