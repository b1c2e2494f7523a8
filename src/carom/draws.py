"""Random numbers that belong to an image, not to a batch.

Every draw is an integer function of (seed, purpose, step, copy, image id, element): the same bits on CPU and GPU, for
any batch, order or number of workers. The mixing function is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from carom.typing import Ids

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # signed, as torch has no arithmetic on uint64
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def _shift(bits: Int[Tensor, "..."], by: int) -> Int[Tensor, "..."]:
    """Logical right shift of int64."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _mix(bits: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    bits = (bits ^ _shift(bits, 30)) * _MIX_1
    bits = (bits ^ _shift(bits, 27)) * _MIX_2
    return bits ^ _shift(bits, 31)


def stream(seed: int, purpose: str, step: int = 0, copy: int = 0) -> int:
    """A signed 64-bit number that names one stream of draws; also seeds generators of training."""
    name = f"{seed}|{purpose}|{step}|{copy}".encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big", signed=True)


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws for the images `ids` under one seed: the only numbers that an attack takes from chance.

    Whoever has other numbers, such as those that another program drew, hands over a subclass that answers them.

    Attributes:
        seed: The attack's seed.
        ids: `n` int64, the images' ids, on the device where the draws are wanted.
    """

    seed: int
    ids: Ids

    def bits(self, purpose: str, shape: Sequence[int] = (), *, step: int = 0, copy: int = 0) -> Int[Tensor, "n ..."]:
        """64 random bits for each element: int64 of shape `n *shape`."""
        of_image = _mix(self.ids.long() * _GOLDEN + stream(self.seed, purpose, step, copy))
        element = torch.arange(1, prod(shape) + 1, device=self.ids.device) * _GOLDEN
        return _mix(of_image[:, None] + element).reshape(len(self.ids), *shape)

    def uniform(
        self, purpose: str, shape: Sequence[int] = (), *, step: int = 0, copy: int = 0
    ) -> Float[Tensor, "n ..."]:
        """Float32 in [0, 1), multiples of 2^-24."""
        return _shift(self.bits(purpose, shape, step=step, copy=copy), 40).float() * 2.0**-24

    def integers(
        self, purpose: str, high: int, shape: Sequence[int] = (), *, step: int = 0, copy: int = 0
    ) -> Int[Tensor, "n ..."]:
        """Int64 in [0, high), high at most 2^31."""
        return _shift(_shift(self.bits(purpose, shape, step=step, copy=copy), 32) * high, 32)

    def normal(
        self, purpose: str, shape: Sequence[int] = (), *, step: int = 0, copy: int = 0
    ) -> Float[Tensor, "n ..."]:
        """Float32 standard normal, by the inverse distribution function in float64."""
        u = (_shift(self.bits(purpose, shape, step=step, copy=copy), 11).double() + 0.5) * 2.0**-53
        normal: Tensor = torch.special.ndtri(u)
        return normal.float()

    def select(self, index: slice | Int[Tensor, " m"]) -> "Draws":
        """The same draws for some of the images."""
        return Draws(self.seed, self.ids[index])

    def shared(self, device: torch.device) -> "Draws":
        """Draws that all images have in common, such as the choice of a network: those of one image, of id 0."""
        return Draws(self.seed, torch.zeros(1, dtype=torch.int64, device=device))


def content_ids(images: Tensor) -> Ids:
    """Ids from the images' own bytes, for images that come without: an image keeps its id in any batch and order."""
    rows = images.detach().cpu().contiguous().flatten(1)
    digests = [hashlib.sha256(row.view(torch.uint8).numpy().data).digest()[:8] for row in rows]
    ids = [int.from_bytes(d, "big", signed=True) for d in digests]
    return torch.tensor(ids, dtype=torch.int64, device=images.device)
