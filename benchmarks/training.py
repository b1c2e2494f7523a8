"""What training costs beside a plain eager loop, in float32 and bfloat16, and what it costs in accuracy and transfer.

    python benchmarks/training.py [--rounds 7] [--json FILE] [--quick] [--accuracy]

The plain loop does the same arithmetic: the same images, augmentation, optimizer and batches, one after the other,
images as they lie (n c h w), the optimizer as it comes, the loss read at each step. The two sides take turns; medians,
ranges and rounds are shown. `--accuracy` trains both precisions on Fashion-MNIST with several seeds, and compares clean
accuracy and transfer to a network of another seed.
"""

import argparse
from functools import partial
from math import ceil
from pathlib import Path
from typing import cast

import measure
import numpy as np
import torch
from measure import Progress, in_turn, ratio, seconds
from networks import NETWORKS
from torch import nn

from carom.attacks import craft, parse_attack
from carom.budget import Budget
from carom.scenarios.statistics import VarianceComponents
from carom.surrogates import Surrogate
from carom.zoo.architectures import Architecture, architecture
from carom.zoo.models.classifier import create
from carom.zoo.models.prepare import prepare
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.augment import draw, warp
from carom.zoo.training.loop import train
from carom.zoo.training.recipes import Recipe

ASKED = {"float32": 1.4, "bfloat16": 2.1}


def some(shape: tuple[int, int, int], n: int, seed: int) -> ImageSet:
    """Noise of ten classes."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(n) % 10, torch.arange(n))


def plain(recipe: Recipe, images: ImageSet, seed: int) -> None:
    """One epoch, written as tutorials do."""
    network, small = NETWORKS["small"], cast("Architecture", NETWORKS["small"].make())
    model = create(small, shape=network.shape, classes=10, seed=seed).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    x, y = images.pixels, images.labels
    generator = torch.Generator().manual_seed(seed)
    for index in torch.split(torch.randperm(len(images), generator=generator), recipe.batch_size):
        batch = warp(x[index], draw(recipe, len(index), (x.shape[2], x.shape[3]), generator))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(batch), y[index])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()


def speed(rounds: int, n: int) -> dict[str, measure.Spread]:
    """The plain loop's time over ours, by precision."""
    network = NETWORKS["small"]
    images, validation = some(network.shape, n, 0), some(network.shape, 10, 1)
    cpu = torch.device("cpu")

    def recipe(precision: str) -> Recipe:
        return Recipe(epochs=1, batch_size=64, optimizer="sgd", learning_rate=0.01, precision=precision)  # type: ignore[arg-type]

    def ours(precision: str) -> None:
        train(
            recipe(precision),
            cast("Architecture", network.make()),
            train=images,
            validation=validation,
            classes=10,
            seed=0,
        )

    ways = {"plain": partial(plain, recipe("float32"), images, 0), **{p: partial(ours, p) for p in ASKED}}
    for way in ways.values():
        way()
    took = in_turn({name: partial(seconds, way, cpu) for name, way in ways.items()}, rounds)
    return {precision: ratio(took["plain"], took[precision]) for precision in ASKED}


def accuracy(seeds: int, n: int, epochs: int) -> dict[str, list[tuple[float, float]]]:
    """Clean accuracy, and transfer of MI to a network of another seed, by precision and seed."""
    from carom.zoo.tasks import TASKS

    task = TASKS["fashion-mnist"]()
    learn, validation = task.load("original", "train", "a"), task.load("original", "validation")
    learn, held = learn.select(torch.arange(n)), validation.select(torch.arange(2000))
    network = architecture("vgg-small")
    budget = Budget.parse("linf", "16/255")
    progress = Progress(2 * seeds + 1)

    def trained(precision: str, seed: int) -> nn.Module:
        recipe = Recipe(
            epochs=ceil(epochs), batch_size=64, optimizer="sgd", learning_rate=0.05, weight_decay=5e-4,
            precision=precision,  # type: ignore[arg-type]
        )  # fmt: skip
        model = train(recipe, network, train=learn, validation=held, classes=10, seed=seed).classifier()
        progress.step(f"{precision} seed {seed}")
        return prepare(model)

    victim = trained("float32", 99)
    with torch.inference_mode():
        right = victim(held.pixels).argmax(1) == held.labels
    found: dict[str, list[tuple[float, float]]] = {precision: [] for precision in ASKED}
    for seed in range(seeds):
        for precision in ASKED:
            model = trained(precision, seed)
            made = craft(
                [(parse_attack("mi", where="mi"), budget)],
                Surrogate((model,)),
                held.images,
                held.labels,
                seed=0,
                ids=held.ids,
            )[0]
            with torch.inference_mode():
                clean = (model(held.pixels).argmax(1) == held.labels).float().mean()
                fooled = (victim(made.images.float() / 255).argmax(1) != held.labels)[right].float().mean()
            found[precision].append((float(clean), float(fooled)))
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--accuracy", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds, n = (2, 512) if options.quick else (options.rounds, 4096)
    record: dict[str, object] = {}
    print("training the small CNN, batch 64, one thread: a plain eager loop's time over carom's")
    for precision, spread in speed(rounds, n).items():
        print(f"  {precision:9} {spread}   asked: {ASKED[precision]}x")
        record[precision] = spread.record()
    if options.accuracy:
        found = accuracy(2 if options.quick else 5, 1000 if options.quick else 6000, 2 if options.quick else 8)
        record["accuracy"] = found
        for place, what in enumerate(("clean accuracy", "transfer of MI")):
            wide, narrow = (np.array([pair[place] for pair in found[p]]) for p in ASKED)
            difference = 100 * (narrow - wide)
            seeds = len(difference)
            spread95 = VarianceComponents(
                parts=((float(difference.var(ddof=1)) / seeds, float(seeds - 1)),)
            ).half_width()
            print(
                f"  {what}: float32 {wide.mean():.1%}, bfloat16 {narrow.mean():.1%}, difference "
                f"{difference.mean():+.2f} points +- {spread95:.2f} (t over {seeds} seeds)"
            )
    measure.write(options.json, measure.environment(torch.device("cpu"), 1), [record])


if __name__ == "__main__":
    main()
