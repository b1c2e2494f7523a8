"""The images of an audit: a folder as the task `photographs` reads it, at the size that the model takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from carom.errors import InputError, MissingData
from carom.registry import build
from carom.zoo.tasks.folder import hidden, is_image
from carom.zoo.tasks.names import class_names
from carom.zoo.tasks.photographs import Photographs

from .model import IMAGENET, Looked

Table = Mapping[str, Any]


def common_side(folder: str) -> int | None:
    """Rows and columns of the images, where all are squares of one size.

    Raises:
        InputError: There are no images, or one cannot be read.
        MissingData: There is no such folder.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise MissingData(f"--images {folder}: no such folder; give one of class folders, or of images and a CSV file")
    sizes: set[tuple[int, int]] = set()
    for path in sorted(root.rglob("*")):
        if not is_image(path.name) or any(hidden(part) for part in path.relative_to(root).parts):
            continue
        try:
            with Image.open(path) as image:
                sizes.add(image.size)
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise InputError(f"{path}: cannot be read as an image ({error}); replace or remove it") from None
    if not sizes:
        raise InputError(
            f"--images {folder}: no images; expected <class>/<file>, or images and a CSV file with the columns file "
            "and label"
        )
    (width, height), *others = sizes
    return width if width == height and not others else None


def named_classes(names: str | None) -> int | None:
    """How many classes the user's names have."""
    found = class_names(names or "", where="--names")
    return None if found is None else len(found.names)


def images_table(looked: Looked, folder: str, *, labels: str | None, names: str | None, side: int) -> dict[str, Any]:
    """The task's table in a scenario: the images as this model takes them.

    Where nobody names the classes they are ImageNet's if there are 1,000, else those of the class folders, or numbers.

    Raises:
        InputError: The names are not as many as the classes that the model answers with.
    """
    table: dict[str, Any] = {"name": "photographs", "root": folder}
    if labels is not None:
        table["labels"] = labels
    if looked.channels != 3:
        table["channels"] = looked.channels
    if common_side(folder) != side:
        table |= {"resize": max(side, int(side / looked.shrink + 1e-6)), "crop": side}
        if looked.interpolation != "bilinear":
            table["interpolation"] = looked.interpolation
    for attempt in (names,) if names else ("imagenet",) if looked.classes == IMAGENET else (looked.classes, ""):
        table["names"] = attempt
        try:
            found = photographs(table)
            n = len(found.classes)
            some = found.photographs() if n == looked.classes else []
        except InputError as error:
            if attempt == looked.classes:
                continue  # labels are no numbers: then they are names
            raise InputError(str(error)) from None
        if n != looked.classes:
            raise InputError(
                f"--names: {looked.label} answers with {looked.classes} classes, the images' names are {n}; give all "
                "of them, in the model's order: --names FILE with one a line"
            )
        if not some:
            raise InputError(f"--images {folder}: no images; put some into the class folders")
        break
    return table


def photographs(table: Table) -> Photographs:
    """The task of such a table."""
    return build(Photographs, {k: v for k, v in table.items() if k != "name"}, where="--images")
