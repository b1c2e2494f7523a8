"""The networks that the benchmarks attack, and images of their size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from carom.protocols import Classifier as ProtocolClassifier
from carom.protocols import Combination
from carom.scenarios.jobs.answers import with_precision
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.models.prepare import prepare
from carom.zoo.preprocessing import Shape

Mode = str
"""How carom runs a network: "float32", "bfloat16" (a declared precision), or "compiled" (bfloat16 through
torch.compile, for GPUs)."""
MODES: tuple[Mode, ...] = ("float32", "bfloat16", "compiled")


@dataclass(frozen=True, kw_only=True)
class ResNet18:
    """ResNet-18 as it is used on 32 x 32 pixels: a 3 x 3 stem that keeps the size, and no pool after it."""

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "He, Zhang, Ren and Sun 2016, arXiv:1512.03385"
    family: ClassVar[str] = "residual"

    def network(self, shape: Shape, classes: int) -> nn.Module:
        network = architecture("torchvision:resnet18").network((3, 64, 64), classes)
        assert isinstance(network.conv1, nn.Conv2d)
        network.conv1 = nn.Conv2d(shape[0], network.conv1.out_channels, 3, padding=1, bias=False)
        network.maxpool = nn.Identity()
        return network


@dataclass(frozen=True)
class Network:
    """One of the benchmarked networks.

    Attributes:
        title: For tables.
        shape: Of its images.
        make: Its architecture.
        classes: How many.
        batch: Images of a call.
        steps: Of the iterative attacks; fewer for heavy networks, whose steps are all alike.
        sampled_steps: Of the attacks that read several gradients a step.
        cost: Of one gradient, about, in those of the small network; for the time left.
    """

    title: str
    shape: Shape
    make: Callable[[], object]
    classes: int
    batch: int
    steps: int
    sampled_steps: int
    cost: float


NETWORKS = {
    "small": Network("small CNN 28", (1, 28, 28), lambda: architecture("vgg-small"), 10, 64, 10, 10, 1),
    "resnet18": Network("ResNet-18 32", (3, 32, 32), ResNet18, 10, 32, 3, 2, 14),
    "resnet50": Network(
        "ResNet-50 224", (3, 224, 224), lambda: architecture("torchvision:resnet50"), 1000, 8, 2, 1, 55
    ),
}


@dataclass
class One:
    """A surrogate of one classifier."""

    network: nn.Module
    combination: Combination = "logits"

    def members(self, step: int, copy: int) -> Sequence[ProtocolClassifier]:
        return [self.network]


def make_classifier(model: object, shape: Shape, seed: int = 0, classes: int = 10) -> nn.Module:
    """Random weights, and the batch norm statistics of random images, without which the logits would saturate.

    Args:
        model: An architecture, or the name of one.
        shape: Of the images.
        seed: Of the weights and of these images.
        classes: How many.
    """
    kind = architecture(model) if isinstance(model, str) else model
    classifier = create(kind, shape=shape, classes=classes, seed=seed, pretrained=False).train()  # type: ignore[arg-type]
    norms = [layer for layer in classifier.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = None  # the mean over the batches
    with torch.no_grad():
        for part in torch.split(images(shape, 16, torch.device("cpu"), seed + 1), 8):
            classifier(part)
    return classifier.eval()


def ready(classifier: nn.Module, mode: Mode) -> nn.Module:
    """The network as carom attacks it."""
    prepared = prepare(classifier)
    if mode == "float32":
        return prepared
    rounded = with_precision(prepared, "bfloat16")
    if mode == "bfloat16":
        return rounded
    compiled: nn.Module = torch.compile(rounded)  # type: ignore[assignment]
    return compiled


def images(shape: Shape, n: int, device: torch.device, seed: int = 0) -> Tensor:
    """Random images on the grid of 8 bits."""
    levels = torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(seed))
    return (levels.float() / 255).to(device)


def predicted(classifier: nn.Module, x: Tensor) -> Tensor:
    """The classes that a classifier gives, in batches of at most 64."""
    with torch.no_grad():
        return torch.cat([classifier(part).argmax(1) for part in torch.split(x, 64)])
