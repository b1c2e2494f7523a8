"""SSM: each image with noise, its spectrum scaled at random."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from carom.attacks.slots import Averaged, View
from carom.errors import InputError
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class SSM:
    """Spectrum simulation: averages over copies with a random spectrum (Long et al. 2022, arXiv:2207.05382).

    A copy is IDCT(DCT(x + noise) * mask): Gaussian noise on every pixel, and every frequency of every channel scaled by
    a factor uniform in [1 - rho, 1 + rho]. Each image draws for itself. The discrete cosine transform is the
    orthonormal DCT-II of whole rows and columns, two matrix products with an exact inverse (its transpose). The
    gradient is that at the copy, as in the authors' code: it does not go back through noise and transform.

    Attributes:
        copies: At least 1.
        sigma: Standard deviation of the noise, at least 0: in each pixel in units of eps for linf, as in the paper; a
            length in units of eps for l2, as a root mean square over the images.
        rho: Half the width of the factors' range, at least 0.

    Raises:
        InputError: Out of these ranges.
    """

    copies: int = 20
    sigma: float = 1.0
    rho: float = 0.5

    version: ClassVar[int] = 2
    averages: ClassVar[Averaged] = "gradients"

    def __post_init__(self) -> None:
        if self.copies < 1:
            raise InputError(f"ssm: copies must be at least 1, got {self.copies}")
        if not 0 <= self.sigma < math.inf:
            raise InputError(f"ssm: sigma must be at least 0 (in units of eps), got {self.sigma:g}")
        if not 0 <= self.rho < math.inf:
            raise InputError(f"ssm: rho must be at least 0, got {self.rho:g}")

    def image(self, x: Images, view: View) -> Images:
        draws, shape = view.draws, x.shape[1:]
        sigma = self.sigma * float(view.budget.eps) * view.budget.unit(shape.numel())
        noise = draws.normal("ssm noise", shape, step=view.step, copy=view.copy)
        u = draws.uniform("ssm mask", shape, step=view.step, copy=view.copy)
        mask = (1 - self.rho + 2 * self.rho * u).to(x.dtype)
        rows, columns = (dct_matrix(side, x.device, x.dtype) for side in shape[1:])
        with torch.no_grad():
            spectrum = rows @ (x + sigma * noise.to(x.dtype)) @ columns.T
            copy = rows.T @ (spectrum * mask) @ columns
        simulated: Tensor = _InPlaceOf.apply(x, copy)
        return simulated

    def gradient(self, gradient: Images) -> Images:
        return gradient


class _InPlaceOf(torch.autograd.Function):
    """Another image in place of this one, which gets the gradient of the other."""

    @staticmethod
    @override
    def forward(ctx: Any, x: Images, other: Images) -> Images:
        return other.view_as(other)

    @staticmethod
    @override
    def backward(ctx: Any, gradient: Images) -> tuple[Images, None]:
        return gradient, None


@lru_cache(maxsize=32)  # each copy asks for the same
def dct_matrix(n: int, device: torch.device, dtype: torch.dtype) -> Float[Tensor, "n n"]:
    """The orthonormal DCT-II of n values: its rows are frequencies, its transpose is its inverse.

    Do not change it in place.
    """
    with torch.inference_mode(False):  # what is kept may be differentiated later
        at = torch.arange(n)
        angle = at[:, None] * (2 * at + 1) % (4 * n)  # in units of pi / 2n: whole turns taken off exactly
        matrix = (math.pi / (2 * n) * angle.double()).cos() * math.sqrt(2 / n)
        matrix[0] *= math.sqrt(0.5)
        return matrix.to(device, dtype)
