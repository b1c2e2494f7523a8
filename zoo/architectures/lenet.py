"""LeNet: two convolutions with large kernels, no normalisation."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from carom.zoo.preprocessing import Shape

from .base import halved


@dataclass(frozen=True, kw_only=True)
class LeNet:
    """LeNet-5 with ReLU and max pooling: conv 5x5, pool, conv 5x5, pool, two linear layers.

    Attributes:
        width: Channels of the first convolution; the second has twice as many.
        hidden: Units of the hidden linear layer.
    """

    width: int = 16
    hidden: int = 120

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "LeCun, Bottou, Bengio and Haffner 1998"
    family: ClassVar[str] = "cnn"

    def network(self, shape: Shape, classes: int) -> nn.Module:
        channels, height, width = shape
        height, width = halved(height, 2), halved(width, 2)
        return nn.Sequential(
            nn.Conv2d(channels, self.width, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(self.width, 2 * self.width, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Flatten(),
            nn.Linear(2 * self.width * height * width, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, classes),
        )
