"""What the pytest plugin costs: a run without gates, and a gate of 2,000 images from the start of the interpreter.

    python benchmarks/gate_time.py [--quick] [--rounds N] [--threads N]

Every way is a process of its own, without other plugins, and they take turns. Beside the time on the clock stands the
processor's, which other programs on the machine hardly change. The first two run one empty test, without the plugin and
with it; the third imports torch alone, which nothing that asks a model can save; the fourth runs a gate: four
adversarial sets of 2,000 images 1x28x28, asked of a small convolutional network.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from measure import Progress, in_turn

from carom.scenarios.gates.suite import AdversarialSet, Suite, write_suite

MOST_PLUGIN, MOST_GATE = 0.030, 3.0  # seconds
WITHOUT = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
WITH = (*WITHOUT, "-p", "pytest_carom")
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
EMPTY = "def test_nothing():\n    pass\n"
GATE = """import torch
from torch import nn


def test_transfer(robustness):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
    )
    robustness(model, suite="random.suite")
"""
WAYS: Mapping[str, Sequence[str]] = {
    "run without the plugin": (*WITHOUT, "test_empty.py"),
    "run with the plugin": (*WITH, "test_empty.py"),
    "import torch": ("-c", "import torch"),
    "gate": (*WITH, "test_gate.py"),
}


def random_suite(n: int) -> Suite:
    """Four sets of random changes of 8 grey levels; how long a gate takes does not depend on what is in the images."""
    draw = np.random.default_rng(0)
    clean = draw.integers(8, 248, (n, 1, 28, 28)).astype(np.uint8)
    sets = tuple(
        AdversarialSet(
            name=f"random {i}",
            surrogate="none",
            axes={},
            fingerprints=(),
            attack="random",
            norm="linf",
            eps="8/255",
            seed=i,
        )
        for i in range(4)
    )
    return Suite(
        name="random",
        description="random changes",
        task="random",
        classes=tuple("0123456789"),
        sources=("random",),
        scenario="",
        clean=clean,
        labels=draw.integers(0, 10, n),
        image_source=np.zeros(n, np.int64),
        ids=np.arange(n),
        sets=sets,
        adversarial=tuple(clean + draw.choice(np.array([-8, 8]), clean.shape).astype(np.uint8) for _ in sets),
    )


def took(arguments: Sequence[str], folder: Path, threads: int, processor: list[float]) -> float:
    """Seconds of a process on the clock; those of the processor go into the list."""
    before, began = _children(), time.perf_counter()
    command, environment = [sys.executable, *arguments], os.environ | ALONE | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    processor.append(_children() - before)
    if done.returncode:
        raise SystemExit(f"benchmark: {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return seconds


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="does it run: one round of 50 images")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.images, options.threads = 1, 50, 1
    where = measure.environment(torch.device("cpu"), options.threads)
    print(f"{measure.headline(where)}; load {os.getloadavg()[0]:.1f} at the start")
    progress = Progress(options.rounds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "test_empty.py").write_text(EMPTY)
        (folder / "test_gate.py").write_text(GATE)
        write_suite(random_suite(options.images), folder / "random.suite")
        took((*WAYS["gate"], "--robustness-update"), folder, options.threads, [])  # the baseline, and a warm disk
        processor: dict[str, list[float]] = {way: [] for way in WAYS}
        ways = {
            way: partial(took, arguments, folder, options.threads, processor[way]) for way, arguments in WAYS.items()
        }
        times = in_turn(ways, options.rounds, lambda turn: progress.step(f"round {turn + 1}"))
    rows: list[dict[str, Any]] = []
    for way, seconds in times.items():
        middle, used = statistics.median(seconds), statistics.median(processor[way])
        rows.append({"way": way, "seconds": middle, "low": min(seconds), "high": max(seconds), "processor": used})
        print(f"{way:24}{middle:7.3f} s  {min(seconds):.3f}-{max(seconds):.3f}  processor {used:.3f} s")
    cost, cost_processor = (
        statistics.median(
            more - less for more, less in zip(of["run with the plugin"], of["run without the plugin"], strict=True)
        )
        for of in (times, processor)
    )
    gate = statistics.median(times["gate"])
    goals = [
        f"at most {1e3 * MOST_PLUGIN:.0f} ms: {'reached' if cost <= MOST_PLUGIN else 'MISSED'}",
        f"at most {MOST_GATE:.0f} s: {'reached' if gate <= MOST_GATE else 'MISSED'}",
    ]
    rows.append({"way": "the plugin's cost", "seconds": cost})
    both = f"{1e3 * cost:.0f} ms, of the processor {1e3 * cost_processor:.0f} ms"
    print(f"the plugin costs a run without gates {both}{'' if options.quick else f' [{goals[0]}]'}")
    images = f"{options.images:,} images"
    print(f"a gate of {images} ends after {gate:.2f} s{'' if options.quick else f' [{goals[1]}]'}")
    measure.write(options.json, where, rows)


if __name__ == "__main__":
    main()
