"""How much of an adversarial training's time is its networks'.

    python benchmarks/adversarial_training.py [--networks resnet-small vgg-small] [--rounds 9] [--json FILE] [--quick]

The floor of a step of PGD-AT with k steps of attack on a batch of 64 images of 1x28x28 is what a training without any
book-keeping would take: k times forward in eval mode and backward to the images alone, once forward in training mode
and backward to the weights. Against it stands a step as the training loop takes it: augmentation, random start,
projections, counting and the optimizer's step are in it. The two take turns; shown is the median share of the floor in
the loop's time over rounds, with its range. A second line says what the look at 500 validation images under attack
costs, by which the best epoch is chosen: its time in steps, and as a part of an epoch of 10,000 images.
"""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import measure
import torch
from measure import Progress, Spread, in_turn, ratio, seconds
from torch import nn
from typing_extensions import override

from carom.defenses.training.pgd import robust_accuracy
from carom.defenses.training.pgd_at import PGDAT
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, create
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.loop import train
from carom.zoo.training.recipes import Recipe
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State

SHAPE, BATCH, CLASSES, LOOKED_AT, EPOCH = (1, 28, 28), 64, 10, 500, 10_000
NETWORKS = ("resnet-small", "vgg-small")
MUST, AIM = 0.9, 0.95  # share of the floor


@dataclass(frozen=True, kw_only=True)
class Timed(PGDAT):
    """PGD-AT without looks at validation images, which keeps the times of its steps."""

    times: ClassVar[list[float]] = []

    @override
    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        def note(state: State) -> None:
            if state.step in (0, state.steps - 1):
                measure.wait(state.images.labels.device)
            self.times.append(time.perf_counter())

        return replace(super().slots(slots, recipe), after_step=(note,), robust=None)


def images(n: int) -> ImageSet:
    """Noise with labels."""
    pixels = torch.randint(0, 256, (n, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(pixels, torch.arange(n) % CLASSES, torch.arange(n))


def network(name: str, device: torch.device) -> Classifier:
    """Fresh."""
    made = create(architecture(name), shape=SHAPE, classes=CLASSES, seed=0)
    return made.to(device).to(memory_format=torch.channels_last)


def looped(name: str, way: Timed, count: int, threads: int, device: torch.device) -> Callable[[], float]:
    """Seconds of so many steps in the training loop."""
    recipe = Recipe(epochs=1, batch_size=BATCH, optimizer="sgd", learning_rate=0.01, threads=threads)
    data = images(BATCH * (count + 1))

    def run() -> float:
        way.times.clear()
        train(
            way.recipe(recipe),
            architecture(name),
            train=data,
            validation=images(2),
            classes=CLASSES,
            seed=0,
            device=device,
        )
        return way.times[-1] - way.times[0]

    return run


def bare(name: str, steps: int, count: int, device: torch.device) -> Callable[[], float]:
    """Seconds of the networks' part in so many steps."""
    model, data = network(name, device), images(BATCH)
    x, y = data.pixels.to(device).to(memory_format=torch.channels_last), data.labels.to(device)
    parameters = list(model.parameters())
    point = x.clone().requires_grad_()

    def run() -> None:
        for _ in range(count):
            model.eval()
            for _ in range(steps):
                torch.autograd.grad(nn.functional.cross_entropy(model(point), y, reduction="sum"), point)
            model.train()
            torch.autograd.grad(nn.functional.cross_entropy(model(x), y), parameters)

    return partial(seconds, run, device)


def look(name: str, way: PGDAT, device: torch.device) -> Callable[[], float]:
    """Seconds of one look at the validation images under attack."""
    model = network(name, device)
    found = images(LOOKED_AT)
    data = ImageSet(found.images.to(device), found.labels.to(device), found.ids.to(device))
    state = State(model, torch.optim.SGD(model.parameters()), data, data, 0, 1, 1, torch.Generator())
    return partial(seconds, lambda: robust_accuracy(state, way.budget), device)


def shares(
    name: str, steps: int, rounds: int, count: int, threads: int, device: torch.device
) -> tuple[Spread, Spread, Spread]:
    """The floor's share of a step, a look in steps, and a look in epochs."""
    way = Timed(eps=Fraction(16, 255), steps=steps)
    ways = {
        "floor": bare(name, steps, count, device),
        "loop": looped(name, way, count, threads, device),
        "look": look(name, way, device),
    }
    for run in ways.values():
        run()
    took = in_turn(ways, rounds)
    step = [total / count for total in took["loop"]]
    in_steps = ratio(took["look"], step)
    in_epochs = ratio(took["look"], [one * EPOCH / BATCH for one in step])
    return ratio(took["floor"], took["loop"]), in_steps, in_epochs


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--attack-steps", nargs="+", type=int, default=[1, 10])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10, help="of one turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="does it run: one round of one step, one thread")
    options = parser.parse_args()
    if options.quick:
        options.networks, options.rounds, options.steps, options.threads = ["vgg-small"], 1, 1, 1
        options.attack_steps = [1]
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    where = measure.environment(device, options.threads)
    progress = Progress(len(options.networks) * sum(1 + steps for steps in options.attack_steps))
    rows: list[dict[str, Any]] = []
    print(measure.headline(where))
    for name in options.networks:
        for steps in options.attack_steps:
            share, in_steps, in_epochs = shares(name, steps, options.rounds, options.steps, options.threads, device)
            note = "" if options.quick else f"  [{measure.verdict(share.median, (MUST, AIM))}]"
            print(
                f"{name:14}{steps:3} steps  floor / loop {share.median:4.0%} ({share.low:.0%}-{share.high:.0%}), "
                f"{share.rounds} rounds{note}"
            )
            print(
                f"{'':24}a look at {LOOKED_AT} images under PGD-10: {in_steps.median:.1f} steps, "
                f"{in_epochs.median:.1%} of an epoch of {EPOCH:,} images",
                flush=True,
            )
            for what, found in (("floor / loop", share), ("look / step", in_steps), ("look / epoch", in_epochs)):
                rows.append({"network": name, "attack_steps": steps, "what": what, **found.record()})
            progress.step(f"{name}, {steps} steps", 1 + steps)
    measure.write(options.json, where, rows)


if __name__ == "__main__":
    main()
