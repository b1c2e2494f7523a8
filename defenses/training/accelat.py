"""AccelAT: adversarial training whose learning rate falls when robust accuracy stops to rise."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from typing_extensions import override

from carom.stages import Entry
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State

from .pgd_at import PGDAT


@dataclass(kw_only=True)
class AccuracyGradient:
    """What AccelAT makes of accuracies: a factor on the learning rate.

    After each epoch it takes the mean of the last accuracies; where this rose by less than a threshold over the mean an
    epoch ago, and the last fall is long enough ago, the factor falls.

    Attributes:
        window: Epochs of a mean.
        quiet: Epochs that have to pass after a fall.
        threshold: Least rise of the mean in an epoch, in accuracy.
        decay: What the factor is multiplied by.
        floor: What it never goes below.
        factor: The present one.
    """

    window: int = 5
    quiet: int = 5
    threshold: float = 0.005
    decay: float = 0.8
    floor: float = 0.001
    factor: float = 1.0
    _accuracies: list[float] = field(default_factory=list)
    _means: list[float] = field(default_factory=list)
    _since: int = field(init=False)

    def __post_init__(self) -> None:
        self._since = self.quiet

    def feed(self, accuracy: float) -> float:
        """The factor after an epoch of this accuracy in [0, 1]."""
        self._accuracies.append(accuracy)
        last = self._accuracies[-self.window :]
        mean = sum(last) / len(last)
        self._since += 1
        if len(self._means) > self.window and self._since > self.quiet and mean - self._means[-1] < self.threshold:
            self.factor, self._since = self.factor * self.decay, 1
        self.factor = max(self.factor, self.floor)
        self._means.append(mean)
        return self.factor


@dataclass(frozen=True, kw_only=True)
class AccelAT(PGDAT):
    """Accelerated adversarial training: PGD-AT with a learning rate led by accuracy (Nikfam et al. 2022).

    The learning rate begins at the recipe's and stays, whatever its schedule, until the moving average of accuracy
    under PGD on validation images rises by less than `threshold` in an epoch; then it is multiplied by `decay`, at most
    every `quiet` epochs. The authors' code attacks a fixed network once and trains on those images; here each batch is
    attacked as in PGD-AT, and batch norm is trained. IEEE Access 10, 108997-109007, arXiv:2210.06888.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.
        window: Epochs of a moving average, 1 to 1000.
        quiet: Epochs that have to pass after a fall, 1 to 1000.
        threshold: Least rise of the average in an epoch, 0 to 1.
        decay: Factor of a fall, 0.001 to 1.
        floor: Least learning rate, in units of the first, 0 to 1.

    Raises:
        InputError: Out of range.
    """

    window: int = 5
    quiet: int = 5
    threshold: float = 0.005
    decay: float = 0.8
    floor: float = 0.001

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self._check(window=(1.0, 1e3), quiet=(1.0, 1e3), threshold=(0.0, 1.0), decay=(1e-3, 1.0), floor=(0.0, 1.0))

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, on other images, with a learning rate of its own."""
        return adapted(base, self, schedule="constant")

    @override
    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss, the best epoch chosen under attack, and a learning rate that follows it."""
        return replace(super().slots(slots, recipe), factor=self.factor)

    def factor(self, state: State) -> float:
        """On the learning rate: of the epochs so far alone, so that a resumed training needs nothing else."""
        return self.after(record.robust_accuracy or 0.0 for record in state.history)

    def after(self, accuracies: Iterable[float]) -> float:
        """The factor after epochs of these accuracies."""
        control = AccuracyGradient(
            window=self.window, quiet=self.quiet, threshold=self.threshold, decay=self.decay, floor=self.floor
        )
        for accuracy in accuracies:
            control.feed(accuracy)
        return control.factor


ENTRY = Entry(
    summary="PGD-AT whose learning rate falls where accuracy under attack stops rising.",
    paper="Nikfam, Marchisio, Martina and Shafique 2022, arXiv:2210.06888",
    stages=(AccelAT(),),
)
