"""Inverted residuals whose kernels, depths and expansions can be chosen."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from carom.errors import InputError
from carom.zoo.architectures.base import halved
from carom.zoo.preprocessing import Inputs, Shape

from .family import Channels, Convolution, Elastic
from .layers import ElasticNetwork, Maps, Stage, convolve, normalise
from .space import Choice, Space, check_levels

Kernels = Float[Tensor, "d 1 i i"]


class Size(NamedTuple):
    """Inner channels of a block, and rows of its kernel."""

    middle: int
    kernel: int


class InvertedResidual(nn.Module):
    """1x1 to more channels, a kernel for each channel alone, and 1x1 back; added to its input where sizes allow.

    A smaller kernel is the middle of the next larger one, times a matrix that starts as the identity (Cai et al. 2020,
    arXiv:1908.09791).

    Attributes:
        size: Of the part that is used; None for all.
    """

    def __init__(
        self, inputs: int, outputs: int, size: Size, stride: int, *, skip: bool, kernels: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        middle, kernel = size
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(middle)
        self.relu1 = nn.ReLU6()
        self.conv2 = nn.Conv2d(middle, middle, kernel, stride, kernel // 2, groups=middle, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.relu2 = nn.ReLU6()
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        if kernels:  # of three dimensions, so that weight decay does not draw them away from the identity
            self.shrink = nn.ParameterDict({str(k): nn.Parameter(torch.eye(k * k)[None]) for k in kernels[:-1]})
        self.skip = skip
        self.size: Size | None = None

    @override
    def forward(self, x: Inputs) -> Maps:
        part = self.size is not None
        middle, kernel = None, None
        if self.size is not None:
            middle = self.size.middle
            kernel = shrunk(self.conv2.weight, {int(k): matrix for k, matrix in self.shrink.items()}, self.size.kernel)
        y = self.relu1(normalise(self.norm1, convolve(self.conv1, x, middle), part=part))
        y = self.relu2(normalise(self.norm2, convolve(self.conv2, y, middle, kernel), part=part))
        outputs = self.conv3.out_channels if part else None
        y = normalise(self.norm3, convolve(self.conv3, y, outputs), part=part)
        z: Tensor = x + y if self.skip else y
        return z


def shrunk(kernel: Kernels, matrices: Mapping[int, Float[Tensor, "1 q q"]], size: int) -> Float[Tensor, "d 1 j j"]:
    """A kernel of `size` rows from a larger one, through all sizes between that have a matrix."""
    for rows in sorted((rows for rows in matrices if size <= rows < kernel.shape[-1]), reverse=True):
        border = (kernel.shape[-1] - rows) // 2
        middle = kernel[:, :, border : border + rows, border : border + rows]
        kernel = (middle.flatten(1) @ matrices[rows][0].T).reshape(-1, 1, rows, rows)
    return kernel


class _Network(ElasticNetwork):
    def __init__(self, layers: Mapping[str, nn.Module], architecture: "ElasticMobile") -> None:
        super().__init__(layers, architecture.space)
        self.architecture = architecture

    @override
    def _resize(self, choice: Choice | None) -> None:
        stages = [] if choice is None else self.architecture.sizes(choice)
        for place, stage in enumerate(stage for stage in self if isinstance(stage, Stage)):
            stage.kept = len(stages[place]) if stages else None
            for block, layer in enumerate(stage):
                assert isinstance(layer, InvertedResidual)
                layer.size = stages[place][block] if stages and block < len(stages[place]) else None


@dataclass(frozen=True, kw_only=True)
class ElasticMobile(Elastic):
    """Inverted residuals that hold many networks: kernels, depths and expansions of the blocks can be chosen.

    A stem that halves the image, then stages of inverted residuals; each stage but the first halves it again, and has
    twice as many channels, which are fixed. The forward pass is that of the largest sub-network; `choose` on the
    network takes another, by views of the weights (smaller kernels are computed). Family and levels as the MobileNet
    space of Once-for-All (Cai et al. 2020, arXiv:1908.09791) and ProARD, made small.

    Attributes:
        width: Channels of the stem and the first stage.
        stages: How many stages, at least 1.
        depth: Blocks of a stage, of the largest; one and two fewer can be chosen too, but at least one block.
        expansions: Levels of a block's inner channels for each of its inputs, in (0, 12].
        kernels: Levels of a block's kernel, odd, from 1 to 15 rows.
        choice: None for the elastic network; the name of a sub-network for a plain network of its sizes.

    Raises:
        InputError: Out of range, or a choice that is none.
    """

    width: int = 8
    stages: int = 3
    depth: int = 4
    expansions: tuple[float, ...] = (3.0, 4.0, 6.0)
    kernels: tuple[int, ...] = (3, 5, 7)
    choice: str | None = None

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Mousavi, Loni, Jenihhin and Daneshtalab 2025, arXiv:2506.07666"
    family: ClassVar[str] = "cnn"

    def __post_init__(self) -> None:
        object.__setattr__(self, "expansions", tuple(float(value) for value in self.expansions))
        for name in ("width", "stages", "depth"):
            if getattr(self, name) < 1:
                raise InputError(f"elastic-mobile: {name} must be at least 1, got {getattr(self, name)}")
        check_levels("elastic-mobile", 12.0, expansions=self.expansions)
        check_levels("elastic-mobile", 15.0, kernels=self.kernels)
        if even := [k for k in self.kernels if k % 2 == 0]:
            raise InputError(f"elastic-mobile: kernels must be odd, got {even[0]}")
        if self.choice is not None:
            object.__setattr__(self, "choice", str(self.space.parse(self.choice, where="elastic-mobile: choice")))

    @property
    @override
    def space(self) -> Space:
        depths = tuple(range(max(1, self.depth - 2), self.depth + 1))
        return Space(stages=self.stages, depths=depths, expansions=self.expansions, kernels=self.kernels)

    def sizes(self, choice: Choice) -> list[list[Size]]:
        """Of each block of each stage."""
        expansions, kernels = iter(choice.expansions), iter(choice.kernels)
        stages = []
        for stage, depth in enumerate(choice.depths):
            ways = [self._inputs(stage, block) for block in range(depth)]
            stages.append([Size(_inner(inputs, next(expansions)), next(kernels)) for inputs in ways])
        return stages

    def _inputs(self, stage: int, block: int) -> int:
        """What a block reads."""
        return self.width << max(0, stage - (block == 0))

    @override
    def network(self, shape: Shape, classes: int) -> nn.Module:
        space = self.space
        elastic = self.choice is None
        stages = self.sizes(space.largest if self.choice is None else space.parse(self.choice))
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            stem=nn.Sequential(
                nn.Conv2d(shape[0], self.width, 3, 2, 1, bias=False), nn.BatchNorm2d(self.width), nn.ReLU6()
            )
        )
        outputs = self.width
        for stage, sizes in enumerate(stages):
            outputs = self.width * 2**stage
            layers[f"stage{stage + 1}"] = Stage(
                *(
                    InvertedResidual(
                        self._inputs(stage, block),
                        outputs,
                        size,
                        stride=2 if stage > 0 and block == 0 else 1,
                        skip=block > 0,
                        kernels=self.kernels if elastic else (),
                    )
                    for block, size in enumerate(sizes)
                )
            )
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        layers["head"] = nn.Linear(outputs, classes)
        return _Network(layers, self) if elastic else nn.Sequential(layers)

    @override
    def convolutions(self, choice: Choice, shape: Shape) -> list[Convolution]:
        rows, columns = halved(shape[1], 1), halved(shape[2], 1)
        found = [Convolution(shape[0], self.width, 3, rows * columns)]
        for stage, sizes in enumerate(self.sizes(choice)):
            for block, (middle, kernel) in enumerate(sizes):
                found.append(Convolution(self._inputs(stage, block), middle, 1, rows * columns))
                if stage > 0 and block == 0:
                    rows, columns = halved(rows, 1), halved(columns, 1)
                found.append(Convolution(1, middle, kernel, rows * columns))
                found.append(Convolution(middle, self.width * 2**stage, 1, rows * columns))
        return found

    @override
    def chosen(self, weights: Mapping[str, Tensor]) -> Choice:
        depths, expansions, kernels = [], [], []
        for stage in range(self.stages):
            prefix = f"stage{stage + 1}."
            blocks = sorted({int(name.split(".")[1]) for name in weights if name.startswith(prefix)})
            depths.append(len(blocks))
            for block in blocks:
                kernel = weights[f"{prefix}{block}.conv2.weight"]
                expansions.append(self._expansion(self._inputs(stage, block), len(kernel)))
                kernels.append(int(kernel.shape[-1]))
        return Choice(depths=tuple(depths), expansions=tuple(expansions), kernels=tuple(kernels))

    def _expansion(self, inputs: int, middle: int) -> float:
        for expansion in self.expansions:
            if _inner(inputs, expansion) == middle:
                return expansion
        raise InputError(
            f"elastic-mobile: no expansion makes {middle} of {inputs} channels; these are weights of another one"
        )

    @override
    def channels(self, kind: Literal["widths", "expansions"]) -> list[Channels]:
        if kind == "widths":
            return []
        found = []
        for name in (f"stage{s}.{b}" for s in range(1, self.stages + 1) for b in range(self.depth)):
            norms = (f"{name}.{norm}.{part}" for norm in ("norm1", "norm2") for part in _NORM)
            made = (f"{name}.conv1.weight", f"{name}.conv2.weight", *norms)
            found.append(Channels(made, (f"{name}.conv3.weight",)))
        return found

    @override
    def _sized(self, weights: Mapping[str, Tensor], name: str, part: tuple[slice, ...]) -> Tensor:
        if not name.endswith("conv2.weight"):
            return super()._sized(weights, name, part)
        block = name.removesuffix("conv2.weight")
        sizes = pairwise(self.kernels)
        matrices = {small: weights[f"{block}shrink.{small}"] for small, _ in sizes}
        return shrunk(weights[name], matrices, part[-1].stop)[part[0]]

    @override
    def _features(self, choice: Choice) -> int:
        return self.width << (self.stages - 1)


_NORM = ("weight", "bias", "running_mean", "running_var")


def _inner(inputs: int, expansion: float) -> int:
    return max(1, round(inputs * expansion))
