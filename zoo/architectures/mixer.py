"""MLP-Mixer: perceptrons over patches and over channels in turn."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from typing_extensions import override

from carom.zoo.preprocessing import Shape

from .patches import MeanToken, Patches, Tokens, feed_forward


class MixerBlock(nn.Module):
    """Mixes tokens, then channels; each a residual branch behind a layer norm."""

    def __init__(self, tokens: int, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.tokens = feed_forward(tokens, tokens)
        self.norm2 = nn.LayerNorm(dim)
        self.channels = feed_forward(dim, hidden)

    @override
    def forward(self, x: Tokens) -> Tokens:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        y: Tokens = x + self.channels(self.norm2(x))
        return y


@dataclass(frozen=True, kw_only=True)
class Mixer:
    """MLP-Mixer.

    Attributes:
        patch: Rows and columns of a patch.
        width: Numbers of a token.
        depth: Blocks.
        expansion: Hidden units of the channel perceptron, in units of `width`.
    """

    patch: int = 4
    width: int = 48
    depth: int = 3
    expansion: int = 2

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Tolstikhin et al. 2021, arXiv:2105.01601"
    family: ClassVar[str] = "mixer"

    def network(self, shape: Shape, classes: int) -> nn.Module:
        patches = Patches(shape, self.patch, self.width)
        blocks = [MixerBlock(patches.tokens, self.width, self.expansion * self.width) for _ in range(self.depth)]
        return nn.Sequential(
            OrderedDict(
                patches=patches,
                blocks=nn.Sequential(*blocks),
                norm=nn.LayerNorm(self.width),
                pool=MeanToken(),
                head=nn.Linear(self.width, classes),
            )
        )
