"""TI: a smoothed gradient."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from carom.attacks.slots import Averaged, View
from carom.errors import InputError
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class TI:
    """Translation invariance: smooths the gradient with a Gaussian kernel (Dong et al. 2019, arXiv:1904.02884).

    The kernel of size k samples a normal density at k points from -3 to 3 and is scaled to sum 1, so its standard
    deviation is (k - 1) / 6 pixels. Beyond the border the gradient counts as zero. Every gradient that an attack reads
    is smoothed as it is read, before anything else is done with it. It is separable, and applied as two
    banded matrix products: equal to the dense depthwise convolution, a tenth of its time or less.

    Attributes:
        size: Side of the kernel in pixels, odd; 1 changes nothing. None: as large on these images as the paper's 15 on
            299 pixels, that is the odd number nearest to 15 n / 299 for the shorter side n, but at least 5 (11 at 224
            pixels). Below 5 the kernel is the identity but for 2% of its weight, and TI a name without effect.

    Raises:
        InputError: A size that is not an odd number of at least 1.
    """

    size: int | None = None

    version: ClassVar[int] = 2
    averages: ClassVar[Averaged] = "gradients"

    def __post_init__(self) -> None:
        if self.size is not None and (self.size < 1 or self.size % 2 == 0):
            raise InputError(f"ti: size must be an odd number of at least 1, got {self.size}")

    @property
    def copies(self) -> int:
        return 1

    def image(self, x: Images, view: View) -> Images:
        return x

    def gradient(self, gradient: Images) -> Images:
        h, w = gradient.shape[2:]
        size = self.size or default_size(min(h, w))
        if size == 1:
            return gradient
        rows, columns = (_band(n, size, gradient.device, gradient.dtype) for n in (h, w))
        return rows @ gradient @ columns


def default_size(side: int) -> int:
    """The kernel size for images whose shorter side has this many pixels."""
    return max(5, 2 * round((15 * side / 299 - 1) / 2) + 1)


@lru_cache(maxsize=32)  # each step asks for the same
def _band(n: int, size: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "n n"]:
    """The 1-d convolution with zero padding as a symmetric matrix; do not change it in place."""
    with torch.inference_mode(False):  # what is kept may be differentiated later
        kernel = torch.linspace(-3, 3, size, dtype=torch.float64).square().mul(-0.5).exp()
        at = torch.arange(n)
        offset = at[:, None] - at + size // 2
        inside = (offset >= 0) & (offset < size)
        band = torch.where(inside, (kernel / kernel.sum())[offset.clamp(0, size - 1)], 0.0)
        return band.to(device, dtype)
