"""A whole matrix, 3 surrogates x 3 attacks x 6 victims, executed three ways in turn.

    python benchmarks/matrix.py [--rounds 5] [--threads 2] [--images 128]

- per cell: as users write it with torchattacks. For each surrogate, attack and victim: load both state dicts, craft in
  batches of 16, save PNGs, load them, ask the victim.
- craft once: for each surrogate and attack craft in batches of 64 and save PNGs; for each victim load its state dict
  and the PNGs, and ask it.
- carom: prepare each model once, craft the attacks of a surrogate together, keep 8-bit images and victims in memory.

All attack the same images with the same settings (FGSM; PGD and MI with 10 steps of eps/4, no random start) on the same
networks, with what training leaves in batch norm imitated. "equal" is the share of predictions equal to the per-cell
pipeline's. Ratios are of one round, with the order of the three turned from round to round.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Spread, ratio
from networks import make_classifier, predicted
from peers import EIGHT, ROWS, Row, torchattacks_way
from PIL import Image
from torch import Tensor, nn

from carom.attacks import craft
from carom.scenarios.jobs.answers import answers
from carom.surrogates import Surrogate
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.models.prepare import prepare

SHAPE = (1, 28, 28)
STEPS = 10
Answers = dict[tuple[int, str, int], "np.ndarray[Any, Any]"]


class Matrix:
    """A grid of surrogates, attacks and victims, and the three ways through it.

    Args:
        folder: For PNGs.
        load: A model from its file, in eval mode, as users do it.
        surrogates: Numbers that `load` takes.
        victims: The same.
        pixels: The images, 8-bit.
        labels: Their classes.
        attacks: Names in `peers.ROWS`.
        batches: Of the pipeline that crafts for each cell, and of the others.
    """

    def __init__(
        self,
        folder: Path,
        load: Callable[[int], nn.Module],
        surrogates: Sequence[int],
        victims: Sequence[int],
        pixels: Tensor,
        labels: Tensor,
        *,
        attacks: Sequence[str] = ("fgsm", "pgd", "mi"),
        classes: int = 10,
        batches: tuple[int, int] = (16, 64),
    ) -> None:
        self.folder, self.load, self.surrogates, self.victims = folder, load, surrogates, victims
        self.pixels, self.x, self.y = pixels, pixels.float() / 255, labels
        self.attacks = {name: ROWS[name] for name in attacks}
        self.classes, self.batches = classes, batches

    def save(self, name: str, images: Tensor) -> None:
        """PNGs, one an image."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for i, image in enumerate((images * 255).round().to(torch.uint8)):
            Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy()).save(folder / f"{i}.png")

    def read(self, name: str) -> Tensor:
        """PNGs as a batch."""
        arrays = [np.asarray(Image.open(self.folder / name / f"{i}.png")) for i in range(len(self.x))]
        return torch.from_numpy(np.stack(arrays).reshape(*self.x[:, 0].shape, -1)).permute(0, 3, 1, 2).float() / 255

    def ask(self, victim: nn.Module, images: Tensor, batch: int) -> "np.ndarray[Any, Any]":
        """Predictions, as users write it."""
        with torch.no_grad():
            return torch.cat([victim(part).argmax(1) for part in torch.split(images, batch)]).numpy()

    def craft(self, network: nn.Module, row: Row, batch: int) -> Tensor:
        """Adversarial images as torchattacks makes them."""
        pairs = zip(torch.split(self.x, batch), torch.split(self.y, batch), strict=True)
        return torch.cat([torchattacks_way(row, network, x, y, STEPS)() for x, y in pairs])

    def per_cell(self) -> Answers:
        """Craft for every victim anew."""
        found = {}
        for s in self.surrogates:
            for name, row in self.attacks.items():
                for v in self.victims:
                    self.save("cell", self.craft(self.load(s), row, self.batches[0]))
                    found[s, name, v] = self.ask(self.load(v), self.read("cell"), self.batches[0])
        return found

    def craft_once(self) -> Answers:
        """Craft for all victims at once."""
        for s in self.surrogates:
            network = self.load(s)
            for name, row in self.attacks.items():
                self.save(f"{s}-{name}", self.craft(network, row, self.batches[1]))
        found = {}
        for s in self.surrogates:
            for name in self.attacks:
                for v in self.victims:
                    found[s, name, v] = self.ask(self.load(v), self.read(f"{s}-{name}"), self.batches[1])
        return found

    def carom(self) -> Answers:
        """Craft once, load once, nothing twice."""
        attacks = [(row.attack(STEPS), EIGHT) for row in self.attacks.values()]
        ids = torch.arange(len(self.x))
        sets: dict[tuple[int, str], Tensor] = {}
        models = {i: prepare(self.load(i)) for i in dict.fromkeys((*self.surrogates, *self.victims))}
        for s in self.surrogates:
            made = craft(attacks, Surrogate((models[s],)), self.pixels, self.y, ids=ids, seed=0)
            sets |= {(s, name): crafted.images for name, crafted in zip(self.attacks, made, strict=True)}
        found = {}
        for v in self.victims:
            for (s, name), images in sets.items():
                found[s, name, v] = answers(models[v], images, classes=self.classes, device="cpu", name="victim")
        return found

    def in_turn(self, rounds: int) -> "Took":
        """All three once unmeasured, then in turn, another one first in each round."""
        ways: dict[str, Callable[[], Answers]] = {
            "per cell": self.per_cell,
            "craft once": self.craft_once,
            "carom": self.carom,
        }
        found = {name: way() for name, way in ways.items()}
        took: dict[str, list[float]] = {name: [] for name in ways}
        names = list(ways)
        for turn in range(rounds):
            for name in names[turn % 3 :] + names[: turn % 3]:
                began = time.perf_counter()
                ways[name]()
                took[name].append(time.perf_counter() - began)
        first = found["per cell"]
        equal = {name: float(np.mean([np.mean(one[c] == first[c]) for c in one])) for name, one in found.items()}
        return Took(took, equal)


@dataclass(frozen=True)
class Took:
    """What the three ways took.

    Attributes:
        seconds: Of each round.
        equal: Share of answers equal to those of the pipeline that crafts for each cell.
    """

    seconds: Mapping[str, list[float]]
    equal: Mapping[str, float]

    def faster(self, name: str) -> Spread:
        """How many times faster carom is, round by round."""
        return ratio(self.seconds[name], self.seconds["carom"])

    def table(self) -> Iterator[str]:
        """One line each."""
        yield f"{'pipeline':12}{'seconds':>9}{'  range':16}{'carom is faster by':>20}{'  range':16}{'equal':>8}"
        for name, took in self.seconds.items():
            faster = self.faster(name)
            yield (
                f"{name:12}{statistics.median(took):9.2f}  {min(took):5.2f}-{max(took):5.2f}   "
                f"{faster.median:18.1f}x  {faster.low:5.1f}-{faster.high:5.1f}x  {self.equal[name]:8.2%}"
            )


def small(folder: Path, images: int, model: str) -> Matrix:
    """Nine networks of random weights, three of which are surrogates."""
    for i in range(9):
        torch.save(make_classifier(model, SHAPE, i).state_dict(), folder / f"{i}.pt")

    def load(i: int) -> nn.Module:
        classifier = create(architecture(model), shape=SHAPE, classes=10)
        classifier.load_state_dict(torch.load(folder / f"{i}.pt", weights_only=True))
        return classifier.eval()

    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, *SHAPE), generator=generator, dtype=torch.uint8)
    return Matrix(folder, load, range(3), range(3, 9), pixels, predicted(load(0), pixels.float() / 255))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--model", default="vgg-small")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"3 surrogates x 3 attacks x 6 victims, {options.images} images {SHAPE}, {options.model}, "
        f"{options.threads} threads, {options.rounds} rounds, torch {torch.__version__}"
    )
    with tempfile.TemporaryDirectory() as folder:
        took = small(Path(folder), options.images, options.model).in_turn(options.rounds)
    for line in took.table():
        print(line)


if __name__ == "__main__":
    main()
