"""AGSAM: GSAM whose neighbourhood of a weight is as large as the weight."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from typing_extensions import override

from carom.stages import Entry
from carom.surrogates.probe import TINY, Tensors, norm

from .gsam import GSAM


@dataclass(frozen=True, kw_only=True)
class AGSAM(GSAM):
    """Adaptive surrogate-gap guided minimisation: GSAM (Zhuang et al. 2022) around ASAM's worst weights.

    The worst weights are `w + rho w^2 g / |w g|`, elementwise and over all parameters, as the adaptive option of GSAM's
    authors has them. `asam` adds a small number to a weight's size and leaves biases at size 1, which they do not. In
    all else as GSAM. arXiv:2203.08065, arXiv:2102.11600.

    Attributes:
        rho_max: Largest radius, a share of the weights, 0 to 100; about ten times that of GSAM.
        rho_min: Smallest radius, at most `rho_max`.
    """

    rho_max: float = 0.5
    rho_min: float = 0.1

    name: ClassVar[str] = "agsam"
    version: ClassVar[int] = 1

    @override
    @torch.no_grad()
    def ascent(self, parameters: Tensors, gradients: Tensors, rho: float) -> Tensors:
        scaled = list(torch._foreach_mul(parameters, gradients))
        length = norm(scaled)
        torch._foreach_mul_(scaled, parameters)
        torch._foreach_mul_(scaled, rho / (length + TINY))
        return scaled


ENTRY = Entry(
    summary="GSAM with neighbourhoods as large as the weights.",
    paper="Zhuang et al. 2022, arXiv:2203.08065",
    stages=(AGSAM(),),
)
