"""VGG: small kernels in stages, with batch normalisation."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from carom.zoo.preprocessing import Shape

from .base import halved


@dataclass(frozen=True, kw_only=True)
class VGG:
    """Stages of conv 3x3, batch norm and ReLU, each ending in a pool and twice as wide as the last; two linear layers.

    Attributes:
        width: Channels of the first stage.
        stages: How often the image is halved.
        depth: Convolutions of a stage.
        hidden: Units of the hidden linear layer.
    """

    width: int = 16
    stages: int = 3
    depth: int = 1
    hidden: int = 128

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Simonyan and Zisserman 2015, arXiv:1409.1556"
    family: ClassVar[str] = "cnn"

    def network(self, shape: Shape, classes: int) -> nn.Module:
        channels, height, width = shape
        layers: list[nn.Module] = []
        for stage in range(self.stages):
            for _ in range(self.depth):
                wide = self.width * 2**stage
                layers += [nn.Conv2d(channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]
                channels = wide
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        flat = channels * halved(height, self.stages) * halved(width, self.stages)
        head = [nn.Flatten(), nn.Linear(flat, self.hidden), nn.ReLU(), nn.Linear(self.hidden, classes)]
        return nn.Sequential(*layers, *head)
