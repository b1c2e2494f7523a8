"""DEM: each image enlarged, shifted and shrunk back, at several ratios."""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from carom.attacks.slots import Averaged, View
from carom.errors import InputError
from carom.typing import Images

from .resize import enlarged


@dataclass(frozen=True, kw_only=True, slots=True)
class DEM:
    """Diversity ensemble: one loss of copies resized at growing ratios (Zou et al. 2020, arXiv:2112.06011).

    For ratio r, an image of h x w is enlarged to h' x w', h' uniform in {h, ..., round(r h)} and w' alike with the same
    draw, so square images stay square; it is put at a uniform place on a canvas of round(r h) x round(r w) zeros, and
    the canvas is resized to h x w. Always, not with a probability. Each image draws for itself. Bilinear, not
    antialiased (the authors' code takes the nearest pixel). The copies' logits are averaged, then there is one loss, as
    the authors have it. It is neither smoothed (TI) nor taken in steps of full size (region fitting): add "ti", or set
    `step`.

    Attributes:
        ratios: Largest enlarged size over input size, each at least 1; one copy each. The paper's are 340, 380, 420,
            460 and 500 pixels over 299.

    Raises:
        InputError: No ratio, or one below 1.
    """

    ratios: tuple[float, ...] = (1.14, 1.27, 1.4, 1.54, 1.67)

    version: ClassVar[int] = 2
    averages: ClassVar[Averaged] = "logits"

    def __post_init__(self) -> None:
        if not self.ratios or not all(1 <= ratio < math.inf for ratio in self.ratios):
            shown = ", ".join(f"{ratio:g}" for ratio in self.ratios) or "none"
            raise InputError(f"dem: ratios must be one or more numbers of at least 1, got {shown}")

    @property
    def copies(self) -> int:
        return len(self.ratios)

    def image(self, x: Images, view: View) -> Images:
        draw = partial(view.draws.uniform, step=view.step, copy=view.copy)
        u = draw("dem size")
        rows = self._matrix(x, 2, self.ratios[view.index], u, draw("dem top"))
        columns = self._matrix(x, 3, self.ratios[view.index], u, draw("dem left"))
        return rows[:, None] @ x @ columns[:, None].transpose(2, 3)

    def gradient(self, gradient: Images) -> Images:
        return gradient

    def _matrix(
        self, x: Images, dim: int, ratio: float, u_size: Float[Tensor, " n"], u_offset: Float[Tensor, " n"]
    ) -> Float[Tensor, "n side side"]:
        """Along one side: enlarge and pad, then resize the canvas back."""
        side = x.shape[dim]
        canvas = round(ratio * side)
        size = side + (u_size * (canvas - side + 1)).long()
        offset = (u_offset * (canvas - size + 1)).long()
        return enlarged(side, canvas, size, offset, x.dtype)
