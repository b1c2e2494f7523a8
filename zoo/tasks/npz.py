"""Images and labels from one npz file."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from carom.errors import InputError, MissingData
from carom.files import located, stray
from carom.registry import did_you_mean, lookup

from .images import SPLITS, ImageSet, Split
from .names import Names, class_names, numbers_in_use
from .splits import SAMPLES, check_request, numbered, training_part

Layout = Literal["nhw", "nchw", "nhwc"]
_AXES: Mapping[str, int] = {"nhw": 3, "nchw": 4, "nhwc": 4}
_ARRAYS = tuple(f"{kind}_{split}" for split in SPLITS for kind in "xy")
_PLAIN = ("x", "y")  # for x_test and y_test, where there is nothing else


@dataclass(frozen=True, kw_only=True)
class Npz:
    """8-bit images and integer labels in one npz file, opened without pickle.

    Arrays `x_train`, `y_train`, `x_test`, `y_test` and, optionally, `x_validation`, `y_validation`; without these a
    tenth of the training images (at most 5,000, stratified, seeded) validates. For several sources every name has the
    source in front: `bing/x_train`, `google/x_train`. A file without such names has the one source "images". A file of
    `x_test` and `y_test` alone, or of `x` and `y`, holds images that are only attacked.

    Attributes:
        path: The file.
        layout: Axes of the images: "nhw" (grey), "nchw" or "nhwc".
        names: The classes, in the order of the labels: a list; "imagenet"; a file with one name a line; or how many
            there are. Empty: "0", "1", ... up to the largest label, each of which has images.
    """

    path: str
    layout: Layout
    names: Names = ()

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "your own images"
    embedded: ClassVar[bool] = False

    def __post_init__(self) -> None:
        lookup(self.layout, _AXES, where="npz", what="layout")
        if isinstance(self.names, tuple) and len(set(self.names)) != len(self.names):
            raise InputError(f"npz: two classes have one name in {', '.join(self.names)}")

    @property
    def splits(self) -> tuple[Split, ...]:
        """Those whose arrays are in the file; what trains has validation images too."""
        names = {name.rpartition("/")[2] for name in self._headers()}
        if "x_train" in names:
            return SPLITS
        return ("validation", "test") if "x_validation" in names else ("test",)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes.

        Raises:
            InputError: Nobody names them, and a number below the largest label has no image; or names that cannot be
                read.
            MissingData: There is no such file.
        """
        said = class_names(self.names, where=f"npz {self.path}")
        if said is not None:
            return said.names
        return _numbers(self, _version(located(self.path)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns.

        Raises:
            InputError: The arrays do not agree on it.
        """
        seen: dict[str, tuple[int, int, int]] = {}
        for name, (shape, _) in self._headers().items():
            if name.rpartition("/")[2].startswith("x"):
                if len(shape) != _AXES[self.layout]:
                    raise InputError(
                        f"{self.path}: {name} has the shape {shape}; layout {self.layout!r} has {_AXES[self.layout]} "
                        "axes, so declare another layout"
                    )
                seen[name] = _chw(shape, self.layout)
        first = next(iter(seen))
        for name, chw in seen.items():
            if chw != seen[first]:
                raise InputError(
                    f"{self.path}: images {chw} in {name}, but {seen[first]} in {first}; expected one shape"
                )
        return seen[first]

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources' names, sorted.

        Raises:
            InputError: An array whose name means nothing, or one that is missing.
        """
        headers = self._headers()
        for name in headers:
            source, slash, array = name.rpartition("/")
            if array not in (*_ARRAYS, *_PLAIN) or (slash and not source):
                raise InputError(
                    f"{self.path}: array {name!r}{did_you_mean(array, _ARRAYS)} (known: {', '.join(_ARRAYS)}, each "
                    "with or without '<source>/' in front, or x and y alone)"
                )
        found = sorted({name.rpartition("/")[0] for name in headers})
        if not found:
            raise InputError(
                f"{self.path}: holds no arrays; expected x_train, y_train, x_test and y_test, or the last two alone"
            )
        if "" in found and len(found) > 1:
            raise InputError(f"{self.path}: some arrays belong to {found[1]!r}, some to no source; name one for each")
        plain = {name.rpartition("/")[2] for name in headers} & set(_PLAIN)
        if plain and len(headers) > 2 * len(found):
            raise InputError(f"{self.path}: {plain.pop()!r} beside other arrays; call them x_test and y_test")
        trains = any(name.rpartition("/")[2].endswith("_train") for name in headers)
        for source in found:
            splits = [split for split in SPLITS if split != "train" or trains]
            if not any(_member(source, f"{kind}_validation") in headers for kind in "xy"):
                splits.remove("validation")
            needed = [f"{kind}_{split}" for split in splits for kind in "xy"]
            for array in _PLAIN if plain else needed:
                if _member(source, array) not in headers:
                    raise InputError(f"{self.path}: no array {_member(source, array)!r}")
        return tuple(source or "images" for source in found)

    @property
    def samples(self) -> tuple[str, ...]:
        return SAMPLES

    def load(self, source: str, split: Split, samples: str = "all") -> ImageSet:
        """The images of one source and split, in the order of the arrays.

        Raises:
            InputError: Unknown source, split or samples; arrays of the wrong type, shape or range.
            MissingData: There is no such file.
        """
        sources, headers, shape = self.sources, self._headers(), self.shape
        where = f"npz {self.path}"
        index = check_request(source, split, samples, sources=sources, where=where, splits=self.splits)
        own = self._array_name(source, "x_validation") in headers
        part: Split = "train" if split == "validation" and not own else split
        name = self._array_name(source, f"x_{part}")
        dtype = headers[name][1]
        if dtype != np.uint8:
            advice = "; write (x * 255).round().astype(np.uint8) if x is in [0, 1]" if dtype.kind == "f" else ""
            raise InputError(f"{self.path}: {name} has the type {dtype}; images are 8-bit (uint8){advice}")
        images, labels = torch.from_numpy(self._array(name)), torch.from_numpy(self._labels(source, part))
        if self.layout == "nhw":
            images = images[:, None]
        if self.layout == "nhwc":
            images = images.permute(0, 3, 1, 2).contiguous()
        if len(labels) != len(images):
            raise InputError(f"{self.path}: {len(images)} images in {name}, but {len(labels)} labels; expected equal")
        classes = len(self.classes)
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
            raise InputError(
                f"{self.path}: labels of {source}, {part} go from {labels.min()} to {labels.max()}; with {classes} "
                f"classes expected 0 to {classes - 1}"
            )
        if images.shape[1:] != shape:
            raise InputError(f"{self.path}: {name} changed while it was read")
        found = ImageSet(images, labels, numbered(3 * index + SPLITS.index(part), len(images)))
        if split == "test":
            return found
        return found.select(training_part(found.labels, found.ids, split, samples, carve=not own))

    def _array_name(self, source: str, array: str) -> str:
        """An array's name in the file."""
        if array.endswith("_test") and any(name.rpartition("/")[2] in _PLAIN for name in self._headers()):
            array = array[0]
        return _member(source if any("/" in name for name in self._headers()) else "", array)

    def _labels(self, source: str, split: Split) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
        name = self._array_name(source, f"y_{split}")
        labels = self._array(name)
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise InputError(
                f"{self.path}: {name} is {labels.dtype} {labels.shape}; expected whole numbers of shape (n,), the "
                "images' classes"
            )
        whole: np.ndarray[tuple[int, ...], np.dtype[np.int64]] = labels.astype(np.int64)
        return whole

    def _array(self, name: str) -> Any:
        try:
            with np.load(located(self.path), allow_pickle=False) as file:
                return file[name]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.path}: {name} cannot be read ({error})") from None

    def _headers(self) -> Mapping[str, tuple[tuple[int, ...], "np.dtype[Any]"]]:
        """Shape and type of every array, read without unpacking the arrays."""
        return _headers(self.path, _version(located(self.path)))


def _version(path: Path) -> tuple[int, ...]:
    """What differs when a file was written anew: a plan asks for classes and splits thousands of times."""
    try:
        told = path.stat()
    except OSError:
        return ()
    return (told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns)


@lru_cache(maxsize=64)
def _numbers(task: Npz, version: tuple[int, ...]) -> tuple[str, ...]:
    part: Split = "train" if "train" in task.splits else "test"
    used = [np.unique(task._labels(source, part)).tolist() for source in task.sources]
    return numbers_in_use((label for some in used for label in some), where=f"{task.path}: y_{part}")


@lru_cache(maxsize=64)
def _headers(named: str, version: tuple[int, ...]) -> Mapping[str, tuple[tuple[int, ...], "np.dtype[Any]"]]:
    path = located(named)
    if not path.is_file():
        raise MissingData(f"npz {named}: no such file; numpy.savez_compressed writes one")
    headers = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.namelist()):
                with archive.open(member) as file:
                    of = np.lib.format.read_magic(file)
                    read = np.lib.format.read_array_header_1_0 if of == (1, 0) else _read_header_2
                    shape, _, dtype = read(file)
                headers[member.removesuffix(".npy")] = (shape, dtype)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        came = stray(path) or f"not an npz file ({error}); numpy.savez_compressed writes one"
        raise InputError(f"{named}: {came}") from None
    return MappingProxyType(headers)


def _read_header_2(file: Any) -> Any:
    return np.lib.format.read_array_header_2_0(file)


def _member(source: str, array: str) -> str:
    return f"{source}/{array}" if source else array


def _chw(shape: tuple[int, ...], layout: Layout) -> tuple[int, int, int]:
    if layout == "nhw":
        return (1, shape[1], shape[2])
    if layout == "nchw":
        return (shape[1], shape[2], shape[3])
    return (shape[3], shape[1], shape[2])
