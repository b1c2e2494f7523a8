"""USPS: digits from envelopes."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .torchvision_sets import Arrays, Files, TorchvisionSet


def _usps(root: str, train: bool, download: bool) -> Arrays:
    from torchvision.datasets import USPS

    if download:
        Path(root).mkdir(parents=True, exist_ok=True)
    found = USPS(root, train=train, download=download)
    return found.data[:, None], found.targets


USPS = Files(name="usps", shape=(1, 16, 16), classes=tuple("0123456789"), read=_usps)


@dataclass(frozen=True, kw_only=True)
class Usps(TorchvisionSet):
    """Digits from envelopes, 1x16x16: 7,291 and 2,007."""

    paper: ClassVar[str] = "Hull 1994, A database for handwritten text recognition research"
    files: ClassVar[Files] = USPS
