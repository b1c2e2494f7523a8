"""Tasks: what is classified, and where its images come from. To add one: write the file, add its line here.

A task is a frozen dataclass with the members of `Task` (`task.py`). Its images are 8-bit (`images.py`), of one shape
and one set of classes over all of its sources. Splits (`splits.py`) are fixed, seeded and disjoint; test images never
train or tune anything. `balance.py` takes training images with some classes rare, `attacked.py` those that are
attacked.
"""

from collections.abc import Mapping
from types import MappingProxyType

from .cifar import Cifar10, Cifar100
from .digits import Digits
from .digits32 import Digits32
from .fashion_mnist import FashionMnist
from .folder import ImageFolder
from .mnist import Mnist
from .npz import Npz
from .photographs import Photographs
from .stl10 import Stl10
from .svhn import Svhn
from .task import Task
from .usps import Usps

__all__ = ["TASKS", "Task"]

TASKS: Mapping[str, type[Task]] = MappingProxyType(
    {
        "digits": Digits,
        "fashion-mnist": FashionMnist,
        "mnist": Mnist,
        "usps": Usps,
        "svhn": Svhn,
        "digits32": Digits32,
        "cifar10": Cifar10,
        "cifar100": Cifar100,
        "stl10": Stl10,
        "image-folder": ImageFolder,
        "npz": Npz,
        "photographs": Photographs,
    }
)
