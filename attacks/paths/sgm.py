"""SGM: more gradient from skips than from residual branches."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from carom.attacks.reading.networks import network_of, rebuilt
from carom.attacks.slots import Shape
from carom.errors import InputError, ModelError

from .anatomy import Anatomy, anatomy
from .operators import Decayed, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class SGM:
    """Skip gradient method: the gradient through each residual branch times gamma (Wu et al. 2020, arXiv:2002.05990).

    The gradient is scaled where a branch ends, so it is gamma itself, once for each branch, whatever lies in it. The
    new features of a dense connection count as its branch. As in the authors' code, the first block of each stage keeps
    its gradient: the first one of its shape, in a network where blocks change the shape and have a convolution in their
    skip. What that code also does, a division of each block's gradient by its deviation over the batch, is left out:
    images of a batch share nothing here.

    Attributes:
        gamma: Share of the gradient through a branch, in [0, 1]; 1 is the plain gradient. None chooses by what the
            network is: 0.2 and with dense connections 0.5, as the authors; with attention 0.4 and for mixers 0.6, as
            TA-Bench (Li et al. 2023, arXiv:2311.01323).
        first_blocks: Scale the first block of each stage too.

    Raises:
        InputError: `gamma` out of range.
    """

    gamma: float | None = None
    first_blocks: bool = False

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.gamma is not None and not 0 <= self.gamma <= 1:
            raise InputError(f"sgm: gamma must be in [0, 1], got {self.gamma:g}")

    def __call__(self, classifier: nn.Module, shape: Shape | None = None) -> nn.Module:
        """The classifier with decayed branches.

        Raises:
            ModelError: No residual branch, none but those of first blocks, or one that ends in no module.
        """
        found = anatomy(classifier, shape, where="sgm")
        if found.beyond:
            raise ModelError(
                f"sgm: {found.beyond} of the network's {found.beyond + len(found.branches)} residual branches end in "
                "no module that runs once, so their gradient cannot be scaled; give each block modules of its own"
            )
        if not found.branches:
            raise ModelError(
                "sgm: the network has no residual branch; use a surrogate with skip connections, or an attack without "
                "sgm"
            )
        scaled = [branch for branch in found.branches if self.first_blocks or not branch.first]
        if not scaled:
            raise ModelError(
                f"sgm: each of the network's {len(found.branches)} residual blocks begins a stage and keeps its "
                "gradient; set sgm = { first_blocks = true }, or use a surrogate with more blocks in a stage"
            )
        gamma = usual_gamma(found) if self.gamma is None else self.gamma
        built = rebuilt(classifier)
        if gamma != 1:
            replace(network_of(built), [(branch.end, lambda m: Decayed(m, gamma)) for branch in scaled])
        return built


def usual_gamma(found: Anatomy) -> float:
    """What is used for networks of this kind."""
    if found.attention:
        return 0.4
    if any(branch.dense for branch in found.branches):
        return 0.5
    return 0.2 if found.kernels > 1 else 0.6
