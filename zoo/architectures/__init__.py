"""Architectures, one file each. To add one: write the file, add its line here."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

from carom.errors import InputError
from carom.registry import build, lookup

from .base import Architecture, LibraryModel
from .elastic.mobile import ElasticMobile
from .elastic.resnet import ElasticResNet
from .lenet import LeNet
from .mixer import Mixer
from .mlp import MLP
from .resnet import ResNet
from .thin_resnet import ThinResNet
from .timm_models import Timm
from .torchvision_models import Torchvision
from .vgg import VGG
from .vit import ViT

ARCHITECTURES: Mapping[str, type[Architecture]] = MappingProxyType(
    {
        "mlp": MLP,
        "lenet": LeNet,
        "vgg-small": VGG,
        "resnet-small": ResNet,
        "resnet-thin": ThinResNet,
        "mixer-small": Mixer,
        "vit-small": ViT,
        "elastic-resnet": ElasticResNet,
        "elastic-mobile": ElasticMobile,
    }
)

# Written "timm:resnet18": the name goes on in the library's own registry.
LIBRARIES: Mapping[str, type[Architecture]] = MappingProxyType({"timm": Timm, "torchvision": Torchvision})

__all__ = ["ARCHITECTURES", "LIBRARIES", "Architecture", "LibraryModel", "architecture", "table"]


def architecture(value: str | Mapping[str, object], *, where: str = "architecture") -> Architecture:
    """From "lenet", "timm:resnet18", or a table of `name` and fields: {name = "lenet", width = 8}.

    Raises:
        InputError: Unknown name or field, with the nearest known one, or a wrong value.
    """
    fields = {"name": value} if isinstance(value, str) else dict(value)
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise InputError(f'{where}: expected a name such as "lenet", or a table with `name`, got {value!r}')
    library, colon, model = name.partition(":")
    if colon:
        cls = lookup(library, LIBRARIES, where=where, what="library of models")
        fields["name"] = model
    else:
        cls = lookup(name, ARCHITECTURES, where=where, what="architecture")
    make: Callable[..., Architecture] = cls
    return build(make, fields, where=where)


def table(value: object) -> dict[str, object]:
    """What `architecture` reads back as an equal value.

    Raises:
        InputError: A class that no name stands for.
    """
    names: dict[type, str] = {cls: name for name, cls in ARCHITECTURES.items()} | {
        cls: f"{p}:" for p, cls in LIBRARIES.items()
    }
    if type(value) not in names:
        raise InputError(f"architecture: {type(value).__name__} has no registered name; expected one of the registry")
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}  # type: ignore[arg-type]
    return {**fields, "name": names[type(value)] + fields.get("name", "")}
