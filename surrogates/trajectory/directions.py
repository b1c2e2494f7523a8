"""Random directions: networks drawn around one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from carom.draws import stream
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.stack import Vector, parameter_names, vector
from carom.surrogates.surrogate import Schedule
from carom.surrogates.untrained import fitted_vectors
from carom.zoo.training.ground import Built, Ground, Weights


@dataclass(frozen=True, kw_only=True)
class RandomDirections:
    """White noise on the weights: `w + N(0, sigma^2 I)` over all parameters (the RD of Gubri et al. 2022).

    What geometry is worth without having collected anything. Batch norm's statistics are taken anew for each draw. With
    sigma 0 each draw is the network as it is. arXiv:2207.13129.

    Attributes:
        sigma: Standard deviation, in units of the weights, 0 to 100. The authors chose 0.005 around a network and 0.01
            around `lgv -> swa`.
        draws: Networks, from 1.

    Raises:
        InputError: Out of range.
    """

    sigma: float = 0.005
    draws: int = 10

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"
    takes: ClassVar[str] = "one"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self, "rd", sigma=(0.0, 100.0), draws=(1.0, 1e6))

    def count(self, given: int) -> int:
        """One for each draw."""
        del given
        return self.draws

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """The draws; those that do no better than guessing are left out.

        Raises:
            InputError: Too few images to take batch norm's statistics from.
            DivergedError: No draw does better than guessing.
        """
        origin = given[0]
        here = vector(origin, parameter_names(ground, origin))

        def drawn() -> Iterator[tuple[Vector, Weights]]:
            for i in range(self.draws):
                generator = torch.Generator().manual_seed(stream(ground.seed, "random directions", i))
                yield here + self.sigma * torch.randn(len(here), generator=generator), origin

        return fitted_vectors(ground, drawn(), self.draws, where="rd")


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"paper-imagenet": MappingProxyType({"sigma": 0.005, "draws": 50})}
)


ENTRY = Entry(
    summary="Random directions around a network.",
    paper="Gubri et al. 2022, arXiv:2207.13129",
    stages=(RandomDirections(),),
    presets=PRESETS,
)
