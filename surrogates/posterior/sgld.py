"""Stochastic-gradient Langevin dynamics, plain and preconditioned."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import nn
from typing_extensions import override

from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.networks.single import Single
from carom.surrogates.surrogate import Schedule
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots

from .langevin import Langevin, langevin


@dataclass(frozen=True, kw_only=True)
class SGLD(Single):
    """Samples along stochastic gradients with noise, one walk through the posterior (Welling and Teh 2011, ICML).

    A step is `theta <- theta - lr (g + theta / (N prior^2)) + sqrt(2 lr T / N) xi`: with g the gradient of a batch's
    mean cross-entropy and N the number of training images it is theirs of length `2 lr / N`, and the batch stands for
    all images whatever its size. The rate is constant, or falls as `(1 + epochs done / decay_epochs)^-decay`. Label
    smoothing is left out, as it is no likelihood.

    Attributes:
        burn_in: Epochs before the first sample, 0 to 10000.
        samples: Weight sets to keep, 1 to 10000.
        thinning: Epochs between them, 1 to 10000.
        learning_rate: At the begin, of the mean loss.
        decay: Power of its fall: 0 keeps it constant; in (0.5, 1] the walk is exact in the limit.
        decay_epochs: When the fall begins to be felt, above 0.
        temperature: Of the posterior; 1 is Bayes', 0 plain descent.
        prior: Standard deviation of each weight before any data, 0.001 to 1e6.

    Raises:
        InputError: A number out of range.
    """

    burn_in: int = 8
    samples: int = 8
    thinning: int = 1
    learning_rate: float = 0.1
    decay: float = 0.0
    decay_epochs: float = 1.0
    temperature: float = 1.0
    prior: float = 1.0

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"

    def __post_init__(self) -> None:
        checked(
            self,
            "sgld",
            burn_in=(0.0, 1e4),
            samples=(1.0, 1e4),
            thinning=(1.0, 1e4),
            learning_rate=(0.0, 1e3),
            decay=(0.0, 1.0),
            decay_epochs=(1e-6, 1e6),
            temperature=(0.0, 1e3),
            prior=(1e-3, 1e6),
        )

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """The data and augmentation of the scenario's; burn-in and samples."""
        # what the slots replace is set too, so that two bases that differ in nothing else share one training
        return adapted(
            base,
            self,
            epochs=self.burn_in + self.samples * self.thinning,
            optimizer="sgd",
            learning_rate=self.learning_rate,
            momentum=0.0,
            weight_decay=0.0,
            schedule="constant",
            label_smoothing=0.0,
            select="last",
        )

    @override
    def count(self) -> int:
        """The samples; those that do no better than guessing are left out."""
        return self.samples

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Noise in the update, the prior in the optimizer, and when to keep weights."""
        return replace(
            slots,
            optimizer=self._optimizer,
            schedule=lambda done: (1 + done * recipe.epochs / self.decay_epochs) ** -self.decay,
            update=langevin(self.temperature, lambda state: True, prior=self.prior),
            collect=lambda epoch: epoch > self.burn_in and (epoch - self.burn_in) % self.thinning == 0,
        )

    def _optimizer(self, classifier: nn.Module) -> Langevin:
        return Langevin([p for p in classifier.parameters() if p.requires_grad], lr=self.learning_rate)


@dataclass(frozen=True, kw_only=True)
class PSGLD(SGLD):
    """SGLD with RMSprop's preconditioner: step and noise of a weight by its gradients' size (Li et al. 2016).

    A step's rate is over `damping + sqrt(mean of g^2)` in each weight, and its noise over the root of that. The term
    for the preconditioner's own change is left out, as is common, so the samples are biased a little. A weight without
    any gradient, as behind a dead unit, gets noise of `sqrt(2 lr T / (N damping))`; damping keeps that at bay.
    arXiv:1512.07666.

    Attributes:
        smoothing: Of the running mean of g^2, 0 to 0.99999.
        damping: 1e-8 to 10.

    Raises:
        InputError: A number out of range.
    """

    learning_rate: float = 0.001
    smoothing: float = 0.99
    damping: float = 0.001

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        checked(self, "psgld", smoothing=(0.0, 0.99999), damping=(1e-8, 10.0))

    @override
    def _optimizer(self, classifier: nn.Module) -> Langevin:
        return Langevin(
            [p for p in classifier.parameters() if p.requires_grad],
            lr=self.learning_rate,
            smoothing=self.smoothing,
            damping=self.damping,
        )


ENTRY = Entry(
    summary="Samples along Langevin dynamics at a constant or slowly falling step.",
    paper="Welling and Teh 2011, ICML pp. 681-688; temperature as in Wenzel et al. 2020, arXiv:2002.02405",
    stages=(SGLD(),),
)
ENTRY_PSGLD = Entry(
    summary="SGLD with steps as large as the gradients are small.",
    paper="Li et al. 2016, arXiv:1512.07666",
    stages=(PSGLD(),),
)
