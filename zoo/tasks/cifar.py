"""CIFAR-10 and CIFAR-100: small photographs of objects."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from .torchvision_sets import Arrays, Files, TorchvisionSet


def _cifar(kind: str) -> Callable[[str, bool, bool], Arrays]:
    def read(root: str, train: bool, download: bool) -> Arrays:
        from torchvision import datasets

        # torchvision unpickles these batches, but only after their checksums proved right.
        found = getattr(datasets, kind)(root, train=train, download=download)
        return found.data.transpose(0, 3, 1, 2), found.targets

    return read


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
CIFAR10 = Files(name="cifar10", shape=(3, 32, 32), classes=_CIFAR10, read=_cifar("CIFAR10"))
CIFAR100 = Files(name="cifar100", shape=(3, 32, 32), classes=tuple(_CIFAR100.split()), read=_cifar("CIFAR100"))


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
