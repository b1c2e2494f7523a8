"""The images of an epoch in random order, augmented, batch by batch."""

from collections.abc import Iterator

import torch

from carom.draws import stream
from carom.zoo.tasks.images import ImageSet

from .augment import draw, warp
from .recipes import Recipe
from .state import Batch

_CHUNK = 1024  # images augmented at a time


def batches(images: ImageSet, steps: int, part: float, recipe: Recipe, seed: int, epoch: int) -> Iterator[Batch]:
    """All images once, or a part of them, in random order, in `steps` batches of nearly equal size.

    Nearly equal, because batch norm has no statistics of a last batch of one image.
    """
    n, size = len(images), (int(images.images.shape[2]), int(images.images.shape[3]))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(stream(seed, "order", epoch)))
    maps = draw(recipe, n, size, torch.Generator().manual_seed(stream(seed, "augmentation", epoch)))
    if part < 1:
        order = order[: max(2, round(part * n))]
    parts = order.tensor_split(steps)
    many = max(1, _CHUNK // recipe.batch_size)
    for first in range(0, steps, many):
        chunk = parts[first : first + many]
        index = torch.cat(chunk)
        some = images.select(index.to(images.images.device))
        warped = warp(some.pixels, None if maps is None else maps[index])
        warped = warped.to(memory_format=torch.channels_last)
        sizes = [len(part) for part in chunk]
        yield from map(Batch, *(torch.split(t, sizes) for t in (warped, some.labels, some.ids)), chunk)
