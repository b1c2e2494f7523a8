"""What a surrogate of many members costs beside one network: to attack, to load, to store.

    python benchmarks/surrogate_cost.py [--members 40] [--images 512] [--rounds 9] [--json FILE] [--quick]

- *light / single*: MI, 50 steps, on resnet-small at 1 x 28 x 28, from LGV's schedule (one member a step, preparing all
  members included) over the same attack on one member.
- *preparing / attack*: making all members ready, once for all sets of a scenario, over the whole light attack.
- *load*: from the file to classifiers, in seconds, once the code is imported.
- *stored*: bytes of the file over bytes of the members' tensors.

Members are weights around one network, as LGV's are. Attacks are timed in processor time of one thread, since machines
are shared; the two sides take turns.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measure
import torch
from measure import Progress, Spread, in_turn, ratio
from safetensors.torch import load_file, save_file

from carom.attacks import craft, parse_attack
from carom.budget import Budget
from carom.surrogates.stack import restored, stacked, unstacked
from carom.surrogates.surrogate import Surrogate
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, Shape, create, weights
from carom.zoo.models.prepare import prepare
from carom.zoo.training.ground import Weights

NETWORK = architecture("resnet-small")
SHAPE: Shape = (1, 28, 28)
BUDGET = Budget.parse("linf", "8/255")
MOST = {"light / single": 1.05, "load": 1.0, "stored": 1.01}


def members(count: int) -> list[Weights]:
    """Weight sets around one network."""
    origin = weights(create(NETWORK, shape=SHAPE, classes=10))
    generator = torch.Generator().manual_seed(0)
    made: list[Weights] = []
    for _ in range(count):
        near = {name: tensor.clone() for name, tensor in origin.items()}
        for name, tensor in near.items():
            if tensor.is_floating_point() and "running" not in name:
                tensor += 0.005 * torch.randn(tensor.shape, generator=generator)
        made.append(near)
    return made


def loaded(file: Path) -> list[Classifier]:
    """A classifier for each weight set of the file."""
    return restored(NETWORK, unstacked(load_file(file)), shape=SHAPE, classes=10)


def attacking(classifiers: list[Classifier], n: int, steps: int) -> Callable[[], object]:
    """MI on `n` images."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (n, *SHAPE), dtype=torch.uint8, generator=generator)
    attack = parse_attack({"name": "mi", "steps": steps})
    source = Surrogate(tuple(classifiers), schedule="light" if len(classifiers) > 1 else "full")
    ids = torch.arange(n)
    return lambda: craft([(attack, BUDGET)], source, pixels, ids % 10, seed=0, ids=ids, prepare=prepare)


def processor(way: Callable[[], object]) -> Callable[[], float]:
    """Processor time of one call."""

    def seconds() -> float:
        began = time.process_time()
        way()
        return time.process_time() - began

    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=40)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="does it run: one round, few members, few images")
    options = parser.parse_args()
    steps = 50
    if options.quick:
        options.members, options.images, options.rounds, steps = 3, 8, 1, 3
    torch.set_num_threads(1)
    where = measure.environment(torch.device("cpu"), 1)
    progress = Progress(options.rounds + 1)
    rows: list[dict[str, Any]] = []

    def say(what: str, found: Spread, text: str) -> None:
        goal = f"[at most {MOST[what]:g}: {'yes' if found.median <= MOST[what] else 'NO'}]" if what in MOST else ""
        print(f"{what:24}{text:28}{'' if options.quick else goal}", flush=True)
        rows.append({"what": what, **found.record()})

    print(measure.headline(where))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "members.safetensors"
        some = members(options.members)
        save_file(stacked(some), file)
        size = sum(tensor.numel() * tensor.element_size() for one in some for tensor in one.values())
        stored = Spread.of([file.stat().st_size / size])
        took: list[float] = []
        classifiers: list[Classifier] = []
        for _ in range(options.rounds):
            began = time.perf_counter()
            classifiers = loaded(file)
            took.append(time.perf_counter() - began)
    load = Spread.of(took)
    progress.step("load")
    for warm in (classifiers[:1], classifiers):
        attacking(warm, min(128, options.images), 2)()
    took_by = in_turn(
        {
            "single": processor(attacking(classifiers[:1], options.images, steps)),
            "light": processor(attacking(classifiers, options.images, steps)),
            "preparing": processor(lambda: [prepare(classifier) for classifier in classifiers]),
        },
        options.rounds,
        after=lambda turn: progress.step(f"round {turn + 1}"),
    )
    light, preparing = ratio(took_by["light"], took_by["single"]), ratio(took_by["preparing"], took_by["light"])
    say("light / single", light, f"{light.median:.3f}x ({light.low:.3f}-{light.high:.3f})")
    say("preparing / attack", preparing, f"{preparing.median:.1%} ({preparing.low:.1%}-{preparing.high:.1%})")
    say("load", load, f"{load.median:.3f} s ({load.low:.3f}-{load.high:.3f})")
    say("stored", stored, f"{stored.median:.4f}x")
    measure.write(options.json, where, rows)


if __name__ == "__main__":
    main()
