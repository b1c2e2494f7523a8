"""Files of tensors: whole or not at all, and what is harmed is found."""

import os

import pytest
import torch
from tests.scenarios.store.conftest import KEY, put

from carom.errors import StoreError
from carom.identity import tensor_digest
from carom.scenarios.cli.doctor import examine
from carom.scenarios.store.artifacts import Artifact, adopt, read_artifact, write_artifact
from carom.scenarios.store.database import Store


@pytest.mark.parametrize("harm", ["gone", "empty", "truncated", "one bit", "other tensors", "not safetensors"])
def test_damage_is_found(store: Store, harm: str) -> None:
    written = put(store, "sets", KEY, 1.0)
    row = store.recorded("sets", [KEY])[KEY]
    path = store.path("sets", KEY)
    assert store.why_unusable("sets", row) is None
    path.touch()
    assert store.why_unusable("sets", row) is None, "the time changed and the tensors did not"
    whole = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "other tensors":
        other = {"w": torch.tensor([3.0, 4.0])}
        write_artifact(store.folder, Artifact(kind="sets", key=KEY, digest="", inputs={}, record={}), other)
    else:
        bad = {
            "empty": b"",
            "truncated": whole[:-1],
            "one bit": whole[:-1] + bytes([whole[-1] ^ 1]),
            "not safetensors": b"\x80\x04" + whole,
        }[harm]
        path.write_bytes(bad)
    assert store.why_unusable("sets", row) is not None
    with pytest.raises(StoreError, match=r"0\.safetensors: (cannot be read|holds other tensors).*run the scenario"):
        read_artifact(store.folder, "sets", KEY, written.digest)
    assert adopt(store.folder, "sets", KEY, {}) is None
    level = "note" if harm == "gone" else "bad"
    assert [f.level for f in examine(store.folder) if f.name == "sets"] == [level]


def test_a_file_without_its_row_is_adopted_only_when_it_was_made_from_the_same(store: Store) -> None:
    tensors = {"w": torch.tensor([1.0])}
    written = Artifact(kind="sets", key=KEY, digest=tensor_digest(tensors), inputs={"images": "a"}, record={"l2": 1.5})
    write_artifact(store.folder, written, tensors)
    assert adopt(store.folder, "sets", KEY, {"images": "a"}) == written
    assert adopt(store.folder, "sets", KEY, {"images": "b"}) is None
    note = store.path("sets", KEY).with_suffix(".json")
    for harm in ("{", "[]", "{}", "null"):
        note.write_text(harm)
        assert adopt(store.folder, "sets", KEY, {"images": "a"}) is None
    note.unlink()
    assert adopt(store.folder, "sets", KEY, {"images": "a"}) is None


def test_a_write_that_fails_leaves_the_old_file_and_no_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written = put(store, "sets", KEY, 1.0)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="no space left"):
        write_artifact(store.folder, written, {"w": torch.tensor([9.0])})
    monkeypatch.undo()
    assert float(read_artifact(store.folder, "sets", KEY, written.digest)["w"][0]) == 1.0
    assert len(list((store.folder / "artifacts" / "sets").iterdir())) == 2
