"""Residual network with batch normalisation."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from carom.zoo.preprocessing import Inputs, Shape


class ResidualBlock(nn.Module):
    """`relu(skip(x) + branch(x))`: skip is the identity, or a 1x1 convolution where size or width change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()

    @override
    def forward(self, x: Inputs) -> Float[Tensor, "n d i j"]:
        y: Tensor = self.relu(self.skip(x) + self.branch(x))
        return y


@dataclass(frozen=True, kw_only=True)
class ResNet:
    """A stem that halves the image, then stages of residual blocks; each stage but the first halves it again.

    The width doubles with each stage.

    Attributes:
        width: Channels of the stem and the first stage.
        stages: How many stages.
        depth: Residual blocks of a stage.
    """

    width: int = 16
    stages: int = 3
    depth: int = 1

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "He, Zhang, Ren and Sun 2016, arXiv:1512.03385"
    family: ClassVar[str] = "residual"

    def network(self, shape: Shape, classes: int) -> nn.Module:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            stem=nn.Sequential(
                nn.Conv2d(shape[0], self.width, 3, padding=1, bias=False),
                nn.BatchNorm2d(self.width),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            )
        )
        inputs = self.width
        for stage in range(self.stages):
            outputs = self.width * 2**stage
            blocks = []
            for block in range(self.depth):
                blocks.append(ResidualBlock(inputs, outputs, stride=2 if stage > 0 and block == 0 else 1))
                inputs = outputs
            layers[f"stage{stage + 1}"] = nn.Sequential(*blocks)
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["head"] = nn.Linear(inputs, classes)
        return nn.Sequential(layers)
