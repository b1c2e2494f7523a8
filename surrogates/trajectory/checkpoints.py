"""A plain training, and the weights that it passed through."""

from dataclasses import dataclass, replace
from typing import ClassVar

from typing_extensions import override

from carom.errors import InputError
from carom.surrogates.networks.single import Single
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots


@dataclass(frozen=True, kw_only=True)
class Checkpoints(Single):
    """One network, and the weights that it passed through: the same training as without, epoch by epoch.

    Attributes:
        most: Weight sets to keep, at least 2. Each epoch's, or where there are more epochs, so many at even distances,
            the last among them. Those that do no better than guessing are left out.

    Raises:
        InputError: Fewer than 2.
    """

    most: int = 50

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.most < 2:
            raise InputError(f"checkpoints: most must be at least 2, to choose from, got {self.most}")

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, with samples."""
        return adapted(base, self)

    @override
    def count(self) -> int:
        """At most; a training of fewer epochs has one for each."""
        return self.most

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """The plain training's, and when to keep weights."""
        many = min(self.most, recipe.epochs)
        kept = {recipe.epochs * (i + 1) // many for i in range(many)}
        return replace(slots, collect=lambda epoch: epoch in kept)
