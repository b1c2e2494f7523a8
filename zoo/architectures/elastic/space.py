"""All sub-networks of an elastic network, and which one is meant."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from carom.errors import InputError

Kind = Literal["widths", "depths", "expansions", "kernels"]


Levels = tuple[float, ...] | tuple[int, ...]


KINDS: tuple[Kind, ...] = ("widths", "depths", "expansions", "kernels")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One sub-network. Its name, `str(choice)`, is such as "w1-0.75-0.5-1 d2-1-1 e0.5-0.35-0.25-0.5".

    Attributes:
        widths: Of the stem and of each stage, as a part of the largest; empty where the family has one width.
        depths: Blocks of each stage that are kept, the first ones.
        expansions: Of each block that is kept, stage by stage: inner channels for each channel.
        kernels: Of each block that is kept, rows of its kernel; empty where the family has one size.
    """

    widths: tuple[float, ...] = ()
    depths: tuple[int, ...]
    expansions: tuple[float, ...]
    kernels: tuple[int, ...] = ()

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("widths", "expansions"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))

    @override
    def __str__(self) -> str:
        parts = {kind[0]: getattr(self, kind) for kind in KINDS}
        return " ".join(letter + "-".join(map(_number, values)) for letter, values in parts.items() if values)


@dataclass(frozen=True, kw_only=True)
class Space:
    """All sub-networks of an elastic network. Levels are in rising order; the last ones make the largest sub-network.

    A genome is one number for each thing that can be chosen, the place of its level: widths of the stem and the stages,
    depths of the stages, then expansion and kernel of every block of the largest network, kept or not.

    Attributes:
        stages: Stages of blocks.
        widths: Levels of the width of the stem and of each stage; empty where the family has one width.
        depths: Levels of how many blocks a stage keeps.
        expansions: Levels of a block's expansion.
        kernels: Levels of a block's kernel; empty where the family has one size.
        blocks: Blocks of a stage of the largest network; 0 for the last of `depths`.
    """

    stages: int
    widths: tuple[float, ...] = ()
    depths: tuple[int, ...]
    expansions: tuple[float, ...]
    kernels: tuple[int, ...] = ()
    blocks: int = 0

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.blocks:
            object.__setattr__(self, "blocks", self.depths[-1])

    @property
    def levels(self) -> tuple[int, ...]:
        """How many levels each number of a genome has."""
        of_block = (len(self.expansions), *([len(self.kernels)] if self.kernels else []))
        stems = (len(self.widths),) * (self.stages + 1) if self.widths else ()
        return (*stems, *[len(self.depths)] * self.stages, *of_block * (self.stages * self.blocks))

    @property
    def largest(self) -> Choice:
        """All of the network."""
        return self.choice([n - 1 for n in self.levels])

    @property
    def smallest(self) -> Choice:
        """The least of everything."""
        return self.choice([0] * len(self.levels))

    def choice(self, genome: Sequence[int]) -> Choice:
        """What a genome stands for; what it says of skipped blocks is left out.

        Raises:
            InputError: Not a genome of this space.
        """
        if len(genome) != len(self.levels) or not all(0 <= g < n for g, n in zip(genome, self.levels, strict=True)):
            raise InputError(f"choice: a genome has {len(self.levels)} places of levels {self.levels}, got {genome!r}")
        places = iter(genome)
        widths = tuple(self.widths[next(places)] for _ in range(self.stages + 1)) if self.widths else ()
        depths = tuple(self.depths[next(places)] for _ in range(self.stages))
        expansions, kernels = [], []
        for depth in depths:
            for block in range(self.blocks):
                expansion = self.expansions[next(places)]
                kernel = self.kernels[next(places)] if self.kernels else 0
                if block < depth:
                    expansions.append(expansion)
                    kernels.append(kernel)
        return Choice(
            widths=widths,
            depths=depths,
            expansions=tuple(expansions),
            kernels=tuple(kernels) if self.kernels else (),
        )

    def genome(self, choice: Choice) -> tuple[int, ...]:
        """What `choice` makes this choice of, with 0 for what a skipped block would have.

        Raises:
            InputError: Not of this space.
        """
        self.check(choice)
        found = [self.widths.index(w) for w in choice.widths] + [self.depths.index(d) for d in choice.depths]
        for block in self._blocks(choice):
            found.append(0 if block is None else self.expansions.index(choice.expansions[block]))
            if self.kernels:
                found.append(0 if block is None else self.kernels.index(choice.kernels[block]))
        return tuple(found)

    def random(self, generator: torch.Generator) -> Choice:
        """Each number of the genome uniformly; always as many draws."""
        return self.choice([int(torch.randint(n, (), generator=generator)) for n in self.levels])

    def parse(self, text: str, *, where: str = "choice") -> Choice:
        """From a choice's name, or "largest" or "smallest".

        Raises:
            InputError: Not the name of a choice of this space.
        """
        if text in ("largest", "smallest"):
            choice: Choice = getattr(self, text)
            return choice
        numbers: dict[str, tuple[Any, ...]] = {}
        for word in text.split():
            kind = next((k for k in KINDS if k[0] == word[0]), None)
            try:
                if kind is None or kind in numbers:
                    raise ValueError
                number = float if kind in ("widths", "expansions") else int
                numbers[kind] = tuple(number(value) for value in word[1:].split("-"))
            except ValueError:
                raise InputError(f"{where}: {text!r}: cannot read {word!r}; {self._expected}") from None
        for kind in ("depths", "expansions"):
            if kind not in numbers:
                raise InputError(f"{where}: {text!r} says nothing of {kind}; {self._expected}")
        choice = Choice(**numbers)
        self.check(choice, where=where)
        return choice

    def check(self, choice: Choice, *, where: str = "choice") -> None:
        """Hold a choice to this space.

        Raises:
            InputError: Too many or too few numbers of a kind, or one that is no level.
        """
        kept = sum(choice.depths)
        for kind, count in (
            ("depths", self.stages),
            ("widths", self.stages + 1),
            ("expansions", kept),
            ("kernels", kept),
        ):
            levels, values = getattr(self, kind), getattr(choice, kind)
            count = count if levels else 0
            if len(values) != count:
                raise InputError(f"{where}: {str(choice)!r} has {len(values)} {kind}, not {count}; {self._expected}")
            for value in values:
                if value not in levels:
                    known = ", ".join(map(_number, levels))
                    raise InputError(f"{where}: {str(choice)!r}: {kind} are of {known}, not {_number(value)}")

    def one_hot(self, choice: Choice) -> Float[Tensor, " d"]:
        """For a predictor: a 1 for the level of each width, and of expansion and kernel of each block.

        A skipped block is all zeros, which is how depths show (as in arXiv:2506.07666).

        Raises:
            InputError: Not of this space.
        """
        self.check(choice)
        rows = [_one_hot(self.widths, width) for width in choice.widths]
        for block in self._blocks(choice):
            rows.append(_one_hot(self.expansions, None if block is None else choice.expansions[block]))
            if self.kernels:
                rows.append(_one_hot(self.kernels, None if block is None else choice.kernels[block]))
        return torch.tensor([value for row in rows for value in row])

    def only(self, kinds: Collection[Kind]) -> "Space":
        """The part of the space in which these kinds are chosen, and all else is as in the largest."""
        fixed = {kind: getattr(self, kind)[-1:] for kind in KINDS if kind not in kinds}
        return replace(self, **fixed, blocks=self.blocks)

    def _blocks(self, choice: Choice) -> Iterator[int | None]:
        """For each block of the largest network, its place among those that are kept."""
        for first, depth in zip(accumulate(choice.depths, initial=0), choice.depths, strict=False):
            yield from (first + block if block < depth else None for block in range(self.blocks))

    @property
    def _expected(self) -> str:
        return f"expected such as {str(self.smallest)!r}"


def check_levels(where: str, high: float, **levels: Levels) -> None:
    """Hold levels to (0, high] and to a rising order.

    Raises:
        InputError: None, out of range, or out of order.
    """
    for name, values in levels.items():
        rising = all(a < b for a, b in pairwise(values))
        if not values or not rising or not all(0 < value <= high for value in values):
            shown = ", ".join(map(_number, values))
            raise InputError(f"{where}: {name} must be in (0, {high:g}] and in rising order, got ({shown})")


def _one_hot(levels: Levels, value: float | int | None) -> list[float]:
    return [float(level == value) for level in levels]


def _number(value: float | int) -> str:
    return repr(value).removesuffix(".0")
