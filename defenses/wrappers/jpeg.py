"""JPEG before a classifier."""

from dataclasses import dataclass
from io import BytesIO
from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from carom.draws import Draws
from carom.errors import InputError
from carom.registry import checked
from carom.stages import Entry
from carom.typing import Images
from carom.zoo.models.classifier import Classifier

from .wrapped import straight_through, wrapped


@dataclass(frozen=True, kw_only=True)
class JPEG:
    """Each image rounded to 8 bits, compressed as JPEG and decompressed (Guo et al. 2018, arXiv:1711.00117).

    By Pillow's codec, which halves the resolution of colour; on the CPU, wherever the images are. Backward it is the
    identity (BPDA, arXiv:1802.00420), so attacks see through it.

    Attributes:
        quality: 1 to 100.

    Raises:
        InputError: Out of range; or, when called, images of other than one or three channels.
    """

    quality: int = 75

    version: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True
    differentiable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self, "jpeg", quality=(1.0, 100.0))

    def wrap(self, classifier: Classifier) -> Classifier:
        """The classifier behind it."""
        return wrapped(classifier, self)

    def __call__(self, x: Images, draws: Draws, /) -> Images:
        """Decompressed images, multiples of 1/255."""
        del draws
        if x.shape[1] not in (1, 3):
            raise InputError(f"jpeg: expected images of 1 or 3 channels, got {x.shape[1]}; leave it out for this task")
        pixels = (x.detach() * 255).round().clamp(0, 255).to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
        decoded = np.empty(pixels.shape, np.uint8)
        for place, image in enumerate(pixels):
            file = BytesIO()
            Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(file, "JPEG", quality=self.quality)
            decoded[place] = np.asarray(Image.open(file)).reshape(image.shape)
        changed = torch.from_numpy(decoded).to(x.device).permute(0, 3, 1, 2)
        return straight_through(x, changed.to(x.dtype) / 255)


ENTRY = Entry(
    summary="The image is stored as JPEG first.",
    paper="Guo, Rana, Cisse and van der Maaten 2018, arXiv:1711.00117",
    stages=(JPEG(),),
)
