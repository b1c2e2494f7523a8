"""Multilayer perceptron."""

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar

from torch import nn

from carom.zoo.preprocessing import Shape


@dataclass(frozen=True, kw_only=True)
class MLP:
    """Fully connected layers with ReLU.

    Attributes:
        width: Units of a hidden layer.
        depth: Hidden layers.
    """

    width: int = 256
    depth: int = 2

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Rumelhart, Hinton and Williams 1986"
    family: ClassVar[str] = "mlp"

    def network(self, shape: Shape, classes: int) -> nn.Module:
        sizes = [prod(shape), *[self.width] * self.depth]
        hidden: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(sizes):
            hidden += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*hidden, nn.Linear(sizes[-1], classes))
