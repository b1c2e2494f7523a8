"""SVHN: digits of house numbers."""

from dataclasses import dataclass
from typing import ClassVar

from .torchvision_sets import Arrays, Files, TorchvisionSet


def _svhn(root: str, train: bool, download: bool) -> Arrays:
    from torchvision.datasets import SVHN

    found = SVHN(root, split="train" if train else "test", download=download)
    return found.data, found.labels


SVHN = Files(name="svhn", shape=(3, 32, 32), classes=tuple("0123456789"), read=_svhn)


@dataclass(frozen=True, kw_only=True)
class Svhn(TorchvisionSet):
    """House numbers, 3x32x32: 73,257 and 26,032."""

    paper: ClassVar[str] = "Netzer et al. 2011, Reading digits in natural images with unsupervised feature learning"
    files: ClassVar[Files] = SVHN
