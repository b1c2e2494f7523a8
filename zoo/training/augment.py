"""Random small shifts, turns and changes of size, drawn for many images at once."""

from math import pi

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carom.typing import Images

from .recipes import Recipe

Maps = Float[Tensor, "n 2 3"]


def draw(recipe: Recipe, n: int, size: tuple[int, int], generator: torch.Generator) -> Maps | None:
    """One affine map for each of `n` images of `size` (rows, columns), on the CPU; None where nothing is to be done."""
    if not (recipe.shift or recipe.rotation or recipe.scale or recipe.flip):
        return None
    height, width = size
    u = torch.rand(n, 5, generator=generator)
    signed = 2 * u - 1
    turn = signed[:, 0] * (recipe.rotation * pi / 180)
    factor = 1 / (1 + signed[:, 1] * recipe.scale)
    mirror = torch.where((u[:, 4] < 0.5) & recipe.flip, -1.0, 1.0)
    cosine, sine = factor * turn.cos(), factor * turn.sin()
    # grid coordinates run from -1 to 1 over each side, whatever its length: hence the ratio of the sides
    rows = [
        torch.stack([cosine * mirror, -sine * height / width, signed[:, 2] * (2 * recipe.shift / width)], 1),
        torch.stack([sine * mirror * width / height, cosine, signed[:, 3] * (2 * recipe.shift / height)], 1),
    ]
    return torch.stack(rows, 1)


def warp(images: Images, maps: Maps | None) -> Images:
    """Each image seen through its map: bilinear, with borders repeated."""
    if maps is None:
        return images
    grid = nn.functional.affine_grid(maps.to(images.device), list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
