"""Tensor types by shape: n images, c channels, h rows, w columns, k classes."""

from jaxtyping import Float, Int, UInt8
from torch import Tensor

Images = Float[Tensor, "n c h w"]  # floats in [0, 1]
Pixels = UInt8[Tensor, "n c h w"]  # 8-bit, as stored
Labels = Int[Tensor, " n"]  # int64 class indices
Ids = Int[Tensor, " n"]  # int64, one for each image of a task, whatever batch it is in
Logits = Float[Tensor, "n k"]
PerImage = Float[Tensor, " n"]


def per_image(values: PerImage) -> Float[Tensor, "n 1 1 1"]:
    """One number an image, shaped to multiply images."""
    return values[:, None, None, None]
