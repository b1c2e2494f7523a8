"""Crafting speed beside torchattacks: same network, same settings, in turn.

    python benchmarks/crafting.py [--rounds 15] [--threads 2] [--model vgg-small] [--shape 1 28 28]

Each round runs both, in alternating order, so that what else the machine does hits both alike; the ratio of a round is
torchattacks' time over carom's, and the table gives its median and range. torchattacks gets the classifier as it is,
carom the prepared one (frozen, batch norm folded), and cuts batches into its own chunks. "equal" is the share of pixels
within 1e-6. The last lines are carom alone: its throughput on one batch of 1,024 over that on 16 of 64, in turn.
With --tune-allocator this process keeps freed memory, which both profit from.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchattacks as untyped
from torch import Tensor, nn

from carom.attacks import craft_images, parse_attack
from carom.budget import Budget
from carom.protocols import Classifier, Combination
from carom.zoo.allocator import tune_allocator
from carom.zoo.architectures import architecture
from carom.zoo.classifier import create
from carom.zoo.prepare import prepare

torchattacks: Any = untyped
EIGHT = Budget.parse("linf", "8/255")
ATTACKS: dict[str, tuple[object, Callable[[nn.Module], Callable[[Tensor, Tensor], Tensor]]]] = {
    "fgsm": ("fgsm", lambda net: torchattacks.FGSM(net)),
    "pgd": ({"name": "bim", "step": "1/4"}, lambda net: torchattacks.PGD(net, random_start=False)),
    "mi": ({"name": "mi", "step": "1/4"}, lambda net: torchattacks.MIFGSM(net)),
}


@dataclass
class One:
    """A surrogate of one classifier."""

    network: nn.Module
    combination: Combination = "logits"

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        return [self.network]


@dataclass
class Result:
    """Seconds of each round, and how alike the images are."""

    carom: list[float]
    torchattacks: list[float]
    equal: float

    @property
    def ratios(self) -> list[float]:
        return [theirs / ours for ours, theirs in zip(self.carom, self.torchattacks, strict=True)]


def compare(name: str, classifier: nn.Module, batch: int, shape: tuple[int, int, int], rounds: int) -> Result:
    """Both on `batch` images, after one unmeasured round."""
    written, peer = ATTACKS[name]
    attack, theirs = parse_attack(written), peer(classifier)
    source = One(prepare(classifier))
    x = torch.rand(batch, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = torch.cat([classifier(part).argmax(1) for part in torch.tensor_split(x, max(1, batch // 64))])
    ids = torch.arange(batch)

    def carom() -> Tensor:
        return craft_images([(attack, EIGHT)], source, x, y, seed=0, ids=ids)[0].images

    both: list[Callable[[], Tensor]] = [carom, lambda: theirs(x, y)]
    images = [run() for run in both]
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            began = time.perf_counter()
            both[which]()
            seconds[which].append(time.perf_counter() - began)
    equal = float(((images[0] - images[1]).abs() <= 1e-6).double().mean())
    return Result(seconds[0], seconds[1], equal)


def large_over_small(name: str, classifier: nn.Module, shape: tuple[int, int, int], rounds: int) -> list[float]:
    """Own throughput on 1,024 images at once over that on 64 at a time, round by round."""
    attack, source = parse_attack(ATTACKS[name][0]), One(prepare(classifier))
    x = torch.rand(1024, *shape, generator=torch.Generator().manual_seed(0))
    y, ids = torch.zeros(1024, dtype=torch.int64), torch.arange(1024)

    def seconds(batch: int) -> float:
        began = time.perf_counter()
        for at in range(0, 1024, batch):
            rows = slice(at, at + batch)
            craft_images([(attack, EIGHT)], source, x[rows], y[rows], seed=0, ids=ids[rows])
        return time.perf_counter() - began

    seconds(64)
    ratios = []
    for turn in range(rounds):
        order = (64, 1024) if turn % 2 == 0 else (1024, 64)
        took = {batch: seconds(batch) for batch in order}
        ratios.append(took[64] / took[1024])
    return ratios


def make_classifier(model: str, shape: tuple[int, int, int], seed: int = 0) -> nn.Module:
    """Random weights, and batch norm statistics that make folding change every number."""
    classifier = create(architecture(model), shape=shape, classes=10, seed=seed, pretrained=False).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    for layer in classifier.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator) * 0.1)
            layer.running_var.copy_(torch.rand(layer.num_features, generator=generator) + 0.5)
    return classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--model", default="vgg-small")
    parser.add_argument("--shape", type=int, nargs=3, default=(1, 28, 28))
    parser.add_argument("--batches", type=int, nargs="+", default=(64, 1024))
    parser.add_argument("--tune-allocator", action="store_true")
    options = parser.parse_args()
    if options.tune_allocator and not tune_allocator():
        raise SystemExit("this C library has no allocator to tune; leave --tune-allocator out")
    torch.set_num_threads(options.threads)
    shape = tuple(options.shape)
    classifier = make_classifier(options.model, shape)
    print(f"{options.model} on {shape}, {options.threads} threads, torch {torch.__version__}")
    print(f"{'attack':8}{'batch':>6}{'rounds':>8}{'carom img/s':>13}{'ratio':>8}  {'range':14}{'equal':>10}")
    for batch in options.batches:
        for name in ATTACKS:
            rounds = options.rounds if batch <= 64 else max(3, options.rounds // 5)
            result = compare(name, classifier, batch, shape, rounds)
            speed = batch / statistics.median(result.carom)
            low, high = min(result.ratios), max(result.ratios)
            print(
                f"{name:8}{batch:6}{rounds:8}{speed:13.1f}{statistics.median(result.ratios):7.2f}x"
                f"  {low:.2f} to {high:.2f}  {result.equal:10.3%}",
                flush=True,
            )
    for name in ATTACKS:
        ratios = large_over_small(name, classifier, shape, max(5, options.rounds // 3))
        print(
            f"{name:8}1024 over 64: {statistics.median(ratios):.0%}  ({min(ratios):.0%} to {max(ratios):.0%})",
            flush=True,
        )


if __name__ == "__main__":
    main()
