"""What a task is."""

from typing import ClassVar, Protocol, runtime_checkable

from .images import ImageSet, Split


@runtime_checkable
class Task(Protocol):
    """What is classified, and where its images come from.

    Attributes:
        version: Part of every key; raise it when the images of a source change.
        paper: Where the data come from.
        splits: Which splits it has. All have test images; one without training images is attacked only.
        embedded: The images come with carom or a library that it needs, so they stay as they are while those do.
        classes: Names of the classes, in the order of the labels.
        shape: Channels, rows and columns of every image.
        sources: Names of the image sources, at least one.
        samples: Names of pools of training images. The first is "all"; the others, if any, are disjoint and together
            make up all.
    """

    version: ClassVar[int]
    paper: ClassVar[str]
    embedded: ClassVar[bool]

    def __hash__(self) -> int: ...

    @property
    def splits(self) -> tuple[Split, ...]: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def sources(self) -> tuple[str, ...]: ...

    @property
    def samples(self) -> tuple[str, ...]: ...

    def load(self, source: str, split: Split, samples: str = "all") -> ImageSet:
        """The images of one source and split, in a fixed order.

        Args:
            source: One of `sources`.
            split: "train", "validation" or "test".
            samples: One of `samples`: which training images, and which validation images: of disjoint pools, disjoint
                ones, so that who trains on one pool chooses by images that nobody of the other one chooses by. Test
                images are the same for all.

        Raises:
            InputError: Unknown source, split or samples, or a split that it does not have.
            MissingData: The files are not on this machine; says how to get them.
        """
        ...
