"""The audited model: what it takes and answers, as far as it can be told by asking it."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from carom.errors import InputError, ModelError
from carom.zoo.architectures.families import FAMILIES, family_of
from carom.zoo.architectures.timm_models import Timm
from carom.zoo.architectures.torchvision_models import Torchvision
from carom.zoo.models.checkpoints import read_weights
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.outside import efficientnet_lite
from carom.zoo.models.outside.endpoint import Endpoint
from carom.zoo.models.outside.onnx_file import OnnxFile
from carom.zoo.models.outside.programs import Program
from carom.zoo.models.outside.published import Published
from carom.zoo.models.outside.python_model import PythonModel
from carom.zoo.models.outside.weights_file import WeightsFile
from carom.zoo.models.references import Preprocessed, Reference, load_reference, reference
from carom.zoo.models.victims import CallableVictim, ask
from carom.zoo.preprocessing import Shape

Loaded = Classifier | CallableVictim
SIDES = (224, 299, 256, 240, 260, 280, 300, 320, 336, 380, 384, 448, 512, 32, 64, 96, 128, 160, 192, 16, 28)
IMAGENET = 1000
FREE = (224, 256, 299)  # of those, what is tried of a network that takes any size
SMALL = 128  # images of such a side are not enlarged
SAME = 3  # times that one reason is heard before it is taken for the model's, whatever the size
SHRINK = 0.875  # of the shorter side that the crop keeps, where nobody says another share


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What is known of a model before its preprocessing is.

    Attributes:
        table: The model, as a scenario's table names it.
        label: Short, for tables.
        classes: How many it answers with.
        channels: Of the images that it takes.
        sides: Rows and columns of the square images that it takes, as far as they were tried; the likeliest first.
        own: It brings its own preprocessing, or somebody declared it.
        shrink: Share of the shorter side that its authors crop, before which the image is brought to that size.
        interpolation: Of that resize.
        family: Coarse kind of its network; "" where nobody can tell.
        differentiable: Gradients reach the images.
    """

    table: Mapping[str, Any]
    label: str
    classes: int
    channels: int
    sides: tuple[int, ...]
    own: bool
    shrink: float
    interpolation: str
    family: str
    differentiable: bool


def model_table(text: str, *, where: str) -> dict[str, Any]:
    """The table of a model that is a name, or an inline table of TOML.

    Raises:
        InputError: It is neither.
    """
    if not text.lstrip().startswith("{"):
        return {"model": text}
    return {**inline_table(text, where=where)}


def inline_table(text: str, *, where: str) -> dict[str, Any]:
    """A table that is written on one line of TOML.

    Raises:
        InputError: It is none.
    """
    try:
        found = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"{where} {text!r}: no inline table of TOML ({error}); write it as '{{name = \"...\"}}'"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{where} {text!r}: expected an inline table of TOML, such as '{{mean = [...], std = [...]}}'")
    return found


def look(table: Mapping[str, Any], *, classes: int | None, side: int | None) -> Looked:
    """Load a model, and find out what images it takes and how many classes it answers with.

    Args:
        table: As a scenario names it.
        classes: As the user's names have it; None where there are none.
        side: Of the images, where they are squares of one size.

    Raises:
        InputError: It names no model.
        MissingData: Its file is not here.
        ModelError: It takes no square images of the sizes that are tried, or fails on them.
    """
    named = reference(table, where="MODEL")
    guess = classes or _classes_of(named) or IMAGENET
    wanted = (table.get("preprocessing") or {}).get("resize")
    small = side if side is not None and side < SMALL else None
    first = [s for s in (wanted and int(wanted[0]), _side_of(named), small, FREE[0], side) if s]
    tried = tuple(dict.fromkeys([*first, *(() if isinstance(named, Endpoint) else SIDES)])) or SIDES[:1]
    reasons: list[str] = []
    for channels in (3, 1):
        for each in tried:
            try:
                found = load_reference(named, shape=(channels, each, each), classes=guess, where="MODEL")
                answered = answer(found, (channels, each, each))
            except ModelError as error:
                reasons.append(str(error))
                if reasons.count(reasons[0]) >= SAME:
                    raise ModelError(reasons[0]) from None
                continue
            inside = getattr(getattr(found, "preprocessing", None), "resize", None)
            if inside is not None:
                each = int(inside[0])  # the images that are attacked are those that the network gets
            own = _brings_its_own(named, found)
            sides = (each,) if own or inside is not None else _sides(named, found, channels, each, side, guess)
            shrink, interpolation = _crop_of(named)
            return Looked(
                table=dict(table),
                label=label_of(table),
                classes=answered.shape[1] if answered.ndim == 2 else guess,
                channels=channels,
                sides=sides,
                own=own,
                shrink=shrink,
                interpolation=interpolation,
                family=family_behind(named, found),
                differentiable=isinstance(found, Classifier),
            )
    raise ModelError(reasons[0])


def answer(model: Loaded, shape: Shape, n: int = 2) -> Tensor:
    """What it answers to grey images, in eval mode.

    Raises:
        ModelError: It fails, or answers with no scores or labels.
    """
    if isinstance(model, nn.Module):
        model.eval()
    with torch.no_grad():
        return ask(model, torch.full((n, *shape), 0.5), name="MODEL", answers=getattr(model, "answers", "logits"))


def label_of(table: Mapping[str, Any]) -> str:
    """What tables call a model: the last part of its name, without folder and suffix."""
    name = str(table.get("name") or table["model"])
    if "name" in table:
        return name
    if name.startswith(("http://", "https://")):
        return name.split("://")[1].split("/")[0].split("?")[0]
    prefix, _, rest = name.partition(":")
    if prefix == efficientnet_lite.PREFIX:
        return prefix + rest
    if rest.isidentifier() and prefix not in ("timm", "torchvision", "robustbench"):
        return name.replace(":", ".")
    return Path(rest or prefix).name.removesuffix(Path(rest or prefix).suffix if "/" in name or not rest else "")


def family_behind(named: Reference, found: Loaded) -> str:
    """The coarse kind of a network, as the zoo has them; "" where nobody says it."""
    inner = named.model if isinstance(named, Preprocessed) else named
    architecture = getattr(inner, "architecture", None)
    if architecture is not None and hasattr(architecture, "family"):
        return str(architecture.family)
    family = getattr(inner, "family", None)
    if family:
        return str(family)
    if isinstance(found, nn.Module):
        for part in found.modules():
            last = type(part).__module__.rpartition(".")[2]
            if last in FAMILIES:
                return family_of(last)
            if "efficientnet" in type(part).__module__:
                return family_of("efficientnet")
    return ""


def _classes_of(named: Reference) -> int | None:
    """As far as the reference says it."""
    if isinstance(named, Published):
        return int(named.architecture.native_classes)
    if isinstance(named, WeightsFile):
        found, said = read_weights(Path(named.path).expanduser())
        heads = [len(tensor) for tensor in found.tensors.values() if tensor.ndim]
        return said.classes if said is not None else heads[-1] if heads else None
    return None


def _side_of(named: Reference) -> int | None:
    if isinstance(named, WeightsFile):
        _, said = read_weights(Path(named.path).expanduser())
        return None if said is None else said.shape[1]
    return None


def _crop_of(named: Reference) -> tuple[float, str]:
    """Share of the shorter side that a library's own evaluation crops, and how it resizes before."""
    if isinstance(named, Published) and isinstance(named.architecture, Timm):
        from timm.models import get_pretrained_cfg

        cfg: Any = get_pretrained_cfg(named.architecture.name)
        return float(cfg.crop_pct), "bicubic" if cfg.interpolation == "bicubic" else "bilinear"
    if isinstance(named, Published) and isinstance(named.architecture, Torchvision):
        models: Any = import_module("torchvision.models")
        transforms = models.get_model_weights(named.architecture.name)[named.architecture.weights].transforms()
        how = transforms.interpolation.value
        return transforms.crop_size[0] / transforms.resize_size[0], "bicubic" if how == "bicubic" else "bilinear"
    return SHRINK, "bilinear"


def _brings_its_own(named: Reference, found: Loaded) -> bool:
    if isinstance(named, WeightsFile):
        return named.preprocessing is not None or read_weights(Path(named.path).expanduser())[1] is not None
    if isinstance(named, PythonModel):
        return isinstance(found, Classifier) and found.architecture is not named
    return not isinstance(named, OnnxFile | Program | Endpoint)


def _sides(
    named: Reference, found: Loaded, channels: int, first: int, own: int | None, classes: int
) -> tuple[int, ...]:
    """The sizes that the model takes, of the images' own and `FREE`; a service is not asked."""
    if isinstance(named, Endpoint):
        return (first,)
    ask_again: Callable[[int], Loaded] = lambda _: found  # noqa: E731
    if isinstance(named, OnnxFile | Program):
        ask_again = lambda side: load_reference(  # noqa: E731
            named, shape=(channels, side, side), classes=classes, where="MODEL"
        )
    fits = [first]
    for side in dict.fromkeys((own, *FREE)):
        if side is None or side == first:
            continue
        try:
            answer(ask_again(side), (channels, side, side), n=1)
        except ModelError:
            continue
        fits.append(side)
    return tuple(fits)
