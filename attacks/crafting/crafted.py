"""An adversarial set, whole and in the making."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from carom.attacks.reading.gradients import Gradients
from carom.protocols import Passes
from carom.typing import Images, Pixels


@dataclass(frozen=True, kw_only=True, eq=False)
class Crafted:
    """One adversarial set, and what it cost.

    Attributes:
        images: `n c h w`: 8-bit and verified to be in the ball, or floats in it.
        passes: Image passes over the whole set.
        zero_gradients: Share of the gradients, over images and readings, that were exactly zero; 0 if none was read.
        without_gradient: For how many images every gradient that was read was exactly zero.
        seconds: Time it took. A gradient at the clean images counts for the first attack that asked.
        model_seconds: Of these, in forward and backward passes.
        columns: What the attack noted of each image, by name, each `n`: "queries", "radius".
    """

    images: Pixels | Images
    passes: Passes
    zero_gradients: float
    without_gradient: int
    seconds: float
    model_seconds: float
    columns: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass
class Tally:
    """One set in the making."""

    images: list[Tensor] = field(default_factory=list)
    passes: Passes = field(default_factory=Passes)
    zero: int = 0
    gradients: int = 0
    without_gradient: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0
    columns: dict[str, list[Tensor]] = field(default_factory=dict)

    def crafted(self, empty: Tensor) -> Crafted:
        return Crafted(
            images=torch.cat(self.images) if self.images else empty.clone(),
            passes=self.passes,
            zero_gradients=self.zero / self.gradients if self.gradients else 0.0,
            without_gradient=self.without_gradient,
            seconds=self.seconds,
            model_seconds=self.model_seconds,
            columns={name: torch.cat(values) for name, values in self.columns.items()},
        )

    def add(self, images: Tensor, own: Gradients, seconds: float) -> None:
        self.images.append(images)
        self.seconds += seconds
        self.model_seconds += own.seconds
        self.passes += own.passes
        zero = own.zero_gradients
        self.zero += int(zero.sum())
        evaluations = own.evaluations
        self.without_gradient += int(((zero == evaluations) & (evaluations > 0)).sum())
        self.gradients += int(evaluations.sum())
        for name in {*self.columns, *own.columns}:  # an attack may note something of some chunks alone: 0 elsewhere
            before = sum(map(len, self.images[:-1]))
            column = self.columns.setdefault(name, [torch.zeros(before, dtype=torch.int64, device=images.device)])
            nothing = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            column.append(own.columns[name].to(images.device) if name in own.columns else nothing)
