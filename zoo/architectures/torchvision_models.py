"""Any classification model of torchvision, by name. torchvision is imported when one is asked for."""

import warnings
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import nn

from carom.errors import InputError, MissingData
from carom.registry import did_you_mean
from carom.zoo.preprocessing import Interpolation, Preprocessing, Shape

from .families import family_of

Size = tuple[int, int]

_AUXILIARY_HEADS = ("googlenet", "inception_v3")


@dataclass(frozen=True, kw_only=True)
class Torchvision:
    """A model of torchvision ("torchvision:resnet18").

    All take three channels; images of one channel are repeated. From scratch it takes the images at their own size
    where it can, else resized to the size of its published weights. With published weights it takes their size, mean,
    deviation and interpolation, always. Inception-v3 and GoogLeNet turn ImageNet's mean and deviation into their own
    inside the network when they have weights: they are normalised once, by ImageNet's.

    Attributes:
        name: As in `torchvision.models.list_models(module=torchvision.models)`.
        weights: None for fresh ones, or a published set ("IMAGENET1K_V1"). "DEFAULT" is replaced by the set that it
            stands for, as that changes between releases.

    Raises:
        InputError: torchvision has no such model or weights.
    """

    name: str
    weights: str | None = None

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "TorchVision maintainers and contributors 2016, github.com/pytorch/vision"

    def __post_init__(self) -> None:
        models = _models()
        known = models.list_models(module=models)
        if self.name not in known:
            hint = did_you_mean(self.name, known)
            raise InputError(
                f"torchvision: unknown model {self.name!r}{hint} "
                "(`torchvision.models.list_models(module=torchvision.models)` lists them)"
            )
        if self.weights is not None:
            sets = models.get_model_weights(self.name).__members__
            if self.weights not in sets:
                hint = did_you_mean(self.weights, sets)
                raise InputError(
                    f"torchvision: {self.name} has no weights {self.weights!r}{hint} (known: {', '.join(sets)})"
                )
            object.__setattr__(self, "weights", sets[self.weights].name)

    @property
    def family(self) -> str:
        models = _models()
        return family_of(models.get_model_builder(self.name).__module__)

    @property
    def native_classes(self) -> int:
        """Classes of the published weights."""
        return len(_published(self.name, self.weights).meta["categories"])

    def network(self, shape: Shape, classes: int) -> nn.Module:
        return _create(self.name, classes, transform_input=self.weights is not None)

    def preprocessing(self, shape: Shape) -> Preprocessing:
        if self.weights is None:
            return Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3, resize=_fit(self.name, shape))
        transforms = _published(self.name, self.weights).transforms()
        native = _native(transforms)
        return Preprocessing(
            mean=tuple(transforms.mean),
            std=tuple(transforms.std),
            resize=None if native == shape[1:] else native,
            interpolation=_interpolation(transforms),
        )

    def load_pretrained(self, network: nn.Module) -> None:
        if self.weights is None:
            return
        try:
            tensors = _published(self.name, self.weights).get_state_dict(progress=False, check_hash=True)
        except Exception as error:  # urllib's, the file system's, or a hash that does not match
            raise MissingData(
                f"torchvision:{self.name}: weights {self.weights} are not on this machine and could not be downloaded "
                f"({type(error).__name__}); connect once, or put the file into TORCH_HOME/hub/checkpoints"
            ) from error
        own = network.state_dict()
        # heads for other classes stay fresh, auxiliary heads of the published set are left out
        fitting = {name: t for name, t in tensors.items() if name in own and own[name].shape == t.shape}
        network.load_state_dict(own | fitting)


def _models() -> Any:
    return import_module("torchvision.models")


def _published(name: str, weights: str | None) -> Any:
    models = _models()
    return models.get_model_weights(name)[weights or "DEFAULT"]


def _create(name: str, classes: int, *, transform_input: bool) -> nn.Module:
    models = _models()
    options: dict[str, Any] = {}
    if name in _AUXILIARY_HEADS:
        options = {"aux_logits": False, "init_weights": True, "transform_input": transform_input}
    network: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
    return network


def _native(transforms: Any) -> Size:
    size = int(transforms.crop_size[0])
    return (size, size)


def _interpolation(transforms: Any) -> Interpolation:
    return "bicubic" if transforms.interpolation.value == "bicubic" else "bilinear"


@cache
def _fit(name: str, shape: Shape) -> Size | None:
    """The size to resize to, None where the network takes images of this shape. Tried out on torch's meta device."""
    size = shape[1:]
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
            warnings.simplefilter("ignore")  # about empty tensors: the caller sees them when the network is built
            _create(name, 2, transform_input=False).eval()(torch.empty(2, 3, *size))
    except Exception:  # whatever a network raises on images that are too small for it
        native = _native(_published(name, None).transforms())
        return None if native == size else native
    return None
