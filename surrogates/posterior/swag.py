"""SWAG: a Gaussian around the weights that SGD passes through."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from carom.draws import stream
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.stack import Vector, parameter_names, with_vector
from carom.surrogates.surrogate import Schedule
from carom.surrogates.untrained import fitted_draws
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State

_LEAST = 1e-30  # the variance of a weight that did not move


@dataclass(frozen=True, kw_only=True)
class SWAG:
    """Draws from a Gaussian fitted to the weights of SGD at a constant learning rate (Maddox et al. 2019).

    From a trained network on; after each part of an epoch the weights enter a running mean and mean of squares, and
    their deviation from the running mean becomes a column of D, of which the last `rank` are kept. A draw is
    `mean + sqrt(scale) (sqrt(mean of squares - mean^2) z1 + D z2 / sqrt(rank - 1))`, for standard normal z1 and z2;
    batch norm is taken anew for each. At scale 1/2 the covariance is half the diagonal one and half that of low rank,
    as in the paper. As in the authors' code, deviations are from the mean up to and with their own weights, so that the
    first column is 0. Momentum is Nesterov's and weight decay is on matrices and kernels alone, as in the recipe's own
    SGD; `lgv`, `fge` and `swa` have plain momentum and decay all parameters. arXiv:1902.02476.

    Attributes:
        epochs: 1 to 10000.
        learning_rate: Constant.
        momentum: 0 to 0.9999.
        weight_decay: On matrices and kernels.
        collect_per_epoch: Weights that enter per epoch, 1 to 1000, at most one a step.
        rank: Columns of D, 2 to 1000, or as many as are collected; 0 for the diagonal alone.
        scale: Of the covariance, 0 to 100; 0 gives the mean.
        draws: Members, 1 to 10000.

    Raises:
        InputError: A number out of range.
    """

    epochs: int = 5
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 0.0005
    collect_per_epoch: int = 4
    rank: int = 20
    scale: float = 0.5
    draws: int = 10

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"
    takes: ClassVar[str] = "one"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(
            self,
            "swag",
            epochs=(1.0, 1e4),
            learning_rate=(0.0, 1e3),
            momentum=(0.0, 0.9999),
            weight_decay=(0.0, 1e3),
            collect_per_epoch=(1.0, 1e3),
            rank=(2.0 if self.rank else 0.0, 1e3),
            scale=(0.0, 100.0),
            draws=(1.0, 1e4),
        )

    def count(self, given: int) -> int:
        """The draws; those that do no better than guessing are left out."""
        del given
        return self.draws

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """The plain training's, and the moments of where it passes, in its memory."""
        del recipe
        return replace(slots, after_step=(*slots.after_step, self._collect))

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """Fit and draw. The record has "collected", the number of weights that entered, beside the draws' accuracy.

        Raises:
            InputError: Too few images for batch norm, or another way of training before.
            DivergedError: The loss is not finite, or no draw does better than guessing.
        """
        recipe = adapted(
            ground.recipe,
            self,
            epochs=self.epochs,
            optimizer="sgd",
            learning_rate=self.learning_rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            schedule="constant",
            select="last",
        )
        trained = ground.trained(recipe, start=given[0])
        memory = {name: tensor.cpu() for name, tensor in trained.memory.items()}
        names = parameter_names(ground, trained.last)

        def draws() -> Iterator[Weights]:
            for i in range(self.draws):
                generator = torch.Generator().manual_seed(stream(ground.seed, "swag", i))
                yield with_vector(trained.last, names, self._draw(memory, generator))

        made = fitted_draws(ground, draws(), where="swag", remedy="lower the learning rate or the scale")
        return replace(
            made,
            passes=trained.passes + made.passes,
            record={**made.record, "collected": int(memory["swag count"])},
        )

    def _collect(self, state: State) -> None:
        """The weights enter, where a part of the epoch is over."""
        steps = state.steps // state.epochs
        parts = min(self.collect_per_epoch, steps)
        done = state.step % steps
        if (done + 1) * parts // steps == done * parts // steps:
            return
        now = torch.cat([p.detach().flatten().float() for p in state.classifier.network.parameters()])
        memory = state.memory
        if "swag count" not in memory:
            # float64, as a small variance is the difference of two large squares
            memory["swag count"] = torch.zeros((), dtype=torch.int64)
            memory["swag mean"] = torch.zeros_like(now, dtype=torch.float64)
            memory["swag squares"] = torch.zeros_like(now, dtype=torch.float64)
            memory["swag deviations"] = now.new_zeros((0, len(now)))
        count = int(memory["swag count"]) + 1
        memory["swag count"] = torch.tensor(count)
        memory["swag mean"] += (now - memory["swag mean"]) / count
        memory["swag squares"] += (now.double().square() - memory["swag squares"]) / count
        if self.rank:
            column = (now - memory["swag mean"]).float()
            memory["swag deviations"] = torch.cat([memory["swag deviations"], column[None]])[-self.rank :]

    def _draw(self, memory: Mapping[str, Tensor], generator: torch.Generator) -> Vector:
        mean: Float[Tensor, " d"] = memory["swag mean"]
        variance = (memory["swag squares"] - mean.square()).clamp_min(_LEAST)
        away = variance.sqrt() * torch.randn(len(mean), generator=generator)
        deviations = memory["swag deviations"]
        if len(deviations) > 1:
            weights = torch.randn(len(deviations), generator=generator)
            away = away + weights @ deviations / sqrt(len(deviations) - 1)
        return (mean + sqrt(self.scale) * away).float()


# As the peer of Gubri et al.'s and Ashukha et al.'s experiments: 300 epochs, the last 140 of them of SWAG.
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "cifar10": MappingProxyType(
            {
                "epochs": 140,
                "learning_rate": 0.01,
                "weight_decay": 0.0003,
                "collect_per_epoch": 1,
                "rank": 20,
                "scale": 0.5,
            }
        ),
    }
)


ENTRY = Entry(
    summary="Draws from a Gaussian fitted to the path of SGD.",
    paper="Maddox et al. 2019, arXiv:1902.02476",
    stages=(SWAG(),),
    presets=PRESETS,
)
