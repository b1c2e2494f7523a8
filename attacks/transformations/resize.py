"""Bilinear resizing along one side, as a matrix for each image."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def resized(
    side: int, size: Int[Tensor, " n"], offset: Int[Tensor, " n"], length: int, dtype: torch.dtype
) -> Float[Tensor, "n length side"]:
    """Maps a side to one of `length` pixels: resized to `size`, placed at `offset`, zeros around.

    Not antialiased, half-pixel centres; size = length = side is the identity, exactly. Matrix products are
    deterministic on a GPU, gathers are not when differentiated.

    Args:
        side: Pixels that come in.
        size: Pixels that they become, image by image.
        offset: Where the first of them lies.
        length: Pixels that come out, at least offset + size.
        dtype: Of the result.
    """
    place = torch.arange(length, device=size.device) - offset[:, None]  # n, length: row of the resized image
    inside = (place >= 0) & (place < size[:, None])
    source = ((place.double() + 0.5) * (side / size.double())[:, None] - 0.5).clamp(0, side - 1)
    tent = 1 - (source[:, :, None] - torch.arange(side, device=size.device)).abs()
    return (tent.clamp_min(0) * inside[:, :, None]).to(dtype)


def enlarged(
    side: int, canvas: int, size: Int[Tensor, " n"], offset: Int[Tensor, " n"], dtype: torch.dtype
) -> Float[Tensor, "n side side"]:
    """Maps a side to itself: resized to `size`, placed at `offset` on a canvas of zeros, and that resized back.

    Args:
        side: Pixels that come in and out.
        canvas: Pixels of the canvas, at least offset + size.
        size: As in `resized`.
        offset: As in `resized`.
        dtype: Of the result.
    """
    back = resized(canvas, torch.full_like(size[:1], side), torch.zeros_like(size[:1]), side, dtype)
    return back @ resized(side, size, offset, canvas, dtype)
