"""Digits from three data sets as one task with three sources."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from carom.typing import Pixels

from .images import SPLITS, ImageSet, Split
from .mnist import MNIST
from .splits import SAMPLES, check_request
from .svhn import SVHN
from .usps import USPS


@dataclass(frozen=True, kw_only=True)
class Digits32:
    """Digits from three worlds, grey 1x32x32: MNIST in a black margin, USPS enlarged, SVHN without its colours.

    Splits and samples are those of the three data sets.

    Attributes:
        root: torchvision's folder. Empty: the environment's CAROM_DATA, or ~/.cache/carom/data.
        download: Let torchvision fetch missing files into it.
    """

    root: str = ""
    download: bool = False

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "LeCun et al. 1998; Hull 1994; Netzer et al. 2011"
    embedded: ClassVar[bool] = False
    splits: ClassVar[tuple[Split, ...]] = SPLITS

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("0123456789")

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1, 32, 32)

    @property
    def sources(self) -> tuple[str, ...]:
        return ("mnist", "usps", "svhn")

    @property
    def samples(self) -> tuple[str, ...]:
        return SAMPLES

    def load(self, source: str, split: Split, samples: str = "all") -> ImageSet:
        """The images of one source and split, in the order of the files.

        Raises:
            InputError: Unknown source, split or samples; files of something else.
            MissingData: The files are not on this machine; says how to get them.
        """
        index = check_request(source, split, samples, sources=self.sources, where="digits32")
        found = (MNIST, USPS, SVHN)[index].load(self.root, self.download, split, samples, part=index)
        return ImageSet(_grey32(found.images), found.labels, found.ids)


def _grey32(images: Pixels) -> UInt8[Tensor, "n 1 32 32"]:
    """Grey by the weights of ITU-R 601 in whole numbers, then 32x32: a black margin, or bilinear."""
    if images.shape[1] == 3:
        weights = torch.tensor([299, 587, 114])[:, None, None]
        images = ((images.long() * weights).sum(1, keepdim=True) + 500).div(1000, rounding_mode="floor").to(torch.uint8)
    if images.shape[-1] == 28:
        return F.pad(images, (2, 2, 2, 2))
    if images.shape[-1] == 32:
        return images
    larger = F.interpolate(images.double(), size=(32, 32), mode="bilinear", align_corners=False)
    return larger.round().to(torch.uint8)
