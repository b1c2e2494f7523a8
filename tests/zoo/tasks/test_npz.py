"""npz files: every layout, several sources, and refusals that say what is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from carom.errors import InputError, MissingData
from carom.zoo.tasks.images import Split
from carom.zoo.tasks.npz import Npz

Arrays = dict[str, Any]


def arrays(*, prefix: str = "", validation: bool = True, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    found: Arrays = {}
    for split, n in (("train", 40), ("validation", 8), ("test", 12)):
        if split != "validation" or validation:
            found[f"{prefix}x_{split}"] = rng.integers(0, 256, (n, 8, 7), dtype=np.uint8)
            found[f"{prefix}y_{split}"] = np.arange(n) % 4
    return found


def save(tmp_path: Path, found: Arrays) -> str:
    path = tmp_path / "images.npz"
    np.savez_compressed(path, **found)
    return str(path)


def refusal(tmp_path: Path, found: Arrays, **settings: Any) -> str:
    task = Npz(**{"path": save(tmp_path, found), "layout": "nhw", **settings})
    with pytest.raises(InputError) as error:
        task.load(task.sources[0], "train")
    message = str(error.value)
    assert "\n" not in message
    return message


def test_grey_images_with_validation(tmp_path: Path) -> None:
    found = arrays()
    task = Npz(path=save(tmp_path, found), layout="nhw")
    assert (task.sources, task.classes, task.shape) == (("images",), ("0", "1", "2", "3"), (1, 8, 7))
    ids: set[int] = set()
    for split in ("train", "validation", "test"):
        images = task.load("images", split)
        assert np.array_equal(images.images[:, 0].numpy(), found[f"x_{split}"])
        assert images.labels.tolist() == found[f"y_{split}"].tolist()
        ids |= set(images.ids.tolist())
    assert len(ids) == 60
    learnt: tuple[Split, ...] = ("train", "validation")
    for split in learnt:
        a, b = (task.load("images", split, samples) for samples in ("a", "b"))
        assert sorted(a.ids.tolist() + b.ids.tolist()) == task.load("images", split).ids.tolist()


def test_validation_is_carved_where_there_is_none(tmp_path: Path) -> None:
    task = Npz(path=save(tmp_path, arrays(validation=False)), layout="nhw")
    train, validation = task.load("images", "train"), task.load("images", "validation")
    assert (len(train), len(validation)) == (36, 4)
    assert torch.bincount(validation.labels).tolist() == [1] * 4
    assert len(set(train.ids.tolist()) | set(validation.ids.tolist())) == 40


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_colour_layouts(tmp_path: Path, layout: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 8, 7), dtype=np.uint8)
    written = images if layout == "nchw" else images.transpose(0, 2, 3, 1)
    labels = np.array([0, 1, 0, 1, 1], np.uint8)
    found = {f"{kind}_{split}": a for split in ("train", "test") for kind, a in (("x", written), ("y", labels))}
    task = Npz(path=save(tmp_path, found), layout=layout, names=("ant", "bee"))  # type: ignore[arg-type]
    assert (task.shape, task.classes) == ((3, 8, 7), ("ant", "bee"))
    assert np.array_equal(task.load("images", "test").images.numpy(), images)


def test_several_sources(tmp_path: Path) -> None:
    found = arrays(prefix="google/", seed=1) | arrays(prefix="bing/", seed=2) | arrays(prefix="images/", seed=3)
    task = Npz(path=save(tmp_path, found), layout="nhw")
    assert task.sources == ("bing", "google", "images")
    assert np.array_equal(task.load("images", "test").images[:, 0].numpy(), found["images/x_test"])
    bing, google = task.load("bing", "test"), task.load("google", "test")
    assert np.array_equal(google.images[:, 0].numpy(), found["google/x_test"])
    assert np.array_equal(bing.images[:, 0].numpy(), found["bing/x_test"])
    assert not set(bing.ids.tolist()) & set(google.ids.tolist())


def test_floats_are_refused_with_advice(tmp_path: Path) -> None:
    floats = arrays() | {"x_train": np.zeros((40, 8, 7), np.float32)}
    assert "x_train has the type float32; images are 8-bit (uint8); write (x * 255).round()" in refusal(
        tmp_path, floats
    )
    assert "has the type int64; images are 8-bit" in refusal(
        tmp_path, arrays() | {"x_train": np.zeros((40, 8, 7), int)}
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((40, 3, 8, 7), np.uint8)}, "layout 'nhw' has 3 axes, so declare another layout"),
        ({"x_train": np.zeros((40, 8, 8), np.uint8)}, "images (1, 8, 8) in x_train, but (1, 8, 7) in x_test"),
        ({"x_train": np.zeros((39, 8, 7), np.uint8)}, "39 images in x_train, but 40 labels"),
        ({"y_train": np.arange(40) % 4 - 1}, "y_train: label -1; expected 0 or more"),
        ({"y_train": (np.arange(40) % 4).astype(float)}, "y_train is float64 (40,); expected whole numbers"),
        ({"y_train": (np.arange(40) % 4)[:, None]}, "y_train is int64 (40, 1); expected whole numbers of shape (n,)"),
        ({"x_trian": np.zeros(3)}, "array 'x_trian'; did you mean 'x_train'"),
        ({"far/x_train": np.zeros((4, 8, 7), np.uint8)}, "some arrays belong to 'far', some to no source"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path: Path, change: Arrays, message: str) -> None:
    task = Npz(path=save(tmp_path, arrays() | change), layout="nhw")
    with pytest.raises(InputError) as error:
        task.load("images", "train")
    assert message in str(error.value)


def test_labels_above_the_named_classes_are_refused(tmp_path: Path) -> None:
    assert "go from 0 to 3; with 2 classes expected 0 to 1" in refusal(tmp_path, arrays(), names=("ant", "bee"))
    with pytest.raises(InputError, match="two classes have one name"):
        Npz(path="x.npz", layout="nhw", names=("ant", "ant"))


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    for missing in ("y_test", "y_validation"):
        found = arrays()
        del found[missing]
        with pytest.raises(InputError, match=f"no array '{missing}'"):
            Npz(path=save(tmp_path, found), layout="nhw").load("images", "test")


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pickled = np.array([Path("anything")] * 40, dtype=object)
    task = Npz(path=save(tmp_path, arrays() | {"y_train": pickled}), layout="nhw")

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr("pickle.load", refuse)
    with pytest.raises(InputError, match=r"y_train cannot be read \(Object arrays cannot be loaded"):
        task.load("images", "train")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="no such file"):
        _ = Npz(path=str(tmp_path / "no.npz"), layout="nhw").sources
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match="not an npz file"):
        _ = Npz(path=str(tmp_path / "text.npz"), layout="nhw").sources
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match="not an npz file"):
        _ = Npz(path=str(tmp_path / "one.npy"), layout="nhw").sources
    with pytest.raises(InputError, match="holds no arrays"):
        _ = Npz(path=save(tmp_path, {}), layout="nhw").sources


def test_a_changed_file_has_another_digest(tmp_path: Path) -> None:
    found = arrays()
    task = Npz(path=save(tmp_path, found), layout="nhw")
    before = task.load("images", "test").digest
    found["x_test"][3, 2, 1] ^= 1
    save(tmp_path, found)
    assert task.load("images", "test").digest != before
