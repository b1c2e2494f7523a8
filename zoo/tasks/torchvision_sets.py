"""Data sets that torchvision reads and, on request, downloads: one task each, and three kinds of digits as one task."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from carom.errors import InputError, MissingData
from carom.typing import Pixels

from .images import ImageSet, Split
from .splits import SAMPLES, check_request, numbered, training_part

Arrays = tuple[Any, Any]  # images n c h w of bytes and labels n, as numpy arrays
_DIGITS = tuple("0123456789")


def data_folder(root: str) -> Path:
    """`root`, or the environment's CAROM_DATA, or ~/.cache/carom/data."""
    return Path(root or os.environ.get("CAROM_DATA") or "~/.cache/carom/data").expanduser()


@dataclass(frozen=True, kw_only=True)
class Files:
    """One data set as torchvision knows it.

    Attributes:
        name: The name of the task and of its source.
        shape: Channels, rows and columns.
        classes: Their names, in the order of the labels.
        read: Folder, training part or test part, download or not -> images `n c h w` and labels `n`.
    """

    name: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    read: Callable[[str, bool, bool], Arrays]

    def load(self, root: str, download: bool, split: Split, samples: str, part: int = 0) -> ImageSet:
        """The images of one split; `part` tells the ids of several data sets in one task apart.

        Raises:
            MissingData: torchvision finds no files, or damaged ones, or the download failed.
            InputError: The files hold something else than this data set.
        """
        folder = data_folder(root)
        try:
            arrays, targets = self.read(str(folder), split != "test", download)
        except (RuntimeError, OSError) as error:
            reason = str(error).split("\n")[0]
            if download:
                raise MissingData(f"{self.name}: the download into {folder} failed: {reason}") from None
            raise MissingData(
                f"{self.name}: torchvision finds no sound files in {folder}; set download = true, or set root "
                "to the folder that has them"
            ) from None
        except (ValueError, AssertionError, KeyError, IndexError, EOFError) as error:
            raise InputError(f"{self.name}: the files in {folder} are damaged ({error}); fetch them again") from None
        images, labels = torch.as_tensor(np.ascontiguousarray(arrays)), torch.as_tensor(np.asarray(targets)).long()
        if images.dtype != torch.uint8 or images.shape[1:] != self.shape or len(labels) != len(images):
            raise InputError(
                f"{self.name}: {folder} holds {images.dtype} {tuple(images.shape)} with {len(labels)} labels; "
                f"expected 8-bit n x {' x '.join(map(str, self.shape))}"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
            raise InputError(
                f"{self.name}: labels from {labels.min()} to {labels.max()}; expected 0 to {len(self.classes) - 1}"
            )
        found = ImageSet(images, labels, numbered(2 * part + (split == "test"), len(images)))
        if split == "test":
            return found
        # Split by the data set's own numbers: the same in every task that uses it.
        return found.select(training_part(found.labels, numbered(0, len(images)), split, samples, carve=True))


def _mnist(root: str, train: bool, download: bool) -> Arrays:
    from torchvision.datasets import MNIST

    found = MNIST(root, train=train, download=download)
    return found.data.numpy()[:, None], found.targets


def _usps(root: str, train: bool, download: bool) -> Arrays:
    from torchvision.datasets import USPS

    if download:
        Path(root).mkdir(parents=True, exist_ok=True)
    found = USPS(root, train=train, download=download)
    return found.data[:, None], found.targets


def _svhn(root: str, train: bool, download: bool) -> Arrays:
    from torchvision.datasets import SVHN

    found = SVHN(root, split="train" if train else "test", download=download)
    return found.data, found.labels


def _cifar(kind: str) -> Callable[[str, bool, bool], Arrays]:
    def read(root: str, train: bool, download: bool) -> Arrays:
        from torchvision import datasets

        # torchvision unpickles these batches, but only after their checksums proved right.
        found = getattr(datasets, kind)(root, train=train, download=download)
        return found.data.transpose(0, 3, 1, 2), found.targets

    return read


def _stl10(root: str, train: bool, download: bool) -> Arrays:
    from torchvision.datasets import STL10

    found = STL10(root, split="train" if train else "test", download=download)
    return found.data, found.labels


_CIFAR100 = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")

MNIST = Files(name="mnist", shape=(1, 28, 28), classes=_DIGITS, read=_mnist)
USPS = Files(name="usps", shape=(1, 16, 16), classes=_DIGITS, read=_usps)
SVHN = Files(name="svhn", shape=(3, 32, 32), classes=_DIGITS, read=_svhn)
CIFAR10 = Files(name="cifar10", shape=(3, 32, 32), classes=_CIFAR10, read=_cifar("CIFAR10"))
CIFAR100 = Files(name="cifar100", shape=(3, 32, 32), classes=tuple(_CIFAR100.split()), read=_cifar("CIFAR100"))
STL10 = Files(name="stl10", shape=(3, 96, 96), classes=_STL10, read=_stl10)


@dataclass(frozen=True, kw_only=True)
class TorchvisionSet:
    """A data set with one source, which has the data set's name.

    A tenth of the training images, at most 5,000, validates. Samples "a" and "b" are disjoint stratified halves of
    the rest.

    Attributes:
        root: torchvision's folder. Empty: the environment's CAROM_DATA, or ~/.cache/carom/data.
        download: Let torchvision fetch missing files into it.
    """

    root: str = ""
    download: bool = False

    version: ClassVar[int] = 1
    paper: ClassVar[str]
    embedded: ClassVar[bool] = False
    files: ClassVar[Files]

    @property
    def classes(self) -> tuple[str, ...]:
        return self.files.classes

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.files.shape

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.files.name,)

    @property
    def samples(self) -> tuple[str, ...]:
        return SAMPLES

    def load(self, source: str, split: Split, samples: str = "all") -> ImageSet:
        """The images of one split, in the order of the files.

        Raises:
            InputError: Unknown source, split or samples; files of something else.
            MissingData: The files are not on this machine; says how to get them.
        """
        check_request(source, split, samples, sources=self.sources, where=self.files.name)
        return self.files.load(self.root, self.download, split, samples)


@dataclass(frozen=True, kw_only=True)
class Mnist(TorchvisionSet):
    """Handwritten digits, 1x28x28: 60,000 and 10,000."""

    paper: ClassVar[str] = (
        "LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition"
    )
    files: ClassVar[Files] = MNIST


@dataclass(frozen=True, kw_only=True)
class Usps(TorchvisionSet):
    """Digits from envelopes, 1x16x16: 7,291 and 2,007."""

    paper: ClassVar[str] = "Hull 1994, A database for handwritten text recognition research"
    files: ClassVar[Files] = USPS


@dataclass(frozen=True, kw_only=True)
class Svhn(TorchvisionSet):
    """House numbers, 3x32x32: 73,257 and 26,032."""

    paper: ClassVar[str] = "Netzer et al. 2011, Reading digits in natural images with unsupervised feature learning"
    files: ClassVar[Files] = SVHN


@dataclass(frozen=True, kw_only=True)
class Cifar10(TorchvisionSet):
    """Ten kinds of objects, 3x32x32: 50,000 and 10,000."""

    paper: ClassVar[str] = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
    files: ClassVar[Files] = CIFAR10


@dataclass(frozen=True, kw_only=True)
class Cifar100(TorchvisionSet):
    """A hundred kinds of objects, 3x32x32: 50,000 and 10,000."""

    paper: ClassVar[str] = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
    files: ClassVar[Files] = CIFAR100


@dataclass(frozen=True, kw_only=True)
class Stl10(TorchvisionSet):
    """Ten kinds of objects, 3x96x96: 5,000 and 8,000 with labels."""

    paper: ClassVar[str] = "Coates, Lee, Ng 2011, An analysis of single-layer networks in unsupervised feature learning"
    files: ClassVar[Files] = STL10


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

    @property
    def classes(self) -> tuple[str, ...]:
        return _DIGITS

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
