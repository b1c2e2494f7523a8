"""Random resizing and padding before a classifier."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from carom.draws import Draws
from carom.registry import checked
from carom.stages import Entry
from carom.typing import Images
from carom.zoo.models.classifier import Classifier

from .wrapped import wrapped


@dataclass(frozen=True, kw_only=True)
class ResizePad:
    """Each image resized to a random size and put at a random place on black (Xie et al. 2018, arXiv:1711.01991).

    The paper enlarges 299 pixels to 310 to 330 and pads to 331. This one keeps the shape of the task's images, so that
    any network takes what comes out: an image of side s becomes one of side s', uniform in {floor(low s), ..., s}
    (25 to 28 of 28), nearest neighbour, at each of the s - s' + 1 places equally likely; rows and columns have places
    of their own, and one size in proportion. Differentiable through the sampled map.

    Attributes:
        low: Smallest side over the image's, 0.1 to 1.
        seed: Of the draws in an evaluation.

    Raises:
        InputError: Out of range.
    """

    low: float = 0.9
    seed: int = 0

    version: ClassVar[int] = 1
    deterministic: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked(self, "resize-pad", low=(0.1, 1.0))

    def wrap(self, classifier: Classifier) -> Classifier:
        """The classifier behind it."""
        return wrapped(classifier, self)

    def __call__(self, x: Images, draws: Draws, /) -> Images:
        """Smaller images on black."""
        size = draws.uniform("resize-pad size")
        rows = self._matrix(x.shape[2], size, draws.uniform("resize-pad top"))
        columns = self._matrix(x.shape[3], size, draws.uniform("resize-pad left"))
        return rows[:, None].to(x.dtype) @ x @ columns[:, None].to(x.dtype).transpose(2, 3)

    def _matrix(self, side: int, u_size: Tensor, u_place: Tensor) -> Float[Tensor, "m side side"]:
        """Along one side, resize and pad as one matrix an image: each row reads one pixel, or none."""
        smallest = max(1, int(self.low * side))
        size = smallest + (u_size * (side - smallest + 1)).long()
        offset = (u_place * (side - size + 1)).long()
        pixel = torch.arange(side, device=u_size.device)
        place = pixel - offset[:, None]  # m, side: which pixel of the smaller image
        inside = (place >= 0) & (place < size[:, None])
        source = torch.where(inside, place * side // size[:, None], -1)
        return (source[:, :, None] == pixel).float()


ENTRY = Entry(
    summary="The image is made smaller by a random amount and put at a random place first.",
    paper="Xie, Wang, Zhang, Ren and Yuille 2018, arXiv:1711.01991",
    stages=(ResizePad(),),
)
