"""Snapshots: weights at the ends of cycles of the learning rate."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from typing_extensions import override

from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.networks.single import Single
from carom.surrogates.posterior.csgld import Cyclical, in_cycles
from carom.surrogates.surrogate import Schedule
from carom.zoo.training.recipes import Recipe
from carom.zoo.training.slots import Slots


@dataclass(frozen=True, kw_only=True)
class Snapshots(Single):
    """Weights at the ends of cycles of the learning rate, without noise (Huang et al. 2017, arXiv:1704.00109).

    Bit for bit what `Cyclical` comes to at temperature 0.

    Attributes:
        cycles: Of the learning rate, 1 to 1000.
        epochs_per_cycle: 1 to 10000.
        samples_per_cycle: Last epochs of a cycle whose weights are kept, at most all.
        learning_rate: At the begin of a cycle.
        momentum: 0 to 0.9999, without Nesterov's.
        weight_decay: Of all parameters.

    Raises:
        InputError: A number out of range.
    """

    cycles: int = 5
    epochs_per_cycle: int = 4
    samples_per_cycle: int = 1
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 0.0005

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"

    def __post_init__(self) -> None:
        checked(
            self,
            "snapshots",
            cycles=(1.0, 1e3),
            epochs_per_cycle=(1.0, 1e4),
            samples_per_cycle=(1.0, float(self.epochs_per_cycle)),
            learning_rate=(0.0, 1e3),
            momentum=(0.0, 0.9999),
            weight_decay=(0.0, 1e3),
        )

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """The data and augmentation of the scenario's; all cycles."""
        return in_cycles(base, self, self._cold)

    @override
    def count(self) -> int:
        """Samples of all cycles; those that do no better than guessing are left out."""
        return self._cold.count()

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Those of cycles at temperature 0."""
        return self._cold.slots(slots, recipe)

    @property
    def _cold(self) -> Cyclical:
        return Cyclical(
            cycles=self.cycles,
            epochs_per_cycle=self.epochs_per_cycle,
            samples_per_cycle=self.samples_per_cycle,
            noise_epochs=0,
            learning_rate=self.learning_rate,
            alpha=max(1e-4, round(1 - self.momentum, 12)),
            temperature=0.0,
            weight_decay=self.weight_decay,
        )


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        # as the peer of Gubri et al.'s experiments; the number of cycles was varied there
        "cifar10": MappingProxyType({"epochs_per_cycle": 40, "learning_rate": 0.2}),
        "imagenet": MappingProxyType({"epochs_per_cycle": 45, "learning_rate": 0.1}),
    }
)


ENTRY = Entry(
    summary="A network at the end of each of several cycles of one training.",
    paper="Huang et al. 2017, arXiv:1704.00109",
    stages=(Snapshots(),),
    presets=PRESETS,
)
