"""Stochastic weight averaging."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.onward import Onward
from carom.surrogates.stack import mean, parameter_names, vector
from carom.surrogates.surrogate import Schedule
from carom.surrogates.untrained import fitted_vectors
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import adapted
from carom.zoo.training.state import Passes


@dataclass(frozen=True, kw_only=True)
class SWA:
    """The mean of weights along SGD, with batch norm's statistics taken anew (Izmailov et al. 2018).

    Of several weight sets, as `lgv -> swa` gives them, it is their mean, and the settings below play no part. Given one
    network it goes on from it at a constant learning rate, and averages the weights after each epoch; the network it
    began with is not in the mean. Momentum is plain, and weight decay is on all parameters. Statistics are those of a
    tenth of the training images. Equal weight sets give the first of them back as it is. arXiv:1803.05407.

    Attributes:
        epochs: Passes over the training images, from 1.
        learning_rate: Constant, above 0 to 1000.
        momentum: 0 to 0.9999.
        weight_decay: 0 to 1000.

    Raises:
        InputError: Out of range.
    """

    epochs: int = 10
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "full"
    takes: ClassVar[str] = "several"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(
            self,
            "swa",
            epochs=(1.0, 1e6),
            learning_rate=(1e-12, 1e3),
            momentum=(0.0, 0.9999),
            weight_decay=(0.0, 1e3),
        )

    def count(self, given: int) -> int:
        """One."""
        del given
        return 1

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """The mean.

        Raises:
            InputError: Too few images to take batch norm's statistics from.
            DivergedError: What is averaged, or the mean, does no better than guessing.
        """
        passes, record = Passes(), {"averaged": len(given)}
        if ground.expected == len(given) == 1:
            recipe = adapted(
                ground.recipe,
                Onward(momentum=self.momentum, weight_decay=self.weight_decay),
                epochs=self.epochs,
                learning_rate=self.learning_rate,
                schedule="constant",
                select="last",
            )
            trained = ground.trained(recipe, start=given[0])
            given, passes = [sample.weights for sample in trained.samples], trained.passes
            record = {"averaged": len(given), "not_averaged": len(trained.diverged)}
        names = parameter_names(ground, given[0])
        made = fitted_vectors(ground, [(vector(mean(given, names), names), given[0])], 1, where="swa")
        return replace(
            made,
            passes=passes + made.passes,
            record={**made.record, **record},
        )


ENTRY = Entry(
    summary="The mean of weights along SGD, or of the weight sets that came before.",
    paper="Izmailov et al. 2018, arXiv:1803.05407",
    stages=(SWA(),),
)
