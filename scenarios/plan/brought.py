"""Adversarial images that were made elsewhere: read, matched with the attacked images, and held to their ball."""

import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import floor, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from carom.attacks.crafting.rounding import rounded
from carom.attacks.crafting.verifying import slack_of
from carom.budget import Budget
from carom.errors import InputError, MissingData
from carom.files import located
from carom.identity import content_key, file_digest
from carom.registry import did_you_mean
from carom.scenarios.spec.scenario import BroughtSet
from carom.typing import Pixels
from carom.zoo.models.classifier import Shape
from carom.zoo.tasks.attacked import target_classes
from carom.zoo.tasks.folder import SUFFIXES, hidden, is_image, opened
from carom.zoo.tasks.images import ImageSet

VERSION = 1  # part of every key; raise it when what is made of files changes
ARRAYS = ("x_adv", "x", "x_clean", "y", "target")
_LEVEL = 1e-4  # of a grey level, that floats in [0, 1] may be off: float32 keeps a pixel to 1.5e-5 of one
_CHUNK = 64
_NAMED = 5  # images that an error names


@dataclass(frozen=True, kw_only=True, eq=False)
class Came:
    """What files hold, as they hold it.

    Attributes:
        images: `n c h w`, 8-bit, or floats in [0, 1].
        names: Of the images, for errors.
        clean: What they started from, in the same order; None where that is not said.
        labels: Their classes; None where that is not said.
        target: Classes that they aim at; None where that is not said.
        files: sha256 over all files.
    """

    images: Tensor
    names: Sequence[str]
    clean: Tensor | None = None
    labels: Tensor | None = None
    target: Tensor | None = None
    files: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Brought:
    """A set from elsewhere, as carom's own.

    Attributes:
        images: 8-bit, verified to be in the ball, in the order of the attacked images.
        target: The classes that a targeted set aims at.
        files: sha256 over all files that it came from.
    """

    images: Pixels
    target: Tensor | None
    files: str


def brought(spec: BroughtSet, attacked: ImageSet, classes: int) -> Brought:
    """The set, of the attacked images and in their order.

    Floats are rounded to 8 bits inside the ball, as what is crafted here is.

    Args:
        spec: What the scenario says of it.
        attacked: The images that every set starts from.
        classes: Of the task.

    Raises:
        InputError: It cannot be read, is of other images or only of some, has other labels or targets, or an image is
            outside the ball.
        MissingData: No such file or folder.
    """
    shape: Shape = tuple(attacked.images.shape[1:])  # type: ignore[assignment]
    where = f"sets: {spec.label}"
    came = files_of(spec, shape, where=where)
    place = _matched(came, attacked, where=where)
    _same(came.labels, attacked.labels, place, came.names, "label", where)
    target = None
    if spec.targeted:
        target = target_classes(attacked.labels, attacked.ids, classes, attacked.targets)
        if came.target is None:
            raise InputError(
                f"{where}: targeted, but {spec.path} does not say at what; expected an array 'target' of the classes "
                "that carom aims at: those of its own targeted attacks on these images"
            )
        _same(came.target, target, place, came.names, "target", where)
    images = _inside(came.images[place], attacked.images, spec.budget, [came.names[i] for i in place.tolist()], where)
    return Brought(images=images, target=target, files=came.files)


def files_of(spec: BroughtSet, shape: Shape, *, where: str) -> Came:
    """What the set's files hold.

    Raises:
        InputError: They cannot be read, or hold images of another shape or range.
        MissingData: No such file or folder.
    """
    path = located(spec.path)
    if path.is_dir():
        return _folder(path, spec, shape, where)
    if not path.is_file():
        raise MissingData(
            f"{where}: {spec.path}: no such file or folder; the path is relative to the working directory"
        )
    if spec.clean is not None:
        raise InputError(f"{where}: clean belongs to a folder; an npz file has the images it started from as 'x_clean'")
    return _npz(path, spec.path, shape, where)


# -------------------------------------------------------------------------------------------------------------- files


def _npz(path: Path, shown: str, shape: Shape, where: str) -> Came:
    try:
        with np.load(path, allow_pickle=False) as file:
            names = list(file.files)
            for name in names:
                if name not in ARRAYS:
                    raise InputError(
                        f"{where}: {shown}: array {name!r}{did_you_mean(name, ARRAYS)} (known: {', '.join(ARRAYS)})"
                    )
            arrays = {name: file[name] for name in names}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {shown}: cannot be read as npz ({error}); numpy.savez writes one") from None
    given = [name for name in ("x_adv", "x") if name in arrays]
    if len(given) != 1:
        raise InputError(
            f"{where}: {shown}: holds {', '.join(arrays) or 'no arrays'}; expected the adversarial images as 'x_adv'"
        )
    images = _images(arrays[given[0]], given[0], shape, f"{where}: {shown}")
    n = len(images)
    clean = _images(arrays["x_clean"], "x_clean", shape, f"{where}: {shown}") if "x_clean" in arrays else None
    labels: dict[str, Tensor] = {}
    for name in ("y", "target"):
        if name in arrays:
            if arrays[name].ndim != 1 or arrays[name].dtype.kind not in "iu":
                raise InputError(
                    f"{where}: {shown}: {name} is {arrays[name].dtype} {arrays[name].shape}; expected ({n},) whole "
                    "numbers, a class for each image"
                )
            labels[name] = torch.from_numpy(arrays[name].astype(np.int64))
    for name, some in {**labels, **({} if clean is None else {"x_clean": clean})}.items():
        if len(some) != n:
            raise InputError(f"{where}: {shown}: {n} images in {given[0]}, {len(some)} in {name}; expected equal")
    return Came(
        images=images,
        names=[f"image {i}" for i in range(n)],
        clean=clean,
        labels=labels.get("y"),
        target=labels.get("target"),
        files=file_digest(path),
    )


def _images(array: Any, name: str, shape: Shape, where: str) -> Tensor:
    """Images `n c h w`, 8-bit or floats in [0, 1], of an array in any order of axes."""
    channels, rows, columns = shape
    if tuple(array.shape[1:]) == shape:
        pixels = array
    elif tuple(array.shape[1:]) == (rows, columns, channels):
        pixels = array.transpose(0, 3, 1, 2)
    elif channels == 1 and tuple(array.shape[1:]) == (rows, columns):
        pixels = array[:, None]
    else:
        raise InputError(f"{where}: {name} has the shape {array.shape}; expected (n, {channels}, {rows}, {columns})")
    if array.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(pixels))
    if array.dtype.kind != "f":
        raise InputError(f"{where}: {name} is {array.dtype}; expected 8-bit images (uint8), or floats in [0, 1]")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (low >= -_LEVEL / 255 and high <= 1 + _LEVEL / 255):  # written so that NaN fails
        raise InputError(
            f"{where}: {name}: pixels in [{low:.4g}, {high:.4g}]; expected [0, 1]: take the normalisation out, or "
            "divide by 255"
        )
    return torch.from_numpy(np.ascontiguousarray(pixels, np.promote_types(array.dtype, np.float32)))


def _folder(path: Path, spec: BroughtSet, shape: Shape, where: str) -> Came:
    if spec.clean is None:
        raise InputError(
            f"{where}: clean is missing; give the folder of the images that those in {spec.path} started from, under "
            "the same names"
        )
    origin = located(spec.clean)
    if not origin.is_dir():
        raise MissingData(f"{where}: clean: {spec.clean}: no such folder; it is relative to the working directory")
    made, started = _listed(path, spec.path, where), _listed(origin, spec.clean, where)
    if alone := [name for name in made if name not in started]:
        raise InputError(
            f"{where}: {_some(alone)} in {spec.path} with no image of that name in {spec.clean}; expected each under "
            "the name of the one that it started from"
        )
    names = list(made)
    stated = [[name, file_digest(made[name]), file_digest(started[name])] for name in names]
    return Came(
        images=torch.stack([_decoded(made[name], shape, where) for name in names]),
        names=[made[name].relative_to(path).as_posix() for name in names],
        clean=torch.stack([_decoded(started[name], shape, where) for name in names]),
        files=sha256(content_key(stated).encode()).hexdigest(),
    )


def _listed(folder: Path, shown: str, where: str) -> Mapping[str, Path]:
    """The image files below a folder by their path in it without the ending, sorted."""
    found: dict[str, Path] = {}
    for file in sorted(folder.rglob("*")):
        if not is_image(file.name) or any(hidden(part) for part in file.relative_to(folder).parts):
            continue
        name = file.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise InputError(f"{where}: {shown}: both {found[name].name} and {file.name}; expected one image of a name")
        found[name] = file
    if not found:
        raise InputError(f"{where}: {shown}: no image files ({', '.join(sorted(SUFFIXES))})")
    return found


def _decoded(file: Path, shape: Shape, where: str) -> Tensor:
    """One image as it is stored, `c h w`; nothing is resized, since that would leave the ball."""
    channels, rows, columns = shape
    try:
        pixels = np.asarray(opened(file, channels), np.uint8)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if pixels.shape[:2] != (rows, columns):
        raise InputError(
            f"{where}: {file}: {pixels.shape[0]} x {pixels.shape[1]} pixels; expected {rows} x {columns}, as the task "
            "attacks them, after its resize"
        )
    return torch.from_numpy(pixels.reshape(rows, columns, channels).transpose(2, 0, 1).copy())


# ------------------------------------------------------------------------------------------------------------ matched


def _matched(came: Came, attacked: ImageSet, *, where: str) -> Tensor:
    """For each attacked image, the place of its adversarial image: by the pixels that it started from, or by order."""
    n = len(attacked)
    if came.clean is None:
        if len(came.images) != n:
            raise InputError(
                f"{where}: {len(came.images)} images, {n} are attacked; give what they started from as 'x_clean', or "
                "all of them in the order of the attacked images"
            )
        return torch.arange(n)
    there: dict[bytes, list[int]] = defaultdict(list)
    for place, pixels in enumerate(_bytes(came.clean)):
        there[pixels].append(place)
    wanted: dict[bytes, list[int]] = defaultdict(list)
    for place, pixels in enumerate(_bytes(attacked.images)):
        wanted[pixels].append(place)
    found = torch.full((n,), -1)
    for pixels, places in wanted.items():
        have = there.get(pixels, [])
        if len(have) > len(places):
            raise InputError(
                f"{where}: {came.names[have[0]]} and {came.names[have[1]]} started from one image; expected one "
                "adversarial image of each"
            )
        if came.labels is not None:  # one image under two labels: each has its own
            labels = attacked.labels
            have = sorted(have, key=lambda i: int(came.labels[i]))  # type: ignore[index]
            places = sorted(places, key=lambda i: int(labels[i]))
        for place, own in zip(places, have, strict=False):
            found[place] = own
    missing = (found < 0).nonzero().flatten().tolist()
    if missing:
        shown = [f"{i} (class {int(attacked.labels[i])})" for i in missing]
        raise InputError(
            f"{where}: of the {n} attacked images {len(missing)} are missing, places {_some(shown)}; expected one "
            "adversarial image of each, with the pixels that it started from exactly as the task attacks them"
        )
    return found


def _bytes(images: Tensor) -> list[bytes]:
    """The pixels of each image, as 8-bit ones; empty of an image that is none, so that it matches nothing."""
    if images.dtype == torch.uint8:
        return [one.contiguous().numpy().tobytes() for one in images]
    found = []
    for one in images:
        levels = one * 255
        whole = levels.round()
        eight = float((levels - whole).abs().max()) <= _LEVEL
        found.append(whole.clamp(0, 255).to(torch.uint8).contiguous().numpy().tobytes() if eight else b"")
    return found


def _same(mine: Tensor | None, ours: Tensor, place: Tensor, names: Sequence[str], what: str, where: str) -> None:
    """Refuse classes that are not those of the attacked images."""
    if mine is None:
        return
    wrong = (mine[place] != ours).nonzero().flatten().tolist()
    if wrong:
        first = wrong[0]
        at = int(place[first])
        raise InputError(
            f"{where}: {len(wrong)} of {len(ours)} images have another {what}, such as {names[at]}: {int(mine[at])}, "
            f"expected {int(ours[first])}"
        )


def _inside(images: Tensor, clean: Pixels, budget: Budget, names: Sequence[str], where: str) -> Pixels:
    """The images with 8 bits, in the ball around the clean ones."""
    exact, radius = images.dtype == torch.uint8, budget.eps * 255
    parts = list(zip(torch.split(images, _CHUNK), torch.split(clean, _CHUNK), strict=True))
    size = torch.cat([_levels(some, of, budget) for some, of in parts])
    if exact:  # whole numbers: of l2 the squares are
        limit = float(floor(radius)) if budget.norm == "linf" else sqrt(floor(radius**2))
        outside = size > limit
    else:
        outside = size > float(radius) + slack_of(budget) * 255
    if bool(outside.any()):
        worst = int(torch.where(outside, size, -1.0).argmax())
        jpeg = Path(names[worst]).suffix.lower() in (".jpg", ".jpeg")
        hint = "JPEG changes pixels, so save them as PNG" if jpeg else "project them into the ball, or declare theirs"
        raise InputError(
            f"{where}: {int(outside.sum())} of {len(images)} images are outside the ball, most of all {names[worst]}: "
            f"{float(size[worst]):.6g}/255 away ({budget.norm}), allowed {float(radius):.6g}/255; {hint}"
        )
    kept = images if exact else torch.cat([rounded(some, budget, of) for some, of in parts])
    budget.check(kept, clean)
    return kept


def _levels(images: Tensor, clean: Pixels, budget: Budget) -> Tensor:
    """Distance of each image from its clean one, in grey levels."""
    mine = images.double() if images.dtype == torch.uint8 else images.double() * 255
    change = (mine - clean.double()).flatten(1)
    return change.abs().amax(1) if budget.norm == "linf" else change.square().sum(1).sqrt()


def _some(names: Sequence[str]) -> str:
    """The first few of many."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
