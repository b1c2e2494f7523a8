"""A second camera: the same pictures, photographed again.

A documented, deterministic shift of the data source. Each picture is mounted askew, lit from one side, seen through a
soft lens by a noisy sensor with a raised black level and another tone curve, and stored with 8 bits. Every number is
drawn by the picture's id (`carom.draws`), so a picture looks the same in any batch and on any day.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from carom.draws import Draws
from carom.typing import Ids, Pixels, per_image

_SEED = 0
_CHUNK = 2000

# Chosen by the accuracy of a small network (Fashion-MNIST, 27,500 images, 5 epochs): trained on originals 0.86 on them
# and 0.72 on recaptured pictures; trained on recaptured pictures 0.83 on them and 0.84 on originals.
TURN = 0.1  # radians, at most, either way: 6 degrees
SCALE = (1.0, 1.15)  # field of view: the picture fills it, or 87% of its side
SHIFT = 0.07  # of half the side, at most, either way
TILT = 0.08  # perspective: one edge is up to 8% nearer than the middle
BLUR = (0.4, 0.7)  # standard deviation of the lens, pixels
GAMMA = (1.0, 1.6)  # above 1: midtones fall
SLOPE = (0.05, 0.35)  # how much brighter one side is lit than the middle
BLACK = (0.02, 0.08)  # what no light reads as
WHITE = (0.8, 1.0)  # what full light reads as
READ_NOISE = 0.01  # standard deviation in the dark
SHOT_NOISE = 0.03  # standard deviation at full light

_Between = Callable[[float, float, str], Float[Tensor, " n"]]  # low, high, purpose -> one draw an image


def recapture(images: Pixels, ids: Ids) -> Pixels:
    """The pictures as the second camera sees them, 8-bit; computed in float64, chunk by chunk."""
    parts = [_recapture(images[i : i + _CHUNK], Draws(_SEED, ids[i : i + _CHUNK])) for i in range(0, len(ids), _CHUNK)]
    return torch.cat(parts) if parts else images


def _recapture(images: Pixels, draws: Draws) -> Pixels:
    c, h, w = images.shape[1:]

    def between(low: float, high: float, purpose: str) -> Float[Tensor, " n"]:
        return low + (high - low) * draws.uniform(f"recapture {purpose}").double()

    light = _turned(images.double() / 255, between)
    gamma, slope, angle = between(*GAMMA, "gamma"), between(*SLOPE, "slope"), between(-torch.pi, torch.pi, "angle")
    rows = torch.linspace(-1, 1, h, dtype=torch.float64)[:, None]
    columns = torch.linspace(-1, 1, w, dtype=torch.float64)
    lamp = 1 + per_image(slope) * (per_image(angle.cos()) * columns + per_image(angle.sin()) * rows)
    light = _blurred((light.pow(per_image(gamma)) * lamp).clamp(0, 1), between(*BLUR, "blur"))
    black, white = per_image(between(*BLACK, "black")), per_image(between(*WHITE, "white"))
    grain = draws.normal("recapture noise", (c, h, w)).double()
    noise = grain * (READ_NOISE**2 + SHOT_NOISE**2 * light).sqrt()
    seen = black + (white - black) * light + noise
    return (seen.clamp(0, 1) * 255).round().to(torch.uint8)


def _turned(light: Tensor, between: _Between) -> Tensor:
    """Turned, moved, shrunk and tilted; what lies outside the picture is black."""
    h, w = light.shape[-2:]
    turn, scale = between(-TURN, TURN, "turn"), between(*SCALE, "scale")
    right, down = between(-SHIFT, SHIFT, "right"), between(-SHIFT, SHIFT, "down")
    pan, tilt = between(-TILT, TILT, "pan"), between(-TILT, TILT, "tilt")
    y, x = torch.meshgrid(
        (torch.arange(h, dtype=torch.float64) * 2 + 1) / h - 1,
        (torch.arange(w, dtype=torch.float64) * 2 + 1) / w - 1,
        indexing="ij",
    )

    def row(values: Tensor) -> Tensor:
        return values[:, None, None]

    depth = 1 + row(pan) * x + row(tilt) * y
    there_x = (row(scale * turn.cos()) * x - row(scale * turn.sin()) * y) / depth + row(right)
    there_y = (row(scale * turn.sin()) * x + row(scale * turn.cos()) * y) / depth + row(down)
    grid = torch.stack([there_x, there_y], dim=-1)
    return F.grid_sample(light, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _blurred(light: Tensor, sigma: Float[Tensor, " n"]) -> Tensor:
    """A Gaussian of its own width for each image, over 7 pixels, edges repeated."""
    offsets = torch.arange(-3, 4, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    h, w = light.shape[-2:]
    padded = F.pad(light, (3, 3, 3, 3), mode="replicate")
    along = torch.stack([per_image(kernel[:, k]) * padded[..., k : k + w] for k in range(7)]).sum(0)
    return torch.stack([per_image(kernel[:, k]) * along[..., k : k + h, :] for k in range(7)]).sum(0)
