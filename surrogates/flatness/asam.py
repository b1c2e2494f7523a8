"""Adaptive SAM: the neighbourhood of a weight is as large as the weight."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import nn
from typing_extensions import override

from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.networks.single import Single
from carom.surrogates.probe import TINY, Probe, Tensors, norm
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State


@dataclass(frozen=True, kw_only=True)
class ASAM(Single):
    """Adaptive sharpness-aware minimisation (Kwon et al. 2021): SAM that scaling of the weights does not change.

    The worst weights are `w + rho T^2 g / |T g|`, where T is `|w| + eta` for parameters named "weight" and 1 for the
    rest. In all else as SAM. arXiv:2102.11600.

    Attributes:
        rho: Radius, a share of the weights, 0 to 100; about ten times that of SAM.
        eta: Added to a weight's size, in its unit, 0 to 1.

    Raises:
        InputError: Out of range.
    """

    rho: float = 0.5
    eta: float = 0.01

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checked(self, "asam", rho=(0.0, 100.0), eta=(0.0, 1.0))

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
        probe.step(probe.at(self._ascent(state.classifier, probe.parameters, here)))

    def _ascent(self, classifier: nn.Module, parameters: Tensors, gradients: Tensors) -> Tensors:
        scaled_ids = {id(p) for name, p in classifier.named_parameters() if "weight" in name.rpartition(".")[2]}
        places = [i for i, p in enumerate(parameters) if id(p) in scaled_ids]
        direction = list(torch._foreach_mul(gradients, 1.0))  # T^2 g
        with torch.no_grad():
            sizes = list(torch._foreach_abs([parameters[i] for i in places])) if places else []
            if places:
                torch._foreach_add_(sizes, self.eta)
                torch._foreach_mul_([direction[i] for i in places], sizes)
            length = norm(direction)  # of T g
            if places:
                torch._foreach_mul_([direction[i] for i in places], sizes)
            torch._foreach_mul_(direction, self.rho / (length + TINY))
        return direction


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType({"cifar10": MappingProxyType({"rho": 0.5, "eta": 0.01})})


ENTRY = Entry(
    summary="SAM with neighbourhoods as large as the weights.",
    paper="Kwon et al. 2021, arXiv:2102.11600",
    stages=(ASAM(),),
    presets=PRESETS,
)
