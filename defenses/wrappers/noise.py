"""Normal noise before a classifier."""

from dataclasses import dataclass
from typing import ClassVar

from carom.draws import Draws
from carom.registry import checked
from carom.stages import Entry
from carom.typing import Images
from carom.zoo.models.classifier import Classifier

from .wrapped import wrapped


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Normal noise of mean 0 on each pixel and channel, not clipped: the random noise defence (Qin et al. 2021).

    It makes search by queries harder (arXiv:2104.11470); PubDef (Sitawarin et al. 2024, arXiv:2310.17645) takes 0.02
    for that. A white box attacker averages over draws (Athalye et al. 2018, arXiv:1802.00420). It is no randomised
    smoothing: one draw answers, there is no vote, no abstention and no certificate.

    Attributes:
        sigma: Standard deviation in pixel units, 0.0001 to 1.
        seed: Of the draws in an evaluation.

    Raises:
        InputError: Out of range.
    """

    sigma: float = 0.02
    seed: int = 0

    version: ClassVar[int] = 1
    deterministic: ClassVar[bool] = False
    differentiable: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked(self, "noise", sigma=(0.0001, 1.0))

    def wrap(self, classifier: Classifier) -> Classifier:
        """The classifier behind it."""
        return wrapped(classifier, self)

    def __call__(self, x: Images, draws: Draws, /) -> Images:
        """Noisy images, a little outside [0, 1] too."""
        return x + self.sigma * draws.normal("noise", x.shape[1:]).to(x.dtype)


ENTRY = Entry(
    summary="Gaussian noise is added first.",
    paper="Qin, Fan, Zha and Wu 2021, arXiv:2104.11470",
    stages=(Noise(),),
)
