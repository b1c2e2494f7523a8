"""Vision transformer."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from typing_extensions import override

from carom.errors import InputError
from carom.zoo.preprocessing import Shape

from .patches import MeanToken, Patches, Tokens, feed_forward


class Positions(nn.Module):
    """Adds a learned position to each token."""

    def __init__(self, tokens: int, dim: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(1, tokens, dim))
        nn.init.trunc_normal_(self.position, std=0.02)

    @override
    def forward(self, x: Tokens) -> Tokens:
        return x + self.position


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.softmax = nn.Softmax(-1)
        self.project = nn.Linear(dim, dim)

    @override
    def forward(self, x: Tokens) -> Tokens:
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        weights = self.softmax((q * (d // self.heads) ** -0.5) @ k.transpose(2, 3))
        mixed: Tokens = self.project((weights @ v).transpose(1, 2).reshape(n, t, d))
        return mixed


class TransformerBlock(nn.Module):
    """Attention, then a perceptron; each a residual branch behind a layer norm."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = feed_forward(dim, hidden)

    @override
    def forward(self, x: Tokens) -> Tokens:
        x = x + self.attention(self.norm1(x))
        y: Tokens = x + self.mlp(self.norm2(x))
        return y


@dataclass(frozen=True, kw_only=True)
class ViT:
    """Pre-norm vision transformer that averages its tokens; no class token.

    Attributes:
        patch: Rows and columns of a patch.
        width: Numbers of a token; a multiple of `heads`.
        depth: Blocks.
        heads: Attention heads.
        expansion: Hidden units of the perceptron, in units of `width`.

    Raises:
        InputError: `width` is no multiple of `heads`.
    """

    patch: int = 4
    width: int = 48
    depth: int = 2
    heads: int = 3
    expansion: int = 2

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Dosovitskiy et al. 2021, arXiv:2010.11929"
    family: ClassVar[str] = "transformer"

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise InputError(f"vit: width {self.width} must be a multiple of heads {self.heads}")

    def network(self, shape: Shape, classes: int) -> nn.Module:
        patches = Patches(shape, self.patch, self.width)
        hidden = self.expansion * self.width
        blocks = [TransformerBlock(self.width, self.heads, hidden) for _ in range(self.depth)]
        return nn.Sequential(
            OrderedDict(
                patches=patches,
                positions=Positions(patches.tokens, self.width),
                blocks=nn.Sequential(*blocks),
                norm=nn.LayerNorm(self.width),
                pool=MeanToken(),
                head=nn.Linear(self.width, classes),
            )
        )
