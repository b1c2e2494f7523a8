"""Fast geometric ensembling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

from typing_extensions import override

from carom.errors import InputError
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.onward import Onward
from carom.surrogates.surrogate import Schedule
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots


@dataclass(frozen=True, kw_only=True)
class FGE:
    """Snapshots along short cycles of the learning rate, from a trained network (Garipov et al. 2018).

    In each cycle the rate falls linearly from high to low and rises again; a snapshot is taken where it is lowest, in
    the middle. Training ends with the last snapshot, half a cycle early. Snapshots are kept as SGD left them; the
    network it began with is not among them. Momentum is plain, and weight decay is on all parameters. arXiv:1802.10026.

    Attributes:
        cycles: Cycles, and so snapshots, from 1.
        epochs_per_cycle: Even, so that the middle ends an epoch.
        learning_rate: At the ends of a cycle, above 0 to 1000.
        lowest_learning_rate: In the middle, 0 to `learning_rate`.
        momentum: 0 to 0.9999.
        weight_decay: 0 to 1000.

    Raises:
        InputError: Out of range.
    """

    cycles: int = 6
    epochs_per_cycle: int = 2
    learning_rate: float = 0.05
    lowest_learning_rate: float = 0.0005
    momentum: float = 0.9
    weight_decay: float = 1e-4

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"
    takes: ClassVar[str] = "one"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(
            self,
            "fge",
            cycles=(1.0, 1e6),
            epochs_per_cycle=(2.0, 1e6),
            learning_rate=(1e-12, 1e3),
            lowest_learning_rate=(0.0, float(self.learning_rate)),
            momentum=(0.0, 0.9999),
            weight_decay=(0.0, 1e3),
        )
        if self.epochs_per_cycle % 2:
            raise InputError(f"fge: epochs_per_cycle={self.epochs_per_cycle}; expected an even number of epochs")

    def count(self, given: int) -> int:
        """One for each cycle."""
        del given
        return self.cycles

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """The snapshots; those that do no better than guessing are left out.

        Raises:
            DivergedError: No snapshot does better than guessing.
        """
        half = self.epochs_per_cycle // 2
        recipe = adapted(
            ground.recipe,
            Triangles(
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                every=2 * half,
                first=half,
                half_cycles=2 * self.cycles - 1,
                lowest=self.lowest_learning_rate / self.learning_rate,
            ),
            epochs=(2 * self.cycles - 1) * half,
            learning_rate=self.learning_rate,
            schedule="constant",
            select="last",
        )
        trained = ground.trained(recipe, start=given[0])
        return Built(
            members=tuple(sample.weights for sample in trained.samples),
            passes=trained.passes,
            record={
                "validation_accuracy": [sample.validation_accuracy for sample in trained.samples],
                "diverged": trained.diverged,
            },
        )


@dataclass(frozen=True, kw_only=True)
class Triangles(Onward):
    """Onward with a learning rate that falls and rises.

    Attributes:
        half_cycles: In the whole training.
        lowest: As a part of the highest.
    """

    half_cycles: int
    lowest: float

    @override
    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another optimizer, samples, and the schedule."""

        def schedule(done: float) -> float:
            halves = done * self.half_cycles
            down = halves % 2
            return self.lowest + (1 - self.lowest) * abs(1 - down)

        return replace(super().slots(slots, recipe), schedule=schedule)


# The authors' number of cycles is not known for sure, and is left out.
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "cifar10": MappingProxyType({"epochs_per_cycle": 4, "learning_rate": 0.05, "lowest_learning_rate": 0.0005}),
        "imagenet": MappingProxyType({"epochs_per_cycle": 2}),
    }
)


ENTRY = Entry(
    summary="Networks where a cyclic learning rate is lowest, from a trained network on.",
    paper="Garipov et al. 2018, arXiv:1802.10026",
    stages=(FGE(),),
    presets=PRESETS,
)
