"""Crafting speed beside torchattacks, foolbox and ART: same network, same settings, in turn.

    python benchmarks/crafting.py [--networks small resnet18 resnet50] [--rounds 9] [--json FILE] [--quick]

Random weights; a batch of 64 (small CNN), 32 (ResNet-18), 8 (ResNet-50). The heavy networks take fewer steps: all steps
of an attack are alike. Libraries get the classifier as it is, carom the prepared one, whose preparation is not timed.

- *ratio*: the library's time over carom's in the same round; median and range.
- *equal*: pixels that are equal to torchattacks' after rounding to 8 bits, of the float32 run; *flipped*: outcomes
  that differ, of all images, judged by the classifier as it is. "-" where the two draw differently.
- A ratio with a star is of a library that runs another algorithm under that name.

"large" is one batch of 1,024 on the small CNN, each side in a process of its own that is told when to run, since
carom's workers tell the allocator to keep freed memory, which is a setting of a whole process; "tuned" gives
torchattacks' process the same setting. The last lines are carom alone: one batch of 1,024 over 16 of 64.

`--device cuda` runs the same table on a GPU, with a third mode, "compiled". It was never run on one.
"""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import measure
import torch
from measure import Progress, Spread, Worker, in_turn, ratio, seconds
from networks import MODES, NETWORKS, images, make_classifier, predicted, ready
from peers import ROWS, WAYS, Row, Way, carom_way

GOALS = {
    ("small", 64, "float32"): (1.6, 2.2),
    ("resnet18", 32, "float32"): (1.05, 1.15),
    ("resnet50", 8, "float32"): (1.3, 1.45),
    ("small", 1024, "float32"): (3.0, 5.0),
    ("small", 64, "bfloat16"): (2.5, 3.3),
    ("resnet18", 32, "bfloat16"): (2.0, 2.2),
    ("resnet50", 8, "bfloat16"): (2.3, 2.6),
    ("small", 1024, "bfloat16"): (5.0, 9.0),
}
"""What the median over the attacks of torchattacks' time over carom's must and should be, on a CPU."""


@dataclass(frozen=True)
class Setting:
    """One side of one comparison, complete: another process can make it.

    Attributes:
        network: Name in `NETWORKS`.
        row: Name in `ROWS`.
        side: A library's name, or one of `MODES` for carom.
        batch: Images of the call.
        steps: Of the attack.
        device: Where.
        tuned: Whether this process tells its allocator to keep freed memory.
    """

    network: str
    row: str
    side: str
    batch: int
    steps: int
    device: str = "cpu"
    tuned: bool = False


def make_way(setting: Setting) -> Way:
    """The call that is timed."""
    if setting.tuned:
        from carom.zoo.training.allocator import tune_allocator

        tune_allocator()
    network, row, device = NETWORKS[setting.network], ROWS[setting.row], torch.device(setting.device)
    shape = shape_of(setting.network, row)
    classifier = make_classifier(network.make(), shape, classes=network.classes).to(device)
    x = images(shape, setting.batch, device)
    y = predicted(classifier, x)
    if setting.side in MODES:
        return carom_way(row, ready(classifier, setting.side), x, y, setting.steps)
    return WAYS[setting.side](row, classifier, x, y, setting.steps)


def shape_of(network: str, row: Row) -> tuple[int, int, int]:
    """Of the images; torchattacks' TI wants three channels."""
    shape = NETWORKS[network].shape
    return (3, *shape[1:]) if row.name == "ti-mi" else shape


def steps_of(network: str, row: Row) -> int:
    """Of the attack on this network."""
    if row.name == "fgsm":
        return 1
    return NETWORKS[network].sampled_steps if row.reads > 1 else NETWORKS[network].steps


@dataclass
class Compared:
    """Seconds of each side in each round, and how alike the images are."""

    network: str
    row: Row
    batch: int
    steps: int
    took: dict[str, list[float]]
    equal: float | None = None
    flipped: int | None = None

    def faster(self, side: str, mode: str = "float32") -> Spread:
        """How many times faster carom is than a library."""
        return ratio(self.took[side], self.took[mode])

    def record(self) -> dict[str, Any]:
        """For JSON."""
        modes = [mode for mode in MODES if mode in self.took]
        return {
            "network": self.network,
            "attack": self.row.name,
            "batch": self.batch,
            "steps": self.steps,
            "images_a_second": {side: self.batch / Spread.of(took).median for side, took in self.took.items()},
            "ratios": {
                f"{side} over {mode}": self.faster(side, mode).record()
                for side in self.took
                if side not in MODES
                for mode in modes
            },
            "another_algorithm": [s for s in self.took if s in ("foolbox", "art") and s not in self.row.alike],
            "equal": self.equal,
            "flipped": self.flipped,
        }


def compare(network: str, row: Row, modes: list[str], rounds: int, batch: int, device: str) -> Compared:
    """All sides in this process, after one unmeasured call of each."""
    steps = steps_of(network, row)
    ways = {
        side: make_way(Setting(network, row.name, side, batch, steps, device))
        for side in (*row.libraries, *(modes if row.here else ()))
    }
    made = {side: way() for side, way in ways.items()}
    place = torch.device(device)
    took = in_turn({side: partial(seconds, way, place) for side, way in ways.items()}, rounds)
    compared = Compared(network, row, batch, steps, took)
    if "torchattacks" in row.alike and "float32" in made:
        ours, theirs = (made[side].mul(255).round() for side in ("float32", "torchattacks"))
        compared.equal = float((ours == theirs).double().mean())
        shape = shape_of(network, row)
        judge = make_classifier(NETWORKS[network].make(), shape, classes=NETWORKS[network].classes).to(place)
        clean = predicted(judge, images(shape, batch, place))
        wrong = [predicted(judge, part / 255) != clean for part in (ours, theirs)]
        compared.flipped = int((wrong[0] != wrong[1]).sum())
    return compared


def compare_large(row: Row, modes: list[str], rounds: int, batch: int, threads: int, *, both: bool) -> Compared:
    """One large batch on the small CNN, each side in a process of its own; `both` tunes torchattacks' allocator too."""
    steps = steps_of("small", row)
    sides = {
        side: Worker(make_way, Setting("small", row.name, side, batch, steps, tuned=both or side in MODES), threads)
        for side in ("torchattacks", *modes)
    }
    try:
        for worker in sides.values():
            worker()
        return Compared("small", row, batch, steps, in_turn(sides, rounds))
    finally:
        for worker in sides.values():
            worker.close()


def large_over_small(row: Row, rounds: int, large: int) -> Spread:
    """Own throughput on many images at once over that on 64 at a time, round by round."""
    classifier = make_classifier("vgg-small", (1, 28, 28))
    prepared, x = ready(classifier, "float32"), images((1, 28, 28), large, torch.device("cpu"))
    y = predicted(classifier, x)
    whole = carom_way(row, prepared, x, y, 10)
    parts = [
        carom_way(row, prepared, some, labels, 10)
        for some, labels in zip(torch.split(x, 64), torch.split(y, 64), strict=True)
    ]

    def in_parts() -> None:
        for part in parts:
            part()

    device = torch.device("cpu")
    ways: dict[str, Callable[[], float]] = {
        "whole": partial(seconds, whole, device),
        "parts": partial(seconds, in_parts, device),
    }
    whole()
    took = in_turn(ways, rounds)
    return ratio(took["parts"], took["whole"])


def line(compared: Compared, modes: list[str]) -> str:
    """One line of the table."""
    network = NETWORKS[compared.network]
    cells = [f"{network.title:15}{compared.row.name:7}{compared.batch:5}{compared.steps:6}"]
    cells.append(f"{compared.batch / Spread.of(compared.took['torchattacks']).median:9.1f}")
    if not compared.row.here:
        return "".join(cells) + f"   carom has no {compared.row.parts!r} yet"
    for mode in modes:
        speed = compared.batch / Spread.of(compared.took[mode]).median
        cells.append(f"{speed:9.1f} {compared.faster('torchattacks', mode)!s:20}")
    for side in ("foolbox", "art"):
        star = "" if side in compared.row.alike else "*"
        text = f"{compared.faster(side).median:.2f}x{star}" if side in compared.took else "-"
        cells.append(f"{text:>8}")
    cells.append(f"{compared.equal:10.3%}" if compared.equal is not None else f"{'-':>10}")
    cells.append(f"{compared.flipped:4} of {compared.batch}" if compared.flipped is not None else f"{'-':>5}")
    return "".join(cells)


def summaries(done: list[Compared], modes: list[str], *, judged: bool) -> list[str]:
    """For each network and mode the median of the attacks, beside the goal where it is judged by one."""
    lines = []
    for network, batch in dict.fromkeys((c.network, c.batch) for c in done):
        of = [c for c in done if (c.network, c.batch) == (network, batch) and c.row.here]
        for mode in modes:
            ratios = [c.faster("torchattacks", mode).median for c in of]
            median, goal = Spread.of(ratios), GOALS.get((network, batch, mode))
            text = f"{NETWORKS[network].title}, batch {batch}, {mode}: median of {len(of)} attacks {median}"
            lines.append(text + (f"  [{measure.verdict(median.median, goal)}]" if goal and judged else ""))
        equal = [c.equal for c in of if c.equal is not None]
        flipped = [c.flipped for c in of if c.flipped is not None]
        if equal:
            lines.append(
                f"{NETWORKS[network].title}, batch {batch}: at least {min(equal):.3%} equal pixels, "
                f"{sum(flipped)} of {batch * len(flipped)} outcomes flipped"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--attacks", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--modes", nargs="+", choices=MODES, help="float32 and bfloat16; on a GPU compiled too")
    parser.add_argument("--rounds", type=int, default=9, help="on the small CNN; a third of them on the others")
    parser.add_argument("--batch", type=int, help="images of a call instead of each network's own")
    parser.add_argument("--large", type=int, default=1024, help="0 leaves the large batch out")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="does it run: one round, one thread, few images")
    options = parser.parse_args()
    if options.quick:
        options.networks, options.attacks, options.threads = ["small"], ["fgsm"], 1
        options.rounds, options.batch, options.large = 1, 8, 16
    torch.set_num_threads(options.threads)
    modes = options.modes or list(MODES[: 1 if options.quick else 2 if options.device == "cpu" else 3])
    where = measure.environment(torch.device(options.device), options.threads)
    rows = [ROWS[name] for name in options.attacks]
    with_large = options.large and options.device == "cpu" and "small" in options.networks
    large = [row for row in rows if with_large and row.name in ("fgsm", "pgd", "mi")]
    rounds = {name: options.rounds if name == "small" else max(1, options.rounds // 3) for name in options.networks}
    few = max(1, options.rounds // 3)

    def weight(network: str, row: Row, batch: int, rounds: int) -> float:
        share = batch / NETWORKS[network].batch
        return (rounds + 1) * row.reads * steps_of(network, row) * NETWORKS[network].cost * share * len(row.libraries)

    batches = {name: options.batch or NETWORKS[name].batch for name in options.networks}
    parts = [(name, row, batches[name], rounds[name]) for name in options.networks for row in rows]
    parts += [("small", row, options.large, 4 * few) for row in large]
    progress = Progress(sum(weight(*part) for part in parts))
    done: list[Compared] = []
    print(measure.headline(where))
    titles = "".join(f"{mode + ' img/s':>17} {'ratio':12}" for mode in modes)
    print(
        f"{'network':15}{'attack':7}{'batch':>5}{'steps':>6}{'peer img/s':>11}{titles}"
        f" foolbox     art     equal flipped"
    )
    for name in options.networks:
        for row in rows:
            compared = compare(name, row, modes, rounds[name], batches[name], options.device)
            done.append(compared)
            print(line(compared, modes), flush=True)
            progress.step(f"{name} {row.name}", weight(name, row, batches[name], rounds[name]))
    extra: list[str] = []
    for row in large:
        compared = compare_large(row, modes, few, options.large, options.threads, both=False)
        done.append(compared)
        print(line(compared, modes), flush=True)
        if not options.quick:
            tuned = compare_large(row, modes, few, options.large, options.threads, both=True)
            extra.append(
                f"{row.name}, batch {options.large}, torchattacks tuned too: "
                + ", ".join(f"{mode} {tuned.faster('torchattacks', mode)}" for mode in modes)
            )
        extra.append(f"{row.name}, batch {options.large} over 64, carom: {large_over_small(row, few, options.large)}")
        progress.step(f"large {row.name}", weight("small", row, options.large, 4 * few))
    print("\n".join([*extra, *summaries(done, modes, judged=options.device == "cpu" and not options.quick)]))
    measure.write(options.json, where, [compared.record() for compared in done])


if __name__ == "__main__":
    main()
