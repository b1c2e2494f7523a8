"""MNIST: handwritten digits."""

from dataclasses import dataclass
from typing import ClassVar

from .torchvision_sets import Arrays, Files, TorchvisionSet


def _mnist(root: str, train: bool, download: bool) -> Arrays:
    from torchvision.datasets import MNIST

    found = MNIST(root, train=train, download=download)
    return found.data.numpy()[:, None], found.targets


MNIST = Files(name="mnist", shape=(1, 28, 28), classes=tuple("0123456789"), read=_mnist)


@dataclass(frozen=True, kw_only=True)
class Mnist(TorchvisionSet):
    """Handwritten digits, 1x28x28: 60,000 and 10,000."""

    paper: ClassVar[str] = (
        "LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition"
    )
    files: ClassVar[Files] = MNIST
