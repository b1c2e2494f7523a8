"""Attacks on boxes of which verifiers proved whether there is an adversarial example in them.

The boxes are those of VNN-COMP 2022, `mnist_fc`: three fully connected networks, 15 images and two radii. A verdict is
"robust" (no adversarial example exists), "broken" (one does) or "open" (nobody could tell).
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from published_networks import dense_network
from torch import Tensor, nn

import carom
from carom.attacks import ATTACKS, Iterative, parse_attack
from carom.attacks.starts.clean import Clean
from carom.budget import Budget
from carom.typing import Images, Labels, Pixels

Verdict = Literal["robust", "broken", "open"]
Box = tuple[str, str]  # network and property

RESTARTS = 10  # of an attack that begins at a random place
DUST = 2.0**-23  # how far float32 arithmetic may leave a box of pixels in [0, 1]

# Why some entries of the registry are not tried. A test holds the list to what carom itself says.
LEFT_OUT: Mapping[str, str] = {
    "sgm": "needs residual branches; these networks have none",
    "cw": "defined in l2 only",
}
# A second each for all boxes. The others, in settings of many passes or with many questions, take minutes together.
QUICK = frozenset(("fgsm", "bim", "pgd", "mi", "margin", "deepfool", "linbp"))
# Other than the defaults: what has to be given, and what would take too long.
SETTINGS: Mapping[str, Mapping[str, Any]] = {"pas": {"pas": {"coefficients": [0.5]}}, "bayes": {"queries": 20}}
# Settings that find what the defaults miss. These images are mostly black, and a uniform start is clipped to [0, 1], so
# it leaves half of the black pixels where they are; a start in a corner of the ball goes farther.
PGD: Mapping[str, Any] = {"name": "pgd", "steps": 40, "step": "1/2"}
ON_MARGINS: Mapping[str, Any] = {"name": "rfgsm+margin", "steps": 40, "step": "1/4", "rfgsm": {"size": "1"}}


@dataclass(frozen=True, kw_only=True, eq=False)
class Boxes:
    """The boxes of one network at one radius.

    Attributes:
        network: Name of the file.
        model: Images `n 1 28 28` to logits, float32.
        exact: The same in float64.
        eps: Radius, as the properties' names have it.
        names: Of the properties.
        verdicts: Of the verifiers.
        clean: The 8-bit images around which the boxes lie, clipped to [0, 1].
        labels: What the network must not answer anything else than.
        low: Lower bound of each pixel, float64.
        high: Upper bound.
    """

    network: str
    model: nn.Module
    exact: nn.Module
    eps: str
    names: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    clean: Pixels
    labels: Labels
    low: Float[Tensor, "n 1 28 28"]
    high: Float[Tensor, "n 1 28 28"]

    @property
    def budget(self) -> Budget:
        """carom's: the linf ball of that radius."""
        return Budget.parse("linf", self.eps)

    def broken(self, x_adv: Images) -> Bool[Tensor, " n"]:
        """Which images are adversarial examples: in the box, and in float64 no logit below the label's is the largest.

        Raises:
            ValueError: An image left its box by more than float dust. What is dust is clipped off before the answer.
        """
        x = x_adv.double()
        outside = float(torch.maximum(self.low - x, x - self.high).max())
        if not outside <= DUST:
            raise ValueError(f"{self.network}, {self.eps}: an image is {outside:.3g} outside its box")
        with torch.no_grad():
            logits = self.exact(torch.minimum(torch.maximum(x, self.low), self.high))
        own = logits.gather(1, self.labels[:, None])[:, 0]
        broken: Tensor = logits.scatter(1, self.labels[:, None], -torch.inf).amax(1) >= own
        return broken


def load_boxes(folder: Path) -> list[Boxes]:
    """All boxes of `folder`, by network and radius."""
    with np.load(folder / "boxes.npz") as file:
        names, low, high, labels = (file[name] for name in ("names", "low", "high", "labels"))
    with (folder / "verdicts.csv").open(newline="") as lines:
        verdict = {(line["network"], line["property"]): line["verdict"] for line in csv.DictReader(lines)}
    radius = np.array([str(name).removesuffix(".vnnlib").rpartition("_")[2] for name in names])
    made = []
    for path in sorted(folder.glob("*.onnx")):
        for eps in sorted(set(radius)):
            at = np.flatnonzero(radius == eps)
            below, above = (torch.from_numpy(b[at]).double().reshape(-1, 1, 28, 28) for b in (low, high))
            # where one bound is clipped the other one is a radius away from the image
            eps_of = float(eps)
            middle = torch.where(
                below <= 0, above - eps_of, torch.where(above >= 1, below + eps_of, (below + above) / 2)
            )
            made.append(
                Boxes(
                    network=path.name,
                    model=dense_network(path),
                    exact=dense_network(path).double(),
                    eps=str(eps),
                    names=tuple(str(name) for name in names[at]),
                    verdicts=tuple(cast("Verdict", verdict[path.name, str(name)]) for name in names[at]),
                    clean=(255 * middle).round().to(torch.uint8),
                    labels=torch.from_numpy(labels[at]),
                    low=below,
                    high=above,
                )
            )
    return made


@dataclass(frozen=True, kw_only=True)
class Tried:
    """In which boxes an attack found an adversarial example.

    Attributes:
        floats: As float32 images.
        eight_bit: As the 8-bit images that carom stores, which lie in the box too.
        verdicts: Of all boxes.
    """

    floats: frozenset[Box]
    eight_bit: frozenset[Box]
    verdicts: Mapping[Box, Verdict]

    def of(self, verdict: Verdict) -> list[Box]:
        """The boxes of this verdict in which something was found, in either form."""
        return sorted(box for box in self.floats | self.eight_bit if self.verdicts[box] == verdict)

    def missed(self) -> list[Box]:
        """The broken boxes in which nothing was found."""
        every = {box for box, verdict in self.verdicts.items() if verdict == "broken"}
        return sorted(every - self.floats - self.eight_bit)


def restarts(table: str | Mapping[str, Any]) -> int:
    """How often an attack is begun: once, unless it begins at a random place."""
    attack = parse_attack(table)
    return RESTARTS if isinstance(attack, Iterative) and attack.start != Clean() else 1


def attacked(table: str | Mapping[str, Any], boxes: Sequence[Boxes], *, each_class: bool = False) -> Tried:
    """What an attack finds in the boxes.

    All restarts on all boxes of a network and radius are one batch: draws belong to ids.

    Args:
        table: What `carom.attack` takes.
        boxes: Where.
        each_class: Aimed at each wrong class, one after the other.
    """
    times = restarts(table)
    floats: set[Box] = set()
    eight_bit: set[Box] = set()
    for group in boxes:
        x, y = group.clean.float() / 255, group.labels
        many, of = x.repeat(times, 1, 1, 1), y.repeat(times)
        for offset in range(1, 10) if each_class else [0]:
            x_adv = carom.attack(
                table,
                group.model,
                many,
                of,
                eps=group.eps,
                seed=offset,  # each class has restarts of its own
                ids=torch.arange(len(many)),
                target=(of + offset) % 10 if each_class else None,
            )
            for one in torch.split(x_adv, len(x)):
                stored = group.budget.quantize(one, group.clean).double() / 255
                for found, images in ((floats, one), (eight_bit, stored)):
                    hit = group.broken(images).tolist()
                    found |= {(group.network, name) for name, won in zip(group.names, hit, strict=True) if won}
    verdicts = {(g.network, n): v for g in boxes for n, v in zip(g.names, g.verdicts, strict=True)}
    return Tried(floats=frozenset(floats), eight_bit=frozenset(eight_bit), verdicts=verdicts)


def setting(name: str) -> Mapping[str, Any]:
    """What is run of an attack."""
    return {"name": name, **SETTINGS.get(name, {})}


def names() -> list[str]:
    """The attacks that are tried: of the registry all that are defined here, and AutoAttack."""
    return [*(name for name in ATTACKS if name not in LEFT_OUT), "autoattack"]
