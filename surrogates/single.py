"""One network."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from carom.protocols import Classifier

from .surrogate import Member, Surrogate


@dataclass(frozen=True, kw_only=True)
class Single:
    """One network, as it was trained."""

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572"

    def members(self, seed: int) -> tuple[Member, ...]:
        """The one training."""
        return (Member(seed=seed),)

    def surrogate(self, classifiers: Sequence[Classifier], seed: int) -> Surrogate:
        """The network as a gradient source."""
        return Surrogate(tuple(classifiers), seed=seed)
