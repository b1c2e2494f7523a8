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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import make_classifier
from peers import EIGHT, ROWS, torchattacks_way
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
ATTACKS = {name: ROWS[name] for name in ("fgsm", "pgd", "mi")}
Answers = dict[tuple[int, str, int], "np.ndarray[Any, Any]"]


class Matrix:
    """The models, as files, and the images."""

    def __init__(self, folder: Path, images: int, model: str) -> None:
        self.folder, self.model = folder, model
        self.surrogates, self.victims = range(3), range(3, 9)
        for i in range(9):
            torch.save(self._fresh(i).state_dict(), folder / f"{i}.pt")
        generator = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(0, 256, (images, *SHAPE), generator=generator, dtype=torch.uint8)
        self.x = self.pixels.float() / 255
        with torch.no_grad():
            self.y = self.load(0)(self.x).argmax(1)

    def _fresh(self, seed: int) -> nn.Module:
        return make_classifier(self.model, SHAPE, seed)

    def load(self, i: int) -> nn.Module:
        """A model from its file, as users do it."""
        classifier = create(architecture(self.model), shape=SHAPE, classes=10)
        classifier.load_state_dict(torch.load(self.folder / f"{i}.pt", weights_only=True))
        return classifier.eval()

    def save(self, name: str, images: Tensor) -> None:
        """PNGs, one an image."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        for i, image in enumerate((images * 255).round().to(torch.uint8)):
            Image.fromarray(image[0].numpy()).save(folder / f"{i}.png")

    def read(self, name: str) -> Tensor:
        """PNGs as a batch."""
        arrays = [np.asarray(Image.open(self.folder / name / f"{i}.png")) for i in range(len(self.x))]
        return torch.from_numpy(np.stack(arrays))[:, None].float() / 255

    def ask(self, victim: nn.Module, images: Tensor, batch: int) -> "np.ndarray[Any, Any]":
        """Predictions, as users write it."""
        with torch.no_grad():
            return torch.cat([victim(part).argmax(1) for part in torch.split(images, batch)]).numpy()

    def per_cell(self) -> Answers:
        """Craft for every victim anew."""
        found = {}
        for s in self.surrogates:
            for name, row in ATTACKS.items():
                for v in self.victims:
                    network = self.load(s)
                    pairs = zip(torch.split(self.x, 16), torch.split(self.y, 16), strict=True)
                    self.save("cell", torch.cat([torchattacks_way(row, network, x, y, STEPS)() for x, y in pairs]))
                    found[s, name, v] = self.ask(self.load(v), self.read("cell"), 16)
        return found

    def craft_once(self) -> Answers:
        """Craft for all victims at once."""
        for s in self.surrogates:
            network = self.load(s)
            for name, row in ATTACKS.items():
                pairs = zip(torch.split(self.x, 64), torch.split(self.y, 64), strict=True)
                self.save(f"{s}-{name}", torch.cat([torchattacks_way(row, network, x, y, STEPS)() for x, y in pairs]))
        found = {}
        for s in self.surrogates:
            for name in ATTACKS:
                for v in self.victims:
                    found[s, name, v] = self.ask(self.load(v), self.read(f"{s}-{name}"), 64)
        return found

    def carom(self) -> Answers:
        """Craft once, load once, nothing twice."""
        attacks = [(row.attack(STEPS), EIGHT) for row in ATTACKS.values()]
        ids = torch.arange(len(self.x))
        sets: dict[tuple[int, str], Tensor] = {}
        for s in self.surrogates:
            surrogate = Surrogate((prepare(self.load(s)),))
            made = craft(attacks, surrogate, self.pixels, self.y, ids=ids, seed=0)
            sets |= {(s, name): crafted.images for name, crafted in zip(ATTACKS, made, strict=True)}
        found = {}
        for v in self.victims:
            victim = prepare(self.load(v))
            for (s, name), images in sets.items():
                found[s, name, v] = answers(victim, images, classes=10, device="cpu", name="victim")
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--model", default="vgg-small")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        matrix = Matrix(Path(folder), options.images, options.model)
        ways: dict[str, Callable[[], Answers]] = {
            "per cell": matrix.per_cell,
            "craft once": matrix.craft_once,
            "carom": matrix.carom,
        }
        reference = {name: way() for name, way in ways.items()}  # unmeasured
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        names = list(ways)
        for turn in range(options.rounds):
            for name in names[turn % 3 :] + names[: turn % 3]:
                began = time.perf_counter()
                ways[name]()
                seconds[name].append(time.perf_counter() - began)
    print(
        f"3 surrogates x 3 attacks x 6 victims, {options.images} images {SHAPE}, {options.model}, "
        f"{options.threads} threads, {options.rounds} rounds, torch {torch.__version__}"
    )
    print(f"{'pipeline':12}{'seconds':>9}{'  range':16}{'carom is faster by':>20}{'  range':16}{'equal':>8}")
    for name, took in seconds.items():
        ratios = [theirs / ours for theirs, ours in zip(took, seconds["carom"], strict=True)]
        same = np.mean([np.mean(reference[name][cell] == reference["per cell"][cell]) for cell in reference[name]])
        print(
            f"{name:12}{statistics.median(took):9.2f}  {min(took):5.2f}-{max(took):5.2f}   "
            f"{statistics.median(ratios):18.1f}x  {min(ratios):5.1f}-{max(ratios):5.1f}x  {same:8.2%}"
        )


if __name__ == "__main__":
    main()
