"""Gaussian blur before a classifier."""

from dataclasses import dataclass
from math import ceil
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from carom.draws import Draws
from carom.registry import checked
from carom.stages import Entry
from carom.typing import Images
from carom.zoo.models.classifier import Classifier

from .wrapped import wrapped


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Each image smoothed with a Gaussian; perturbations of single pixels average out.

    The kernel reaches `ceil(3 sigma)` pixels; beyond its border an image goes on mirrored, so that an image keeps its
    mean. As a defence judged in Raff et al. 2019 (BaRT, CVPR). Differentiable.

    Attributes:
        sigma: Standard deviation in pixels, 0.1 to 10.

    Raises:
        InputError: Out of range.
    """

    sigma: float = 1.0

    version: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    differentiable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked(self, "blur", sigma=(0.1, 10.0))

    def wrap(self, classifier: Classifier) -> Classifier:
        """The classifier behind it."""
        return wrapped(classifier, self)

    def __call__(self, x: Images, draws: Draws, /) -> Images:
        """Smoothed images."""
        del draws
        rows, columns = (self._matrix(side, x) for side in x.shape[2:])
        return rows @ x @ columns.T

    def _matrix(self, side: int, like: Images) -> Float[Tensor, "side side"]:
        """Along one side, the weighted mean around each pixel as one matrix; rows and columns sum to 1."""
        reach = ceil(3 * self.sigma)
        offset = torch.arange(-reach, reach + 1, device=like.device)
        weight = (offset.double() / self.sigma).square().mul(-0.5).softmax(0)
        reads = (torch.arange(side, device=like.device)[:, None] + offset) % (2 * side)
        mirrored = torch.where(reads < side, reads, 2 * side - 1 - reads)
        matrix = torch.nn.functional.one_hot(mirrored, side).double().mul(weight[:, None]).sum(1)
        return matrix.to(like.dtype)


ENTRY = Entry(
    summary="The image is blurred first.",
    paper="Xu, Evans and Qi 2018, arXiv:1704.01155",
    stages=(Blur(),),
)
