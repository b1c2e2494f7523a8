"""Draws the `fonts` source of the digits task, and measures how it differs from `uci`.

    python -m carom.zoo.tasks.render_digits [-o FILE] [--compare] [--contact-sheet FILE]

The glyphs come from the fonts inside matplotlib, a development dependency. A glyph becomes its centre line with half a
stroke's width at each point; that line is varied, distorted and drawn again with a round pen, so that strokes stay
whole where a distorted bitmap would not. Then it is boxed as the handwriting was boxed: full height, at most about two
thirds as wide, a set share of ink, blurred by a sensor larger than a pixel.

Choices below were made on training and validation images. Two exceptions: first trials of box, ink, blur and
distortion were made before the split of `uci` was fixed, and faces were sorted into families by looking at all glyphs.
"""

import argparse
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates  # type: ignore[attr-defined]
from scipy.ndimage import label as regions  # type: ignore[attr-defined]

from .digits import FONTS_FILE, PER_CLASS, Digits, double
from .images import SPLITS, Split

Array = np.ndarray[Any, np.dtype[Any]]


class Face(NamedTuple):
    """A font file of matplotlib, and the code point of its zero (Unicode repeats the digits in mathematical styles)."""

    file: str
    zero: int = ord("0")


# A family is in one split only. Weights and slants of a family share their design, so they stay together.
FAMILIES: Mapping[Split, Mapping[str, tuple[Face, ...]]] = MappingProxyType(
    {
        "train": {
            "DejaVu Sans": (
                Face("DejaVuSans"),
                Face("DejaVuSans-Bold"),
                Face("DejaVuSans-Oblique"),
                Face("DejaVuSans-BoldOblique"),
                Face("DejaVuSansMono"),
                Face("DejaVuSansMono-Bold"),
                Face("DejaVuSansMono-Oblique"),
                Face("DejaVuSansMono-BoldOblique"),
            ),
            "DejaVu Serif": (
                Face("DejaVuSerif"),
                Face("DejaVuSerif-Bold"),
                Face("DejaVuSerif-Italic"),
                Face("DejaVuSerif-BoldItalic"),
            ),
            "Computer Modern Roman": (Face("cmr10"), Face("cmb10"), Face("cmti10")),
        },
        "validation": {
            "Computer Modern Sans": (Face("cmss10"),),
            "Computer Modern Typewriter": (Face("cmtt10"),),
            "STIX Monospace": (Face("STIXGeneral", 0x1D7F6),),
        },
        "test": {
            "STIX General": (
                Face("STIXGeneral"),
                Face("STIXGeneralBol"),
                Face("STIXGeneralItalic"),
                Face("STIXGeneralBolIta"),
            ),
            "STIX Sans": (Face("STIXGeneral", 0x1D7E2), Face("STIXGeneral", 0x1D7EC)),
        },
    }
)

SEED = 0
GLYPH = 64  # pixels per em when the glyph is read
CANVAS = 48  # pixels a side when it is drawn, 3x3 for each pixel of the image

PLAIN_ONE, FOOTLESS_ONE, OPEN_FOUR, BARRED_SEVEN = 1 / 3, 1 / 3, 2 / 3, 1 / 2  # shares of variants that people write
STRETCH = 0.3  # of the lower half against the upper one, either way
SMALL_LOOP = (0.1, 0.85)  # the same for 6 and 9, always towards the smaller loop of handwriting
CONTRAST = 0.6  # at most this power of the face's thick and thin; a pen has none
BEND = 0.05  # of a vertical line, in heights
WOBBLE = 0.04  # standard deviation of a 4x4 grid of displacements, in heights
ROTATION, SHEAR, ASPECT = math.radians(8), 0.2, 0.12  # radians, tangent, log of width to height
WIDTH = (0.38, 0.66)  # of the box, in heights
INK, INK_LIMITS = (0.325, 0.04), (0.20, 0.40)  # mean, standard deviation and limits of the share of inked area
BLUR = (0.7, 1.0)  # standard deviation, in pixels of the image
BRIGHTNESS, NOISE = (0.95, 1.0), 0.015  # of full ink, and standard deviation on inked pixels


def face_of(split: Split, number: int) -> Face:
    """The face of the `number`-th image of each class: families in turn, and within each its faces in turn."""
    families = list(FAMILIES[split].values())
    faces = families[number % len(families)]
    return faces[number // len(families) % len(faces)]


def bitmap(face: Face, digit: int) -> Array:
    """The glyph `h w`, boolean, cut to its box."""
    import matplotlib
    from matplotlib.ft2font import FT2Font, LoadFlags

    font = FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{face.file}.ttf"))
    font.set_size(GLYPH, 72)
    font.set_text(chr(face.zero + digit), 0, flags=LoadFlags.NO_HINTING)
    font.draw_glyphs_to_bitmap(antialiased=True)
    on: Array = np.asarray(font.get_image()) > 127
    rows, columns = np.flatnonzero(on.any(1)), np.flatnonzero(on.any(0))
    cut: Array = on[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return cut


_CLOCKWISE = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))  # rolls that bring N, NE, E, ...


def thin(on: Array) -> Array:
    """The centre line of a boolean image (Zhang and Suen, Communications of the ACM 1984)."""
    line: Array = np.pad(on, 1)
    while True:
        before = line
        for first in (True, False):
            around = [np.roll(line, by, (0, 1)) for by in _CLOCKWISE]
            count = np.sum(around, 0)
            starts = np.sum([~a & b for a, b in zip(around, around[1:] + around[:1], strict=True)], 0)
            north, east, south, west = around[::2]
            edge = ~(east & south & (north | west)) if first else ~(north & west & (east | south))
            line = line & ~((count >= 2) & (count <= 6) & (starts == 1) & edge)
        if (line == before).all():
            inner: Array = line[1:-1, 1:-1]
            return inner


@functools.cache
def centre_line(face: Face, digit: int) -> Array:
    """Points `n 3` of a glyph's centre line: row, column and half the stroke's width, centred, in glyph heights."""
    on = bitmap(face, digit)
    depth = distance_transform_edt(np.pad(on, 1))[1:-1, 1:-1]
    points = np.argwhere(thin(on))
    centred = (points - np.array([on.shape]) / 2 + 0.5) / len(on)
    return np.column_stack([centred, depth[tuple(points.T)] / len(on)])


def variant(points: Array, digit: int, rng: np.random.Generator) -> Array:
    """The digit as some people write it: a one without foot or flag, an open four, a seven with a bar."""
    row, column, half_width = points.T
    kept = np.full(len(points), True)
    if digit == 1:
        middle, kind = abs(row) < 0.25, rng.uniform()
        off_stem = abs(column - np.polyval(np.polyfit(row[middle], column[middle], 1), row)) > 0.09
        if kind < PLAIN_ONE:
            kept = ~off_stem
        elif kind < PLAIN_ONE + FOOTLESS_ONE:
            kept = ~(off_stem & (row > 0.3))
    if digit == 4 and rng.uniform() < OPEN_FOUR:
        bar = row[column.argmin()]
        above = row < bar - 0.02
        rows = np.unique(row[above])
        stem = np.polyfit(rows, [column[row == at].max() for at in rows], 1)
        slope = above & (column < np.polyval(stem, row) - 0.05)
        lean, start = rng.uniform(0.1, 0.3), rng.uniform(-0.5, -0.2)
        column = np.where(slope, column - lean * (bar - row) / (bar - row.min()), column)
        kept = ~above | slope | (row > start)
    if digit == 7 and rng.uniform() < BARRED_SEVEN:
        height, reach = rng.uniform(-0.1, 0.1), rng.uniform(0.18, 0.26)
        along = column[abs(row - height) < 0.03].mean() + np.linspace(-reach, reach, 20)
        bar_points = np.column_stack([np.full(20, height), along, np.full(20, np.median(half_width))])
        return np.concatenate([points, bar_points])
    varied: Array = np.column_stack([row, column, half_width])[kept]
    return varied


def distort(row: Array, column: Array, digit: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Moves the points: stretch, bend, wobble, aspect, shear, rotation."""
    stretch = (
        rng.uniform(*SMALL_LOOP) * (1 if digit == 9 else -1) if digit in (6, 9) else rng.uniform(-STRETCH, STRETCH)
    )
    grids = rng.normal(0, WOBBLE, (2, 4, 4))
    down, right = (
        map_coordinates(grid, [(row + 0.5) * 3, (column + 0.5) * 3], order=3, mode="nearest") for grid in grids
    )
    row, column = (
        row + stretch * (row**2 - 0.25) + down,
        column + rng.uniform(-BEND, BEND) * (4 * row**2 - 1) + right,
    )
    column = column * math.exp(rng.uniform(-ASPECT, ASPECT)) + rng.uniform(-SHEAR, SHEAR) * row
    angle = rng.uniform(-ROTATION, ROTATION)
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * row - sin * column, sin * row + cos * column


def pen(row: Array, column: Array, width: Array, ink: float) -> Array:
    """Draws the points with round nibs of relative `width`, boxed, as thick as makes `ink` the share of inked area."""
    aspect = np.ptp(column) / np.ptp(row)
    row = (row - row.min()) / np.ptp(row) - 0.5
    column = (column - column.min()) / np.ptp(column) - 0.5
    row, column, width = (v.astype(np.float32)[:, None, None] for v in (row, column, width))

    def draw(nib: float, size: int) -> Array:
        centre = ((np.arange(size) + 0.5) / size - 0.5).astype(np.float32)
        high = 1 - 2 * nib
        wide = np.clip(aspect * high + 2 * nib, *WIDTH) - 2 * nib
        away = np.sqrt((centre[:, None] - row * high) ** 2 + (centre - column * max(wide, 0.0)) ** 2)
        inside: Array = (width * nib - away).max(0) * size  # in pixels, so that the edge is one pixel soft
        return (inside + 0.5).clip(0, 1)

    low, high = 0.01, 0.2
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if draw(middle, CANVAS // 2).mean() < ink else (low, middle)
    return draw(high, CANVAS)


def render(split: Split, digit: int, number: int) -> Array:
    """The `number`-th image of one class, `16 16`, 8-bit; depends on its arguments and the constants above alone."""
    rng = np.random.default_rng([SEED, SPLITS.index(split), digit, number])
    points = variant(centre_line(face_of(split, number), digit), digit, rng)
    row, column = distort(points[:, 0], points[:, 1], digit, rng)
    contrast = rng.uniform(0, CONTRAST)
    width = (points[:, 2] / points[:, 2].mean()) ** contrast
    image = pen(row, column, width, float(np.clip(rng.normal(*INK), *INK_LIMITS)))
    image = gaussian_filter(image, rng.uniform(*BLUR) * CANVAS / 16, mode="nearest")
    image = image.reshape(16, CANVAS // 16, 16, CANVAS // 16).mean((1, 3)) * rng.uniform(*BRIGHTNESS)
    image = image + rng.normal(0, NOISE, image.shape) * (image > 0.02)
    pixels: Array = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return pixels


def write(path: Path) -> None:
    """Renders every split, classes in turn, into one npz."""
    train, validation, test = (
        np.stack([render(split, digit, number) for number in range(PER_CLASS["fonts", split]) for digit in range(10)])
        for split in SPLITS
    )
    np.savez_compressed(path, train_images=train, validation_images=validation, test_images=test)


def _images(source: str, digit: int | None = None) -> Array:
    """Training images of a source as floats in [0, 1], `n 16 16`."""
    data = Digits().load(source, "train")
    return (data.pixels[:, 0] if digit is None else data.pixels[data.labels == digit, 0]).numpy()


def _thickness(image: Array) -> float:
    on = np.kron(image, np.ones((4, 4))) > 0.5
    return float(on.sum() / max(thin(on).sum(), 1) / 4)


def _counters(image: Array) -> int:
    """Closed regions without ink."""
    return int(regions(np.pad(image, 1) <= 0.5)[1]) - 1


def _spread(image: Array) -> float:
    at = np.arange(16)
    weight = image.sum(0) / image.sum()
    return float(np.sqrt((weight * (at - (weight * at).sum()) ** 2).sum()))


def _middle(image: Array) -> float:
    return float((image.sum(1) * (np.arange(16) + 0.5)).sum() / image.sum())


def _detail(image: Array) -> float:
    """Root mean square of what no 8x8 image gives when its size is doubled."""
    doubling = double(np.eye(8, dtype=np.int64)[:, :, None].repeat(8, 2) * 16)[:, :, 0].T / 255
    projection = doubling @ np.linalg.pinv(doubling)
    return float(np.sqrt(((image - projection @ image @ projection) ** 2).mean()))


MEASURES: Mapping[str, tuple[int | None, Callable[[Array], float]]] = MappingProxyType(
    {
        "ink, share of area": (None, lambda i: float(i.mean())),
        "stroke thickness, pixels": (None, _thickness),
        "edge length per ink": (
            None,
            lambda i: float((abs(np.diff(i, axis=0)).sum() + abs(np.diff(i)).sum()) / i.sum()),
        ),
        "brightest pixel": (None, lambda i: float(i.max())),
        "detail beyond 8x8, root mean square": (None, _detail),
        "width, standard deviation of columns": (None, _spread),
        "1: width, standard deviation of columns": (1, _spread),
        "4: share with a closed counter": (4, lambda i: float(_counters(i) >= 1)),
        "6: row of the centre of mass": (6, _middle),
        "7: row of the centre of mass": (7, _middle),
        "8: share with two closed counters": (8, lambda i: float(_counters(i) >= 2)),
        "9: share with a closed counter": (9, lambda i: float(_counters(i) >= 1)),
        "9: row of the centre of mass": (9, _middle),
    }
)


def compare() -> str:
    """A table of what differs between the training images of the sources: mean and standard deviation over images."""
    lines = ["| measured on training images | uci | fonts |", "|---|---|---|"]
    for name, (digit, measure) in MEASURES.items():
        values = [np.array([measure(image) for image in _images(source, digit)]) for source in ("uci", "fonts")]
        lines.append(f"| {name} | " + " | ".join(f"{v.mean():.3f} ± {v.std():.3f}" for v in values) + " |")
    return "\n".join(lines)


def contact_sheet(path: Path, each: int = 4) -> None:
    """A PNG of training images: a column for each class, `each` rows of uci above as many of fonts."""
    from matplotlib.image import imsave

    sheet = np.full((2 * each * 18 + 6, 10 * 18), 0.35)
    for block, source in enumerate(("uci", "fonts")):
        for digit in range(10):
            for number, image in enumerate(_images(source, digit)[:each]):
                top, left = (block * each + number) * 18 + 6 * block + 1, digit * 18 + 1
                sheet[top : top + 16, left : left + 16] = image
    imsave(path, np.kron(sheet, np.ones((4, 4))), cmap="gray", vmin=0, vmax=1)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m carom.zoo.tasks.render_digits", description=__doc__.split("\n")[0])
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help=f"npz to write (default: {FONTS_FILE.name})")
    parser.add_argument("--compare", action="store_true", help="print a table of the sources' differences instead")
    parser.add_argument("--contact-sheet", type=Path, metavar="FILE", help="write a PNG of both sources instead")
    chosen = parser.parse_args()
    if chosen.compare:
        print(compare())
    if chosen.contact_sheet:
        contact_sheet(chosen.contact_sheet)
    if chosen.output or not (chosen.compare or chosen.contact_sheet):
        write(chosen.output or FONTS_FILE)


if __name__ == "__main__":
    main()
