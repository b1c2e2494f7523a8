"""STL-10: larger photographs of objects."""

from dataclasses import dataclass
from typing import ClassVar

from .torchvision_sets import Arrays, Files, TorchvisionSet


def _stl10(root: str, train: bool, download: bool) -> Arrays:
    from torchvision.datasets import STL10

    found = STL10(root, split="train" if train else "test", download=download)
    return found.data, found.labels


_STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
STL10 = Files(name="stl10", shape=(3, 96, 96), classes=_STL10, read=_stl10)


@dataclass(frozen=True, kw_only=True)
class Stl10(TorchvisionSet):
    """Ten kinds of objects, 3x96x96: 5,000 and 8,000 with labels."""

    paper: ClassVar[str] = "Coates, Lee, Ng 2011, An analysis of single-layer networks in unsupervised feature learning"
    files: ClassVar[Files] = STL10
