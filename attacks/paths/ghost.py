"""Ghost networks: a surrogate that is another one at each reading."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from carom.attacks.reading.networks import network_of, rebuilt
from carom.attacks.slots import Shape
from carom.draws import Draws
from carom.errors import InputError, ModelError

from .anatomy import anatomy
from .operators import Place, at_calls, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Ghost:
    """Ghost networks: random changes of a network, drawn anew for each reading (Li et al. 2020, arXiv:1812.03413).

    Each skip of a residual network is scaled, channel by channel, by a factor uniform in [1 - spread, 1 + spread]. A
    network without skips loses random values after its activations instead, as by dropout. Factors belong to (seed,
    step, copy) and to the place of a network among those that are read together: one ghost reads all images, and each
    member of an ensemble is another one. This is the one path that changes what the network answers; everything
    but the changed places stays in evaluation mode. A skip that is added to what no module puts out as it is (such as a
    transposed output) stays too.

    Attributes:
        spread: Largest relative change of a skip's channel, in [0, 1]. The default is for ResNet-50.
        drop: Probability of a value to be dropped, in [0, 1). The default is the authors' for Inception-v3.

    Raises:
        InputError: Out of these ranges.
    """

    spread: float = 0.22
    drop: float = 0.006

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if not 0 <= self.spread <= 1:
            raise InputError(f"ghost: spread must be in [0, 1], got {self.spread:g}")
        if not 0 <= self.drop < 1:
            raise InputError(f"ghost: drop must be in [0, 1), got {self.drop:g}")

    def __call__(self, classifier: nn.Module, shape: Shape | None = None) -> nn.Module:
        """The classifier with random places; `redraw` sets them.

        Raises:
            ModelError: Neither a skip nor an activation module.
        """
        found = anatomy(classifier, shape, where="ghost")
        built = rebuilt(classifier)
        skips = [b for b in found.branches if not b.dense and (b.holder or b.projection)]
        if not skips and not found.activations:
            raise ModelError("ghost: the network has neither skips nor activation modules; use another surrogate")
        places: list[Place] = []
        for branch in skips if self.spread else ():
            if branch.projection is not None:
                scaled = partial(Scaled, name=branch.projection, spread=self.spread, channel=branch.channel)
                places.append((branch.projection, scaled))
            elif branch.holder is not None:
                held = Held()
                added = partial(Added, held=held, name=branch.end, spread=self.spread, channel=branch.channel)
                places.append((branch.end, added))
                places.append((branch.holder, partial(Holder, held=held, made=branch.made)))
        if not skips and self.drop:
            eroded = {
                call: partial(Eroded, name=f"{call.module}[{call.call}]", drop=self.drop) for call in found.activations
            }
            places = at_calls(found, eroded, where="ghost")
        replace(network_of(built), places)
        return built


class Drawn(nn.Module):
    """A module with random numbers of its own.

    Attributes:
        name: The place in the network, part of the purpose of its draws.
    """

    def __init__(self, inner: nn.Module, name: str) -> None:
        super().__init__()
        self.inner, self.name = inner, name
        self._draws = Draws(0, torch.zeros(1, dtype=torch.int64))  # until it is told: it may be looked at before
        self._now = 0, 0, 0
        self._known: dict[torch.Size, Tensor] = {}

    def redraw(self, draws: Draws, step: int, copy: int, member: int) -> None:
        """The numbers of (draws, step, copy, member) from now on."""
        if self._draws is not draws or self._now != (step, copy, member):
            self._draws, self._now = draws, (step, copy, member)
            self._known.clear()

    def uniform(self, like: Tensor, shape: torch.Size) -> Tensor:
        """In [0, 1), the same for all images; made when first asked for, as the shape shows only then."""
        if shape not in self._known:
            step, copy, member = self._now
            of_all = self._draws.shared(like.device)
            self._known[shape] = of_all.uniform(f"ghost {member} {self.name}", shape, step=step, copy=copy)
        return self._known[shape].to(like.dtype)

    def factors(self, like: Tensor, spread: float, channel: int) -> Tensor:
        """One number for each channel, uniform in [-spread, spread], in the shape that scales `like`."""
        shape = [1] * like.ndim
        shape[channel] = like.shape[channel]
        return ((2 * self.uniform(like, like.shape[channel : channel + 1 or None]) - 1) * spread).reshape(shape)


class Scaled(Drawn):
    """The module that makes a skip, its channels scaled."""

    def __init__(self, inner: nn.Module, *, name: str, spread: float, channel: int) -> None:
        super().__init__(inner, name)
        self.spread, self.channel = spread, channel

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        skip = self.inner(*args, **kwargs)
        return skip * (1 + self.factors(skip, self.spread, self.channel))


class Held:
    """The skip of one block in one pass."""

    skip: Tensor | None = None


class Holder(nn.Module):
    """A module that a skip passes through: its input, or what it made."""

    def __init__(self, inner: nn.Module, *, held: Held, made: bool) -> None:
        super().__init__()
        self.inner, self.held, self.made = inner, held, made

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self.made:
            self.held.skip = args[0]
        answer = self.inner(*args, **kwargs)
        if self.made:
            self.held.skip = answer
        return answer


class Added(Drawn):
    """The end of a branch, which adds what the skip, added as it is afterwards, lacks to its scaled self."""

    def __init__(self, inner: nn.Module, *, held: Held, name: str, spread: float, channel: int) -> None:
        super().__init__(inner, name)
        self.held, self.spread, self.channel = held, spread, channel

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        answer = self.inner(*args, **kwargs)
        skip, self.held.skip = self.held.skip, None
        assert skip is not None
        change = skip * self.factors(skip, self.spread, self.channel)
        return answer + change


class Eroded(Drawn):
    """An activation with some values dropped and the others enlarged, so that the mean stays."""

    def __init__(self, inner: nn.Module, *, name: str, drop: float) -> None:
        super().__init__(inner, name)
        self.drop = drop

    @override
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        keep = self.uniform(y, y.shape[1:]) >= self.drop
        return y * (keep.to(y.dtype) / (1 - self.drop))
