"""Fashion-MNIST, from Debian's package or torchvision's folder, and the same pictures taken by a second camera."""

import gzip
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from carom.errors import InputError, MissingData

from .images import SPLITS, ImageSet, Split
from .recapture import recapture
from .splits import SAMPLES, check_request, numbered, training_part
from .torchvision_sets import data_folder

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_PART = 2**32  # ids of two parts differ by this
_NAMES = {"train": "train", "test": "t10k"}


@dataclass(frozen=True, kw_only=True)
class FashionMnist:
    """Ten kinds of clothing, 1x28x28: Zalando's pictures, and the same taken by a second camera.

    Training images 55,000, validation 5,000 (out of the 60,000, stratified, the same pictures for both sources), test
    10,000. Samples "a" and "b" are disjoint stratified halves of the training images, 27,500 each, and of the
    validation images, 2,500 each.
    A picture has the same place in both sources, so no test picture of one source trains in the other.

    Attributes:
        root: Folder with the four idx files, or with torchvision's `FashionMNIST/raw`. Empty: the folder of the
            environment's CAROM_DATA, or ~/.cache/carom/data, then Debian's package.
        download: Let torchvision fetch missing files into the folder.
    """

    root: str = ""
    download: bool = False

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747"
    embedded: ClassVar[bool] = False
    splits: ClassVar[tuple[Split, ...]] = SPLITS

    @property
    def classes(self) -> tuple[str, ...]:
        return ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

    @property
    def shape(self) -> tuple[int, int, int]:
        return (1, 28, 28)

    @property
    def sources(self) -> tuple[str, ...]:
        return ("original", "recaptured")

    @property
    def samples(self) -> tuple[str, ...]:
        return SAMPLES

    def load(self, source: str, split: Split, samples: str = "all") -> ImageSet:
        """The images of one source and split, in the order of the files.

        Raises:
            InputError: Unknown source, split or samples; a damaged file.
            MissingData: The files are not on this machine; says how to get them.
        """
        index = check_request(source, split, samples, sources=self.sources, where="fashion-mnist")
        images_file, labels_file = self._files("test" if split == "test" else "train")
        stamps = tuple((f.stat().st_mtime_ns, f.stat().st_size) for f in (images_file, labels_file))
        part = 2 * index + (split == "test")
        pictures = _pictures(images_file, labels_file, part, stamps)
        if split == "test":
            return pictures.select(torch.arange(len(pictures)))  # a copy: the kept one must not change
        # Both sources are split by the ids of the original pictures.
        originals = pictures.ids - index * 2 * _PART
        return pictures.select(training_part(pictures.labels, originals, split, samples, carve=True))

    def _files(self, part: str) -> tuple[Path, Path]:
        folder = data_folder(self.root)
        folders = [folder / "FashionMNIST" / "raw", folder, *([] if self.root else [DEBIAN])]
        found = _find(part, folders)
        if found is None and self.download:
            from torchvision.datasets import FashionMNIST

            try:
                FashionMNIST(str(folder), download=True)
            except (OSError, RuntimeError) as error:
                reason = str(error).split("\n")[0]
                raise MissingData(f"fashion-mnist: the download into {folder} failed: {reason}") from None
            found = _find(part, folders)
        if found is None:
            raise MissingData(
                f"fashion-mnist: no idx files in {folder}; run `apt install dataset-fashion-mnist` (without root), "
                "set download = true, or set root to the folder that has them"
            )
        return found


def _find(part: str, folders: list[Path]) -> tuple[Path, Path] | None:
    """The first folder that has both the images and the labels, plain or gzipped."""
    for folder in folders:
        files = []
        for kind in ("images-idx3", "labels-idx1"):
            plain = folder / f"{_NAMES[part]}-{kind}-ubyte"
            files += [f for f in (plain, plain.with_name(f"{plain.name}.gz")) if f.is_file()][:1]
        if len(files) == 2:
            return files[0], files[1]
    return None


@lru_cache(maxsize=4)
def _pictures(images_file: Path, labels_file: Path, part: int, stamps: tuple[tuple[int, int], ...]) -> ImageSet:
    """All pictures of one part (training, test, and both recaptured), ids `part * 2**32` and up.

    Kept for as long as the files have these `stamps`: recapturing the training pictures takes seconds.
    """
    if part >= 2:
        original = _pictures(images_file, labels_file, part - 2, stamps)
        return ImageSet(recapture(original.images, original.ids), original.labels, original.ids + 2 * _PART)
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.ndim != 3 or images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise InputError(
            f"{images_file}: images {images.shape} and labels {labels.shape}; expected (n, 28, 28) and (n,)"
        )
    if labels.max(initial=0) > 9:
        raise InputError(f"{labels_file}: label {labels.max()}; Fashion-MNIST has the classes 0 to 9")
    return ImageSet(
        torch.from_numpy(images)[:, None], torch.from_numpy(labels.astype(np.int64)), numbered(part, len(images))
    )


def read_idx(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """The bytes of an idx file, plain or gzipped, in their shape.

    Raises:
        InputError: Not an idx file of bytes, or cut off.
    """
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be unpacked ({error}); fetch it again") from None
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise InputError(f"{path}: not an idx file of bytes: it starts with {raw[:4]!r}; fetch it again")
    shape = tuple(np.frombuffer(raw, ">u4", count=raw[3], offset=4).tolist()) if len(raw) >= 4 + 4 * raw[3] else ()
    body = np.frombuffer(raw, np.uint8, offset=min(len(raw), 4 + 4 * raw[3]))
    if not shape or body.size != int(np.prod(shape)):
        raise InputError(f"{path}: holds {body.size} bytes of data, its header says {shape}; fetch it again")
    return body.reshape(shape).copy()
