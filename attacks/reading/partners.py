"""Images that attacks mix into others: a fixed pool, so that no result depends on who shares a batch."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from carom.budget import in_range
from carom.errors import InputError
from carom.typing import Images, Labels


@dataclass(frozen=True, eq=False)
class Partners:
    """A pool of images with their classes.

    Attributes:
        images: `m c h w`, floats in [0, 1].
        labels: `m`.

    Raises:
        InputError: No image, not one label for each, or images that are not floats in [0, 1].
    """

    images: Images
    labels: Labels

    def __post_init__(self) -> None:
        if not len(self.images) or len(self.images) != len(self.labels):
            raise InputError(
                f"partners: {len(self.images)} images and {len(self.labels)} labels; expected one label an image, and "
                "at least one image"
            )
        object.__setattr__(self, "images", in_range(self.images, where="partners"))

    def to(self, like: Tensor) -> "Partners":
        """The pool on the device and in the precision of `like`."""
        return Partners(self.images.to(like.device, like.dtype), self.labels.to(like.device))

    def check(self, y: Labels) -> None:
        """That there is another class for each of these.

        Raises:
            InputError: The pool has no other class for one of the images.
        """
        if bool((self.labels == self.labels[0]).all()) and bool((y == self.labels[0]).any()):
            raise InputError(
                f"partners: all {len(self.labels)} images are of class {int(self.labels[0])}; "
                "add images of other classes"
            )

    @cached_property
    def _by_class(self) -> tuple[Tensor, Tensor]:
        order = self.labels.argsort(stable=True)
        return order, self.labels[order]

    def of_other_classes(self, u: Tensor, y: Labels) -> Int[Tensor, "n ..."]:
        """For each image a place in the pool, uniform over those of another class than `y`; `check` comes before.

        Args:
            u: Uniform draws in [0, 1), `n ...`.
            y: Classes that the partners must not have, `n`.
        """
        order, ordered = self._by_class
        begin, end = torch.searchsorted(ordered, y), torch.searchsorted(ordered, y, right=True)
        shape = (len(y),) + (1,) * (u.ndim - 1)
        place = (u.double() * (len(ordered) - (end - begin)).reshape(shape)).long()
        place = torch.where(place >= begin.reshape(shape), place + (end - begin).reshape(shape), place)
        return order[place]
