"""Adversarial images that other projects' code made, read from a folder: images, networks, arguments, draws, outputs.

The folder is named by CAROM_RECORDED_DIR. Nothing of it is known here but its form: another recording in the same form
can take its place. Everything is float64.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from typing_extensions import override

from carom.attacks import Gradients, Iterative, Oracle
from carom.budget import Budget, Norm
from carom.draws import Draws
from carom.protocols import Attack, Combination

FOLDER = os.environ.get("CAROM_RECORDED_DIR", "")
needs_recording = pytest.mark.skipif(not FOLDER, reason="set CAROM_RECORDED_DIR to a folder of recorded outputs")


@dataclass(frozen=True, eq=False)
class Given(Draws):
    """Draws that come from outside: an attack that is handed them takes these numbers in place of its own.

    Attributes:
        answer: What is drawn: of which kind ("bits", "uniform", "integers", "normal"), for which purpose, for how many
            images, in which shape, at which step, for which copy. None leaves the draw to the usual function.
    """

    answer: Callable[["Asked"], Tensor | None]

    @override
    def bits(self, purpose: str, shape: Sequence[int] = (), *, step: int = 0, copy: int = 0) -> Int[Tensor, "n ..."]:
        given = self._given("bits", purpose, shape, step, copy)
        return super().bits(purpose, shape, step=step, copy=copy) if given is None else given.long()

    @override
    def uniform(
        self, purpose: str, shape: Sequence[int] = (), *, step: int = 0, copy: int = 0
    ) -> Float[Tensor, "n ..."]:
        given = self._given("uniform", purpose, shape, step, copy)
        return super().uniform(purpose, shape, step=step, copy=copy) if given is None else given.double()

    @override
    def integers(
        self, purpose: str, high: int, shape: Sequence[int] = (), *, step: int = 0, copy: int = 0
    ) -> Int[Tensor, "n ..."]:
        given = self._given("integers", purpose, shape, step, copy, high)
        return super().integers(purpose, high, shape, step=step, copy=copy) if given is None else given.long()

    @override
    def normal(
        self, purpose: str, shape: Sequence[int] = (), *, step: int = 0, copy: int = 0
    ) -> Float[Tensor, "n ..."]:
        given = self._given("normal", purpose, shape, step, copy)
        return super().normal(purpose, shape, step=step, copy=copy) if given is None else given.double()

    @override
    def select(self, index: slice | Int[Tensor, " m"]) -> "Given":
        return Given(self.seed, self.ids[index], self.answer)

    @override
    def shared(self, device: torch.device) -> "Given":
        return Given(self.seed, super().shared(device).ids, self.answer)

    def _given(
        self, kind: str, purpose: str, shape: Sequence[int], step: int, copy: int, high: int = 0
    ) -> Tensor | None:
        asked = Asked(kind, purpose, len(self.ids), tuple(shape), step, copy, high, tuple(self.ids.tolist()))
        given = self.answer(asked)
        return None if given is None else given.expand(len(self.ids), *shape).to(self.ids.device)


@dataclass(frozen=True)
class Asked:
    """One question of an attack to its draws; `ids` are those of the images it is about."""

    kind: str
    purpose: str
    n: int
    shape: tuple[int, ...]
    step: int
    copy: int
    high: int
    ids: tuple[int, ...]


@dataclass
class Bank:
    """The recorded noise: the i-th uniform (normal) tensor asked for is the beginning of entry i, in that shape.

    Attributes:
        uniform: `entries ...`, in (-1, 1).
        normal: `entries ...`.
        taken: How many of each were asked for.
    """

    uniform: Tensor
    normal: Tensor
    taken: dict[str, int] = field(default_factory=lambda: {"uniform": 0, "normal": 0})

    def __call__(self, asked: Asked) -> Tensor | None:
        """The next entry; a uniform draw in [0, 1) is (u + 1) / 2."""
        if asked.kind not in self.taken:
            return None
        entry = self.taken[asked.kind]
        self.taken[asked.kind] += 1
        return self.at(asked.kind, entry, (asked.n, *asked.shape))

    def at(self, kind: str, entry: int, shape: Sequence[int]) -> Tensor:
        """One entry, in a shape of at most its size."""
        bank: Tensor = getattr(self, kind)
        values = bank[entry % len(bank)].flatten()[: int(np.prod(shape, dtype=int))].reshape(tuple(shape))
        return (values + 1) / 2 if kind == "uniform" else values


@dataclass(frozen=True)
class Entry:
    """One recorded run.

    Attributes:
        name: Of its file.
        cls: The class that was run.
        arguments: Its arguments.
        networks: Names of the networks, several for an ensemble.
        targeted: Whether it aimed at the targets.
        alone: Whether it ran one image at a time.
        note: What else is known of it.
        arrays: What was recorded: "adv", "adv_1", ...
    """

    name: str
    cls: str
    arguments: Mapping[str, Any]
    networks: tuple[str, ...]
    targeted: bool
    alone: bool
    note: str
    arrays: Mapping[str, Any]

    def number(self, name: str, default: float | None = None) -> Fraction:
        """A numeric argument, exactly: floats are taken as the numbers they are, texts as fractions of whole ones."""
        value = self.arguments.get(name, default)
        if not isinstance(value, str):
            return Fraction(value)
        first, *others = value.split("/")
        number = Fraction(first)
        for other in others:
            number /= int(other)
        return number

    @property
    def eps(self) -> Fraction:
        """The radius."""
        return self.number("epsilon" if "epsilon" in self.arguments else "eps")

    @property
    def budget(self) -> Budget:
        """The ball."""
        norm: Norm = "l2" if str(self.arguments.get("norm", "linf")).lower() == "l2" else "linf"
        return Budget(norm=norm, eps=self.eps)

    @property
    def step(self) -> Fraction:
        """The step size in units of eps."""
        name = next((name for name in ("alpha", "step") if self.arguments.get(name) is not None), None)
        return Fraction(1) if name is None else self.number(name) / self.eps

    @property
    def steps(self) -> int:
        """How many."""
        return int(self.arguments.get("epoch", self.arguments.get("total_step", 1)))

    @property
    def kernel(self) -> int | None:
        """Side of the kernel that smooths each gradient as it is read, or None."""
        if "kernel_size" in self.arguments:
            return int(self.arguments["kernel_size"])
        said = re.search(r"replaced by that of \S*tim\.py \(kernel (\d+)\)", self.note)
        return None if said is None else int(said[1])

    @property
    def decay(self) -> float:
        """Of the momentum."""
        return float(self.number("decay", 1))

    @property
    def point(self) -> str:
        """The layer whose features are attacked."""
        (name,) = (name for name in ("layer", "layer_name", "feature_layer") if name in self.arguments)
        return str(self.arguments[name])

    def small_draws(self, rows: slice) -> list[list[Any]]:
        """Draws of few numbers for these images in the order in which they were made, as [function, value ...]."""
        drawn = json.loads(str(self.arrays["draws_json"])) if "draws_json" in self.arrays else []
        return drawn[rows.start] if self.alone else drawn

    def array(self, name: str) -> Tensor:
        """A recorded array."""
        return torch.from_numpy(self.arrays[name])


@dataclass
class Ensemble:
    """Networks as a gradient source, all of them active."""

    networks: Sequence[nn.Module]
    combination: Combination = "logits"

    def members(self, step: int, copy: int) -> Sequence[nn.Module]:
        return self.networks


class Recording:
    """A folder of recorded outputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._networks: dict[str, nn.Module] = {}
        with np.load(folder / "images.npz") as file:
            self.x, self.y, self.targets = (torch.from_numpy(file[name]) for name in ("images", "labels", "targets"))
        self.index: dict[str, Any] = json.loads((folder / "outputs" / "index.json").read_text())["attacks"]

    @cached_property
    def _noise(self) -> tuple[Tensor, Tensor]:
        with np.load(self.folder / "draws.npz") as file:
            uniform, normal = (torch.from_numpy(file[name].astype(np.float64)) for name in ("uniform", "normal"))
        return (2 * uniform + 1) / 256, normal

    def bank(self) -> Bank:
        """The noise, from its first entry on."""
        return Bank(*self._noise)

    def entry(self, name: str) -> Entry:
        """A recorded run."""
        said = self.index[name]
        networks = said["network"]
        with np.load(self.folder / "outputs" / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        return Entry(
            name=name,
            cls=said["cls"],
            arguments=said["arguments"],
            networks=(networks,) if isinstance(networks, str) else tuple(networks),
            targeted=said["targeted"],
            alone=said["one_image_at_a_time"],
            note=said["note"],
            arrays=arrays,
        )

    def network(self, name: str) -> nn.Module:
        """A network with its weights, frozen, in evaluation mode; its logits are those that were recorded."""
        if name not in self._networks:
            with np.load(self.folder / "networks" / f"{name}.npz") as file:
                arrays = {key: torch.from_numpy(file[key]) for key in file.files}
            logits = arrays.pop("__logits")
            off: list[float] = []
            for like in _like(arrays, self.x.shape[2]):
                net = Standardised(like).double()
                missing, unexpected = net.network.load_state_dict(arrays, strict=False)
                assert not unexpected
                assert all(key.endswith("num_batches_tracked") for key in missing)
                net.eval().requires_grad_(False)
                off.append(float((net(self.x) - logits).abs().max()))
                if off[-1] <= 1e-12:
                    self._networks[name] = net
                    break
            assert name in self._networks, (name, off)
        return self._networks[name]

    def gradients(self, entry: Entry, rows: slice, **more: Any) -> Gradients:
        """What an attack on these images sees in this run."""
        source = Ensemble([self.network(name) for name in entry.networks])
        x, y, target = self.x[rows], self.y[rows], self.targets[rows] if entry.targeted else None
        return Gradients(source, x, y, target, **more)

    def run(
        self,
        entry: Entry,
        attack: Attack,
        budget: Budget | None = None,
        *,
        answer: Callable[[slice], Callable[[Asked], Tensor | None]] | None = None,
        **more: Any,
    ) -> dict[str, Tensor]:
        """What the attack makes in place of the recorded code: "adv", and of a loop "adv_1" and "adv_2".

        Args:
            entry: Which run.
            attack: What to run.
            budget: None for the ball of the run.
            answer: For the rows of each call of the attack, what answers its draws; None for the bank's noise.
            more: What `Gradients` takes beside images and classes.
        """
        n = len(entry.arrays["adv"])
        made: dict[str, list[Tensor]] = {}
        for rows in [slice(i, i + 1) for i in range(n)] if entry.alone else [slice(0, n)]:
            gradients = self.gradients(entry, rows, **more)
            if not isinstance(attack, Iterative) and len(entry.networks) == 1:
                gradients.oracle = Oracle(self.network(entry.networks[0]), rows.stop - rows.start)
            draws = Given(0, torch.arange(n)[rows], self.bank() if answer is None else answer(rows))
            for key, images in _stages(attack, gradients, budget or entry.budget, draws):
                made.setdefault(key, []).append(images)
        return {key: torch.cat(images) for key, images in made.items() if key in entry.arrays}


def _stages(attack: Attack, gradients: Gradients, budget: Budget, draws: Draws) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(attack, Iterative):
        yield "adv", attack(gradients, budget, draws)
        return
    last = gradients.x
    for step, last in enumerate(attack.trace(gradients, budget, draws), start=1):
        if step <= 2:
            yield f"adv_{step}", last.clone()
    yield "adv", last


@cache
def recording() -> Recording:
    """The recording that CAROM_RECORDED_DIR names."""
    return Recording(Path(FOLDER))


def names(*classes: str) -> list[str]:
    """Names of the recorded runs of these classes, of all where none is given; none where there is no recording."""
    if not FOLDER:
        return []
    return [name for name, said in recording().index.items() if not classes or said["cls"] in classes]


def differ(made: Mapping[str, Tensor], entry: Entry, above: float) -> dict[str, float]:
    """For each recorded stage the share of numbers that differ by more than `above`."""
    assert "adv" in made
    return {key: float(((images - entry.array(key)).abs() > above).double().mean()) for key, images in made.items()}


def assert_equal(made: Mapping[str, Tensor], entry: Entry, tolerance: float = 1e-9) -> None:
    """Every recorded stage is met, in its order: a difference at step 1 is in the gradient, a later one is not."""
    off = {key: float((made[key] - entry.array(key)).abs().max()) for key in sorted(made, key=len, reverse=True)}
    assert "adv" in made
    assert max(off.values()) <= tolerance, (entry.name, off, differ(made, entry, tolerance))


class Standardised(nn.Module):
    """A network behind (x - 0.5) / 0.25."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x - 0.5) / 0.25)
        return logits


class ResNet(nn.Module):
    """A residual network for small images, of torchvision's blocks, in four stages."""

    def __init__(self, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        block = Bottleneck if "layer1.0.conv3.weight" in arrays else BasicBlock
        inside, channels, side = arrays["conv1.weight"].shape[:3]
        self.conv1, self.bn1 = nn.Conv2d(channels, inside, side, 1, side // 2, bias=False), nn.BatchNorm2d(inside)
        self.relu, self.maxpool = nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        for stage in range(1, 5):
            blocks: list[nn.Module] = []
            while f"layer{stage}.{len(blocks)}.conv1.weight" in arrays:
                name = f"layer{stage}.{len(blocks)}"
                width = len(arrays[f"{name}.conv1.weight"])
                stride = 2 if stage > 1 and not blocks else 1
                shortcut: nn.Module | None = None
                if f"{name}.downsample.0.weight" in arrays:
                    outside = width * block.expansion
                    projection = nn.Conv2d(inside, outside, 1, stride, bias=False)
                    shortcut = nn.Sequential(projection, nn.BatchNorm2d(outside))
                blocks.append(block(inside, width, stride, shortcut))
                inside = width * block.expansion
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inside, len(arrays["fc.weight"]))

    @override
    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def _plain(arrays: Mapping[str, Tensor]) -> nn.Sequential:
    """Convolutions with a ReLU behind each, the first without stride and the others with one of 2, then a matrix."""
    layers: list[nn.Module] = []
    for weight in (values for key, values in arrays.items() if key.endswith("weight")):
        if weight.ndim == 2:
            layers += [nn.Flatten(), nn.Linear(weight.shape[1], len(weight))]
        else:
            side = weight.shape[2]
            layers += [nn.Conv2d(weight.shape[1], len(weight), side, 2 if layers else 1, side // 2), nn.ReLU()]
    return nn.Sequential(*layers)


def _transformer(arrays: Mapping[str, Tensor], side: int, heads: int) -> VisionTransformer:
    """A pre-norm transformer with a class token."""
    width, channels, patch = arrays["patch_embed.proj.weight"].shape[:3]
    return VisionTransformer(
        img_size=side,
        patch_size=patch,
        in_chans=channels,
        num_classes=len(arrays["head.weight"]),
        embed_dim=width,
        depth=len({key.split(".")[1] for key in arrays if key.startswith("blocks.")}),
        num_heads=heads,
        mlp_ratio=len(arrays["blocks.0.mlp.fc1.weight"]) / width,
    )


def _like(arrays: Mapping[str, Tensor], side: int) -> Iterator[nn.Module]:
    """The networks that may have these arrays, for images of this side: no array says how many heads there are."""
    if "pos_embed" in arrays:
        width = arrays["pos_embed"].shape[2]
        yield from (_transformer(arrays, side, heads) for heads in range(1, width + 1) if width % heads == 0)
    else:
        yield ResNet(arrays) if "bn1.weight" in arrays else _plain(arrays)
