"""Data sets that torchvision reads and, on request, downloads: what their tasks share."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from carom.errors import InputError, MissingData

from .images import SPLITS, ImageSet, Split
from .splits import SAMPLES, check_request, numbered, training_part

Arrays = tuple[Any, Any]  # images n c h w of bytes and labels n, as numpy arrays


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
    splits: ClassVar[tuple[Split, ...]] = SPLITS
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
