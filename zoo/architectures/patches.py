"""Images as sequences of patches, for mixers and transformers."""

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from carom.zoo.preprocessing import Inputs, Shape

Tokens = Float[Tensor, "n t d"]


class Patches(nn.Module):
    """One token of `dim` numbers for each `size` x `size` patch; a ragged border is padded with zeros.

    Attributes:
        tokens: Patches of an image.
    """

    def __init__(self, shape: Shape, size: int, dim: int) -> None:
        super().__init__()
        channels, height, width = shape
        self.pad = nn.ZeroPad2d((0, -width % size, 0, -height % size))
        self.project = nn.Conv2d(channels, dim, size, stride=size)
        self.tokens = -(-height // size) * -(-width // size)

    @override
    def forward(self, x: Inputs) -> Tokens:
        patches: Tensor = self.project(self.pad(x))
        return patches.flatten(2).transpose(1, 2)


class MeanToken(nn.Module):
    """The mean over tokens."""

    @override
    def forward(self, x: Tokens) -> Float[Tensor, "n d"]:
        return x.mean(1)


def feed_forward(size: int, hidden: int) -> nn.Sequential:
    """Two linear layers around a GELU, on the last dimension."""
    return nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))
