"""Tasks: what is classified, and where its images come from. To add one: write the file, add its line here.

A task is a frozen dataclass with the members of `Task`. Its images are 8-bit, of one shape and one set of classes over
all of its sources. Splits are fixed, seeded and disjoint; test images never train or tune anything.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Protocol, runtime_checkable

from carom.zoo.images import ImageSet, Split

from .digits import Digits


@runtime_checkable
class Task(Protocol):
    """What is classified, and where its images come from.

    Attributes:
        version: Part of every key; raise it when the images of a source change.
        paper: Where the data come from.
        classes: Names of the classes, in the order of the labels.
        shape: Channels, rows and columns of every image.
        sources: Names of the image sources, at least one.
    """

    version: ClassVar[int]
    paper: ClassVar[str]

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def sources(self) -> tuple[str, ...]: ...

    def load(self, source: str, split: Split) -> ImageSet:
        """The images of one source and split, in a fixed order.

        Raises:
            InputError: Unknown source.
            MissingData: The files are not on this machine; says how to get them.
        """
        ...


TASKS: Mapping[str, type[Task]] = MappingProxyType(
    {
        "digits": Digits,
    }
)
