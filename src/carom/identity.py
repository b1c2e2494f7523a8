"""Keys say what was asked, digests say what came.

A key is the sha256 of a canonical JSON of frozen dataclasses and their versions. A digest is the sha256 of tensors.
Neither ever rests on a `repr`, on source text or on the order of a dictionary.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

KEY_LENGTH = 32


ADDED: Mapping[str, bool] = MappingProxyType({"added after keys were given": True})
"""Metadata of a dataclass's field that came when keys of the class were given already: at its default it is in none.

So what was asked before is under the key that it had. The default must mean what was before the field.
"""


def canonical(value: object) -> object:
    """Plain JSON for `value`.

    Raises:
        TypeError: The value has no canonical form (a path, a tensor, a function): a key must not rest on a repr.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: canonical(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if not (f.metadata == ADDED and getattr(value, f.name) == f.default)
        }
        return {"kind": type(value).__name__, "version": getattr(value, "version", 1), "fields": fields}
    if isinstance(value, Fraction):
        return {"fraction": f"{value.numerator}/{value.denominator}"}
    if isinstance(value, float):
        return {"float": value.hex()}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, tuple | list):
        return [canonical(v) for v in value]
    if isinstance(value, Mapping):
        if not all(isinstance(k, str) for k in value):
            raise TypeError("cannot put a mapping with keys other than strings in a content key")
        return {"map": {k: canonical(v) for k, v in value.items()}}
    hint = "; put the file's content hash there" if isinstance(value, Path) else ""
    raise TypeError(f"cannot put {type(value).__name__} in a content key{hint}")


def content_key(*parts: object) -> str:
    """The key of what `parts` ask for: 32 hexadecimal digits."""
    text = json.dumps(canonical(list(parts)), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def tensor_digest(tensors: "Mapping[str, Tensor]") -> str:
    """sha256 over names, types, shapes and bytes, in the order of the names."""
    import torch

    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
