"""Ten digits, 16x16, from two sources that have nothing in common but the digits: handwriting and type.

`uci` needs scikit-learn, which carries its images; `fonts` is the file beside this one, made by `render_digits.py`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch

from carom.draws import Draws

from .images import SPLITS, ImageSet, Split
from .splits import SAMPLES, check_request, samples_mask

PER_CLASS: Mapping[tuple[str, Split], int] = MappingProxyType(
    {
        ("uci", "train"): 120,
        ("uci", "validation"): 22,
        ("uci", "test"): 32,
        ("fonts", "train"): 120,
        ("fonts", "validation"): 30,
        ("fonts", "test"): 40,
    }
)
FONTS_FILE = Path(__file__).with_name("digits_fonts.npz")
FIRST_FONTS_ID = 10_000


@dataclass(frozen=True, kw_only=True)
class Digits:
    """Digits 0..9, 16x16 grey: handwriting (uci) and type (fonts), embedded, no download."""

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (uci)"
    embedded: ClassVar[bool] = True
    splits: ClassVar[tuple[Split, ...]] = SPLITS

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("0123456789")

    @property
    def shape(self) -> tuple[int, int, int]:
        return 1, 16, 16

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(SOURCES)

    @property
    def samples(self) -> tuple[str, ...]:
        return SAMPLES

    def load(self, source: str, split: Split, samples: str = "all") -> ImageSet:
        """The images of one source and split, equally many of each class.

        Samples "a" and "b" are halves of the 1,200 training images, and of the validation images. Of
        `uci`, 57 images beyond 174 a class are in no split, so that the training splits of both sources have the same
        class counts.

        Raises:
            InputError: Unknown source, split or samples.
        """
        check_request(source, split, samples, sources=self.sources, where="digits")
        images = SOURCES[source]()[split]
        if split == "test" or samples == "all":
            return images
        return images.select(samples_mask(images.labels, images.ids, samples).nonzero().flatten())


def double(levels: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Images `n 8 8` of levels 0..16 to 8-bit `n 16 16`, bilinear, in exact integers."""
    for axis in (1, 2):
        padded = np.pad(levels, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        before, after = (padded.take(range(first, first + 8), axis) for first in (0, 2))
        pairs = np.stack([3 * levels + before, 3 * levels + after], axis + 1)
        levels = pairs.reshape([16 if a == axis else n for a, n in enumerate(levels.shape)])
    rounded: np.ndarray[Any, np.dtype[np.uint8]] = ((levels * 255 + 128) // 256).astype(np.uint8)
    return rounded


@functools.cache
def _uci() -> Mapping[Split, ImageSet]:
    from sklearn.datasets import load_digits  # takes a second, and only this source needs it

    file = load_digits()
    images = torch.from_numpy(double(file.images.astype(np.int64)))[:, None]
    labels = torch.from_numpy(file.target.astype(np.int64))
    order = Draws(0, torch.arange(len(labels))).bits("digits uci split").argsort()
    of_class = [order[labels[order] == digit] for digit in range(10)]

    sets: dict[Split, ImageSet] = {}
    first = 0
    for split in SPLITS:
        count = PER_CLASS["uci", split]
        ids = torch.stack([index[first : first + count] for index in of_class], 1).flatten()
        sets[split] = ImageSet(images[ids], labels[ids], ids)
        first += count
    return sets


@functools.cache
def _fonts() -> Mapping[Split, ImageSet]:
    sets: dict[Split, ImageSet] = {}
    first = FIRST_FONTS_ID
    with np.load(FONTS_FILE) as file:
        for split in SPLITS:
            images = torch.from_numpy(file[f"{split}_images"])[:, None]
            labels = torch.arange(10).repeat(len(images) // 10)
            sets[split] = ImageSet(images, labels, torch.arange(first, first + len(images)))
            first += len(images)
    return sets


SOURCES: Mapping[str, Callable[[], Mapping[Split, ImageSet]]] = MappingProxyType({"uci": _uci, "fonts": _fonts})
