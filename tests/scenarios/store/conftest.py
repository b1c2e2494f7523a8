"""A store that is open for writing, and artefacts in it."""

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
