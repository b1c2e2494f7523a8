"""Any folder of image files: DUMB's layout, one source with splits, or plain class folders."""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from PIL.ImageFile import ImageFile

from carom.errors import InputError, MissingData
from carom.files import located, stray
from carom.registry import lookup
from carom.typing import Ids, Labels, Pixels

from .images import SPLITS, ImageSet, Split
from .splits import SAMPLES, check_request, choose, class_counts, training_part

Fit = Literal["crop", "squash"]
Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Shape = tuple[int, int, int]  # channels, rows, columns
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
SPLIT_FOLDERS: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_UNSPLIT = ""  # the one split of class folders without splits


@dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """Image files in class folders, brought to one size and stored with 8 bits.

    Three layouts: `root/<source>/<split>/<class>/<file>` (DUMB's), `root/<split>/<class>/<file>` and
    `root/<class>/<file>`; the last two have one source, "images". Splits are train, validation (or val, valid) and
    test. Without a validation folder a tenth of the training images (at most 5,000, stratified, seeded) validates.
    With train and validation folders only, as ImageNet comes, the validation folder is the test set. Class folders
    without splits are split 80:10:10. Classes are the sorted folder names, the same everywhere. An image's id is the
    hash of its path below `root`.

    Attributes:
        root: The folder.
        size: Rows and columns of every image.
        channels: 3 for colour, 1 for grey (ITU-R 601). Transparency is dropped.
        fit: "crop" takes the largest square in the middle, "squash" the whole image whatever its proportions. Both
            resize by bilinear interpolation, antialiased.
        per_class: At most so many images of each class in a split, a seeded choice made before any file is opened.
            0: all.
    """

    root: str
    size: int
    channels: int = 3
    fit: Fit = "crop"
    per_class: int = 0

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "your own images"
    embedded: ClassVar[bool] = False
    splits: ClassVar[tuple[Split, ...]] = SPLITS

    def __post_init__(self) -> None:
        if self.size < 1 or self.per_class < 0:
            raise InputError(
                f"image folder: size {self.size}, per_class {self.per_class}; expected size >= 1, per_class >= 0"
            )
        if self.channels not in (1, 3):
            raise InputError(f"image folder: channels {self.channels}; expected 3 (colour) or 1 (grey)")
        lookup(self.fit, {"crop": 0, "squash": 0}, where="image folder", what="fit")

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted names of the class folders.

        Raises:
            InputError: No classes, or not the same in every source and split.
        """
        seen = {folder: subfolders(folder) for splits in self._tree().values() for folder in splits.values()}
        first, names = next(iter(seen.items()))
        for folder, others in seen.items():
            if others != names:
                odd = sorted(set(names) ^ set(others))[0]
                raise InputError(f"{folder}: its classes are not those of {first}: {odd!r} is in one of them only")
        if len(names) < 2:
            raise InputError(f"{first}: {len(names)} class folders; expected two or more")
        return tuple(names)

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.channels, self.size, self.size)

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(self._tree())

    @property
    def samples(self) -> tuple[str, ...]:
        return SAMPLES

    def load(self, source: str, split: Split, samples: str = "all") -> ImageSet:
        """The images of one source and split, in the order of their paths.

        Raises:
            InputError: Unknown source, split or samples; a layout, a class or a file that cannot be read.
            MissingData: There is no such folder.
        """
        tree = self._tree()
        check_request(source, split, samples, sources=tuple(tree), where=f"image folder {self.root}")
        files, labels, ids = self._listed(tree[source], split, samples)
        if self.per_class:
            kept = choose(labels, ids, [self.per_class] * len(self.classes), seed=0, purpose="per class").nonzero()
            files, labels, ids = [files[i] for i in kept.flatten().tolist()], labels[kept[:, 0]], ids[kept[:, 0]]
        return ImageSet(self._decoded(files), labels, ids)

    def _listed(self, splits: dict[str, Path], split: Split, samples: str) -> tuple[list[Path], Labels, Ids]:
        """The files of one split, in the order of their paths, with their classes and ids."""
        if _UNSPLIT in splits:
            files, labels, ids = self._files(splits[_UNSPLIT])
            sizes = class_counts(labels, len(self.classes))
            if min(sizes) < 10:
                few = self.classes[sizes.index(min(sizes))]
                raise InputError(
                    f"image folder {self.root}: class {few!r} has {min(sizes)} images; to split 80:10:10 a class needs "
                    "10 or more"
                )
            held_out = choose(labels, ids, [size // 5 for size in sizes], seed=0, purpose="hold out")
            testing = choose(labels, ids, [size // 5 - size // 10 for size in sizes], seed=0, purpose="hold out")
            part = {"train": ~held_out, "validation": held_out & ~testing, "test": testing}[split].nonzero().flatten()
            if split != "test":
                part = part[training_part(labels[part], ids[part], split, samples, carve=False)]
        else:
            test = splits.get("test", splits.get("validation"))
            own = splits.get("validation") if "test" in splits else None
            if "train" not in splits or test is None:
                found = ", ".join(splits)
                raise InputError(f"image folder {self.root}: split folders {found}; expected train and test, at least")
            carve = own is None
            folder = test if split == "test" else own if own is not None and split == "validation" else splits["train"]
            files, labels, ids = self._files(folder)
            part = torch.arange(len(files))
            if split != "test":
                part = training_part(labels, ids, split, samples, carve=carve)
        return [files[i] for i in part.tolist()], labels[part], ids[part]

    def _tree(self) -> dict[str, dict[str, Path]]:
        """Source -> split -> the folder that has its class folders."""
        root = located(self.root)
        if not root.is_dir():
            raise MissingData(f"image folder {self.root}: no such folder; expected <source>/<split>/<class>/ below it")
        names = subfolders(root)
        if names and all(name in SPLIT_FOLDERS for name in names):
            return {"images": _splits(root)}
        below = {name: subfolders(root / name) for name in names}
        splits = [name for name in names if name in SPLIT_FOLDERS and below[name]]
        if len({SPLIT_FOLDERS[name] for name in splits}) > 1:  # one alone may be a class: of railway carriages
            others = ", ".join(f"{name}/" for name in names if name not in splits)
            raise InputError(
                f"image folder {self.root}: beside {', '.join(f'{name}/' for name in splits)} stands {others}; "
                "expected the splits train, validation and test alone: move the rest away"
            )
        with_splits = [name for name in names if below[name] and set(below[name]) <= set(SPLIT_FOLDERS)]
        if names and len(with_splits) == len(names):
            return {name: _splits(root / name) for name in names}
        nested = [name for name in names if below[name]]
        if not names or nested:
            odd = f"{nested[0]}/ holds {below[nested[0]][0]}/" if nested else "it holds no folders"
            raise InputError(
                f"image folder {self.root}: {odd}; expected <source>/<split>/<class>/, <split>/<class>/ or <class>/ "
                "with the splits train, validation and test"
            )
        return {"images": {_UNSPLIT: root}}

    def _files(self, folder: Path) -> tuple[list[Path], Labels, Ids]:
        """All image files of a split in the order of their paths, their classes and their ids."""
        root = located(self.root)
        files: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            found = images_of_class(folder / name)
            files += found
            labels += [label] * len(found)
        ids = [path_id(file.relative_to(root).as_posix()) for file in files]
        return files, torch.tensor(labels), torch.tensor(ids)

    def _decoded(self, files: Sequence[Path]) -> Pixels:
        return decoded(
            files,
            lambda file: decode(file, self.size, self.channels, self.fit),
            shape=self.shape,
            where=f"image folder {self.root}",
        )


def decoded(files: Sequence[Path], decode: Callable[[Path], Bytes], *, shape: Shape, where: str) -> Pixels:
    """The images of files, several at a time; `decode` gives bytes `rows columns channels`.

    Raises:
        InputError: They do not fit into this machine's memory, or whatever `decode` refuses.
    """
    channels, rows, columns = shape
    size = len(files) * channels * rows * columns
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        raise InputError(
            f"{where}: {len(files)} images of {shape} need {size / 2**30:.0f} GiB, "
            f"this machine has {memory / 2**30:.0f} GiB; set per_class"
        )
    pixels = np.empty((len(files), rows, columns, channels), np.uint8)

    def fill(i: int) -> None:
        pixels[i] = decode(files[i])

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(fill, range(len(files))):
            pass
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def decode(file: Path, size: int, channels: int, fit: Fit) -> Bytes:
    """One image file as bytes `size size channels`.

    Raises:
        InputError: As `opened`.
    """
    image = opened(file, channels)
    w, h = image.size
    side = min(w, h)
    left, top = (w - side) / 2, (h - side) / 2
    box = (left, top, left + side, top + side) if fit == "crop" else (0, 0, w, h)
    resized = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized, np.uint8).reshape(size, size, channels)


def opened(file: Path, channels: int) -> Image.Image:
    """One image file in colour (3 channels) or grey (1).

    Raises:
        InputError: The file is not a readable image, or has more than 8 bits a channel.
    """
    try:
        with Image.open(file) as found:
            if (deep := _deeper(found)) is not None:
                raise InputError(f"{file}: more than 8 bits a channel ({deep}); convert it to an 8-bit image")
            # A palette with transparency has to pass through RGBA for its colours to come out right.
            image = found.convert("RGBA") if "transparency" in found.info else found
            return image.convert("RGB" if channels == 3 else "L")
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        came = stray(file) or f"cannot be read as an image ({error}); replace or remove it"
        raise InputError(f"{file}: {came}") from None


def _deeper(opened: ImageFile) -> str | None:
    """What says that a file has more than 8 bits a channel; None where it has not.

    Not the mode alone, which is RGB for 16-bit colour too: PIL would drop the lower byte without a word.
    """
    if opened.mode.startswith(("I", "F")):
        return f"mode {opened.mode}"
    for decoder, *_, arguments in opened.tile:
        for argument in arguments if isinstance(arguments, tuple) else (arguments,):
            if isinstance(argument, str) and re.search(r";16[BLNS]", argument):
                return f"stored as {argument}"
            if isinstance(argument, int) and argument > 255 and decoder.startswith("ppm"):
                return f"values up to {argument}"
    return None


# What systems leave in a folder, or beside it in an archive.
_LEFT_BY_SYSTEMS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"})


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; hidden ones, and what systems leave there, are passed over."""
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not hidden(e.name))


def hidden(name: str) -> bool:
    """Whether a file or folder is passed over by its name."""
    return name.startswith(".") or name in _LEFT_BY_SYSTEMS


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return not hidden(name) and Path(name).suffix.lower() in SUFFIXES


def images_of_class(folder: Path) -> list[Path]:
    """The image files of a class folder, sorted.

    Raises:
        InputError: There are none, or some lie in a folder below it.
    """
    with os.scandir(folder) as entries:
        found = sorted(folder / e.name for e in entries if is_image(e.name) and e.is_file())
    for below in subfolders(folder):
        deep = next((file for file in sorted((folder / below).rglob("*")) if is_image(file.name)), None)
        if deep is not None:
            raise InputError(
                f"{deep}: an image in a folder below the class folder {folder.name}/; move it into {folder}, or its "
                "folder elsewhere"
            )
    if not found:
        raise InputError(f"{folder}: no image files ({', '.join(sorted(SUFFIXES))})")
    return found


def _splits(folder: Path) -> dict[str, Path]:
    """Split -> its folder."""
    found: dict[str, Path] = {}
    for name in subfolders(folder):
        split = SPLIT_FOLDERS[name]
        if split in found:
            raise InputError(f"{folder}: both {found[split].name}/ and {name}/ are {split} images; keep one")
        found[split] = folder / name
    return found


def path_id(path: str) -> int:
    """An image's id: the hash of its path below the task's folder."""
    return int.from_bytes(hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()[:8], "big", signed=True)
