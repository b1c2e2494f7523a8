"""What the elastic families share: counting, taking sub-networks out, and ordering channels."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from carom.zoo.preprocessing import Shape

from .space import Choice, Space


class Convolution(NamedTuple):
    """A convolution without bias and the batch norm behind it, to count by."""

    inputs: int  # of one group
    outputs: int
    kernel: int
    positions: int


class Channels(NamedTuple):
    """Channels that may be put in another order: each tensor by name, and the dimension where they stand."""

    made: tuple[str, ...]  # along dimension 0: kernels, norms
    read: tuple[str, ...]  # along dimension 1: kernels and matrices of the layers that read them


class Elastic:
    """What the elastic families share: each is a frozen dataclass that says how its blocks look.

    Attributes:
        choice: None for the elastic network; the name of a sub-network for a plain network of its sizes.
    """

    choice: str | None

    version: ClassVar[int]
    paper: ClassVar[str]
    family: ClassVar[str]

    @property
    def space(self) -> Space:
        """What can be chosen."""
        raise NotImplementedError

    def network(self, shape: Shape, classes: int) -> nn.Module:
        """The elastic network, whose forward pass is its largest sub-network; or the plain one that is chosen."""
        raise NotImplementedError

    def convolutions(self, choice: Choice, shape: Shape) -> list[Convolution]:
        """All of a sub-network's."""
        raise NotImplementedError

    def channels(self, kind: Literal["widths", "expansions"]) -> list[Channels]:
        """The channels of which a choice of this kind takes the first ones, in the elastic network."""
        raise NotImplementedError

    def chosen(self, weights: Mapping[str, Tensor]) -> Choice:
        """The choice that has tensors of these shapes, of several the first."""
        raise NotImplementedError

    def macs(self, choice: Choice, shape: Shape, classes: int) -> int:
        """Multiplications with weights for one image: convolutions and the linear layer, no norms and sums."""
        found = self.convolutions(choice, shape)
        return sum(c.inputs * c.outputs * c.kernel**2 * c.positions for c in found) + self._features(choice) * classes

    def parameters(self, choice: Choice, shape: Shape, classes: int) -> int:
        """Of the plain network of this choice."""
        layers = sum(c.inputs * c.outputs * c.kernel**2 + 2 * c.outputs for c in self.convolutions(choice, shape))
        return layers + (self._features(choice) + 1) * classes

    def extracted(self, weights: Mapping[str, Tensor], choice: Choice) -> dict[str, Tensor]:
        """Copies of the part of the elastic network's weights that a choice uses, for `of(choice)`.

        Raises:
            InputError: The choice is not of this space.
        """
        channels, classes = weights["stem.0.weight"].shape[1], len(weights["head.bias"])
        with torch.device("meta"):
            shapes = self.of(choice).network((channels, 8, 8), classes).state_dict()
        return {
            name: self._sized(weights, name, tuple(slice(n) for n in like.shape)).clone().contiguous()
            for name, like in shapes.items()
        }

    def of(self, choice: Choice) -> "Elastic":
        """The plain network of this choice.

        Raises:
            InputError: The choice is not of this space.
        """
        self.space.check(choice)
        return replace(self, choice=str(choice))  # type: ignore[type-var]

    def student(self, weights: Mapping[str, Tensor]) -> "Elastic":
        """What `weights` that were extracted are weights of: all of it stands in their names and shapes."""
        return self.of(self.chosen(weights))

    def sorted_channels(
        self, weights: Mapping[str, Tensor], kind: Literal["widths", "expansions"]
    ) -> dict[str, Tensor]:
        """The same function, with the channels that matter most first, so that a part of them is a good part.

        A channel matters as much as the sum of absolute weights with which later layers read it (Cai et al. 2020,
        arXiv:1908.09791).
        """
        found = dict(weights)
        for made, read in self.channels(kind):
            of_channel = [found[name].abs().movedim(1, 0).flatten(1).sum(1).double() for name in read]
            order = torch.stack(of_channel).sum(0).argsort(descending=True, stable=True)
            for name in made:
                found[name] = found[name].index_select(0, order)
            for name in read:
                found[name] = found[name].index_select(1, order)
        return found

    def _sized(self, weights: Mapping[str, Tensor], name: str, part: tuple[slice, ...]) -> Tensor:
        """The part of a tensor that a sub-network uses."""
        return weights[name][part]

    def _features(self, choice: Choice) -> int:
        """What the linear layer reads."""
        raise NotImplementedError
