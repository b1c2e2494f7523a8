"""The jobs of `attack_table.py`: trainings, and one attack setting measured on one split, each kept under its key."""

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attacks_page import ROOT
from torch import Tensor, nn

from carom.attacks import Iterative, Partners, craft, parse_attack
from carom.budget import Budget
from carom.draws import stream
from carom.errors import CaromError, one_line
from carom.files import write_whole
from carom.identity import content_key, tensor_digest
from carom.protocols import Attack
from carom.scenarios.jobs.answers import answers
from carom.scenarios.jobs.visibility import visibility
from carom.surrogates import Surrogate
from carom.zoo.architectures import architecture
from carom.zoo.models.checkpoints import read_weights, save_state_dict
from carom.zoo.models.classifier import Classifier, restore, weights
from carom.zoo.models.prepare import prepare
from carom.zoo.tasks.balance import draw
from carom.zoo.tasks.fashion_mnist import FashionMnist
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.loop import train
from carom.zoo.training.recipes import recipe

VERSION = 1  # raise it when a measurement means something else
CLASSES = 10
BUDGETS = {"linf": Budget.parse("linf", "16/255"), "l2": Budget.parse("l2", "3/2")}
SEED = 0  # of the attacks' draws
POOL = 500  # training images of the attacker, as partners of attacks that mix images

Bits = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
RECIPE = {"name": "standard", "batch_size": 64, "flip": True}


@dataclass(frozen=True, kw_only=True)
class Model:
    """One training: no seed and no half of the training images is in two roles."""

    architecture: str
    seed: int
    samples: str


SURROGATES = tuple(Model(architecture="resnet-small", seed=seed, samples="a") for seed in (11, 12, 13))
ENSEMBLE = (
    SURROGATES[0],
    Model(architecture="lenet", seed=14, samples="a"),
    Model(architecture="vgg-small", seed=15, samples="a"),
)
VICTIMS = {
    "validation": tuple(
        Model(architecture=name, seed=21 + i, samples="b")
        for i, name in enumerate(("vgg-small", "lenet", "resnet-small"))
    ),
    "test": tuple(
        Model(architecture=name, seed=31 + i, samples="b")
        for i, name in enumerate(("vgg-small", "lenet", "resnet-small", "mlp", "vit-small"))
    ),
}
MODELS = tuple(dict.fromkeys((*SURROGATES, *ENSEMBLE, *VICTIMS["validation"], *VICTIMS["test"])))


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is done.

    Attributes:
        folder: Where models and outcomes are kept.
        epochs: Of a training.
        n: Training images.
        validation: Images to choose settings on.
        slow_validation: The same for attacks that are slow beyond their passes.
        test: Images to measure on, by the most passes for which it holds.
        beyond: Images above all of these.
        slow: Images of attacks that are slow beyond their passes.
    """

    folder: Path
    epochs: int = 12
    n: int = 6000
    validation: int = 200
    slow_validation: int = 20
    test: Mapping[int, int] = field(default_factory=lambda: {50: 1000, 200: 300})
    beyond: int = 100
    slow: int = 50

    def images(self, name: str, cost: int, split: str) -> int:
        """How many images a setting is measured on."""
        if name in SLOW:
            return self.slow if split == "test" else self.slow_validation
        if split == "validation":
            return self.validation
        return next((n for most, n in self.test.items() if cost <= most), self.beyond)


FULL = Scale(folder=ROOT / ".carom" / "attack-table")
QUICK = Scale(
    folder=ROOT / ".carom" / "attack-table-quick",
    epochs=2,
    n=600,
    validation=20,
    slow_validation=4,
    test={50: 40, 200: 20},
    beyond=10,
    slow=5,
)
SLOW = ("bayes",)  # its surrogate model costs more than the network that it asks


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        entry: Name in the registry.
        label: What is run: transformations and other slots without momentum of their own run on MI.
        family: Of the entry.
        source: "residual" (one residual network) or "ensemble" (three networks of three architectures).
        norm: Of the budget.
        note: What the reader has to know.
    """

    entry: str
    label: str
    family: str
    source: str = "residual"
    norm: str = "linf"
    note: str = ""

    @property
    def members(self) -> int:
        return len(ENSEMBLE) if self.source == "ensemble" else 1

    @property
    def slug(self) -> str:
        return f"{self.label}, {self.source}, {self.norm}"


# ------------------------------------------------------------------------------------------------- models and images


def trained(model: Model, scale: Scale) -> str | None:
    """The name of a model's file, which says what was asked and what came; None if it was not trained yet."""
    key = content_key(VERSION, model, RECIPE, scale.epochs, scale.n)
    return next((path.stem for path in sorted(scale.folder.glob(f"{key}-*.safetensors"))), None)


def train_model(model: Model, scale: Scale) -> None:
    """Trains it and keeps it."""
    task = FashionMnist()
    classifier = train(
        recipe({**RECIPE, "epochs": scale.epochs}),
        architecture(model.architecture),
        train=draw(task.load("original", "train", model.samples), [scale.n // CLASSES] * CLASSES, model.seed),
        validation=task.load("original", "validation"),
        classes=CLASSES,
        seed=model.seed,
    ).classifier()
    key, digest = content_key(VERSION, model, RECIPE, scale.epochs, scale.n), tensor_digest(weights(classifier))
    save_state_dict(classifier, scale.folder / f"{key}-{digest[:16]}.safetensors")


@lru_cache(maxsize=32)
def network(folder: Path, key: str) -> Classifier:
    """A trained model."""
    found, said = read_weights(folder / f"{key}.safetensors")
    assert said is not None
    return restore(
        said.architecture, found.tensors, shape=said.shape, classes=said.classes, preprocessing=said.preprocessing
    ).requires_grad_(False)


@lru_cache(maxsize=32)
def ready(folder: Path, key: str) -> nn.Module:
    """The same, ready to be asked."""
    return prepare(network(folder, key))


@lru_cache(maxsize=4)
def attacked(split: str) -> ImageSet:
    """Balanced images of the original pictures in a seeded order: any beginning of it is a random choice."""
    per_class = 100 if split == "test" else 30
    chosen = draw(
        FashionMnist().load("original", "test" if split == "test" else "validation"), [per_class] * CLASSES, 7
    )
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(stream(7, "attack table")))
    return chosen.select(order)


@lru_cache(maxsize=1)
def pool() -> Partners:
    """The attacker's own images."""
    images = draw(FashionMnist().load("original", "train", "a"), [POOL // CLASSES] * CLASSES, 7)
    return Partners(images.pixels, images.labels)


class MeanLogits(nn.Module):
    """Several networks as one: what "own" means for an ensemble."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([network(x) for network in self.networks]).mean(0)


# ---------------------------------------------------------------------------------------------------------------- jobs


@dataclass(frozen=True, kw_only=True)
class Job:
    """One setting on one split.

    Attributes:
        row: Which line.
        table: The setting.
        split: Of images and victims.
        n: Images.
        scale: How much, and where.
        keys: Names of the models' files, in the order of `MODELS`.
    """

    row: Row
    table: Mapping[str, Any]
    split: str
    n: int
    scale: Scale
    keys: tuple[str, ...]

    @property
    def attack(self) -> Attack:
        return parse_attack(dict(self.table))

    @property
    def passes(self) -> int:
        """Of the whole job, for the time left."""
        passes = self.attack.passes(self.row.members)
        return self.n * (passes.forward + passes.backward)

    @property
    def path(self) -> Path:
        """Where its outcome is kept: under everything that decides it."""
        key = content_key(
            VERSION, self.attack, BUDGETS[self.row.norm], self.row.source, self.row.family == "query", self.split,
            self.n, SEED, self.keys,
        )  # fmt: skip
        return self.scale.folder / "outcomes" / f"{key}.json"

    def key(self, model: Model) -> str:
        return self.keys[MODELS.index(model)]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a job found; arrays over images.

    Attributes:
        own: Wrong answers of the network that the images were made on, or that was asked.
        own_right: Its right answers on the clean images.
        wrong: Wrong answers of each victim, `victims n`.
        right: Right answers on the clean images, `victims n`.
        l2: Mean length of the changes.
        queries: Mean queries an image, where the attack asks.
        seconds: Of the crafting.
    """

    own: Bits
    own_right: Bits
    wrong: Bits
    right: Bits
    l2: float
    queries: float | None
    seconds: float

    def save(self, path: Path) -> None:
        packed = {name: np.packbits(getattr(self, name), axis=-1).tolist() for name in _ARRAYS}
        record = {**packed, "n": self.own.shape[0], "l2": self.l2, "queries": self.queries, "seconds": self.seconds}
        _write(path, json.dumps(record))

    @classmethod
    def load(cls, path: Path) -> "Outcome":
        record = json.loads(path.read_text())
        arrays = {
            name: np.unpackbits(np.array(record[name], dtype=np.uint8), axis=-1, count=record["n"]).astype(bool)
            for name in _ARRAYS
        }
        return cls(**arrays, l2=record["l2"], queries=record["queries"], seconds=record["seconds"])

    def of(self, images: slice) -> "Outcome":
        """On some of the images alone."""
        return dataclasses.replace(self, **{name: getattr(self, name)[..., images] for name in _ARRAYS})


_ARRAYS = ("own", "own_right", "wrong", "right")


def perform(job: Job) -> str | None:
    """Do a job and keep its outcome; what was wrong, if it failed."""
    torch.set_num_threads(1)
    try:
        if not job.path.exists():
            _measure(job).save(job.path)
    except CaromError as error:
        return str(error)
    except Exception as error:  # one attack that breaks must not take the others along
        return one_line(error)
    return None


def _measure(job: Job) -> Outcome:
    folder, images = job.scale.folder, attacked(job.split)
    images = images.select(torch.arange(job.n))
    victims = [ready(folder, job.key(model)) for model in VICTIMS[job.split]]
    asked = victims[0] if job.row.family == "query" else None
    adversarial, own, own_right = torch.empty_like(images.images), np.zeros(job.n, bool), np.zeros(job.n, bool)
    queries: list[Tensor] = []
    began = time.perf_counter()
    for number, models in enumerate([ENSEMBLE] if job.row.source == "ensemble" else [(m,) for m in SURROGATES]):
        step = 1 if job.row.source == "ensemble" else len(SURROGATES)
        place = torch.arange(number, job.n, step)  # every third image on each of three trainings, at the cost of one
        if not len(place):
            continue
        some = images.select(place)
        members = tuple(network(folder, job.key(model)) for model in models)
        (crafted,) = craft(
            [(_along_a_path(job, members[0], models[0]), BUDGETS[job.row.norm])],
            Surrogate(members, seed=SEED),
            some.images,
            some.labels,
            seed=SEED,
            ids=some.ids,
            partners=pool(),
            asked=asked,
            prepare=prepare,
        )
        adversarial[place] = crafted.images
        judge = asked or MeanLogits([ready(folder, job.key(model)) for model in models])
        own[place], own_right[place] = wrong(judge, crafted.images, some), ~wrong(judge, some.images, some)
        if "queries" in crafted.columns:
            queries.append(crafted.columns["queries"])
    seconds = time.perf_counter() - began
    others = victims[1:] if asked is not None else victims
    return Outcome(
        own=own,
        own_right=own_right,
        wrong=np.array([wrong(victim, adversarial, images) for victim in others]),
        right=np.array([~wrong(victim, images.images, images) for victim in others]),
        l2=visibility(adversarial, images.images, BUDGETS[job.row.norm])["l2"],
        queries=float(torch.cat(queries).double().mean()) if queries else None,
        seconds=seconds,
    )


def wrong(network: nn.Module, pixels: Tensor, images: ImageSet) -> Bits:
    """Which of these versions of the images a network takes for another class."""
    given = answers(network, pixels, classes=CLASSES, device="cpu", name="judge")
    return np.asarray(given != images.labels.numpy())


def _along_a_path(job: Job, classifier: Classifier, model: Model) -> Attack:
    """The attack; a model path without coefficients is searched first, on validation images and validation victims."""
    attack = job.attack
    path: Any = attack.path if isinstance(attack, Iterative) else None
    if getattr(path, "coefficients", None) != ():
        return attack
    judges = tuple(job.key(model) for model in VICTIMS["validation"])
    found = _searched(
        job.scale.folder, classifier, job.key(model), judges, job.scale.validation, path, BUDGETS[job.row.norm]
    )
    assert isinstance(attack, Iterative)
    return dataclasses.replace(attack, path=found)


def _searched(
    folder: Path, classifier: Classifier, name: str, judges: tuple[str, ...], n: int, path: Any, budget: Budget
) -> Any:
    """The path with the coefficients that were found; a search takes minutes, so they are kept."""
    kept = folder / "paths" / f"{content_key(VERSION, name, judges, n, path, budget, SEED)}.json"
    if not kept.exists():
        from carom.attacks.paths.search import search

        images = attacked("validation").select(torch.arange(n))
        found = search(
            classifier,
            [ready(folder, key) for key in judges],
            images.pixels,
            images.labels,
            budget,
            pas=path,
            seed=SEED,
            prepare=prepare,
        )
        _write(kept, json.dumps(found.path.coefficients))
    return dataclasses.replace(path, coefficients=tuple(json.loads(kept.read_text())))


def _write(path: Path, text: str) -> None:
    """Whole or not at all, whoever else writes it too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())
