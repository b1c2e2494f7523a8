"""What an attack costs beside the passes through its network, and what is not done twice.

    python benchmarks/overhead.py [--networks small resnet18 resnet50] [--rounds 15] [--json FILE] [--quick]

- *bare loop*: as many forward and backward passes to the input, on the same prepared network and in the same chunks,
  with nothing else. Its time over that of the whole attack is the share that an attack spends where it must.
- *grid*: FGSM at 30 radii, crafted together from one gradient, beside torchattacks run 30 times.
- *shared*: FGSM, PGD and MI crafted together, which share the gradient at the clean images, beside each alone.
- *ti*: the smoothing of one gradient (15 x 15, as two banded products) as a share of a step of MI.

The two sides take turns; medians, ranges and rounds are shown.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import measure
import torch
from measure import Progress, Spread, in_turn, ratio, seconds
from networks import MODES, NETWORKS, One, images, make_classifier, predicted, ready
from peers import EIGHT, ROWS, carom_way
from torch import Tensor, nn

from carom.attacks import TI, craft_images
from carom.attacks.crafting.chunks import chunk_size
from carom.budget import Budget

SHARE, GRID, SMOOTHING = (0.97, 0.99), (45.0, 50.0), 0.02
RADII = [Budget.parse("linf", f"{level}/255") for level in range(1, 31)]


def bare(network: nn.Module, x: Tensor, y: Tensor, steps: int) -> Callable[[], None]:
    """Forward and backward to the input, nothing else."""

    def run() -> None:
        for _ in range(steps):
            point = x.detach().requires_grad_()
            loss = nn.functional.cross_entropy(network(point), y, reduction="sum")
            torch.autograd.grad(loss, point)

    return run


def turns(ways: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Each once unmeasured, then in turn."""
    for way in ways.values():
        way()
    return in_turn({name: partial(seconds, way, device) for name, way in ways.items()}, rounds)


def share(name: str, mode: str, rounds: int, device: torch.device, batch: int | None) -> Spread:
    """The bare loop's time over the whole attack's, for MI on one chunk."""
    network = NETWORKS[name]
    n = batch or min(2 * network.batch, chunk_size(network.shape, device))
    classifier = make_classifier(network.make(), network.shape, classes=network.classes).to(device)
    x = images(network.shape, n, device)
    y, prepared = predicted(classifier, x), ready(classifier, mode)
    whole = carom_way(ROWS["mi"], prepared, x, y, network.steps, chunk=n)
    took = turns({"bare": bare(prepared, x, y, network.steps), "whole": whole}, rounds, device)
    return ratio(took["bare"], took["whole"])


def grid(rounds: int, device: torch.device, batch: int) -> Spread:
    """Torchattacks' FGSM at 30 radii over carom's, on the small CNN."""
    import torchattacks as untyped

    peer: Any = untyped
    shape = NETWORKS["small"].shape
    classifier = make_classifier(NETWORKS["small"].make(), shape).to(device)
    x = images(shape, batch, device)
    y, source = predicted(classifier, x), One(ready(classifier, "float32"))
    attack, ids = ROWS["fgsm"].attack(1), torch.arange(batch)

    def ours() -> Sequence[object]:
        return craft_images([(attack, radius) for radius in RADII], source, x, y, seed=0, ids=ids)

    def theirs() -> list[Tensor]:
        return [peer.FGSM(classifier, eps=float(radius.eps))(x, y) for radius in RADII]

    took = turns({"torchattacks": theirs, "carom": ours}, rounds, device)
    return ratio(took["torchattacks"], took["carom"])


def shared(rounds: int, device: torch.device, batch: int) -> Spread:
    """FGSM, PGD and MI each alone over all together, on the small CNN."""
    shape = NETWORKS["small"].shape
    classifier = make_classifier(NETWORKS["small"].make(), shape).to(device)
    x = images(shape, batch, device)
    y, source = predicted(classifier, x), One(ready(classifier, "float32"))
    jobs = [(ROWS[name].attack(10), EIGHT) for name in ("fgsm", "pgd", "mi")]
    ids = torch.arange(batch)

    def together() -> object:
        return craft_images(jobs, source, x, y, seed=0, ids=ids)

    def alone() -> list[object]:
        return [craft_images([job], source, x, y, seed=0, ids=ids) for job in jobs]

    took = turns({"alone": alone, "together": together}, rounds, device)
    return ratio(took["alone"], took["together"])


def smoothing(name: str, mode: str, rounds: int, device: torch.device, batch: int | None) -> Spread:
    """The time of smoothing one gradient over that of a step of MI."""
    network = NETWORKS[name]
    shape, n = (3, *network.shape[1:]), batch or network.batch
    classifier = make_classifier(network.make(), shape, classes=network.classes).to(device)
    x = images(shape, n, device)
    y, prepared = predicted(classifier, x), ready(classifier, mode)
    ti = TI(size=15)
    steps = carom_way(ROWS["mi"], prepared, x, y, network.steps)

    def smooth() -> None:
        for _ in range(network.steps):
            ti.gradient(x)

    took = turns({"ti": smooth, "step": steps}, rounds, device)
    return ratio(took["ti"], took["step"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=15, help="on the small CNN; a third of them on the others")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="does it run: one round, one thread, few images")
    options = parser.parse_args()
    batch: int | None = None
    if options.quick:
        options.networks, options.rounds, options.threads, batch = ["small"], 1, 1, 4
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    where = measure.environment(device, options.threads)
    modes = [mode for mode in MODES if mode != "compiled"]
    progress = Progress(sum(len(modes) * 2 * _weight(name) for name in options.networks) + 4)
    rows: list[dict[str, Any]] = []

    def say(what: str, found: Spread, text: str, note: str, weight: float) -> None:
        rounds = f"{found.rounds} round{'s' * (found.rounds > 1)}"
        print(f"{what:40}{text:28}{rounds:11}{'' if options.quick else note}", flush=True)
        rows.append({"what": what, **found.record()})
        progress.step(what, weight)

    print(measure.headline(where))
    for name in options.networks:
        rounds = options.rounds if name == "small" else max(1, options.rounds // 3)
        for mode in modes:
            found = share(name, mode, rounds, device, batch)
            goal = f"[{measure.verdict(found.median, SHARE)}]" if mode == "float32" else ""
            say(f"bare loop / mi, {NETWORKS[name].title}, {mode}", found, _percent(found), goal, _weight(name))
            found = smoothing(name, mode, rounds, device, batch)
            goal = f"[below {SMOOTHING:.0%}: {'yes' if found.median < SMOOTHING else 'NO'}]"
            say(f"ti / step, {NETWORKS[name].title}, {mode}", found, _percent(found), goal, _weight(name))
    found = grid(options.rounds, device, batch or 64)
    say("grid of 30 fgsm, torchattacks / carom", found, str(found), f"[{measure.verdict(found.median, GRID)}]", 3)
    found = shared(options.rounds, device, batch or 64)
    say("fgsm, pgd, mi: alone / together", found, str(found), "", 1)
    measure.write(options.json, where, rows)


def _weight(name: str) -> float:
    network = NETWORKS[name]
    return network.cost * network.steps / (10 if name == "small" else 30)


def _percent(found: Spread) -> str:
    return f"{found.median:.1%} ({found.low:.1%}-{found.high:.1%})"


if __name__ == "__main__":
    main()
