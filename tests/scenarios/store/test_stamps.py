"""A run that is done is known to be done from its stamp, and only then."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.scenarios.conftest import EMBEDDED, Carom

from carom.scenarios import environment
from carom.scenarios.store import stamps


@pytest.fixture
def done(carom: Carom, tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(EMBEDDED)
    answer = carom("run", tmp_path / "small.toml", "--store", tmp_path / "s", "--workers", 0)
    assert answer.code == 0, answer.err
    assert "trained 2" in answer.err
    return tmp_path


def test_the_same_again_loads_no_torch(done: Path) -> None:
    code = (
        "import sys; from carom.scenarios.cli import main as cli\n"
        f"sys.argv = ['carom', 'run', {str(done / 'small.toml')!r}, '--store', {str(done / 's')!r}]\n"
        "try:\n    cli.main()\nexcept SystemExit as stop:\n    print(stop.code, 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["0", "False"]
    assert "nothing to do, the store holds all 8 cells" in ran.stderr


def test_another_text_code_or_library_is_planned_again(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = stamps.stamp("small", EMBEDDED)
    assert stamps.find_unchanged(done / "s", stamp) is not None
    assert stamps.find_unchanged(done / "s", stamps.stamp("small", EMBEDDED + "\n")) is None
    assert stamps.find_unchanged(done / "s", stamps.stamp("other", EMBEDDED)) is None
    monkeypatch.setattr(stamps, "code_digest", lambda: "edited")
    assert stamps.stamp("small", EMBEDDED) != stamp
    monkeypatch.undo()
    monkeypatch.setattr(stamps, "versions", lambda: {"torch": "0"})
    assert stamps.stamp("small", EMBEDDED) != stamp


def test_the_stamp_covers_every_file_of_carom(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or original(path))  # type: ignore[func-returns-value]
    environment.code_digest.__wrapped__()
    wanted = {"draws.py", "momentum.py", "loop.py", "digits_fonts.npz", "digits-quick.toml"}
    assert wanted | {"single.py", "job.py"} <= set(read)


@pytest.mark.parametrize("kind", ["weights", "sets", "images"])
def test_a_moved_file_is_looked_at(kind: str, done: Path, carom: Carom) -> None:
    victim = sorted((done / "s" / "artifacts" / kind).glob("*.safetensors"))[0]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    answer = carom("run", done / "small.toml", "--store", done / "s", "--workers", 0)
    assert answer.code == 0, answer.err
    assert victim.read_bytes() == whole
