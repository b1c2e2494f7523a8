"""DI: each image resized and shifted at random."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from carom.attacks.slots import Averaged, View
from carom.errors import InputError
from carom.typing import Images

from .resize import enlarged, resized


@dataclass(frozen=True, kw_only=True, slots=True)
class DI:
    """Diverse inputs: resizes each image at random and pads it with zeros (Xie et al. 2019, arXiv:1803.06978).

    Several versions of DI are in use. With a rate of at most 1 this one shrinks and pads, and keeps the input size, so
    that any network works. Each image draws for itself. With probability p, an image of h x w becomes a h' x w' one,
    h' = a + floor(u (h - a + 1)) with a = floor(rate h), and w' alike with the same u, so h' is uniform in
    {floor(rate h), ..., h} and square images stay square. The resize is bilinear, not antialiased, with half-pixel
    centres. Its offset is uniform over all h - h' + 1 by w - w' + 1 places.

    With a rate above 1 it enlarges first, as the paper does (299 pixels to up to 330, a rate of 1.1): h' is uniform in
    {h, ..., floor(rate h)}, the image is put anywhere on a canvas of floor(rate h) x floor(rate w) zeros, and the
    canvas is resized to h x w, as TransferAttack does, since not every network takes another size.

    Attributes:
        probability: Of an image to be changed, in [0, 1].
        rate: Smallest size over input size, in (0, 1]; above 1 the largest one.

    Raises:
        InputError: Out of these ranges.
    """

    probability: float = 0.5
    rate: float = 0.9

    version: ClassVar[int] = 1
    averages: ClassVar[Averaged] = "gradients"

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise InputError(f"di: probability must be in [0, 1], got {self.probability:g}")
        if not 0 < self.rate < math.inf:
            raise InputError(f"di: rate must be more than 0, got {self.rate:g}")

    @property
    def copies(self) -> int:
        return 1

    def image(self, x: Images, view: View) -> Images:
        if self.probability == 0:
            return x
        u = {
            name: view.draws.uniform(f"di {name}", step=view.step, copy=view.copy)
            for name in ("apply", "size", "top", "left")
        }
        changed = u["apply"] < self.probability
        rows = self._matrix(x, 2, changed, u["size"], u["top"])
        columns = self._matrix(x, 3, changed, u["size"], u["left"])
        return rows[:, None] @ x @ columns[:, None].transpose(2, 3)

    def gradient(self, gradient: Images) -> Images:
        return gradient

    def _matrix(
        self,
        x: Images,
        dim: int,
        changed: Bool[Tensor, " n"],
        u_size: Float[Tensor, " n"],
        u_offset: Float[Tensor, " n"],
    ) -> Float[Tensor, "n side side"]:
        """Along one side, resize and pad as one matrix an image; the identity where nothing is to change."""
        side = x.shape[dim]
        if self.rate > 1:
            canvas = int(self.rate * side)
            size = side + (u_size * (canvas - side + 1)).long()
            offset = (u_offset * (canvas - size + 1)).long()
            same = torch.eye(side, dtype=x.dtype, device=x.device)
            return torch.where(changed[:, None, None], enlarged(side, canvas, size, offset, x.dtype), same)
        smallest = max(1, int(self.rate * side))
        size = torch.where(changed, smallest + (u_size * (side - smallest + 1)).long(), side)
        offset = (u_offset * (side - size + 1)).long()
        return resized(side, size, offset, side, x.dtype)
