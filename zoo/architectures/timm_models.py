"""Any classification model of timm, by name. timm is imported when one is asked for."""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import torch
from torch import nn

from carom.errors import InputError, MissingData
from carom.registry import did_you_mean
from carom.zoo.preprocessing import Preprocessing, Shape, centred

from .families import family_of

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Timm:
    """A model of timm ("timm:resnet18").

    From scratch it takes the images at their own size where it can, if need be with `img_size`; where it cannot (a
    transformer with patches larger than the image), they are resized to the size that timm publishes. With published
    weights it takes that size, mean, deviation and interpolation, always.

    Attributes:
        name: As in `timm.list_models()`. With `pretrained` the tag is filled in ("resnet18.a1_in1k"), as the weights
            that a bare name stands for change between releases.
        pretrained: Start from the published weights.

    Raises:
        InputError: timm has no such model, or no weights for it.
    """

    name: str
    pretrained: bool = False

    version: ClassVar[int] = 1
    paper: ClassVar[str] = "Wightman 2019, PyTorch Image Models, doi:10.5281/zenodo.4414861"

    def __post_init__(self) -> None:
        import timm

        bare, _, tag = self.name.partition(".")
        if not timm.is_model(bare):
            hint = did_you_mean(bare, timm.list_models())
            raise InputError(f"timm: unknown model {bare!r}{hint} (`timm.list_models()` lists them)")
        tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{bare}.*")]
        if tag and tag not in tags:
            hint = did_you_mean(tag, tags)
            raise InputError(f"timm: {bare} has no weights {tag!r}{hint} (known: {', '.join(tags) or 'none'})")
        if self.pretrained and not tags:
            raise InputError(f"timm: no weights are published for {bare}; expected a model that has some")
        if self.pretrained and not tag:
            object.__setattr__(self, "name", f"{bare}.{_published(bare).tag}")

    @property
    def family(self) -> str:
        from timm.models import model_entrypoint

        return family_of(model_entrypoint(self.name.partition(".")[0]).__module__)

    @property
    def native_classes(self) -> int:
        """Classes of the published weights."""
        return int(_published(self.name).num_classes)

    def network(self, shape: Shape, classes: int) -> nn.Module:
        return self._create(shape, classes)

    def preprocessing(self, shape: Shape) -> Preprocessing:
        if self.pretrained:
            cfg = _published(self.name)
            native = _native(cfg)
            bicubic = cfg.interpolation == "bicubic"
            return Preprocessing(
                mean=cfg.mean,
                std=cfg.std,
                resize=None if native == shape[1:] else native,
                interpolation="bicubic" if bicubic else "bilinear",
            )
        plain = centred(shape)
        resize = _fit(self.name, shape)[1]
        return Preprocessing(mean=plain.mean, std=plain.std, resize=resize)

    def load_pretrained(self, network: nn.Module) -> None:
        if not self.pretrained:
            return
        classes = int(getattr(network, "num_classes", self.native_classes))
        try:
            source = self._create((3, 1, 1), classes, pretrained=True)
        except Exception as error:  # urllib, huggingface_hub, requests and the file system each raise their own
            raise MissingData(
                f"timm:{self.name}: its weights are not on this machine and could not be downloaded "
                f"({type(error).__name__}); connect once, or put timm/{self.name} into the Hugging Face cache (HF_HOME)"
            ) from error
        network.load_state_dict(source.state_dict())

    def _create(self, shape: Shape, classes: int, *, pretrained: bool = False) -> nn.Module:
        import timm

        if self.pretrained:
            options: dict[str, Any] = {"in_chans": int(_published(self.name).input_size[0])}
        else:
            options = {"in_chans": shape[0], **_fit(self.name, shape)[0]}
        return timm.create_model(self.name, pretrained=pretrained, num_classes=classes, **options)


def _published(name: str) -> Any:
    """What timm says about a model's weights; None where it publishes none."""
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(name)


def _native(cfg: Any) -> Size:
    return (int(cfg.input_size[1]), int(cfg.input_size[2]))


@cache
def _fit(name: str, shape: Shape) -> tuple[dict[str, Any], Size | None]:
    """The options with which this model takes images of this shape, and the size to resize to where none do.

    Tried out on torch's meta device, where nothing is computed.
    """
    import timm

    channels, height, width = shape
    cfg = _published(name)
    fixed = cfg is not None and cfg.fixed_input_size
    options: dict[str, Any] = {"img_size": (height, width)} if fixed else {}
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.device("meta"), torch.no_grad():
            warnings.simplefilter("ignore")  # about empty tensors: the caller sees them when the network is built
            network = timm.create_model(name, in_chans=channels, num_classes=2, **options).eval()
            network(torch.empty(2, channels, height, width))
    except Exception:  # whatever a network raises on images that are too small for it
        native = _native(cfg) if cfg is not None else (224, 224)
        return {}, None if native == (height, width) else native
    return options, None
