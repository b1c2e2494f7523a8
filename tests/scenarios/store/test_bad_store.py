"""What can be wrong with a store: one line that says where, what came, what was expected and what to do."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.scenarios.conftest import Carom, one_line
from tests.scenarios.store.conftest import nothing_can_be_written

Write = Callable[..., Path]


# --------------------------------------------------------------------------------------------------------------- store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 400 kB, where this user may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("this machine lets nobody mount")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_one_line_and_keeps_what_is_there(carom: Carom, scenario: Write, small_disk: Path) -> None:
    store = small_disk / "s"
    one_line(carom("run", scenario(), "--store", store, "--workers", 0), "no space left")
    subprocess.run(["mount", "-o", "remount,size=40m", small_disk], check=True)
    before = {p.name: p.read_bytes() for p in (store / "artifacts").rglob("*.safetensors")}
    answer = carom("run", scenario(), "--store", store, "--workers", 0)
    assert answer.code == 0, answer.err
    for path in (store / "artifacts").rglob("*.safetensors"):
        assert before.get(path.name, path.read_bytes()) == path.read_bytes()


def test_a_read_only_store_is_one_line(carom: Carom, scenario: Write, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    one_line(carom("run", scenario(), "--store", small_disk / "s", "--workers", 0), "cannot be written", "--store")


def test_a_store_that_nobody_can_write_is_shown(carom: Carom, tiny_store: Path, tmp_path: Path) -> None:
    store = tmp_path / "another's share #1"
    shutil.copytree(tiny_store, store)
    expected = carom("show", "--store", store).out
    for left in store.glob("carom.db-*"):
        left.unlink()
    with nothing_can_be_written(store):
        shown = carom("show", "--store", store)
        assert (shown.code, shown.out) == (0, expected), shown.err
        exported = carom("export", "tiny", "--store", store, "--format", "csv", "-o", tmp_path / "out")
        assert exported.code == 0, exported.err


def test_two_runs_on_one_store(carom: Carom, scenario: Write, tmp_path: Path) -> None:
    from carom.scenarios.store.database import Store

    with Store(tmp_path / "s", write=True):
        answer = carom("run", scenario(), "--store", tmp_path / "s", "--workers", 0)
    one_line(answer, "another run is writing", f"process {os.getpid()}")


@pytest.mark.parametrize("kind", ["weights", "sets", "images"])
@pytest.mark.parametrize("harm", ["truncated", "edited", "gone"])
def test_a_damaged_artefact_is_found_and_rebuilt(
    kind: str, harm: str, carom: Carom, scenario: Write, tiny_store: Path, tmp_path: Path
) -> None:
    store, path = tmp_path / "s", scenario()
    shutil.copytree(tiny_store, store)
    victim = sorted((store / "artifacts" / kind).glob("*.safetensors"))[0]
    whole = victim.read_bytes()
    if harm == "gone":
        victim.unlink()
    else:
        victim.write_bytes(whole[:-7] if harm == "truncated" else whole[:-1] + bytes([whole[-1] ^ 1]))
    answer = carom("run", path, "--store", store, "--workers", 0)
    assert answer.code == 0, answer.err
    if (kind, harm) == ("sets", "gone"):  # as `carom gc --sets` leaves it: its outcomes are there, so nobody needs it
        assert not victim.exists()
        return
    assert victim.read_bytes() == whole
    if kind != "images":
        assert victim.name in answer.err
    assert "evaluated 0 of" in answer.err or "nothing to do" in answer.err


def test_no_store_and_no_run(carom: Carom, tmp_path: Path) -> None:
    for command in ("show", "export", "gc"):
        one_line(carom(command, "--store", tmp_path / "none"), "no store here")


def test_a_newer_store_is_refused(carom: Carom, scenario: Write, tiny_store: Path, tmp_path: Path) -> None:
    import sqlite3

    store = tmp_path / "s"
    shutil.copytree(tiny_store, store)
    with sqlite3.connect(store / "carom.db") as connection:
        connection.execute("update meta set value = '999' where name = 'schema'")
    connection.close()
    for command in ("show", "run"):
        arguments = [scenario()] if command == "run" else []
        one_line(carom(command, *arguments, "--store", store), "schema 999")
