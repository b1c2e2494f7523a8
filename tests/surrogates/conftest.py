"""A small attacker for the tests of builders: separable images, a tiny network."""

from pathlib import Path
from typing import Any

import torch

from carom.zoo.architectures import architecture
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.ground import Ground
from carom.zoo.training.recipes import Recipe


def images(n: int, *, seed: int = 0, classes: int = 3, size: int = 8, first_id: int = 0) -> ImageSet:
    """Noisy images `n 1 size size`, each class with a bright band of rows of its own."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    pixels = torch.randint(0, 120, (n, 1, size, size), generator=generator)
    rows = size // classes
    for i, label in enumerate(labels.tolist()):
        pixels[i, :, label * rows : (label + 1) * rows] += 90
    return ImageSet(pixels.to(torch.uint8), labels, torch.arange(first_id, first_id + n))


def plain(**changes: Any) -> Recipe:
    """A short training without augmentation."""
    values: dict[str, Any] = {
        "epochs": 3,
        "batch_size": 16,
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "schedule": "constant",
        "shift": 0.0,
        "rotation": 0.0,
        "scale": 0.0,
        "select": "last",
    }
    return Recipe(**{**values, **changes})


def ground(
    name: str = "resnet-small",
    *,
    n: int = 96,
    seed: int = 1,
    recipe: Recipe | None = None,
    checkpoint: Path | None = None,
) -> Ground:
    """96 images of three classes, 1 x 8 x 8, and the named architecture of the zoo."""
    return Ground(
        architecture=architecture(name),
        shape=(1, 8, 8),
        classes=3,
        recipe=recipe or plain(),
        train=images(n),
        validation=images(48, seed=1, first_id=10_000),
        seed=seed,
        checkpoint=checkpoint,
    )
