"""The residual networks of CIFAR-10 whose skips have no weights."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad
from typing_extensions import override

from carom.zoo.preprocessing import Shape

Features = Float[Tensor, "n d i j"]


@dataclass(frozen=True, kw_only=True)
class ThinResNet:
    """The ResNet of 6 * blocks + 2 layers that its paper trains on CIFAR-10: 16, 32 and 64 channels.

    Skips between stages lose three of four pixels and gain channels of zeros. Modules are called as in the files of
    weights that are around (`layer1.0.conv1`, `linear`), so that these go where they belong.

    Attributes:
        blocks: Of each of the three stages: 3 in ResNet-20, 5 in ResNet-32, 7 in ResNet-44, 9 in ResNet-56.
        width: Channels of the first stage.
    """

    blocks: int = 3
    width: int = 16

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "He, Zhang, Ren and Sun 2016, arXiv:1512.03385, section 4.2"
    family: ClassVar[str] = "residual"

    def network(self, shape: Shape, classes: int) -> nn.Module:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(shape[0], self.width, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(self.width),
            relu=nn.ReLU(),
        )
        inputs = self.width
        for stage in range(3):
            outputs = self.width * 2**stage
            blocks = []
            for block in range(self.blocks):
                blocks.append(PaddedBlock(inputs, outputs, stride=2 if stage > 0 and block == 0 else 1))
                inputs = outputs
            layers[f"layer{stage + 1}"] = nn.Sequential(*blocks)
        layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "linear": nn.Linear(inputs, classes)}
        return nn.Sequential(layers)


class PaddedBlock(nn.Module):
    """`relu(branch(x) + skip(x))`: skip is the identity, or every second pixel with channels of zeros around."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.skip: nn.Module = nn.Identity() if inputs == outputs else _EverySecondPixel(outputs - inputs)
        self.relu2 = nn.ReLU()

    @override
    def forward(self, x: Features) -> Float[Tensor, "n e k l"]:
        branch = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        y: Tensor = self.relu2(branch + self.skip(x))
        return y


class _EverySecondPixel(nn.Module):
    """Half the rows and columns, and new channels of zeros, as many before as behind the old ones."""

    def __init__(self, new: int) -> None:
        super().__init__()
        self.new = new

    @override
    def forward(self, x: Features) -> Float[Tensor, "n e k l"]:
        return pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.new // 2, self.new - self.new // 2))
