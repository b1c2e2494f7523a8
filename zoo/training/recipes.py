"""Training recipes: what the one training loop is told to do.

A recipe is a frozen dataclass; its `slots` are the functions that the loop calls. Another way of training is a subclass
with its own arguments that replaces some of the slots, not another loop. To add one: write the class where it belongs
(a defence in `defenses`, say); plain ones are listed here.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from math import cos, pi
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import nn
from typing_extensions import override

from carom.errors import InputError
from carom.registry import build, checked, lookup

from .slots import Slots, cross_entropy

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["constant", "cosine", "piecewise", "one-cycle"]

SCHEDULES: Mapping[str, Callable[[float], float]] = MappingProxyType(
    {
        "constant": lambda done: 1.0,
        "cosine": lambda done: 0.5 + 0.5 * cos(pi * done),
        # a tenth after half of the steps, a hundredth after three quarters: Rice et al. 2020, arXiv:2002.11569
        "piecewise": lambda done: 1.0 if done < 0.5 else 0.1 if done < 0.75 else 0.01,
        # up in the first fifth, then a cosine: the peak of Smith and Topin 2018, arXiv:1708.07120
        "one-cycle": lambda done: 0.04 + 4.8 * done if done < 0.2 else 0.5 + 0.5 * cos(pi * (done - 0.2) / 0.8),
    }
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Plain supervised training: cross-entropy on images that are shifted, turned and scaled a little.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images of a step; batches of an epoch differ by at most one image.
        optimizer: "adamw", or "sgd" with Nesterov momentum.
        learning_rate: At the peak of the schedule.
        momentum: Of "sgd"; the first beta of "adamw".
        weight_decay: On weight matrices and kernels, not on biases, norms and positions.
        schedule: "constant"; "cosine" from the peak to 0; "piecewise", a tenth after half of the steps and a hundredth
            after three quarters; or "one-cycle", up for a fifth of the steps, then a cosine.
        label_smoothing: Mass moved from the true class to all.
        shift: Largest shift of an image, in pixels, along each side. Borders are repeated.
        rotation: Largest turn, in degrees.
        scale: Largest change of size, as a part of it.
        flip: Mirror left and right, every other time.
        select: The weights to keep: "best" of the epochs by validation macro accuracy, or "last".
        precision: Of the forward and backward passes; weights and their updates stay float32.
        threads: Of the processor. A field, because the order of sums depends on it.

    Raises:
        InputError: A number out of range.
    """

    epochs: int = 40
    batch_size: int = 32
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 0.003
    momentum: float = 0.9
    weight_decay: float = 0.05
    schedule: ScheduleName = "one-cycle"
    label_smoothing: float = 0.0
    shift: float = 1.0
    rotation: float = 10.0
    scale: float = 0.1
    flip: bool = False
    select: Literal["best", "last"] = "best"
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int = 1

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Loshchilov and Hutter 2019, arXiv:1711.05101"

    def __post_init__(self) -> None:
        checked(
            self,
            "recipe",
            epochs=(1, 1e6),
            batch_size=(2, 1e6),
            threads=(1, 1024),
            learning_rate=(0, 1e3),
            momentum=(0, 0.9999),
            weight_decay=(0, 1e3),
            label_smoothing=(0, 0.999),
            shift=(0, 1e3),
            rotation=(0, 180),
            scale=(0, 0.99),
        )
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            lookup(getattr(self, name), known, where=f"recipe.{name}", what=name)

    @property
    def passes(self) -> float:
        """Image passes for each training image, forward and backward, as far as it can be told beforehand."""
        return 2.0 * self.epochs

    def slots(self) -> Slots:
        """What the training loop calls."""
        return Slots(
            optimizer=lambda classifier: OPTIMIZERS[self.optimizer](self, groups(classifier, self.weight_decay)),
            schedule=SCHEDULES[self.schedule],
            loss=cross_entropy(self.label_smoothing),
        )


@runtime_checkable
class Adaptation(Protocol):
    """Another way of training: changes what a recipe tells the training loop. A frozen dataclass, part of the key."""

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """What the training loop calls instead of `slots`, which are the plain recipe's."""
        ...


@runtime_checkable
class Dearer(Protocol):
    """An adaptation whose steps take more passes than one forward and one backward."""

    @property
    def multiple(self) -> float:
        """How many times as many, about."""
        ...


@dataclass(frozen=True, kw_only=True)
class Adapted(Recipe):
    """A recipe that is trained in another way; data, augmentation and whatever else is not changed are the recipe's.

    Attributes:
        by: The way.
    """

    by: Adaptation

    @override
    def slots(self) -> Slots:
        return self.by.slots(Recipe.slots(self), self)

    @property
    @override
    def passes(self) -> float:
        return super().passes * (self.by.multiple if isinstance(self.by, Dearer) else 1)


def adapted(base: Recipe, by: Adaptation, **changes: Any) -> Adapted:
    """`base`, trained in another way and with other values of some of its fields.

    Raises:
        InputError: A value out of range, or a base that is trained in another way already.
    """
    if isinstance(base, Adapted):
        raise InputError(f"recipe: {type(base.by).__name__} and {type(by).__name__} are two ways of training; use one")
    values = {f.name: getattr(base, f.name) for f in fields(Recipe)}
    return Adapted(**{**values, **changes}, by=by)


def matrices(classifier: nn.Module) -> list[nn.Parameter]:
    """The trained matrices and kernels: no vectors, as of biases and norms, and no tokens of one batch (`1 t d`)."""
    trained = [p for p in classifier.parameters() if p.requires_grad]
    return [p for p in trained if p.ndim > 1 and not (p.ndim == 3 and p.shape[0] == 1)]


def groups(classifier: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Parameters for an optimizer: `matrices` decay, all others do not."""
    trained = [p for p in classifier.parameters() if p.requires_grad]
    decayed = matrices(classifier)
    ids = {id(p) for p in decayed}
    kept = [p for p in trained if id(p) not in ids]
    return [{"params": part, "weight_decay": decay} for part, decay in ((decayed, weight_decay), (kept, 0.0)) if part]


def _sgd(recipe: Recipe, parameters: Iterable[dict[str, object]]) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True
    )


def _adamw(recipe: Recipe, parameters: Iterable[dict[str, object]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), fused=True)


OPTIMIZERS: Mapping[str, Callable[[Recipe, Iterable[dict[str, object]]], torch.optim.Optimizer]] = MappingProxyType(
    {"sgd": _sgd, "adamw": _adamw}
)

RECIPES: Mapping[str, type[Recipe]] = MappingProxyType(
    {
        "standard": Recipe,
    }
)


def recipe(value: str | Mapping[str, object], *, where: str = "recipe") -> Recipe:
    """From "standard", or a table of `name` (left out: "standard") and fields.

    Raises:
        InputError: Unknown name or field, with the nearest known one, or a wrong value.
    """
    table = {"name": value} if isinstance(value, str) else dict(value)
    cls = lookup(table.pop("name", "standard"), RECIPES, where=where, what="recipe")
    return build(cls, table, where=where)
