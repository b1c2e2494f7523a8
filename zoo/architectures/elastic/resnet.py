"""Residual network with bottlenecks whose widths, depths and expansions can be chosen."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn
from typing_extensions import override

from carom.errors import InputError
from carom.zoo.architectures.base import halved
from carom.zoo.preprocessing import Inputs, Shape

from .family import Channels, Convolution, Elastic
from .layers import ElasticNetwork, Maps, PartialLinear, Stage, convolve, normalise
from .space import Choice, Space, check_levels


class Size(NamedTuple):
    """Channels of a block."""

    middle: int
    outputs: int


class Bottleneck(nn.Module):
    """`relu(skip(x) + branch(x))`: the branch is 1x1, 3x3 and 1x1; the skip of a stage's first block is 1x1.

    Attributes:
        size: Of the part that is used; None for all.
    """

    def __init__(self, inputs: int, size: Size, stride: int, *, first: bool) -> None:
        super().__init__()
        middle, outputs = size
        self.conv1 = nn.Conv2d(inputs, middle, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(middle)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(middle, middle, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(middle, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.skip: nn.Module = nn.Identity()
        if first:  # always, as the widths of two stages are chosen apart
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()
        self.size: Size | None = None

    @override
    def forward(self, x: Inputs) -> Maps:
        part = self.size is not None
        middle, outputs = self.size or (None, None)
        y = self.relu1(normalise(self.norm1, convolve(self.conv1, x, middle), part=part))
        y = self.relu2(normalise(self.norm2, convolve(self.conv2, y, middle), part=part))
        y = normalise(self.norm3, convolve(self.conv3, y, outputs), part=part)
        skip = self.skip
        if part and isinstance(skip, nn.Sequential):
            short = normalise(skip[1], convolve(skip[0], x, outputs), part=True)
        else:
            short = skip(x)
        z: Tensor = self.relu(short + y)
        return z


class Stem(nn.Sequential):
    """Convolution, norm, ReLU, and a pool that halves the image.

    Attributes:
        outputs: Channels that are used; None for all.
    """

    outputs: int | None = None

    @override
    def forward(self, x: Inputs) -> Maps:
        conv, norm, *rest = self
        x = normalise(norm, convolve(conv, x, self.outputs), part=self.outputs is not None)
        for layer in rest:
            x = layer(x)
        return x


class _Network(ElasticNetwork):
    def __init__(self, layers: Mapping[str, nn.Module], architecture: "ElasticResNet") -> None:
        super().__init__(layers, architecture.space)
        self.architecture = architecture

    @override
    def _resize(self, choice: Choice | None) -> None:
        stem, stages = (None, []) if choice is None else self.architecture.sizes(choice)
        found = [stage for stage in self if isinstance(stage, Stage)]
        (first,) = [layer for layer in self if isinstance(layer, Stem)]
        first.outputs = stem
        for place, stage in enumerate(found):
            stage.kept = len(stages[place]) if stages else None
            for block, layer in enumerate(stage):
                assert isinstance(layer, Bottleneck)
                layer.size = stages[place][block] if stages and block < len(stages[place]) else None


@dataclass(frozen=True, kw_only=True)
class ElasticResNet(Elastic):
    """A residual network that holds many: widths, depths and expansions of its bottlenecks can be chosen.

    A stem that halves the image, then stages of bottlenecks; each stage but the first halves it again, and has twice as
    many channels. The forward pass is that of the largest sub-network; `choose` on the network takes another, by views
    of the weights. Family and levels as the residual space of ProARD (arXiv:2506.07666), made small.

    Attributes:
        width: Channels of the stem and the first stage, of the largest.
        stages: How many stages, at least 1.
        depth: Blocks of a stage, of the largest; one and two fewer can be chosen too, but at least one block.
        widths: Levels of the stem's and each stage's channels, as parts of the largest, in (0, 1], the last of them 1.
        expansions: Levels of a block's inner channels for each of its outputs, in (0, 4].
        choice: None for the elastic network; the name of a sub-network for a plain network of its sizes.

    Raises:
        InputError: Out of range, or a choice that is none.
    """

    width: int = 24
    stages: int = 3
    depth: int = 3
    widths: tuple[float, ...] = (0.5, 0.75, 1.0)
    expansions: tuple[float, ...] = (0.25, 0.35, 0.5)
    choice: str | None = None

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Mousavi, Loni, Jenihhin and Daneshtalab 2025, arXiv:2506.07666"
    family: ClassVar[str] = "residual"

    def __post_init__(self) -> None:
        for name in ("widths", "expansions"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        for name in ("width", "stages", "depth"):
            if getattr(self, name) < 1:
                raise InputError(f"elastic-resnet: {name} must be at least 1, got {getattr(self, name)}")
        check_levels("elastic-resnet", 1.0, widths=self.widths)
        check_levels("elastic-resnet", 4.0, expansions=self.expansions)
        if self.widths[-1] != 1:
            raise InputError(f"elastic-resnet: the last of widths must be 1, got {self.widths[-1]:g}")
        if self.choice is not None:
            object.__setattr__(self, "choice", str(self.space.parse(self.choice, where="elastic-resnet: choice")))

    @property
    @override
    def space(self) -> Space:
        depths = tuple(range(max(1, self.depth - 2), self.depth + 1))
        return Space(stages=self.stages, widths=self.widths, depths=depths, expansions=self.expansions)

    def sizes(self, choice: Choice) -> tuple[int, list[list[Size]]]:
        """Channels of the stem, and of each block of each stage."""
        stem, *widths = choice.widths
        expansions = iter(choice.expansions)
        stages = []
        for stage, (width, depth) in enumerate(zip(widths, choice.depths, strict=True)):
            outputs = _part(self.width * 2**stage, width)
            stages.append([Size(_part(outputs, next(expansions)), outputs) for _ in range(depth)])
        return _part(self.width, stem), stages

    @override
    def network(self, shape: Shape, classes: int) -> nn.Module:
        space = self.space
        inputs, stages = self.sizes(space.largest if self.choice is None else space.parse(self.choice))
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            stem=Stem(
                nn.Conv2d(shape[0], inputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=True),
            )
        )
        for stage, sizes in enumerate(stages):
            blocks = Stage()
            for block, size in enumerate(sizes):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Bottleneck(inputs, size, stride, first=block == 0))
                inputs = size.outputs
            layers[f"stage{stage + 1}"] = blocks
        layers["pool"] = nn.AdaptiveAvgPool2d(1)
        layers["flatten"] = nn.Flatten()
        if self.choice is not None:
            layers["head"] = nn.Linear(inputs, classes)
            return nn.Sequential(layers)
        layers["head"] = PartialLinear(inputs, classes)
        return _Network(layers, self)

    @override
    def convolutions(self, choice: Choice, shape: Shape) -> list[Convolution]:
        inputs, stages = self.sizes(choice)
        rows, columns = shape[1], shape[2]
        found = [Convolution(shape[0], inputs, 3, rows * columns)]
        rows, columns = halved(rows, 1), halved(columns, 1)
        for stage, sizes in enumerate(stages):
            for block, (middle, outputs) in enumerate(sizes):
                found.append(Convolution(inputs, middle, 1, rows * columns))
                if stage > 0 and block == 0:
                    rows, columns = halved(rows, 1), halved(columns, 1)
                found.append(Convolution(middle, middle, 3, rows * columns))
                found.append(Convolution(middle, outputs, 1, rows * columns))
                if block == 0:
                    found.append(Convolution(inputs, outputs, 1, rows * columns))
                inputs = outputs
        return found

    @override
    def chosen(self, weights: Mapping[str, Tensor]) -> Choice:
        widths = [_level(self.widths, self.width, len(weights["stem.0.weight"]))]
        depths, expansions = [], []
        for stage in range(1, self.stages + 1):
            blocks = sorted({int(name.split(".")[1]) for name in weights if name.startswith(f"stage{stage}.")})
            depths.append(len(blocks))
            for block in blocks:
                outputs, middle = weights[f"stage{stage}.{block}.conv3.weight"].shape[:2]
                if block == 0:
                    widths.append(_level(self.widths, self.width * 2 ** (stage - 1), outputs))
                expansions.append(_level(self.expansions, outputs, middle))
        return Choice(widths=tuple(widths), depths=tuple(depths), expansions=tuple(expansions))

    @override
    def channels(self, kind: Literal["widths", "expansions"]) -> list[Channels]:
        blocks = [[f"stage{stage}.{block}" for block in range(self.depth)] for stage in range(1, self.stages + 1)]
        if kind == "expansions":
            return [
                channels
                for name in (name for stage in blocks for name in stage)
                for channels in (
                    Channels(_made(f"{name}.conv1", f"{name}.norm1"), (f"{name}.conv2.weight",)),
                    Channels(_made(f"{name}.conv2", f"{name}.norm2"), (f"{name}.conv3.weight",)),
                )
            ]
        made = [_made("stem.0", "stem.1")]
        for stage in blocks:
            ends = [name for block in stage for name in _made(f"{block}.conv3", f"{block}.norm3")]
            made.append((*ends, *_made(f"{stage[0]}.skip.0", f"{stage[0]}.skip.1")))
        read = [(f"{stage[0]}.conv1.weight", f"{stage[0]}.skip.0.weight") for stage in blocks]
        later = [(), *(tuple(f"{block}.conv1.weight" for block in stage[1:]) for stage in blocks)]
        return [Channels(m, (*own, *then)) for m, own, then in zip(made, later, [*read, ("head.weight",)], strict=True)]

    @override
    def _features(self, choice: Choice) -> int:
        return self.sizes(choice)[1][-1][-1].outputs


def _made(conv: str, norm: str) -> tuple[str, ...]:
    return (f"{conv}.weight", *(f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")))


def _part(channels: int, share: float) -> int:
    return max(1, round(channels * share))


def _level(levels: tuple[float, ...], channels: int, found: int) -> float:
    """The level that makes `found` of so many channels.

    Raises:
        InputError: None does.
    """
    for level in levels:
        if _part(channels, level) == found:
            return level
    raise InputError(f"elastic-resnet: no level makes {found} of {channels} channels; these are weights of another one")
