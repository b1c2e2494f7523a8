"""Samples along a cyclical learning rate: cyclical stochastic-gradient MCMC."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import cos, pi
from types import MappingProxyType
from typing import ClassVar

from torch import nn
from typing_extensions import override

from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.networks.single import Single
from carom.surrogates.surrogate import Schedule
from carom.zoo.training.recipes import Adaptation, Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State

from .langevin import Langevin, langevin


def restarts(done: float, cycles: int) -> float:
    """A cosine from 1 to 0 in each of `cycles` equal parts of a training of which the part `done` is over."""
    # rounded, as a cycle's first step must not fall to the end of the one before
    return 0.5 + 0.5 * cos(pi * (round(done * cycles, 9) % 1.0))


@dataclass(frozen=True, kw_only=True)
class Cyclical(Single):
    """Cyclical SGLD and SGHMC: each cycle finds another mode, and its last epochs sample there (Zhang et al. 2020).

    The learning rate falls from its peak to 0 over a cycle, step by step, and jumps back; weights go on. At the ends of
    the last epochs of a cycle, weights are kept as samples. In the last epochs noise is added to the steps:
    `sqrt(2 lr alpha T / N)` in each weight, N the number of training images. arXiv:1902.03932; as a surrogate:
    Gubri et al. 2022, UAI, "Efficient and Transferable Adversarial Examples from Bayesian Neural Networks".

    Attributes:
        cycles: Of the learning rate, 1 to 1000.
        epochs_per_cycle: 1 to 10000.
        samples_per_cycle: Last epochs of a cycle whose weights are kept, at most all.
        noise_epochs: Last epochs of a cycle that are noisy, at most all.
        learning_rate: At the begin of a cycle, of the mean loss.
        alpha: Friction, in [0.0001, 1]: one less the momentum. 1 is SGLD, below is SGHMC.
        temperature: Of the posterior: 1 is Bayes', 0 is none of the noise, at the same rate, cycles and samples: the
            control that tells what the noise is worth. The published ones lie far below 1 and far
            from each other; see the presets.
        weight_decay: Of all parameters, biases and norms too, as it stands for the prior: its variance is
            `T / (N weight_decay)`.
        batch_size: Of its training, at least 2; None for the scenario's.

    Raises:
        InputError: A number out of range, or more samples or noisy epochs than a cycle has.
    """

    cycles: int = 5
    epochs_per_cycle: int = 4
    samples_per_cycle: int = 2
    noise_epochs: int = 2
    learning_rate: float = 0.05
    alpha: float = 0.1
    temperature: float = 0.1
    weight_decay: float = 0.0005
    batch_size: int | None = None

    version: ClassVar[int] = 2
    schedule: ClassVar[Schedule] = "light"

    def __post_init__(self) -> None:
        checked(
            self,
            "cyclical",
            cycles=(1.0, 1e3),
            epochs_per_cycle=(1.0, 1e4),
            samples_per_cycle=(1.0, float(self.epochs_per_cycle)),
            noise_epochs=(0.0, float(self.epochs_per_cycle)),
            learning_rate=(0.0, 1e3),
            alpha=(1e-4, 1.0),
            temperature=(0.0, 1e3),
            weight_decay=(0.0, 1e3),
        )

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """The data and augmentation of the scenario's; all cycles."""
        return in_cycles(base, self, self)

    @override
    def count(self) -> int:
        """Samples of all cycles; those that do no better than guessing are left out."""
        return self.cycles * self.samples_per_cycle

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Cycles of the learning rate, noise in the update, and when to keep weights."""
        del recipe
        length = self.epochs_per_cycle

        def optimizer(classifier: nn.Module) -> Langevin:
            trained = [p for p in classifier.parameters() if p.requires_grad]
            return Langevin(trained, lr=self.learning_rate, alpha=self.alpha, weight_decay=self.weight_decay)

        def noisy(state: State) -> bool:
            return state.epoch % length >= length - self.noise_epochs

        return replace(
            slots,
            optimizer=optimizer,
            schedule=lambda done: restarts(done, self.cycles),
            update=langevin(self.temperature, noisy),
            collect=lambda epoch: (epoch - 1) % length >= length - self.samples_per_cycle,
        )


def in_cycles(base: Recipe, by: Adaptation, cyclical: Cyclical) -> Recipe:
    """`base`, trained in the cycles of `cyclical` by the slots of `by`."""
    # what the slots replace is set too, so that two bases that differ in nothing else share one training
    return adapted(
        base,
        by,
        epochs=cyclical.cycles * cyclical.epochs_per_cycle,
        optimizer="sgd",
        learning_rate=cyclical.learning_rate,
        momentum=min(0.9999, 1 - cyclical.alpha),
        batch_size=base.batch_size if cyclical.batch_size is None else cyclical.batch_size,
        weight_decay=cyclical.weight_decay,
        schedule="cosine",
        select="last",
    )


# Two conventions for the noise are about, 1e3 to 1e4 apart in temperature. Zhang et al.'s code multiplies
# sqrt(2 lr alpha) by sqrt(T / N), with T = 1/50000 and N = 50000: their T is the one here. The code behind Gubri et al.
# (from Ashukha et al. 2020, arXiv:2002.06470) adds sum(theta z) / n_b to the loss, with z of variance 2 alpha / lr and
# n_b batches an epoch. A step makes of it a noise of lr sqrt(2 alpha / lr) / n_b = sqrt(2 lr alpha) / n_b, and the two
# are equal where T / N = 1 / n_b^2. With batches of 64 of 50,000 images, T = 50000 / 782^2 = 0.0818; with batches of
# 256 of 1,281,167, T = 1281167 / 5005^2 = 0.0511.
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "paper-cifar10": MappingProxyType(
            {
                "cycles": 5,
                "epochs_per_cycle": 50,
                "samples_per_cycle": 3,
                "noise_epochs": 3,
                "learning_rate": 0.5,
                "alpha": 1.0,
                "temperature": 50_000 / 782**2,
                "weight_decay": 0.0003,
                "batch_size": 64,
            }
        ),
        "paper-imagenet": MappingProxyType(
            {
                "cycles": 5,
                "epochs_per_cycle": 45,
                "samples_per_cycle": 3,
                "noise_epochs": 3,
                "learning_rate": 0.1,
                "alpha": 0.1,
                "temperature": 1_281_167 / 5005**2,
                "weight_decay": 0.0001,
                "batch_size": 256,
            }
        ),
        "csgmcmc-cifar10": MappingProxyType(
            {
                "cycles": 4,
                "epochs_per_cycle": 50,
                "samples_per_cycle": 3,
                "noise_epochs": 5,
                "learning_rate": 0.5,
                "alpha": 1.0,
                "temperature": 1 / 50_000,
                "weight_decay": 0.0005,
                "batch_size": 64,
            }
        ),
        # friction and temperature are those of Zhang et al.'s second script; the cycles are their first one's
        "csghmc-cifar10": MappingProxyType(
            {
                "cycles": 4,
                "epochs_per_cycle": 50,
                "samples_per_cycle": 3,
                "noise_epochs": 5,
                "learning_rate": 0.5,
                "alpha": 0.9,
                "temperature": 1 / 50_000,
                "weight_decay": 0.0005,
                "batch_size": 64,
            }
        ),
    }
)


ENTRY = Entry(
    summary="Samples at the ends of cycles of Langevin dynamics, without momentum.",
    paper="Zhang et al. 2020, arXiv:1902.03932; Gubri et al. 2022, arXiv:2011.05074",
    stages=(Cyclical(alpha=1.0, learning_rate=0.5),),
    presets=PRESETS,
)
ENTRY_CSGHMC = Entry(
    summary="Samples at the ends of cycles of Langevin dynamics with momentum.",
    paper="Zhang et al. 2020, arXiv:1902.03932; Gubri et al. 2022, arXiv:2011.05074",
    stages=(Cyclical(),),
    presets=PRESETS,
)
