"""SAM whose last epochs are kept, for averaging."""

from dataclasses import dataclass, replace
from typing import ClassVar

from typing_extensions import override

from carom.errors import InputError
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.trajectory.swa import SWA
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots

from .sam import SAM


@dataclass(frozen=True, kw_only=True)
class SAMTail(SAM):
    """The first part of WASAM: SAM, and the weights after each of its last epochs (Kaddour et al. 2022).

    The average of them, with batch norm's statistics taken anew, is WASAM. The training is SAM's, bit for bit; each
    kept epoch costs one copy of the weights. The schedule is the recipe's: where it ends at 0, the last epochs hardly
    move and their mean is nearly the last of them, so little of WASAM is left; "constant" leaves more of it.
    arXiv:2202.00661.

    Attributes:
        rho: Radius of SAM.
        last: Epochs at the end whose weights are kept, at least 2. Papers average over about the last quarter.

    Raises:
        InputError: Out of range, or a training of fewer epochs.
    """

    last: int = 4

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checked(self, "wasam", rho=(0.0, 100.0), last=(2.0, 1e6))

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, with another update and samples."""
        if self.last > base.epochs:
            raise InputError(
                f"wasam: averages the last {self.last} epochs of a training of {base.epochs}; lower 'last', or train "
                "longer"
            )
        return adapted(base, self)

    @override
    def count(self) -> int:
        """One weight set for each of the last epochs."""
        return self.last

    @override
    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """SAM's, and when to keep weights."""
        return replace(super().slots(slots, recipe), collect=lambda epoch: epoch > recipe.epochs - self.last)


ENTRY = Entry(
    summary="The mean of the last epochs of SAM.",
    paper="Kaddour et al. 2022, arXiv:2202.00661",
    stages=(SAMTail(), SWA()),
)
