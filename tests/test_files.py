"""Where a path that a user wrote leads."""

from pathlib import Path

import pytest

from carom.errors import MissingData
from carom.files import located
from carom.identity import content_key
from carom.zoo.tasks.npz import Npz


@pytest.mark.parametrize(
    ("written", "leads"),
    [
        ("$THERE/a.npz", "/data/a.npz"),
        ("${THERE}/b/c", "/data/b/c"),
        ("$THERE", "/data"),
        ("plain/$THERE/x", "plain/$THERE/x"),
        ("$THERE-is-a-name", "$THERE-is-a-name"),
        ("~/a", "/home/me/a"),
        ("$MINE/a", "/home/me/mine/a"),
    ],
)
def test_variables_and_home_folders(written: str, leads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THERE", "/data")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("MINE", "~/mine")
    assert located(written) == Path(leads)


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_that_is_not_set_is_one_line(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THERE", raising=False)
    if value is not None:
        monkeypatch.setenv("THERE", value)
    with pytest.raises(MissingData) as error:
        located("$THERE/a.npz")
    assert str(error.value) == (
        "$THERE/a.npz: the environment variable THERE is not set; set it to a folder, or write the path"
    )


def test_what_a_variable_holds_is_in_no_key(tiny_images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Npz(path="$THERE/tiny.npz", layout="nhw")
    keys = set()
    for folder in (tiny_images, tiny_images / ".." / tiny_images.name):
        monkeypatch.setenv("THERE", str(folder))
        assert task.shape == (1, 6, 5)
        keys.add(content_key(task))
    assert len(keys) == 1


@pytest.fixture
def tiny_images(tmp_path: Path) -> Path:
    import numpy as np

    np.savez(tmp_path / "tiny.npz", x=np.zeros((4, 6, 5), np.uint8), y=np.arange(4) % 2)
    return tmp_path
