"""BSR: the blocks of an image shuffled, and each rotated a little."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable
from typing_extensions import override

from carom.attacks.slots import Averaged, View
from carom.errors import InputError
from carom.typing import Images


@dataclass(frozen=True, kw_only=True, slots=True)
class BSR:
    """Block shuffle and rotation: averages over copies with shuffled blocks (Wang et al. 2024, arXiv:2308.10299).

    An image is cut into strips of rows, or of columns (one or the other with equal chances), which are shuffled; each
    strip is cut into blocks, which are shuffled within it. Sizes along a side are in proportion to draws uniform in
    [1, 2), rounded. Every block is then rotated about its own centre by an angle uniform in +-angle, bilinearly; what
    comes from outside the block is 0. Each image draws for itself. The paper rotates blocks; TransferAttack rotates
    whole strips, before it cuts them.

    A rotation is no product of two matrices, so pixels are gathered; the way back is gathered too, not scattered, so
    it is deterministic on a GPU.

    Attributes:
        copies: At least 1.
        blocks: Along each side, at least 1.
        angle: Largest rotation in degrees, in [0, 180]. 0 with one block changes nothing.
        rotated: What is: "blocks", or "strips", each before it is cut into blocks.

    Raises:
        InputError: Out of these ranges.
    """

    copies: int = 20
    blocks: int = 2
    angle: float = 24.0
    rotated: Literal["blocks", "strips"] = "blocks"

    version: ClassVar[int] = 1
    averages: ClassVar[Averaged] = "gradients"

    def __post_init__(self) -> None:
        for name in ("copies", "blocks"):
            if getattr(self, name) < 1:
                raise InputError(f"bsr: {name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.angle <= 180:
            raise InputError(f"bsr: angle must be in [0, 180] (degrees), got {self.angle:g}")
        if self.rotated not in ("blocks", "strips"):
            raise InputError(f"bsr: rotated must be 'blocks' or 'strips', got {self.rotated!r}")

    def image(self, x: Images, view: View) -> Images:
        for blocks in self._moves(x, view):
            x = blocks.moved(x)
        return x

    def gradient(self, gradient: Images) -> Images:
        return gradient

    def _moves(self, x: Images, view: View) -> "list[_Blocks]":
        """The shuffle and rotation at once, or first of the strips, then of the blocks where these lie now."""
        n, _, h, w = x.shape
        b = self.blocks
        uniform = partial(view.draws.uniform, step=view.step, copy=view.copy)
        bits = partial(view.draws.bits, step=view.step, copy=view.copy)
        by_rows = bits("bsr axis") >= 0
        across, along = torch.where(by_rows, h, w), torch.where(by_rows, w, h)[:, None].expand(n, b)
        strips = _Side.shuffled(_sizes(uniform("bsr strips", (b,)), across), bits("bsr strip order", (b,)))
        pieces = _Side.shuffled(_sizes(uniform("bsr pieces", (b, b)), along), bits("bsr piece order", (b, b)))
        angle = uniform("bsr angle", (b, b) if self.rotated == "blocks" else (b,)).double()
        turn = (2 * angle - 1) * math.radians(self.angle)
        if self.rotated == "blocks":
            return [_Blocks.of(by_rows, strips.each(b), pieces, turn)]
        still = _Side(along, torch.zeros_like(along), torch.zeros_like(along))
        moved = _Side(strips.size, strips.start_in_copy, strips.start_in_copy)
        return [
            _Blocks.of(by_rows, strips, still, turn),
            _Blocks.of(by_rows, moved.each(b), pieces, torch.zeros_like(turn)[:, :, None].expand(n, b, b)),
        ]


def _sizes(u: Float[Tensor, "*many b"], length: Int[Tensor, "*many"]) -> Int[Tensor, "*many b"]:
    """Whole numbers that sum to the length, in proportion to 1 + u."""
    ends = (1 + u.double()).cumsum(-1)
    edges = (ends / ends[..., -1:] * length[..., None] + 0.5).long()
    return edges.diff(dim=-1, prepend=torch.zeros_like(edges[..., :1]))


def _starts(size: Int[Tensor, "*many b"], order: Int[Tensor, "*many b"] | None = None) -> Int[Tensor, "*many b"]:
    """Where each begins when they lie side by side in this order; None for as they are."""
    if order is None:
        return size.cumsum(-1) - size
    return ((order[..., None, :] < order[..., :, None]) * size[..., None, :]).sum(-1)


@dataclass(frozen=True)
class _Side:
    """Along rows or along columns, of each block: its size, where it begins in the image and in the copy."""

    size: Int[Tensor, "*blocks"]
    start: Int[Tensor, "*blocks"]
    start_in_copy: Int[Tensor, "*blocks"]

    @classmethod
    def shuffled(cls, size: Int[Tensor, "*blocks"], order: Int[Tensor, "*blocks"]) -> "_Side":
        """Blocks that lie side by side, and in the copy in this order."""
        return cls(size, _starts(size), _starts(size, order))

    def each(self, b: int) -> "_Side":
        """The same for each of b blocks across."""
        return _Side(*(v[:, :, None].expand(*v.shape, b) for v in (self.size, self.start, self.start_in_copy)))


@dataclass(frozen=True)
class _Blocks:
    """The k blocks of each image, and how each is rotated."""

    rows: _Side
    columns: _Side
    cos: Float[Tensor, "n k"]
    sin: Float[Tensor, "n k"]

    @classmethod
    def of(cls, by_rows: Bool[Tensor, " n"], across: _Side, along: _Side, turn: Float[Tensor, "*angles"]) -> "_Blocks":
        """From what lies across the strips and along them."""
        chosen = by_rows[:, None]
        sides = [
            _Side(
                *(
                    torch.where(chosen, getattr(one, part).flatten(1), getattr(other, part).flatten(1))
                    for part in ("size", "start", "start_in_copy")
                )
            )
            for one, other in ((across, along), (along, across))
        ]
        turn = turn.flatten(1)
        return cls(rows=sides[0], columns=sides[1], cos=turn.cos(), sin=turn.sin())

    def moved(self, x: Images) -> Images:
        """The images with their blocks where these are in the copy, rotated."""
        h, w = x.shape[2:]
        moved: Tensor = _Moved.apply(x, self.out_of(h, w), self.into(h, w))
        return moved

    def out_of(self, h: int, w: int) -> "_Taps":
        """For each pixel of the copy, what it reads of the image."""
        rows, columns = self.rows, self.columns
        return self._taps(h, w, (rows.start_in_copy, columns.start_in_copy), (rows.start, columns.start), back=False)

    def into(self, h: int, w: int) -> "_Taps":
        """For each pixel of the image, which pixels of the copy read it."""
        rows, columns = self.rows, self.columns
        return self._taps(h, w, (rows.start, columns.start), (rows.start_in_copy, columns.start_in_copy), back=True)

    def _taps(
        self, h: int, w: int, here: tuple[Tensor, Tensor], there: tuple[Tensor, Tensor], *, back: bool
    ) -> "_Taps":
        pixels = torch.arange(h, device=self.cos.device)[:, None], torch.arange(w, device=self.cos.device)[:, None]
        sizes = self.rows.size, self.columns.size
        in_row, in_column = (
            ((at >= start[:, None]) & (at < (start + size)[:, None])).double()
            for at, start, size in zip(pixels, here, sizes, strict=True)
        )  # n h k, n w k
        # exactly one block has both, so this sum of products is its number
        number = torch.arange(in_row.shape[2], device=in_row.device, dtype=in_row.dtype)
        block = ((in_row * number) @ in_column.mT).long().flatten(1)

        def of_pixel(values: Shaped[Tensor, "n k"]) -> Shaped[Tensor, "n pixels"]:
            return values.gather(1, block)

        half_row, half_column = ((of_pixel(size).double() - 1) / 2 for size in sizes)
        row = pixels[0].expand(h, w).flatten() - of_pixel(here[0]) - half_row
        column = pixels[1].mT.expand(h, w).flatten() - of_pixel(here[1]) - half_column
        return _Taps(
            row=row,
            column=column,
            half_row=half_row,
            half_column=half_column,
            first=of_pixel(there[0]) * w + of_pixel(there[1]),
            width=w,
            cos=of_pixel(self.cos),
            sin=of_pixel(self.sin),
            back=back,
        )


@dataclass(frozen=True)
class _Taps:
    """Which pixels each pixel reads, and with what weights; lengths in pixels, all `n pixels`.

    Attributes:
        row: From the middle of its block, down.
        column: The same, to the right.
        half_row: From the middle of the block to its last row.
        half_column: The same, to its last column.
        first: Where the block's first pixel is on the other side.
        width: Of an image.
        cos: Of the rotation.
        sin: Of the rotation.
        back: Whether to read as the transpose does.
    """

    row: Float[Tensor, "n pixels"]
    column: Float[Tensor, "n pixels"]
    half_row: Float[Tensor, "n pixels"]
    half_column: Float[Tensor, "n pixels"]
    first: Int[Tensor, "n pixels"]
    width: int
    cos: Float[Tensor, "n pixels"]
    sin: Float[Tensor, "n pixels"]
    back: bool

    def bilinear(self) -> Iterator[tuple[Int[Tensor, "n pixels"], Float[Tensor, "n pixels"]]]:
        """Places and weights of the four pixels around where each pixel reads, one tap at a time."""
        row = self.cos * self.row - self.sin * self.column + self.half_row
        column = self.sin * self.row + self.cos * self.column + self.half_column
        down, right = (
            [(tap.clamp_min(0).minimum(2 * half).long(), _tent(_if_inside(tap, half, at - tap))) for tap in taps]
            for at, half, taps in (
                (row, self.half_row, [row.floor(), row.floor() + 1]),
                (column, self.half_column, [column.floor(), column.floor() + 1]),
            )
        )
        for (tap_row, by_row), (tap_column, by_column) in product(down, right):
            yield self.first + tap_row * self.width + tap_column, by_row * by_column

    def transposed(self) -> Iterator[tuple[Int[Tensor, "n pixels"], Float[Tensor, "n pixels"]]]:
        """Places and weights of the pixels that read each pixel bilinearly.

        These are less than a pixel away in both directions when turned, so within sqrt(2) of this pixel turned back,
        and so within one of the pixel nearest to that: nine taps.
        """
        near_row = (self.cos * self.row + self.sin * self.column + self.half_row).round()
        near_column = (self.cos * self.column - self.sin * self.row + self.half_column).round()
        # how far off a tap reads, down and right, is the sum of two parts: of its row and of its column
        down, right = [], []
        for step in (-1, 0, 1):
            tap, half = near_row + step, self.half_row
            off = self.cos * (tap - half) - self.row, self.sin * (tap - half) - self.column
            down.append((tap.clamp_min(0).minimum(2 * half).long(), _if_inside(tap, half, off[0]), off[1]))
            tap, half = near_column + step, self.half_column
            off = -self.sin * (tap - half), self.cos * (tap - half)
            right.append((tap.clamp_min(0).minimum(2 * half).long(), _if_inside(tap, half, off[0]), off[1]))
        for (tap_row, *by_row), (tap_column, *by_column) in product(down, right):
            weight = _tent(by_row[0] + by_column[0]) * _tent(by_row[1] + by_column[1])
            yield self.first + tap_row * self.width + tap_column, weight

    def read(self, x: Images) -> Images:
        n, c = x.shape[:2]
        flat, total = x.flatten(2), torch.zeros_like(x).flatten(2)
        for place, weight in self.transposed() if self.back else self.bilinear():
            total += flat.gather(2, place[:, None].expand(n, c, -1)) * weight[:, None].to(x.dtype)
        return total.reshape(x.shape)


def _tent(off: Float[Tensor, "n pixels"]) -> Float[Tensor, "n pixels"]:
    return (1 - off.abs()).clamp_min(0)


def _if_inside(
    tap: Float[Tensor, "n pixels"], half: Float[Tensor, "n pixels"], off: Float[Tensor, "n pixels"]
) -> Float[Tensor, "n pixels"]:
    """How far off a tap is; so far that it has no weight where it is outside of the block."""
    return torch.where((tap >= 0) & (tap <= 2 * half), off, 1e9)


class _Moved(torch.autograd.Function):
    """What the taps read; its gradient by the transposed taps."""

    @staticmethod
    @override
    def forward(ctx: Any, x: Images, out_of: _Taps, into: _Taps) -> Images:
        ctx.into = into
        return out_of.read(x)

    @staticmethod
    @override
    @once_differentiable
    def backward(ctx: Any, gradient: Images) -> tuple[Images, None, None]:
        return ctx.into.read(gradient), None, None
