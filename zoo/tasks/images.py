"""Labelled 8-bit images, the currency of every task."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Int

from carom.errors import InputError
from carom.identity import tensor_digest
from carom.typing import Ids, Images, Labels, Pixels

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one source and split, in a fixed order.

    Attributes:
        images: `n c h w`, 8-bit.
        labels: `n`, int64 class indices.
        ids: `n`, int64, unique within a task over all sources and splits; draws belong to them.
        targets: `n`, int64, the classes that targeted attacks aim at; None where nobody gave any.
    """

    images: Pixels
    labels: Labels
    ids: Ids
    targets: Labels | None = None

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise InputError(
                f"image set: expected 8-bit images n c h w, got {self.images.dtype} {tuple(self.images.shape)}"
            )
        if len(self.labels) != n or len(self.ids) != n:
            raise InputError(
                f"image set: {n} images, {len(self.labels)} labels and {len(self.ids)} ids; expected equal"
            )
        if self.targets is not None and len(self.targets) != n:
            raise InputError(f"image set: {n} images and {len(self.targets)} target classes; expected equal")

    def __len__(self) -> int:
        return len(self.images)

    def select(self, index: Int[torch.Tensor, " m"]) -> "ImageSet":
        """The images at these positions, in this order."""
        targets = None if self.targets is None else self.targets[index]
        return ImageSet(self.images[index], self.labels[index], self.ids[index], targets)

    @property
    def pixels(self) -> Images:
        """The images as floats in [0, 1]."""
        return self.images.float() / 255

    @property
    def each(self) -> list[bytes]:
        """A digest of each image's bytes, whatever its label and id: equal images have equal ones."""
        return [hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in self.images]

    @property
    def digest(self) -> str:
        """sha256 over images, labels and ids, and the targets where there are some."""
        return tensor_digest(self.tensors)

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """All of it by name, without targets that are not there."""
        found = {"images": self.images, "labels": self.labels, "ids": self.ids}
        return found if self.targets is None else found | {"targets": self.targets}


def concatenate(parts: list[ImageSet]) -> ImageSet:
    """The images of all parts, one part after the other; their targets where all parts have some."""
    targets = [p.targets for p in parts if p.targets is not None]
    return ImageSet(
        torch.cat([p.images for p in parts]),
        torch.cat([p.labels for p in parts]),
        torch.cat([p.ids for p in parts]),
        torch.cat(targets) if len(targets) == len(parts) else None,
    )
