"""What a step of SAM and its relatives costs, in steps of the base optimizer.

    python benchmarks/sam_cost.py [--networks resnet-small vgg-small] [--rounds 15] [--json FILE] [--quick]

A step is what the training loop does with a batch of 64 images of 1x28x28 that lies ready: gradients and update, SGD
with Nesterov momentum. Each way trains a network of its own. The ways take turns; medians of the ratio to the base
optimizer's step in the same round, and their range, are shown. SAM has two gradients of the same kind to read, so what
it costs beyond twice a step is copies, norms and moves of the weights.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import measure
import torch
from measure import Progress, Spread, in_turn, ratio, seconds

from carom.surrogates.flatness.asam import ASAM
from carom.surrogates.flatness.gam import GAM
from carom.surrogates.flatness.gsam import GSAM
from carom.surrogates.flatness.looksam import LookSAM
from carom.surrogates.flatness.sam import SAM
from carom.surrogates.smoothness.input_gradient import InputGradient
from carom.surrogates.smoothness.jacobian import Jacobian
from carom.surrogates.smoothness.slightly_adversarial import SlightlyAdversarial
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.recipes import Adaptation, Recipe
from carom.zoo.training.state import Batch, State

SHAPE, BATCH, CLASSES = (1, 28, 28), 64, 10
NETWORKS = ("resnet-small", "vgg-small")
MOST = 2.05  # of SAM

WAYS: Mapping[str, Adaptation | None] = {
    "base": None,
    "sam": SAM(),
    "asam": ASAM(),
    "gsam": GSAM(),
    "looksam": LookSAM(),
    "gam": GAM(),
    "input-gradient": InputGradient(),
    "jacobian": Jacobian(),
    "slightly-adversarial": SlightlyAdversarial(),
}


def steps(name: str, way: Adaptation | None, count: int, device: torch.device) -> Callable[[], None]:
    """So many steps of a training, one after the other."""
    recipe = Recipe(optimizer="sgd", learning_rate=0.01, weight_decay=5e-4, schedule="constant", batch_size=BATCH)
    slots = recipe.slots() if way is None else way.slots(recipe.slots(), recipe)
    classifier = create(architecture(name), shape=SHAPE, classes=CLASSES, seed=0)
    classifier = classifier.to(device).to(memory_format=torch.channels_last).train()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (BATCH, *SHAPE), dtype=torch.uint8, generator=generator).to(device)
    data = ImageSet(pixels, torch.arange(BATCH, device=device) % CLASSES, torch.arange(BATCH, device=device))
    optimizer = slots.optimizer(classifier)
    state = State(classifier, optimizer, data, data, 0, 1, 1_000_000, torch.Generator().manual_seed(0))
    x = data.pixels.to(memory_format=torch.channels_last)
    state.batch = Batch(x, data.labels, data.ids, torch.arange(BATCH))

    def gradient() -> None:
        optimizer.zero_grad()
        loss, _ = slots.loss(state, x, data.labels)
        torch.autograd.backward(loss)

    def run() -> None:
        for _ in range(count):
            slots.update(state, gradient)
            state.step += 1

    return run


def cost(name: str, rounds: int, count: int, device: torch.device) -> dict[str, Spread]:
    """The time of each way's steps over that of the base optimizer's."""
    ways = {way: steps(name, made, count, device) for way, made in WAYS.items()}
    for run in ways.values():
        run()
    took = in_turn({way: partial(seconds, run, device) for way, run in ways.items()}, rounds)
    return {way: ratio(times, took["base"]) for way, times in took.items() if way != "base"}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10, help="of one turn")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="does it run: one round of one step, one thread")
    options = parser.parse_args()
    if options.quick:
        options.networks, options.rounds, options.steps, options.threads = ["vgg-small"], 1, 1, 1
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    where = measure.environment(device, options.threads)
    progress = Progress(len(options.networks))
    rows: list[dict[str, Any]] = []
    print(measure.headline(where))
    for name in options.networks:
        for way, found in cost(name, options.rounds, options.steps, device).items():
            note = f"[at most {MOST}: {'yes' if found.median <= MOST else 'NO'}]" if way == "sam" else ""
            print(f"{name:14}{way:22}{found!s:22}{found.rounds:3} rounds  {'' if options.quick else note}", flush=True)
            rows.append({"network": name, "way": way, **found.record()})
        progress.step(name)
    measure.write(options.json, where, rows)


if __name__ == "__main__":
    main()
