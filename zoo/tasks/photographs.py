"""Image files that are only attacked: class folders, or a folder and a table of files, labels and targets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image

from carom.errors import InputError, MissingData
from carom.files import located
from carom.registry import did_you_mean, lookup

from .folder import SPLIT_FOLDERS, SUFFIXES, Bytes, Shape, decoded, hidden, images_of_class, is_image, opened, path_id
from .folder import subfolders as folders_in
from .images import ImageSet, Split
from .names import ClassNames, Names, class_names, numbers_in_use
from .splits import check_request, choose
from .tables import first_class, from_zero, rows_of

Interpolation = Literal["bilinear", "bicubic"]
_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Photograph(NamedTuple):
    """One image file: where it is, its class, and the class that targeted attacks aim at."""

    file: Path
    label: int
    target: int | None


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """Image files that are only attacked, in class folders or with a table; not every class needs an image.

    Layouts: `root/<class>/<file>`, also below `root/test/` or `root/val/` (ImageNet as torchvision has it); or files
    anywhere below `root` and one CSV file there, with a column of files ("file", "filename", "image" or "ImageId"), one
    of labels ("label", "class" or "TrueLabel") and, if targets are given, one of these ("target" or "TargetClass").
    Class folders and labels are names of classes, synsets or numbers from 0; in a table of `ImageId` and `TrueLabel`
    (the development images of the NIPS 2017 competition) they are from 1, unless a 0 is among them.

    How images are brought to one size is said here once, and what comes out is attacked: `resize` and then `crop`, as
    torchvision and timm do it, or `size`. Without any of them the files must have one size already.

    Attributes:
        root: The folder.
        names: The classes that the models answer, in their order: "imagenet"; a file with one name a line, each with or
            without a synset in front; a list; or how many. "": those of the class folders or the table, sorted.
        labels: The table, below `root` or from the working directory. "": the one CSV file in `root`, if there is one.
        resize: Pixels of the shorter side, before the crop; 0 leaves it. Antialiased, of PIL.
        crop: Rows and columns of the square in the middle; 0 leaves all.
        size: Rows and columns of all images, whatever their proportions; instead of `resize` and `crop`.
        interpolation: Of `resize` and `size`: "bilinear" or "bicubic".
        channels: 3 for colour, 1 for grey (ITU-R 601). Transparency is dropped.
        per_class: At most so many images of each class, a seeded choice made before any file is opened. 0: all.

    Raises:
        InputError: A number out of range, or settings that do not go together.
    """

    root: str
    names: Names = ""
    labels: str = ""
    resize: int = 0
    crop: int = 0
    size: int = 0
    interpolation: Interpolation = "bilinear"
    channels: int = 3
    per_class: int = 0

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "your own images"
    embedded: ClassVar[bool] = False
    splits: ClassVar[tuple[Split, ...]] = ("test",)

    def __post_init__(self) -> None:
        numbers = {name: getattr(self, name) for name in ("resize", "crop", "size", "per_class")}
        for name, value in numbers.items():
            if value < 0:
                raise InputError(f"photographs: {name} {value}; expected 0 or more")
        if self.size and (self.resize or self.crop):
            raise InputError("photographs: size squashes all of the image; leave it out, or resize and crop")
        if self.resize and not self.crop:
            raise InputError(
                f"photographs: resize {self.resize} sets the shorter side alone; add crop, or take size for all of the "
                "image"
            )
        if self.resize and self.crop > self.resize:
            raise InputError(f"photographs: crop {self.crop} is larger than resize {self.resize}")
        if self.channels not in (1, 3):
            raise InputError(f"photographs: channels {self.channels}; expected 3 (colour) or 1 (grey)")
        lookup(self.interpolation, _RESAMPLING, where="photographs", what="interpolation")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the models answer.

        Raises:
            InputError: Names, folders or a table that cannot be read.
            MissingData: There is no such folder or file of names.
        """
        return self._class_names.names

    @property
    def shape(self) -> Shape:
        side = self.crop or self.size
        if side:
            return (self.channels, side, side)
        return (self.channels, *_rows_and_columns(self.photographs()[0].file))

    @property
    def sources(self) -> tuple[str, ...]:
        return ("images",)

    @property
    def samples(self) -> tuple[str, ...]:
        return ("all",)

    def load(self, source: str, split: Split, samples: str = "all") -> ImageSet:
        """The images, in the order of their paths.

        Raises:
            InputError: Another source, split or samples; a folder, a table or a file that cannot be read; images of
                different sizes.
            MissingData: There is no such folder.
        """
        where = f"photographs {self.root}"
        check_request(source, split, samples, sources=self.sources, where=where, splits=self.splits)
        found = self.photographs()
        if not (self.crop or self.size):
            _of_one_size(found, where)
        images = decoded([one.file for one in found], self._decode, shape=self.shape, where=where)
        targets = [one.target for one in found if one.target is not None]
        return ImageSet(
            images,
            torch.tensor([one.label for one in found]),
            torch.tensor(self._ids([one.file for one in found])),
            torch.tensor(targets) if targets else None,
        )

    def photographs(self) -> list[Photograph]:
        """Every image file with its label and target, in the order of the paths; none is opened."""
        table = self._table()
        found = self._in_folders() if table is None else self._of_table(table)
        if not self.per_class:
            return found
        labels, ids = torch.tensor([one.label for one in found]), torch.tensor(self._ids([one.file for one in found]))
        kept = choose(labels, ids, [self.per_class] * len(self.classes), seed=0, purpose="per class")
        return [one for one, keep in zip(found, kept.tolist(), strict=True) if keep]

    def _ids(self, files: Sequence[Path]) -> list[int]:
        return [path_id(file.relative_to(self._folder).as_posix()) for file in files]

    @property
    def _folder(self) -> Path:
        folder = located(self.root)
        if not folder.is_dir():
            raise MissingData(
                f"photographs {self.root}: no such folder; expected one of class folders, or of images and a CSV file"
            )
        return folder

    def _decode(self, file: Path) -> Bytes:
        image = opened(file, self.channels)
        resampling = _RESAMPLING[self.interpolation]
        if self.size:
            image = image.resize((self.size, self.size), resampling)
        if self.resize:
            width, height = image.size
            short, long = min(width, height), max(width, height)
            if short != self.resize:  # the longer side is cut to whole pixels, as torchvision does
                longer = int(self.resize * long / short)
                shape = (self.resize, longer) if width <= height else (longer, self.resize)
                image = image.resize(shape, resampling)
        if self.crop:
            width, height = image.size
            if min(width, height) < self.crop:
                raise InputError(
                    f"{file}: {width}x{height} pixels, too few for crop {self.crop}; set resize to {self.crop} or more"
                )
            left, top = round((width - self.crop) / 2), round((height - self.crop) / 2)
            image = image.crop((left, top, left + self.crop, top + self.crop))
        width, height = image.size
        return np.asarray(image, np.uint8).reshape(height, width, self.channels)

    # ------------------------------------------------------------------------------------------------ classes, folders

    @cached_property
    def _class_names(self) -> ClassNames:
        where = f"photographs {self.root}"
        said = class_names(self.names, where=where)
        if said is not None:
            return said
        table = self._table()
        if table is None:
            names = tuple(folders_in(self._class_root()))
        else:
            written = [label for row in rows_of(table) for label in (row.label, row.target) if label is not None]
            if all(label.isascii() and label.isdigit() for label in written):
                first = first_class(table)
                names = numbers_in_use((int(label) - first for label in written), where=str(table))
            else:
                names = tuple(sorted(set(written)))
        if len(names) < 2:
            raise InputError(
                f"{where}: images of {len(names)} classes; say the names of all that the models answer, such as "
                'names = "imagenet"'
            )
        return ClassNames(names)

    def _class_root(self) -> Path:
        """The folder of the class folders."""
        folder = self._folder
        names = folders_in(folder)
        splits = {SPLIT_FOLDERS[name]: folder / name for name in names if name in SPLIT_FOLDERS}
        if names and all(name in SPLIT_FOLDERS for name in names):
            for split in ("test", "validation"):
                if split in splits and folders_in(splits[split]):
                    return splits[split]
            raise InputError(
                f"photographs {self.root}: of {', '.join(f'{name}/' for name in names)} none is test/ or val/ with "
                "class folders; photographs are not trained on: name one, or take the task image-folder"
            )
        loose = sorted(path.name for path in folder.iterdir() if is_image(path.name))
        if loose:
            raise InputError(
                f"photographs {self.root}: {loose[0]} has no label; put it into a folder of its class, or add a CSV "
                "file with the columns file and label"
            )
        if not names:
            raise InputError(
                f"photographs {self.root}: no images; expected <class>/<file>, test/<class>/<file>, or images and a "
                "CSV file with the columns file and label"
            )
        return folder

    def _in_folders(self) -> list[Photograph]:
        classes = self._class_names
        folder = self._class_root()
        found = []
        for name in folders_in(folder):
            label = classes.label(name, where=f"{folder / name}")
            found += [Photograph(file, label, None) for file in images_of_class(folder / name)]
        return found

    # ---------------------------------------------------------------------------------------------------------- tables

    def _table(self) -> Path | None:
        """The CSV file; None where there is none."""
        folder = self._folder
        if self.labels:
            for path in (folder / self.labels, located(self.labels)):
                if path.is_file():
                    return path
            raise MissingData(f"photographs {self.root}: labels: {self.labels}: no such file, there or in {self.root}")
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv" and not hidden(path.name))
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise InputError(f'photographs {self.root}: {names}; say which has the labels: labels = "{found[0].name}"')
        return found[0] if found else None

    def _of_table(self, table: Path) -> list[Photograph]:
        classes, first = self._class_names, first_class(table)
        files = _Files(self._folder)
        found: dict[Path, Photograph] = {}
        targeted: set[bool] = set()
        for row in rows_of(table):
            where = f"{table}:{row.line}"
            file = files.find(row.file, where)
            if file in found:
                raise InputError(f"{where}: {row.file} has two rows; expected one for each image")
            label = classes.label(from_zero(row.label, first), where=where)
            target = None
            if row.target is not None:
                target = classes.label(from_zero(row.target, first), where=f"{where}: target")
                if target == label:
                    raise InputError(
                        f"{where}: {row.file} is of its target class {classes.names[label]!r}; choose another target"
                    )
            found[file] = Photograph(file, label, target)
            targeted.add(target is not None)
            if len(targeted) > 1:
                raise InputError(f"{where}: some images have a target and some have none; give each one or none")
        return [found[file] for file in sorted(found)]


class _Files:
    """The images below a folder, by path, name, and name without suffix."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by: dict[str, list[Path]] = {}
        for path in sorted(folder.rglob("*")):
            below = path.relative_to(folder)
            if is_image(path.name) and not any(hidden(part) for part in below.parts):
                for name in dict.fromkeys(
                    (below.as_posix(), below.with_suffix("").as_posix(), below.name, Path(below.name).stem)
                ):
                    self.by.setdefault(name, []).append(path)

    def find(self, said: str, where: str) -> Path:
        name = said.replace("\\", "/").removeprefix("./")
        exact = self.folder / name
        if is_image(exact.name) and exact.is_file():
            return exact
        found = self.by.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            first, second = (path.relative_to(self.folder).as_posix() for path in found[:2])
            raise InputError(f"{where}: {said!r} is {first} or {second}; write its path below {self.folder}")
        raise InputError(
            f"{where}: no image {said!r} below {self.folder} ({', '.join(sorted(SUFFIXES))})"
            f"{did_you_mean(name, list(self.by)[:5000])}"
        )


def _rows_and_columns(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as found:
            return (found.height, found.width)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{file}: cannot be read as an image ({error}); replace or remove it") from None


def _of_one_size(found: Sequence[Photograph], where: str) -> None:
    sizes = [_rows_and_columns(one.file) for one in found]
    odd = next((i for i, size in enumerate(sizes) if size != sizes[0]), None)
    if odd is not None:
        first, other = (f"{found[i].file.name} has {sizes[i][1]}x{sizes[i][0]} pixels" for i in (0, odd))
        raise InputError(
            f"{where}: {first}, {other}; bring them to one size: resize = 256 with crop = 224 (shorter side, then the "
            "middle), or size = 224 (all of the image)"
        )
