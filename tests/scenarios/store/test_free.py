"""Space is freed of what no run names."""

from tests.scenarios.store.conftest import KEY, put

from carom.scenarios.store.database import Store
from carom.scenarios.store.free import collect


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
