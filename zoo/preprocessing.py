"""What stands between pixels in [0, 1] and a network: channels, size, mean and deviation."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from carom.errors import InputError
from carom.identity import ADDED
from carom.typing import Images

Shape = tuple[int, int, int]  # channels, rows, columns
Inputs = Float[Tensor, "n channels rows columns"]  # what a network gets
PerChannel = Float[Tensor, "1 channels 1 1"]
Size = tuple[int, int]  # rows and columns
Interpolation = Literal["bilinear", "bicubic", "nearest", "nearest-exact"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize, crop, then `(x - mean) / std`; part of a classifier, so that an attack sees through it.

    Attributes:
        mean: One number a channel of the network. Three numbers on images of one channel repeat that channel.
        std: As `mean`, above 0.
        resize: Rows and columns, or pixels of the shorter side, as torchvision's `Resize`; None keeps the images'.
        interpolation: How to resize. "nearest" rounds places down, as torch does; "nearest-exact" takes the nearest
            pixel, as PIL does.
        antialias: Low-pass before shrinking. Neither nearest has one.
        crop: Rows and columns in the middle of what was resized, as torchvision's `CenterCrop`; None keeps all.

    Raises:
        InputError: Lengths differ, a number is not finite, or a deviation or a size is not above 0.
    """

    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)
    resize: Size | int | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    crop: Size | None = field(default=None, metadata=ADDED)

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        if not self.mean or len(self.mean) != len(self.std):
            raise InputError(f"preprocessing: {len(self.mean)} means and {len(self.std)} deviations; expected equal")
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)):
            raise InputError(f"preprocessing: mean {self.mean} and std {self.std}; expected finite numbers")
        if not all(v > 0 for v in self.std):
            raise InputError(f"preprocessing: deviations must be above 0, got {self.std}")
        for size in (self.resize, self.crop):
            if size is not None and not all(v > 0 for v in (size if isinstance(size, tuple) else (size,))):
                raise InputError(f"preprocessing: rows and columns must be above 0, got {size}")

    @property
    def channels(self) -> int:
        """How many channels the network gets."""
        return len(self.mean)

    @property
    def normalises(self) -> bool:
        """Whether what the network gets leaves [0, 1]."""
        return any(self.mean) or any(v != 1 for v in self.std)

    def output_shape(self, shape: Shape) -> Shape:
        """Of what the network gets, from the shape of the images."""
        rows, columns = self.crop or self.resized((shape[1], shape[2]))
        return (self.channels, rows, columns)

    def resized(self, size: Size) -> Size:
        """Rows and columns after the resize, from those of the images."""
        if self.resize is None:
            return size
        if isinstance(self.resize, tuple):
            return self.resize
        short, long = min(size), max(size)
        longer = int(self.resize * long / short)  # cut to whole pixels, as torchvision does
        return (longer, self.resize) if size[0] > size[1] else (self.resize, longer)

    def seen(self, shape: Shape) -> str:
        """What the network sees of images of this shape, in words."""
        rows, columns = (shape[1], shape[2])
        middle = self.resized((rows, columns))
        _, *out = self.output_shape(shape)
        how = [] if middle == (rows, columns) else [f"resized from {rows}x{columns} ({self.interpolation})"]
        if tuple(out) != middle:
            how.append(f"the middle of {middle[0]}x{middle[1]}")
        return f"sees {out[0]}x{out[1]}, {', '.join(reversed(how)) or 'all pixels as they are'}"

    def check(self, shape: Shape, *, where: str = "preprocessing") -> None:
        """Refuse images that this cannot take.

        Raises:
            InputError: The images' channels are neither one nor as many as there are means.
        """
        if shape[0] not in (1, self.channels):
            raise InputError(
                f"{where}: images have {shape[0]} channels, the network takes {self.channels}; "
                f"expected {self.channels}, or 1, which is repeated"
            )
        resized = self.resized((shape[1], shape[2]))
        if self.crop is not None and (self.crop[0] > resized[0] or self.crop[1] > resized[1]):
            raise InputError(
                f"{where}: crop {self.crop[0]}x{self.crop[1]} of images of {resized[0]}x{resized[1]}; set resize to as "
                "much or more"
            )

    def apply(self, x: Images, mean: PerChannel, std: PerChannel) -> Inputs:
        """What the network gets, from images in [0, 1]; `mean` and `std` as tensors."""
        size = self.resized((x.shape[2], x.shape[3]))
        if size != (x.shape[2], x.shape[3]):
            near = self.interpolation in ("nearest", "nearest-exact")
            smooth, corners = self.antialias and not near, None if near else False
            x = nn.functional.interpolate(x, size, mode=self.interpolation, align_corners=corners, antialias=smooth)
        if self.crop is not None:
            top, left = (round((size[i] - self.crop[i]) / 2) for i in (0, 1))
            x = x[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        return (x - mean) / std


@dataclass(frozen=True, kw_only=True)
class Resized:
    """A preprocessing without mean and deviation: the network gets pixels in [0, 1], whatever their channels.

    Attributes:
        resize: As in `Preprocessing`.
        interpolation: As in `Preprocessing`.
        antialias: As in `Preprocessing`.
        crop: As in `Preprocessing`.

    Raises:
        InputError: A size is not above 0.
    """

    resize: Size | int | None = None
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    crop: Size | None = field(default=None, metadata=ADDED)

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self.of((1, 1, 1))

    def of(self, shape: Shape) -> Preprocessing:
        """The same for images of this shape."""
        mean, std = (0.0,) * shape[0], (1.0,) * shape[0]
        return Preprocessing(
            mean=mean,
            std=std,
            resize=self.resize,
            interpolation=self.interpolation,
            antialias=self.antialias,
            crop=self.crop,
        )


Declared = Preprocessing | Resized


def on_images(declared: Declared, shape: Shape) -> Preprocessing:
    """A declared preprocessing for images of this shape."""
    return declared.of(shape) if isinstance(declared, Resized) else declared


def centred(shape: Shape) -> Preprocessing:
    """[0, 1] to [-1, 1], whatever the data: for networks trained from scratch.

    A constant, not the statistics of the training images: those would tell sources and balances of one task apart, and
    a surrogate's preprocessing would then depend on which images it happened to see.
    """
    return Preprocessing(mean=(0.5,) * shape[0], std=(0.5,) * shape[0])
