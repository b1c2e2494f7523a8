"""Weights as files: safetensors, or a state dict that torch loads without unpickling."""

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from carom.errors import InputError, MissingData, ModelError
from carom.files import replacing, stray
from carom.registry import build
from carom.zoo.architectures import Architecture, architecture, table
from carom.zoo.preprocessing import Preprocessing

from .classifier import Classifier, Shape, weights
from .wrapped_weights import Found, named

SUFFIXES = (".safetensors", ".pt", ".pth", ".th")
_HEADER = "carom"


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file written by `save_state_dict` says about its weights."""

    architecture: Architecture
    preprocessing: Preprocessing
    shape: Shape
    classes: int


def save_state_dict(classifier: Classifier, path: Path) -> None:
    """Write the network's weights as a plain state dict, atomically.

    A `.safetensors` file also says the architecture, preprocessing, shape and classes in its header, and is read back
    without declaring them. Any other file holds the tensors alone.

    Raises:
        InputError: Another suffix, or an architecture that no name stands for.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: unknown suffix {path.suffix!r}; expected one of {', '.join(SUFFIXES)}")
    with replacing(path) as part:
        if path.suffix == ".safetensors":
            described = {
                "architecture": table(classifier.architecture),
                "preprocessing": asdict(classifier.preprocessing),
                "shape": classifier.shape,
                "classes": classifier.classes,
            }
            save_file(weights(classifier), part, metadata={_HEADER: json.dumps(described, sort_keys=True)})
        else:
            torch.save(weights(classifier), part)


def read_weights(path: Path) -> tuple[Found, Description | None]:
    """The tensors of a file, and what it says about them. Nothing is unpickled.

    Raises:
        MissingData: No such file.
        ModelError: Not a file of tensors, a damaged one, or one that needs unpickling.
    """
    if not path.is_file():
        raise MissingData(f"{path}: no such file; expected weights as {', '.join(SUFFIXES)}")
    if (came := stray(path)) is not None:
        raise ModelError(f"{path}: {came}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
                return _tensors(tensors, path), _described(file.metadata(), path)
        except SafetensorError as error:
            raise ModelError(f"{path}: damaged, or not a safetensors file ({error}); export or copy it again") from None
    try:
        with warnings.catch_warnings(action="ignore"):  # of old pickle protocols: what cannot be read is refused below
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file leads torch to
        raise ModelError(f"{path}: {_unreadable(path, str(error))}") from None
    return _tensors(loaded, path), None


def _unreadable(path: Path, said: str) -> str:
    """Why torch cannot read a file, and what to do."""
    if "TorchScript" in said:
        return (
            'a TorchScript archive, not a plain state dict; where it is yours, add format = "torchscript" and '
            "trusted = true"
        )
    if (foreign := re.search(r"(?:GLOBAL|class) ([\w.]+)", said)) is not None:
        return (
            f"not a plain state dict: reading it would run code from the file ({foreign[1]}); where the model is "
            'trusted, export it with torch.save(model.state_dict(), "weights.pt") or safetensors.torch.save_file'
        )
    with path.open("rb") as file:
        pickled = file.read(1) == b"\x80"
    if pickled and "Unsupported operand" in said:
        return (
            "a pickle that torch.save did not write, not a plain state dict: reading it could run code from the file; "
            'where the model is trusted, export it with torch.save(model.state_dict(), "weights.pt")'
        )
    return (
        f"damaged, cut short or no file of weights ({path.stat().st_size:,} bytes); download or copy it again, and "
        "compare its size and checksum with what its source says"
    )


def _tensors(loaded: object, path: Path) -> Found:
    found = named(loaded)
    if not found.tensors:
        has = ", ".join(map(str, list(loaded)[:8])) if isinstance(loaded, Mapping) else f"a {type(loaded).__name__}"
        raise ModelError(f"{path}: expected tensors by name, as model.state_dict() gives them; it holds {has}")
    return found


def _described(metadata: Mapping[str, str] | None, path: Path) -> Description | None:
    if not metadata or _HEADER not in metadata:
        return None
    try:
        header: dict[str, Any] = json.loads(metadata[_HEADER])
        channels, rows, columns = (int(size) for size in header["shape"])
        return Description(
            architecture=architecture(header["architecture"], where=f"{path}: architecture"),
            preprocessing=build(Preprocessing, header["preprocessing"], where=f"{path}: preprocessing"),
            shape=(channels, rows, columns),
            classes=int(header["classes"]),
        )
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path}: its header does not describe a model ({error!r}); export it again") from None
