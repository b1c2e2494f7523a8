"""SIA: each block of an image changed in a way of its own."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from carom.attacks.slots import Averaged, View
from carom.errors import InputError
from carom.typing import Images

OPERATIONS = (
    "resize",
    "vertical-shift",
    "horizontal-shift",
    "vertical-flip",
    "horizontal-flip",
    "rotate-180",
    "scale",
    "noise",
    "dct",
    "dropout",
)
"""What a block can go through, in the order of the paper's code."""

_DROPPED = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class SIA:
    """Structure invariance: averages over copies whose blocks change at random (Wang et al. 2023, arXiv:2309.14700).

    Rows and columns are cut at blocks - 1 places each, uniform without repetition; a side with fewer places is cut at
    all of them. Each block draws one operation: shifted around (cyclically, by 0 to its size - 1 pixels), flipped,
    rotated by 180 degrees, resized to floor(0.8 size) + 1 and back (bilinear), scaled by a factor uniform in [0, 1),
    noise uniform in +-`noise` on every pixel and then clipped to [0, 1], the highest floor(0.4 size) frequencies of
    rows and columns removed (DCT), or each channel dropped with probability 0.1 and else divided by 0.9. Each image
    draws for itself. (The authors' code blackens a block of at most two pixels where it means to remove none of its
    frequencies.)

    Geometry is matrix products, a row and a column matrix for each strip of blocks: deterministic on a GPU, and ten
    operations cost about as much as one.

    Attributes:
        copies: At least 1.
        blocks: Along each side, at least 1.
        noise: Of the noisy blocks, in pixel units, at least 0. The paper's is its eps.
        operations: Which of the ten may be drawn, by name, all equally likely. With none, blocks stay as they are.

    Raises:
        InputError: Out of these ranges, or an unknown or repeated operation.
    """

    copies: int = 20
    blocks: int = 3
    noise: float = 16 / 255
    operations: tuple[str, ...] = OPERATIONS

    version: ClassVar[int] = 1
    averages: ClassVar[Averaged] = "gradients"

    def __post_init__(self) -> None:
        for name in ("copies", "blocks"):
            if getattr(self, name) < 1:
                raise InputError(f"sia: {name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.noise < math.inf:
            raise InputError(f"sia: noise must be at least 0 (in pixel units), got {self.noise:g}")
        for operation in self.operations:
            if operation not in OPERATIONS:
                raise InputError(f"sia: no operation {operation!r} (it has: {', '.join(OPERATIONS)})")
        if len(set(self.operations)) < len(self.operations):
            raise InputError(f"sia: operations must differ, got {', '.join(self.operations)}")

    def image(self, x: Images, view: View) -> Images:
        draws, at = view.draws, {"step": view.step, "copy": view.copy}
        n, c, h, w = x.shape
        b = self.blocks
        rows = _Strips.cut(draws.bits("sia rows", (h - 1,), **at), b)
        columns = _Strips.cut(draws.bits("sia columns", (w - 1,), **at), b)
        # of each block: n, row of blocks, column of blocks
        operation = draws.integers("sia operation", max(1, len(self.operations)), (b, b), **at)
        amount = draws.uniform("sia amount", (b, b), **at)  # of its shift or scale

        # n, strip, h, c w, then n, strip, h c, w: each strip apart, since its blocks need matrices of their own
        vertical = self._matrices(rows, operation.mT, amount.mT, "vertical-shift", "vertical-flip", x.dtype)
        x = x.transpose(1, 2)[:, None] * columns.apart(b)[:, :, None, None]
        x = (vertical @ x.flatten(3)).sum(1).reshape(n, h, c, w)
        horizontal = self._matrices(columns, operation, amount, "horizontal-shift", "horizontal-flip", x.dtype)
        x = x[:, None] * rows.apart(b)[..., None, None]
        x = (x.flatten(2, 3) @ horizontal.mT).sum(1).reshape(n, h, c, w).transpose(1, 2).contiguous()

        kept = draws.uniform("sia dropout", (c, b, b), **at) >= _DROPPED
        factor = torch.where(self._is("scale", operation), amount, 1.0)[:, None]
        factor = torch.where(self._is("dropout", operation)[:, None], kept / (1 - _DROPPED), factor)
        x = x * _spread(factor, rows, columns).to(x.dtype)
        if "noise" in self.operations:
            noise = self.noise * (2 * draws.uniform("sia noise", (c, h, w), **at) - 1).to(x.dtype)
            noisy = _spread(self._is("noise", operation)[:, None], rows, columns)
            x = torch.where(noisy, (x + noise).clamp(0, 1), x)
        return x

    def gradient(self, gradient: Images) -> Images:
        return gradient

    def _is(self, name: str, operation: Int[Tensor, "n ..."]) -> Bool[Tensor, "n ..."]:
        return operation == (self.operations.index(name) if name in self.operations else -1)

    def _matrices(
        self,
        strips: "_Strips",
        operation: Int[Tensor, "n b b"],
        amount: Float[Tensor, "n b b"],
        shift: str,
        flip: str,
        dtype: torch.dtype,
    ) -> Float[Tensor, "n b side side"]:
        """What happens along one side, for each strip of blocks across it (the first b)."""
        of_pixel = strips.index[:, None].expand(-1, self.blocks, -1)
        operation, amount = operation.gather(2, of_pixel), amount.gather(2, of_pixel)  # n b side
        start, size, local = (values[:, None] for values in (strips.start, strips.size, strips.local))
        flipped = self._is(flip, operation) | self._is("rotate-180", operation)
        shifted = (local - (amount.double() * size).long()) % size
        source = torch.where(flipped, size - 1 - local, torch.where(self._is(shift, operation), shifted, local))
        matrices = ((start + source)[..., None] == torch.arange(size.shape[2], device=size.device)).to(dtype)
        for name, smooth in (("resize", strips.resize), ("dct", strips.low_pass)):
            if name in self.operations:
                of_row = self._is(name, operation)[..., None]
                matrices = torch.where(of_row, smooth().to(dtype)[:, None], matrices)
        return matrices


@dataclass(frozen=True)
class _Strips:
    """A side of each image cut into strips: for each pixel its strip, where that begins and its size; all `n side`."""

    index: Int[Tensor, "n side"]
    start: Int[Tensor, "n side"]
    size: Int[Tensor, "n side"]

    @classmethod
    def cut(cls, keys: Int[Tensor, "n places"], strips: int) -> "_Strips":
        """Cut where the keys between neighbours are smallest: uniform without repetition."""
        n, places = keys.shape
        cuts = keys.topk(min(strips - 1, places), largest=False).indices.sort().values + 1
        edges = torch.cat([keys.new_zeros(n, 1), cuts, keys.new_full((n, 1), places + 1)], 1)
        at = torch.arange(places + 1, device=keys.device)
        index = (at[:, None] >= cuts[:, None]).sum(2)
        return cls(index, edges.gather(1, index), edges.diff().gather(1, index))

    @property
    def local(self) -> Int[Tensor, "n side"]:
        """Of each pixel, its place in its strip."""
        return torch.arange(self.index.shape[1], device=self.index.device) - self.start

    def apart(self, strips: int) -> Bool[Tensor, "n strips side"]:
        """Which pixels are in each strip."""
        return self.index[:, None] == torch.arange(strips, device=self.index.device)[:, None]

    def resize(self) -> Float[Tensor, "n side side"]:
        """Each strip made smaller and as large again, bilinearly."""
        small = 4 * self.size // 5 + 1  # at most the size, so it fits in the strip's place
        return self._sampled(small, self.size) @ self._sampled(self.size, small)

    def low_pass(self) -> Float[Tensor, "n side side"]:
        """Each strip without its highest frequencies."""
        frequency, size = self.local[..., None], self.size[..., None]
        basis = (math.pi / size.double() * frequency * (self.local[:, None] + 0.5)).cos()
        basis = basis * ((2 - (frequency == 0).double()) / size).sqrt()
        basis = basis * (frequency < size - 2 * size // 5) * self._together
        return basis.mT @ basis

    @property
    def _together(self) -> Bool[Tensor, "n side side"]:
        return self.index[:, :, None] == self.index[:, None]

    def _sampled(self, old: Int[Tensor, "n side"], new: Int[Tensor, "n side"]) -> Float[Tensor, "n side side"]:
        """From strips of `old` pixels to `new` ones, both at the strip's start."""
        at = ((self.local + 0.5) * (old / new.double()) - 0.5).clamp_min(0).minimum(old - 1.0)
        return (1 - (at[..., None] - self.local[:, None]).abs()).clamp_min(0) * self._together


def _spread(values: Shaped[Tensor, "n p b b"], rows: _Strips, columns: _Strips) -> Shaped[Tensor, "n p h w"]:
    """Values of blocks to their pixels."""
    n, p, b, _ = values.shape
    across = values.gather(3, columns.index[:, None, None].expand(n, p, b, -1))
    return across.gather(2, rows.index[:, None, :, None].expand(n, p, -1, across.shape[3]))
