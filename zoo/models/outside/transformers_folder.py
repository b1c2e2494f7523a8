"""Image classifiers of the library transformers, from a local folder."""

import importlib
import json
import logging as levels
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from carom.errors import InputError, MissingData, ModelError, one_line
from carom.files import located, stray
from carom.identity import content_key
from carom.registry import check_keys
from carom.typing import Images
from carom.zoo.models.classifier import Classifier
from carom.zoo.preprocessing import Declared, Interpolation, Preprocessing, Shape, on_images

from .declared import Outside, declared_preprocessing, named_files, not_installed

PREFIX = "transformers"
_CONFIG, _PROCESSOR = "config.json", "preprocessor_config.json"
_NESTED = "processor_config.json"  # wins where it holds an image processor
_RESAMPLING: Mapping[int, Interpolation] = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}  # as PIL numbers them


@dataclass(frozen=True, kw_only=True)
class TransformersFolder:
    """A folder as `save_pretrained` writes it, with weights as safetensors.

    Attributes:
        path: The folder.
        sha256: Of its configuration, image processor and weights when it was named.
        preprocessing: Instead of the folder's image processor; None for that one.
    """

    path: str
    sha256: str
    preprocessing: Declared | None = None

    version: ClassVar[int] = 2

    def key(self) -> str:
        """What is asked for; changes with the content, not with the place."""
        return content_key("transformers", self.version, self.sha256, self.preprocessing)


def transformers_folder(name: str, table: Mapping[str, Any], *, where: str) -> TransformersFolder:
    """From a model's table.

    Raises:
        InputError: An unknown or wrong field.
        MissingData: No such folder, or no weights in it as safetensors.
    """
    check_keys(table, ("preprocessing",), where=where)
    return TransformersFolder(
        path=name, sha256=_sha256(name, where), preprocessing=declared_preprocessing(table, where=where)
    )


def load_transformers(reference: TransformersFolder, *, shape: Shape, classes: int, where: str) -> Classifier:
    """The model, in eval mode on the CPU; nothing is downloaded, unpickled, or run from the folder.

    Raises:
        ModelError: It is no image classifier of these classes, changed since it was named, or transformers is missing.
    """
    where = f"{where}: {reference.path}"
    if _sha256(reference.path, where) != reference.sha256:
        raise ModelError(f"{where}: the folder changed after it was named; start again")
    folder = located(reference.path)
    try:
        automatic: Any = importlib.import_module("transformers").AutoModelForImageClassification
    except ImportError as error:
        raise not_installed(where, "transformers", "transformers", error) from None
    try:
        with _quiet():
            model, told = automatic.from_pretrained(
                str(folder),
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:
        for file in (folder / _CONFIG, *sorted(folder.glob("*.safetensors"))):
            if (came := stray(file)) is not None:
                raise ModelError(f"{where}: {file.name}: {came}") from None
        raise ModelError(f"{where}: transformers cannot open it as an image classifier: {one_line(error)}") from None
    if missing := sorted(told["missing_keys"]):
        raise ModelError(
            f"{where}: {len(missing)} of its weights are not in the file, such as {missing[0]!r}; expected a trained "
            "image classifier, not the network below one"
        )
    if model.config.num_labels != classes:
        raise ModelError(f"{where}: answers with {model.config.num_labels} classes, the task has {classes}")
    declared = reference.preprocessing
    processing = _preprocessing(folder, where) if declared is None else on_images(declared, shape)
    return Classifier(
        _Logits(model.float()),
        shape=shape,
        classes=classes,
        preprocessing=processing,
        architecture=Outside(kind="transformers", content=reference.sha256),
    ).eval()


def _sha256(name: str, where: str) -> str:
    folder = located(name)
    if not (folder / _CONFIG).is_file():
        raise MissingData(f"{where}: {name}: no {_CONFIG} in it; expected a folder as save_pretrained writes it")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise MissingData(
            f"{where}: {name}: no weights as safetensors in it; write them: model.save_pretrained(FOLDER), pickled "
            "weights are not opened"
        )
    beside = [folder / name for name in (_PROCESSOR, _NESTED) if (folder / name).is_file()]
    return named_files([folder / _CONFIG, *beside, *weights], where=where)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's warnings and progress bars: what matters is raised."""
    logging: Any = importlib.import_module("transformers.utils.logging")

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(levels.CRITICAL)
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


class _Logits(nn.Module):
    """A model of transformers that returns its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    @override
    def forward(self, x: Images) -> Tensor:
        logits: Tensor = self.model(pixel_values=x).logits
        return logits


# ------------------------------------------------------------------------------------------------------ preprocessing


def _preprocessing(folder: Path, where: str) -> Preprocessing:
    """What the folder's image processor does, without its crop: all of the image is resized to the crop's size."""
    if not any((folder / name).is_file() for name in (_PROCESSOR, _NESTED)):
        raise ModelError(f"{where}: no {_PROCESSOR} in it; add preprocessing = {{mean, std, resize}}")
    where = f"{where}/{_PROCESSOR}"
    processor, told = _told(folder, where)
    try:
        found = _read(told)
    except (InputError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"{where}: not understood ({one_line(error)}); add preprocessing = {{mean, std, resize}}"
        ) from None
    if differs := _differs(found, processor, told):
        raise ModelError(
            f"{where}: {type(processor).__name__} does more than resize, mean and std: on a noise image {differs}; add "
            "preprocessing = {mean, std, resize}"
        )
    return found


def _differs(found: Preprocessing, processor: Any, told: Mapping[str, Any]) -> str:
    """How a preprocessing differs from the library's own, without its crop, on a noise image; "" where it does not.

    Processors have steps that their settings do not name, such as another order of channels.
    """
    rng = np.random.default_rng(0)
    # each channel in a range of its own; far from black and white, where only the library cuts bicubic resizing off
    noise = np.stack([rng.integers(70 + 10 * c, 150 + 10 * c, (24, 24)) for c in range(found.channels)], 2)
    asked: dict[str, Any] = {"do_center_crop": False} if "do_center_crop" in told else {}
    if told.get("crop_pct") is not None:
        asked["crop_pct"] = 1.0
    sizes: list[dict[str, Any]] = [{}]
    if found.resize is not None:  # of the same two meanings on a square image, a processor may know one
        rows, columns = found.resized((24, 24))
        sizes = [{"size": {"height": rows, "width": columns}}]
        sizes += [{"size": {"shortest_edge": rows}}] if rows == columns else []
    mean, std = (torch.tensor(v)[None, :, None, None] for v in (found.mean, found.std))
    ours = found.apply(torch.from_numpy(noise).permute(2, 0, 1)[None].float() / 255, mean, std)
    differs = ""
    for size in sizes:
        try:
            with _quiet():
                inputs = processor(images=[noise.astype(np.uint8)], return_tensors="pt", **asked, **size)
            theirs = inputs["pixel_values"]
        except Exception as error:
            differs = f"it fails: {one_line(error)}"
            continue
        if theirs.shape != ours.shape:
            differs = f"it gives {tuple(theirs.shape)}, expected {tuple(ours.shape)}"
            continue
        levels = ((ours - theirs).abs() * std * 255).max().item()
        if levels <= 3:  # it resizes in whole numbers, rounded after rows and after columns
            return ""
        differs = f"it is off by {levels:.0f} of 255 levels"
    return differs


def _told(folder: Path, where: str) -> tuple[Any, Mapping[str, Any]]:
    """The processor, and its settings with its class's defaults where the file is silent."""
    try:
        transformers: Any = importlib.import_module("transformers")
        with _quiet():
            processor = transformers.AutoImageProcessor.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
        told: dict[str, Any] = json.loads(processor.to_json_string())
    except Exception as error:
        raise ModelError(
            f"{where}: transformers cannot open it: {one_line(error)}; add preprocessing = {{mean, std, resize}}"
        ) from None
    return processor, told


def _read(told: Mapping[str, Any]) -> Preprocessing:
    if told.get("rescale_offset") or told.get("do_flip_channel_order"):
        raise ValueError("an offset or another order of channels")
    # pixels are 0 to 255 there and 0 to 1 here
    scale = 255 * (float(told["rescale_factor"]) if told.get("do_rescale", True) else 1.0)
    normalized = told.get("do_normalize", True)
    mean = tuple(float(v) / scale for v in told["image_mean"]) if normalized else (0.0,) * 3
    std = tuple(float(v) / scale for v in told["image_std"]) if normalized else (1 / scale,) * 3
    if not told.get("do_resize", True):
        return Preprocessing(mean=mean, std=std)
    cropped = told.get("do_center_crop") and told.get("crop_size")
    return Preprocessing(
        mean=mean, std=std, resize=_size(cropped or told["size"]), interpolation=_RESAMPLING[int(told["resample"])]
    )


def _size(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if "shortest_edge" in size:
        return int(size["shortest_edge"]), int(size["shortest_edge"])
    return int(size["height"]), int(size["width"])
