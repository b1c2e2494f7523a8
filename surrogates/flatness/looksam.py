"""LookSAM: SAM whose second gradient is read now and then, and what it brings is used in between."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.networks.single import Single
from carom.surrogates.probe import TINY, Probe, along, inner, norm
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State


@dataclass(frozen=True, kw_only=True)
class LookSAM(Single):
    """SAM at nearly the cost of the base optimizer (Liu et al. 2022).

    Every `every` steps, from the first on, it takes SAM's step along g_s, and keeps g_v, the part of g_s orthogonal to
    the present gradient g; all other steps go along `g + alpha |g| / |g_v| g_v`. Norms and projections are over all
    parameters at once. Takes `1 + 1 / every` times as many passes. arXiv:2203.02714.

    Attributes:
        rho: Radius, in units of the weights, 0 to 100.
        every: Steps from one reading nearby to the next, at least 1; with 1 it is SAM.
        alpha: Length of what is kept, in units of |g|, 0 to 10.

    Raises:
        InputError: Out of range.
    """

    rho: float = 0.1
    every: int = 5
    alpha: float = 0.3

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checked(self, "looksam", rho=(0.0, 100.0), every=(1.0, 1e6), alpha=(0.0, 10.0))

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, with another update."""
        return adapted(base, self)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another update."""
        del recipe
        return replace(slots, update=self._update) if self.rho else slots

    def _update(self, state: State, gradient: Callable[[], None]) -> None:
        probe = Probe(state, gradient)
        here = probe.here()
        if state.step % self.every == 0:
            nearby = probe.at(along(here, self.rho))
            share = inner(nearby, here) / inner(here, here).clamp_min(TINY**2)
            # in the state, so that a training that was interrupted goes on with it
            for i, across in enumerate(torch._foreach_sub(nearby, torch._foreach_mul(here, share))):
                state.memory[_name(i)] = across
            probe.step(nearby)
            return
        kept: list[Tensor] = [state.memory[_name(i)] for i in range(len(here))]
        scale = self.alpha * norm(here) / (norm(kept) + TINY)
        probe.step(list(torch._foreach_add(here, torch._foreach_mul(kept, scale))))


def _name(place: int) -> str:
    return f"looksam {place}"


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    # values of the documentation of the code that was read, not of the paper's tables
    {"imagenet": MappingProxyType({"rho": 0.1, "every": 10, "alpha": 0.7})}
)


ENTRY = Entry(
    summary="SAM that reads nearby every few steps.",
    paper="Liu et al. 2022, arXiv:2203.02714",
    stages=(LookSAM(),),
    presets=PRESETS,
)
