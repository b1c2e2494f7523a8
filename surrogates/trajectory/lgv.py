"""LGV: weights collected while a trained network goes on at a large, constant learning rate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from carom.errors import InputError
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.onward import Onward
from carom.surrogates.surrogate import Schedule
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import adapted


@dataclass(frozen=True, kw_only=True)
class LGV:
    """Large geometric vicinity: snapshots of SGD that goes on from a trained network (Gubri et al. 2022).

    The learning rate is large and constant, so that the weights leave the minimum for the wide region around it. Each
    snapshot is kept as SGD left it, batch norm included; the network it began with is not among them. A part of an
    epoch sees `floor(batches of an epoch / models_per_epoch)` batches of a fresh shuffle, as the authors' code does.
    Momentum is plain, not Nesterov's, and weight decay is on all parameters. Augmentation, label smoothing and
    precision are the attacker's own. Attack with at least as many steps as there are members: each step reads one.
    arXiv:2207.13129.

    Attributes:
        epochs: Passes over the training images, from 1.
        models_per_epoch: Snapshots in each, evenly apart, from 1.
        learning_rate: Constant, above 0 to 1000.
        momentum: 0 to 0.9999.
        weight_decay: 0 to 1000.
        batch_size: Images of a step; None for the attacker's own. The right learning rate depends on it.

    Raises:
        InputError: Out of range.
    """

    epochs: int = 10
    models_per_epoch: int = 4
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    batch_size: int | None = None

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"
    takes: ClassVar[str] = "one"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(
            self,
            "lgv",
            epochs=(1.0, 1e6),
            models_per_epoch=(1.0, 1e6),
            learning_rate=(1e-12, 1e3),
            momentum=(0.0, 0.9999),
            weight_decay=(0.0, 1e3),
            **({} if self.batch_size is None else {"batch_size": (2.0, 1e6)}),
        )

    def count(self, given: int) -> int:
        """One for each part of an epoch."""
        del given
        return self.epochs * self.models_per_epoch

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """The snapshots; those that do no better than guessing are left out.

        Raises:
            InputError: An epoch has fewer batches than snapshots.
            DivergedError: No snapshot does better than guessing.
        """
        batch_size = self.batch_size or ground.recipe.batch_size
        batches = -(-len(ground.train) // batch_size)
        steps = batches // self.models_per_epoch
        if not steps:
            raise InputError(
                f"lgv: an epoch has {batches} batches of {batch_size} images, fewer than "
                f"models_per_epoch={self.models_per_epoch}; make one of the two smaller"
            )
        recipe = adapted(
            ground.recipe,
            Onward(momentum=self.momentum, weight_decay=self.weight_decay, part=steps / batches),
            epochs=self.epochs * self.models_per_epoch,
            batch_size=batch_size,
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


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "paper-imagenet": MappingProxyType(
            {
                "epochs": 10,
                "models_per_epoch": 4,
                "learning_rate": 0.05,
                "momentum": 0.9,
                "weight_decay": 1e-4,
                "batch_size": 256,
            }
        )
    }
)


ENTRY = Entry(
    summary="Weights along SGD at a high constant learning rate, from a trained network on.",
    paper="Gubri et al. 2022, arXiv:2207.13129",
    stages=(LGV(),),
    presets=PRESETS,
)
