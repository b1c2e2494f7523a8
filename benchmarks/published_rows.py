"""Published error rates of networks, and what carom measures of the same files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from published_networks import TwoConvolutions, classifier

import carom
from carom.typing import Images, Labels
from carom.zoo.architectures import Architecture
from carom.zoo.architectures.thin_resnet import ThinResNet
from carom.zoo.models.classifier import Classifier
from carom.zoo.preprocessing import Preprocessing, Shape
from carom.zoo.tasks.fashion_mnist import FashionMnist

Images_of = Literal["mnist", "fashion-mnist", "mnist-200", "cifar10-200"]
BATCH = 200


@dataclass(frozen=True, kw_only=True)
class Figure:
    """An error rate in per cent.

    Attributes:
        what: "clean", or what attacks.
        published: By the network's authors, of all test images; None where nothing was.
        recalled: Nobody read `published` in its source.
        within: How far from `published` carom may be; None where it only stands beside: it is of other images, or of
            settings that are not known.
        seen: What a plain loop that shares no code with carom found on the same images; None where none was run.
        within_seen: How far from `seen` carom may be. Clean errors are counts: half of the last digit.
        attack: What `carom.attack` takes; None for clean images.
        restarts: Of the attack, each on the images that are still right.
        n: How many of the images, in the order of numpy's `default_rng(0)`; None for all. That of the file is by class.
    """

    what: str
    published: float | None = None
    recalled: bool = False
    within: float | None = None
    seen: float | None = None
    within_seen: float | None = None
    attack: str | Mapping[str, Any] | None = None
    restarts: int = 1
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file of weights.

    Attributes:
        file: Below the folder.
        source: Where its figures were published.
        images: What it is asked about.
        architecture: Of the weights.
        eps: Radius of the attacks, linf.
        mean: Of the preprocessing.
        std: The same.
        figures: What is known, and measured.
    """

    file: str
    source: str
    images: Images_of
    architecture: Architecture
    eps: str = "0"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    figures: tuple[Figure, ...]


def pgd(steps: int, step: str) -> Mapping[str, Any]:
    """PGD of so many steps, each of so many radii."""
    return {"name": "pgd", "steps": steps, "step": step}


_PROVABLE = "Wong and Kolter 2018, arXiv:1711.00851"
_FAST = "Wong, Rice and Kolter 2020, arXiv:2001.03994"
_SDP = "Dathathri et al. 2020, arXiv:2010.11645; the 200 images of Wang et al. 2021, arXiv:2103.06624"
_RESNET = "the page of the files; He, Zhang, Ren and Sun 2016, arXiv:1512.03385"
_COLOURS = (0.485, 0.456, 0.406)


def _small(name: str, figures: tuple[Figure, ...]) -> Row:
    return Row(
        file=f"cifar10/cifar_cnn_a_{name}.pth",
        source=_SDP,
        images="cifar10-200",
        architecture=TwoConvolutions(),
        eps="2/255",
        mean=_COLOURS,
        std=(0.225, 0.225, 0.225),
        figures=figures,
    )


def _resnet(layers: int, published: float, seen: float) -> Row:
    return Row(
        file=f"cifar10/resnet{layers}.th",
        source=_RESNET,
        images="cifar10-200",
        architecture=ThinResNet(blocks=(layers - 2) // 6),
        mean=_COLOURS,
        std=(0.229, 0.224, 0.225),
        figures=(Figure(what="clean", published=published, seen=seen, within_seen=0.005),),
    )


def _provable(task: Literal["mnist", "fashion-mnist"], figures: tuple[Figure, ...]) -> Row:
    return Row(
        file=f"{task}/provable.pth",
        source=_PROVABLE,
        images=task,
        architecture=TwoConvolutions(),
        eps="0.1",
        figures=figures,
    )


def _fast(name: str, clean: Figure, first: float, attacked: Figure) -> Row:
    return Row(
        file=f"mnist/{name}.pth",
        source=_FAST,
        images="mnist",
        architecture=TwoConvolutions(),
        eps="0.3",
        figures=(clean, Figure(what="clean", seen=first, within_seen=0.005, n=1000), attacked),
    )


def _fgsm(published: float, seen: float, *, recalled: bool = False) -> Figure:
    return Figure(
        what="FGSM", published=published, recalled=recalled, within=0.3, seen=seen, within_seen=0.3, attack="fgsm"
    )


def _pgd40(published: float, seen: float, *, recalled: bool = False) -> Figure:
    return Figure(
        what="PGD, 40 steps",
        published=published,
        recalled=recalled,
        within=0.3,
        seen=seen,
        within_seen=0.3,
        attack=pgd(40, "1/10"),
    )


def _pgd50(published: float, seen: float) -> Figure:
    """From one start, as the plain loop; the published ones are from ten."""
    return Figure(
        what="PGD, 50 steps",
        published=published,
        recalled=True,
        seen=seen,
        attack=pgd(50, "1/30"),
        n=1000,
    )


def _pgd100(seen: float | None, published: float | None = None) -> Figure:
    return Figure(
        what="PGD, 100 steps, 5 restarts",
        published=published,
        recalled=published is not None,
        seen=seen,
        attack=pgd(100, "1/10"),
        restarts=5,
    )


def _clean(seen: float | None, published: float | None = None, *, recalled: bool = False) -> Figure:
    return Figure(
        what="clean",
        published=published,
        recalled=recalled,
        seen=seen,
        within_seen=None if seen is None else 0.005,
    )


ROWS: tuple[Row, ...] = (
    _provable(
        "mnist",
        (
            Figure(what="clean", published=1.8, within=0.05, seen=1.80, within_seen=0.005),
            _fgsm(3.9, 3.90),
            _pgd40(4.1, 4.06),
        ),
    ),
    _provable(
        "fashion-mnist",
        (
            Figure(what="clean", published=21.73, recalled=True, within=0.005, seen=21.73, within_seen=0.005),
            _fgsm(31.25, 31.20, recalled=True),
            _pgd40(31.63, 31.59, recalled=True),
        ),
    ),
    _fast("fast-at", _clean(None, 1.50, recalled=True), 2.1, _pgd50(11.23, 11.1)),
    _fast("pgd-at", _clean(None, 0.80, recalled=True), 1.6, _pgd50(10.10, 10.3)),
    Row(
        file="mnist/cnn-a-adv.pth",
        source=_SDP,
        images="mnist-200",
        architecture=TwoConvolutions(),
        eps="0.3",
        figures=(_clean(2.5), _pgd100(21.5, 23.5)),
    ),
    _resnet(20, 8.27, 7.5),
    _resnet(32, 7.37, 8.5),
    _resnet(44, 6.90, 6.5),
    _resnet(56, 6.61, 5.5),
    _small("adv", (_clean(28.5), _pgd100(46.0))),
    _small("adv4", (_clean(42.0), _pgd100(49.5))),
    _small("mix", (_clean(None), _pgd100(None))),
    _small("mix4", (_clean(None), _pgd100(None))),
)


@cache
def images_of(folder: Path, name: Images_of) -> tuple[Images, Labels]:
    """Floats `n c h w` in [0, 1], and labels.

    Raises:
        MissingData: Fashion-MNIST is not on this machine.
    """
    if name == "fashion-mnist":
        found = FashionMnist().load("original", "test")
        return found.pixels, found.labels
    path = {"mnist": "mnist/test", "mnist-200": "mnist/two-hundred", "cifar10-200": "cifar10/two-hundred"}[name]
    with np.load(folder / f"{path}.npz") as file:
        x, y = (file[next(array for array in file.files if array.startswith(letter))] for letter in "xy")
    pixels = torch.from_numpy(x.reshape(len(x), *x.shape[1:3], -1)).permute(0, 3, 1, 2).contiguous()
    return pixels.float() / 255, torch.from_numpy(y)


def model_of(folder: Path, row: Row) -> Classifier:
    """The row's network with its weights."""
    shape: Shape = (3, 32, 32) if row.images == "cifar10-200" else (1, 28, 28)
    preprocessing = Preprocessing(mean=row.mean, std=row.std)
    return classifier(folder / row.file, row.architecture, shape, preprocessing)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Errors, counted.

    Attributes:
        n: Images.
        k: Wrong on the float images that the attack ended at.
        eight_bit: Wrong on what is stored of them: 8-bit images in the ball.
    """

    n: int
    k: int
    eight_bit: int

    @property
    def error(self) -> float:
        """In per cent."""
        return 100 * self.k / self.n


def measure(folder: Path, row: Row, figure: Figure) -> Measured:
    """What carom finds: crafted by `carom.attack`, 8-bit images judged by `carom.evaluate`."""
    model = model_of(folder, row)
    x, y = images_of(folder, row.images)
    if figure.n is not None:
        chosen = torch.from_numpy(np.random.default_rng(0).permutation(len(x))[: figure.n])
        x, y = x[chosen], y[chosen]
    x_adv = x.clone()
    left = right(model, x, y).nonzero().flatten() if figure.restarts > 1 else torch.arange(len(x))
    for restart in range(figure.restarts if figure.attack is not None else 0):
        assert figure.attack is not None
        x_adv[left] = carom.attack(figure.attack, model, x[left], y[left], eps=row.eps, seed=restart, ids=left)
        if figure.restarts > 1:
            left = left[right(model, x_adv[left], y[left])]
    judged = carom.evaluate(model, x, y, x_adv, eps=row.eps)
    return Measured(
        n=len(x),
        k=int((~right(model, x_adv, y)).sum()),
        eight_bit=len(x) - round(judged.robust_accuracy * len(x)),
    )


@torch.no_grad()
def right(model: Classifier, x: Images, y: Labels) -> torch.Tensor:
    """Which images it gets right."""
    parts = [model(batch).argmax(1) for batch in torch.split(x, BATCH)]
    return torch.cat(parts) == y if parts else torch.zeros(0, dtype=torch.bool)
