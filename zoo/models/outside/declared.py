"""What all models from outside share: their files, the preprocessing declared for them, batches of a fixed size."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from carom.errors import InputError, MissingData, ModelError
from carom.identity import file_digest
from carom.registry import build
from carom.typing import Images
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.victims import CallableVictim
from carom.zoo.preprocessing import Declared, Preprocessing, Resized, Shape


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What stands for an architecture where a model's structure is not carom's to name.

    Attributes:
        kind: Such as "torchscript".
        content: Digest of what it was made from.
    """

    kind: str
    content: str

    version: ClassVar[int] = 1


def named_files(paths: Sequence[Path], *, where: str) -> str:
    """sha256 of the files' contents, in the given order.

    Raises:
        MissingData: One is not there.
    """
    total = hashlib.sha256()
    for path in paths:
        if not path.is_file():
            raise MissingData(
                f"{where}: {path}: no such file; check the path, which is relative to the working directory"
            )
        total.update(f"{file_digest(path)};".encode())
    return total.hexdigest()


def declared_preprocessing(table: Mapping[str, Any], *, where: str) -> Declared | None:
    """The preprocessing in a model's table; None where it has none.

    Raises:
        InputError: It is no table, a field is unknown or wrong, or `mean` or `std` stands without the other.
    """
    found = table.get("preprocessing")
    if found is None:
        return None
    if not isinstance(found, Mapping):
        raise InputError(f"{where}.preprocessing: expected a table of mean, std, ..., got {found!r}")
    where = f"{where}.preprocessing"
    if "mean" in found and "std" in found:
        return build(Preprocessing, found, where=where)
    for there, missing in (("mean", "std"), ("std", "mean")):
        if there in found:
            raise InputError(f"{where}: {there} without {missing}; declare both, or neither for pixels in [0, 1]")
    return build(Resized, found, where=where)


def as_it_is(network: nn.Module, *, shape: Shape, classes: int, kind: str, content: str) -> Classifier:
    """A classifier of a network that takes images in [0, 1] as they are, in eval mode."""
    plain = Preprocessing(mean=(0.0,) * shape[0], std=(1.0,) * shape[0])
    outside = Outside(kind=kind, content=content)
    return Classifier(network, shape=shape, classes=classes, preprocessing=plain, architecture=outside).eval()


def preprocessed(
    model: Classifier | CallableVictim, preprocessing: Preprocessing, *, shape: Shape, classes: int
) -> Classifier | CallableVictim:
    """The model behind a declared preprocessing, for images of this shape."""
    if isinstance(model, Classifier):
        outside = Outside(kind="preprocessed", content=model.fingerprint())
        return Classifier(model, shape=shape, classes=classes, preprocessing=preprocessing, architecture=outside).eval()
    mean = torch.tensor(preprocessing.mean)[None, :, None, None]
    std = torch.tensor(preprocessing.std)[None, :, None, None]
    ask = model.function

    def function(x: Tensor) -> object:
        return ask(preprocessing.apply(x, mean.to(x.device), std.to(x.device)))

    return CallableVictim(function, model.name, model.answers, model.deterministic)


def in_batches(function: Callable[[Tensor], Tensor], x: Images, size: int | None) -> Tensor:
    """The answers of a function that takes exactly `size` images at a time; the last batch is filled up with its own.

    None takes any number.
    """
    if size is None:
        return function(x)
    parts = []
    for part in torch.split(x, size):
        index = torch.arange(size, device=x.device) % len(part)
        parts.append(function(part if len(part) == size else part[index])[: len(part)])
    return torch.cat(parts)


def not_installed(what: str, library: str, extra: str, error: ImportError) -> ModelError:
    """For a library of an extra that cannot be imported."""
    reason = " ".join(str(error).split())[:200]
    return ModelError(f"{what}: needs {library} ({reason}); install it with: pip install 'carom[{extra}]'")
