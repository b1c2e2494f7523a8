"""Sharpness-aware minimisation."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

from typing_extensions import override

from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.networks.single import Single
from carom.surrogates.probe import Probe, along
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots, Update
from carom.zoo.training.state import State


def sharpness_aware(rho: float, plain: Update) -> Update:
    """The update of SAM; `plain` where the radius is 0."""

    def update(state: State, gradient: Callable[[], None]) -> None:
        probe = Probe(state, gradient)
        probe.step(probe.at(along(probe.here(), rho)))

    return update if rho else plain


@dataclass(frozen=True, kw_only=True)
class SAM(Single):
    """Sharpness-aware minimisation: steps along the gradient at the worst weights nearby (Foret et al. 2021).

    The worst weights, to first order, are `w + rho g / |g|`, with the norm over all parameters. A step costs twice as
    many passes. With a large radius it is l-SAM, which costs clean accuracy and transfers better (Gubri et al. 2023,
    arXiv:2304.02688). With radius 0 it is the base optimizer, at its cost. arXiv:2010.01412.

    Attributes:
        rho: Radius, in units of the weights, 0 to 100. The right one depends on data and network.

    Raises:
        InputError: Out of range.
    """

    rho: float = 0.05

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checked(self, "sam", rho=(0.0, 100.0))

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, with another update."""
        return adapted(base, self)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another update."""
        del recipe
        return replace(slots, update=sharpness_aware(self.rho, slots.update))


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"cifar10": MappingProxyType({"rho": 0.05}), "imagenet": MappingProxyType({"rho": 0.05})}
)


ENTRY = Entry(
    summary="Trained along the gradient at the worst weights nearby.",
    paper="Foret et al. 2021, arXiv:2010.01412",
    stages=(SAM(),),
    presets=PRESETS,
)
ENTRY_L_SAM = Entry(
    summary="SAM with an unusually large neighbourhood.",
    paper="Gubri et al. 2023, arXiv:2304.02688",
    stages=(SAM(rho=0.4),),
)
