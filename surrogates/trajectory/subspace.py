"""The subspace that collected weights span around their mean: draws in it, projections on its first directions, and
what becomes of it on top of another network.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from carom.draws import stream
from carom.errors import InputError
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.builder import SEED_STRIDE, Member
from carom.surrogates.stack import Vector, mean, parameter_names, vector
from carom.surrogates.surrogate import Schedule
from carom.surrogates.untrained import fitted_vectors
from carom.zoo.training.ground import Built, Ground, Weights

_COLUMNS = 1 << 20  # of the deviations, in float64 at a time


@dataclass(frozen=True, kw_only=True)
class Subspace:
    """Draws from the normal distribution of collected weights: `mean + D z / sqrt(K - 1)` (Gubri et al. 2022).

    The K columns of D are the deviations of the weight sets from their mean, and z is standard normal. Batch norm's
    statistics are taken anew for each draw. arXiv:2207.13129, section on the subspace of LGV.

    Attributes:
        draws: Networks, from 1.

    Raises:
        InputError: Out of range.
    """

    draws: int = 10

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"
    takes: ClassVar[str] = "several"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self, "lgv-subspace", draws=(1.0, 1e6))

    def count(self, given: int) -> int:
        """One for each draw.

        Raises:
            InputError: Fewer than 2 weight sets have no subspace.
        """
        _check_several(given, "lgv-subspace")
        return self.draws

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """The draws; those that do no better than guessing are left out.

        Raises:
            InputError: Fewer than 2 weight sets, or too few images to take batch norm's statistics from.
            DivergedError: No draw does better than guessing.
        """
        _check_several(len(given), "lgv-subspace")
        names = parameter_names(ground, given[0])
        middle = vector(mean(given, names), names)

        def drawn() -> Iterator[tuple[Vector, Weights]]:
            for i in range(self.draws):
                generator = torch.Generator().manual_seed(stream(ground.seed, "draws in a subspace", i))
                z = torch.randn(len(given), generator=generator) / (len(given) - 1) ** 0.5
                values = middle.clone()
                for part, member in zip(z.tolist(), given, strict=True):  # one deviation in memory at a time
                    values += part * (vector(member, names) - middle)
                yield values, given[0]

        return fitted_vectors(ground, drawn(), self.draws, where="lgv-subspace")


@dataclass(frozen=True, kw_only=True)
class PCA:
    """Collected weights projected on the first principal directions around their mean (Gubri et al. 2022).

    With rank 0 it is the mean alone; with one less than there are weight sets they come back, up to float error. Batch
    norm's statistics are taken anew for each. What each direction explains of the variance is noted. arXiv:2207.13129.

    Attributes:
        rank: Directions, from 0 to one less than the weight sets.

    Raises:
        InputError: Out of range.
    """

    rank: int = 10

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"
    takes: ClassVar[str] = "several"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self, "pca", rank=(0.0, 1e6))

    def count(self, given: int) -> int:
        """One for each weight set; with rank 0 one in all.

        Raises:
            InputError: The weight sets have no subspace of this rank.
        """
        _check_several(given, "pca")
        if self.rank >= given:
            raise InputError(f"pca: rank={self.rank} of {given} weight sets; expected 0 to {given - 1}")
        return given if self.rank else 1

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """The projections; those that do no better than guessing are left out.

        Where some of the weight sets that were planned have diverged, the rank is at most one less than those left.

        Raises:
            InputError: Fewer than 2 weight sets, or too few images to take batch norm's statistics from.
            DivergedError: No projection does better than guessing.
        """
        _check_several(len(given), "pca")
        rank = min(self.rank, len(given) - 1)
        names = parameter_names(ground, given[0])
        middle = vector(mean(given, names), names)
        deviations = torch.stack([vector(member, names) for member in given]).sub_(middle)
        variances, directions = principal(deviations)
        share = (variances / variances.sum().clamp_min(torch.finfo(torch.float64).tiny)).tolist()

        def projected() -> Iterator[tuple[Vector, Weights]]:
            if not rank:
                yield middle, given[0]
                return
            weights = directions[:, :rank] @ directions[:, :rank].T  # K x K: rows of the projections by deviations
            for row, member in zip(weights.float(), given, strict=True):
                yield middle + row @ deviations, member

        made = fitted_vectors(ground, projected(), len(given) if rank else 1, where="pca")
        return replace(made, record={**made.record, "rank": rank, "explained_variance": share[: len(given) - 1]})


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The deviations of collected weights moved onto another network: `w' + gamma (w - mean)` (Gubri et al. 2022).

    Whether the subspace is worth as much around another minimum. The other network w' is trained plainly, as the
    scenario trains networks, with a seed of its own. Batch norm's statistics are taken anew for each; with gamma 0 each
    is w' as it is. arXiv:2207.13129.

    Attributes:
        gamma: Length of the deviations, as a part of what they are, -100 to 100.

    Raises:
        InputError: Out of range.
    """

    gamma: float = 0.5

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"
    takes: ClassVar[str] = "several"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self, "shift", gamma=(-100.0, 100.0))

    def count(self, given: int) -> int:
        """One for each weight set.

        Raises:
            InputError: Fewer than 2 weight sets have no deviations.
        """
        _check_several(given, "shift")
        return given

    def others(self, seed: int) -> tuple[Member, ...]:
        """The network that the deviations are moved onto."""
        return (Member(seed=seed + SEED_STRIDE),)

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """The moved weight sets, from those collected and, last, the other network.

        Raises:
            InputError: Fewer than 2 weight sets, or too few images to take batch norm's statistics from.
            DivergedError: None does better than guessing.
        """
        *collected, other = given
        _check_several(len(collected), "shift")
        names = parameter_names(ground, other)
        middle, there = vector(mean(collected, names), names), vector(other, names)
        made = ((there + self.gamma * (vector(member, names) - middle), other) for member in collected)
        return fitted_vectors(ground, made, len(collected), where="shift")


def principal(deviations: Float[Tensor, "k d"]) -> tuple[Float[Tensor, " k"], Float[Tensor, "k k"]]:
    """Variances along the principal directions of deviations that sum to zero, the largest first, and how they lie.

    By the eigenvectors of the k x k inner products, in float64: k is small where d is millions.

    Returns:
        The variances, and as columns the coordinates of the k deviations on each direction, of length 1.
    """
    products = torch.zeros(len(deviations), len(deviations), dtype=torch.float64)
    for columns in torch.split(deviations, _COLUMNS, dim=1):
        some = columns.double()
        products += some @ some.T
    values, vectors = torch.linalg.eigh(products)
    return values.flip(0).clamp_min(0) / (len(deviations) - 1), vectors.flip(1)


def _check_several(count: int, where: str) -> None:
    if count < 2:
        raise InputError(f"{where}: {count} weight set spans no subspace; expected at least 2, such as those of lgv")


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"paper-imagenet": MappingProxyType({"draws": 50})}  # of `Subspace`
)

PRESETS_SHIFT: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"paper-imagenet": MappingProxyType({"gamma": 0.5})}
)


ENTRY = Entry(
    summary="Random draws around the mean of weight sets, in the subspace of their deviations.",
    paper="Gubri et al. 2022, arXiv:2207.13129",
    stages=(Subspace(),),
    presets=PRESETS,
)
ENTRY_PCA = Entry(
    summary="Weight sets projected on the first directions of their deviations.",
    paper="Gubri et al. 2022, arXiv:2207.13129",
    stages=(PCA(),),
)
ENTRY_SHIFT = Entry(
    summary="The deviations of weight sets, moved onto another network.",
    paper="Gubri et al. 2022, arXiv:2207.13129",
    stages=(Shift(),),
    presets=PRESETS_SHIFT,
)
