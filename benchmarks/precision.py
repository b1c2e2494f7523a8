"""bfloat16 as a declared mode: does it change how often attacks succeed?

    python benchmarks/precision.py [--images 2000] [--threads 2] [--json FILE] [--quick]

Two small networks are trained, one is attacked in float32 and in bfloat16, and both are asked, in float32, about the
same images. *white-box* is the attacked one, *transfer* the other. ASR is of images that the judge has right clean; the
interval of the difference is the paired one over these images (Bonett and Price 2012), so it speaks of images, not of
other models. A difference within 1 point, interval included, is what the mode promises. Image, momentum and projection
stay float32: the largest distance is shown. Fashion-MNIST where it is on the machine, else the embedded digits.
"""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np
import torch
from measure import Progress
from networks import One, predicted, ready
from peers import ROWS
from torch import Tensor, nn

from carom.attacks import craft
from carom.budget import Budget
from carom.errors import MissingData
from carom.protocols import Attack
from carom.scenarios.statistics.intervals import paired_wald
from carom.zoo.architectures import architecture
from carom.zoo.tasks.digits import Digits
from carom.zoo.tasks.fashion_mnist import FashionMnist
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.loop import train
from carom.zoo.training.recipes import Recipe

MARGIN = 1.0
"""Points of ASR that the interval may reach."""
ATTACKS = ("fgsm", "pgd", "mi", "di-mi")


@dataclass(frozen=True)
class Data:
    """What is trained and attacked.

    Attributes:
        name: Of the task.
        train: To learn from.
        validation: To select the epoch by.
        attacked: Never seen in training.
        eps: At which attacks neither always nor never transfer.
    """

    name: str
    train: ImageSet
    validation: ImageSet
    attacked: ImageSet
    eps: str


def data(images: int, learned: int) -> Data:
    """Fashion-MNIST, or the digits where that is not here."""
    task = FashionMnist()
    try:
        train_set, validation, test = (task.load("original", split) for split in ("train", "validation", "test"))
    except MissingData:
        digits = Digits()
        sources = [digits.load(source, split) for split in ("train", "validation", "test") for source in digits.sources]
        first, second, third = (_joined(sources[at : at + 2]) for at in (0, 2, 4))
        return Data("digits", _first(first, learned), second, _joined([third, second]), "48/255")
    return Data("fashion-mnist", _first(train_set, learned), _first(validation, 1000), _first(test, images), "8/255")


def _first(images: ImageSet, n: int) -> ImageSet:
    return ImageSet(images.images[:n], images.labels[:n], images.ids[:n])


def _joined(sets: list[ImageSet]) -> ImageSet:
    return ImageSet(*(torch.cat([getattr(s, name) for s in sets]) for name in ("images", "labels", "ids")))


@dataclass(frozen=True)
class Difference:
    """ASR of both precisions on one judge, in percent.

    Attributes:
        low: Of the 95% interval of bfloat16 minus float32, in points.
        high: The same.
        changed: Outcomes that differ, of all images that the judge has right clean.
        n: Those images.
    """

    single: float
    half: float
    low: float
    high: float
    changed: int
    n: int

    @property
    def within(self) -> bool:
        """Whether the interval stays within the margin."""
        return self.low >= -MARGIN and self.high <= MARGIN

    def __str__(self) -> str:
        return (
            f"{self.single:6.2f} {self.half:6.2f}  {self.half - self.single:+.2f} [{self.low:+.2f}, {self.high:+.2f}] "
            f"{self.changed:5} of {self.n:<5} {'yes' if self.within else 'NO'}"
        )


def difference(judge: nn.Module, clean: Tensor, y: Tensor, single: Tensor, half: Tensor) -> Difference:
    """Compare what two sets do to one judge, image by image."""
    right = predicted(judge, clean) == y
    a, b = ((predicted(judge, adversarial) != y)[right] for adversarial in (single, half))
    gained, lost, n = int((b & ~a).sum()), int((a & ~b).sum()), int(right.sum())
    low, high = paired_wald(np.array([gained]), np.array([lost]), np.array([n]))
    return Difference(
        100 * float(a.double().mean()),
        100 * float(b.double().mean()),
        100 * float(low[0]),
        100 * float(high[0]),
        gained + lost,
        n,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000, help="of Fashion-MNIST; of the digits all 1,240")
    parser.add_argument("--learned", type=int, default=10000, help="training images")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="does it run: few images, one epoch, one thread")
    options = parser.parse_args()
    names: tuple[str, ...] = ATTACKS
    if options.quick:
        options.images, options.learned, options.epochs, options.threads, names = 40, 200, 1, 1, ("fgsm",)
    torch.set_num_threads(options.threads)
    found = data(options.images, options.learned)
    progress = Progress(2 * options.epochs + 2 * len(names))
    judges: dict[str, nn.Module] = {}
    for title, name in (("white-box", "vgg-small"), ("transfer", "resnet-small")):
        trained = train(
            Recipe(epochs=options.epochs, batch_size=64, threads=options.threads, select="last"),
            architecture(name),
            train=found.train,
            validation=found.validation,
            classes=10,
            seed=len(judges),
            progress=lambda *_: progress.step("training"),
        )
        judges[title] = trained.classifier().eval()
    budget = Budget.parse("linf", found.eps)
    x, y = found.attacked.images.float() / 255, found.attacked.labels
    where = measure.environment(torch.device("cpu"), options.threads)
    print(measure.headline(where))
    accuracy = ", ".join(f"{t} {float((predicted(j, x) == y).double().mean()):.1%}" for t, j in judges.items())
    print(f"{found.name}, {len(x)} images, eps {found.eps}, 10 steps of eps/4; clean accuracy: {accuracy}")
    print(f"{'attack':8}{'judge':10}{'float32':>8}{'bf16':>7}  {'difference':20} changed        within {MARGIN:g}")
    rows: list[dict[str, Any]] = []
    for name in names:
        attack: Attack = ROWS[name].attack(10)
        made: list[Tensor] = []
        for mode in ("float32", "bfloat16"):
            source = One(ready(judges["white-box"], mode))
            crafted = craft(
                [(attack, budget)], source, found.attacked.images, y, seed=0, ids=found.attacked.ids
            )  # refuses what leaves the ball
            made.append(crafted[0].images.float() / 255)
            progress.step(f"{name} {mode}")
        for title, judge in judges.items():
            result = difference(judge, x, y, *made)
            print(f"{name:8}{title:10}{result}", flush=True)
            rows.append({"attack": name, "judge": title, **vars(result), "within": result.within})
    measure.write(options.json, {**where, "task": found.name, "images": len(x), "eps": found.eps}, rows)


if __name__ == "__main__":
    main()
