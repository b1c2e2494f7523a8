"""Space is freed of what no run names."""

import shutil
from pathlib import Path

from tests.scenarios.store.conftest import KEY, put

from carom.scenarios.store.database import Store
from carom.scenarios.store.free import collect


def test_what_a_run_names_stays_unless_its_images_are_asked_for(tiny_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(tiny_store, folder)
    sets = [*(folder / "artifacts" / "sets").glob("*.safetensors")]
    assert "0.0 MB in 0 files" in collect(folder)
    assert sets
    assert all(path.exists() for path in sets)
    collect(folder, sets=True)
    assert not [path for path in sets if path.exists()]


def test_gc_frees_what_no_run_names(store: Store) -> None:
    put(store, "sets", KEY, 1.0)
    folder = store.folder
    leftover = folder / "artifacts" / "weights" / f".{KEY}.safetensors.4711"
    leftover.write_bytes(b"half")
    store.close()
    assert "3 files" in collect(folder, dry_run=True)
    assert leftover.exists()
    assert "3 files" in collect(folder)
    assert not [p for p in (folder / "artifacts").rglob("*") if p.is_file()]
    with Store(folder) as opened:
        assert opened.recorded("sets", [KEY]) == {}
