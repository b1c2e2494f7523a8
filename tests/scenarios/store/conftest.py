"""A store that is open for writing, and artefacts in it."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from carom.identity import tensor_digest
from carom.scenarios.store.artifacts import Artifact, Kind, write_artifact
from carom.scenarios.store.database import Store

KEY = "0" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store", write=True) as opened:
        yield opened


def put(store: Store, kind: Kind, key: str, value: float, inputs: dict[str, str] | None = None) -> Artifact:
    """A file with this value in it, and its row."""
    tensors = {"w": torch.tensor([value, -value])}
    written = Artifact(kind=kind, key=key, digest=tensor_digest(tensors), inputs=inputs or {}, record={"value": value})
    write_artifact(store.folder, written, tensors)
    store.row_ids(kind, [key])
    store.record(written)
    return written


@contextlib.contextmanager
def nothing_can_be_written(folder: Path) -> Iterator[None]:
    """Within the block the folder is read-only, for root too."""
    if os.geteuid():
        places = [folder, *folder.rglob("*")]
        modes = [place.stat().st_mode for place in places]
        for place in places:
            place.chmod(0o555 if place.is_dir() else 0o444)
        try:
            yield
        finally:
            for place, mode in zip(places, modes, strict=True):
                place.chmod(mode)
        return
    if shutil.which("mount") is None:
        pytest.skip("root may write everywhere, and there is no mount")
    for options in (["--bind", str(folder)], ["-o", "remount,ro,bind"]):
        if subprocess.run(["mount", *options, folder], capture_output=True, check=False).returncode:
            pytest.skip("this machine lets nobody mount")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)
