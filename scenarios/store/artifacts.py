"""Tensors as safetensors files, each under its key and with its digest. Knows no tables.

A file is written to a temporary name, synced and renamed, so it is there whole or not at all. Workers read and write
here; that a file is there is recorded by the driver.
"""

import contextlib
import errno
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from carom.errors import StoreError
from carom.files import write_whole
from carom.identity import tensor_digest

Kind = Literal["weights", "images", "sets", "measures"]
KINDS: tuple[Kind, ...] = ("weights", "images", "sets", "measures")
COPIES = "copies"  # a folder beside those of the kinds, without rows: what defences were trained on

NO_SPACE = "no space left; free some (`carom gc`) and run again: what was computed is kept"
NOT_WRITABLE = "cannot be written; make it writable or give another --store"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that a worker wrote: what the driver records of it."""

    kind: Kind
    key: str
    digest: str
    inputs: Mapping[str, str]
    record: Mapping[str, Any]


def artifact_path(folder: Path, kind: Kind, key: str) -> Path:
    """Where the tensors of an artefact lie; the JSON of how it came to be lies beside them."""
    return folder / "artifacts" / kind / f"{key}.safetensors"


def write_artifact(folder: Path, written: Artifact, tensors: Mapping[str, Any]) -> None:
    """Write the tensors and, before them, the JSON of how they came to be; each whole or not at all.

    Raises:
        StoreError: No space, or not writable.
    """
    from safetensors.torch import save

    path = artifact_path(folder, written.kind, written.key)
    note = {
        "digest": written.digest,
        "inputs": dict(written.inputs),
        "record": dict(written.record),
    }
    with disk_errors(folder):
        write_whole(path.with_suffix(".json"), json.dumps(note, sort_keys=True, indent=1).encode())
        write_whole(path, save({k: v.contiguous() for k, v in tensors.items()}))


def read_artifact(folder: Path, kind: Kind, key: str, digest: str) -> dict[str, Any]:
    """The tensors of an artefact, checked against their digest.

    Raises:
        StoreError: Missing, truncated or edited.
    """
    path = artifact_path(folder, kind, key)
    tensors = read_tensors(path)
    if tensor_digest(tensors) != digest:
        raise StoreError(f"{path}: holds other tensors than were recorded; run the scenario again to rebuild it")
    return tensors


def adopt(folder: Path, kind: Kind, key: str, inputs: Mapping[str, str]) -> Artifact | None:
    """What a worker left behind when its driver died: a whole file made from the same inputs, or None."""
    path = artifact_path(folder, kind, key)
    try:
        note = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if note["inputs"] != dict(inputs) or verify(path, note["digest"]) is not None:
            return None
        return Artifact(kind=kind, key=key, digest=note["digest"], inputs=inputs, record=note["record"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def verify(path: Path, digest: str) -> str | None:
    """Why a file of tensors is not what was recorded; None when it is."""
    try:
        found = tensor_digest(read_tensors(path))
    except StoreError:
        return "cannot be read as safetensors (truncated?)"
    return None if found == digest else f"holds other tensors (sha256 {found[:12]}, recorded {digest[:12]})"


def read_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file.

    Raises:
        StoreError: Missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(path.read_bytes()))
    except (OSError, SafetensorError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read: {error}; run the scenario again to rebuild it") from None


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what the system says of disks and permissions into one line that says what to do."""
    try:
        yield
    except OSError as error:
        advice = str(error)
        if error.errno == errno.ENOSPC:
            advice = NO_SPACE
        elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            advice = NOT_WRITABLE
        raise StoreError(f"{folder}: {advice}") from error
