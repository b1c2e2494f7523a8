"""Small files of our own in the formats that torchvision reads."""

import bz2
import gzip
import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from carom.errors import InputError, MissingData
from carom.zoo.tasks import TASKS
from carom.zoo.tasks.cifar import CIFAR100, Cifar10, Cifar100
from carom.zoo.tasks.digits32 import Digits32
from carom.zoo.tasks.mnist import Mnist
from carom.zoo.tasks.stl10 import Stl10
from carom.zoo.tasks.svhn import Svhn
from carom.zoo.tasks.torchvision_sets import TorchvisionSet
from carom.zoo.tasks.usps import Usps

N_TRAIN, N_TEST = 60, 20
Array = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
SETS: tuple[type[TorchvisionSet], ...] = (Mnist, Usps, Svhn, Cifar10, Cifar100, Stl10)


def labels_of(n: int, classes: int = 10) -> Array:
    return (np.arange(n) % classes).astype(np.uint8)


def images_of(n: int, c: int, side: int) -> Array:
    return np.random.default_rng(n).integers(0, 256, (n, c, side, side), dtype=np.uint8)


def md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes()).hexdigest()


def write_mnist(root: Path) -> None:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, n in (("train", N_TRAIN), ("t10k", N_TEST)):
        head = struct.pack(">BBBBIII", 0, 0, 8, 3, n, 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + images_of(n, 1, 28).tobytes())
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, n) + labels_of(n).tobytes())


def write_usps(root: Path) -> None:
    for name, n in (("usps.bz2", N_TRAIN), ("usps.t.bz2", N_TEST)):
        lines = []
        for image, label in zip(images_of(n, 1, 16), labels_of(n), strict=True):
            values = (image.flatten() / 127.5 - 1 + 1e-4).clip(-1, 1)
            lines.append(f"{label + 1} " + " ".join(f"{i}:{v:.6f}" for i, v in enumerate(values, 1)) + " \n")
        (root / name).write_bytes(bz2.compress("".join(lines).encode()))


def write_svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {}
    for split, n in (("train", N_TRAIN), ("test", N_TEST)):
        labels = labels_of(n).astype(int)
        file = root / f"{split}_32x32.mat"
        scipy.io.savemat(  # type: ignore[attr-defined, no-untyped-call]
            file, {"X": images_of(n, 3, 32).transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None]}
        )
        listed[split] = ["", file.name, md5(file)]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, key: str, meta: str, classes: int) -> None:
    folder = root / kind.base_folder
    folder.mkdir()

    def batch(name: str, images: Array, labels: Array) -> list[str]:
        (folder / name).write_bytes(pickle.dumps({"data": images.reshape(len(images), -1), key: labels.tolist()}))
        return [name, md5(folder / name)]

    train, labels = images_of(N_TRAIN, 3, 32), labels_of(N_TRAIN, classes)
    parts = [batch(f"batch_{i}", train[i::2], labels[i::2]) for i in (0, 1)]
    monkeypatch.setattr(kind, "train_list", parts)
    monkeypatch.setattr(kind, "test_list", [batch("test", images_of(N_TEST, 3, 32), labels_of(N_TEST, classes))])
    (folder / "meta").write_bytes(pickle.dumps({meta: [str(k) for k in range(classes)]}))
    monkeypatch.setattr(kind, "meta", {"filename": "meta", "key": meta, "md5": md5(folder / "meta")})


def write_stl10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "stl10_binary"
    folder.mkdir()
    for name, n in (("train", N_TRAIN), ("test", N_TEST)):
        (folder / f"{name}_X.bin").write_bytes(images_of(n, 3, 96).transpose(0, 1, 3, 2).tobytes())
        (folder / f"{name}_y.bin").write_bytes((labels_of(n) + 1).tobytes())
    for part in ("train", "test"):
        files = [f"{part}_X.bin", f"{part}_y.bin"]
        monkeypatch.setattr(datasets.STL10, f"{part}_list", [[name, md5(folder / name)] for name in files])


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_mnist(tmp_path)
    write_usps(tmp_path)
    write_svhn(tmp_path, monkeypatch)
    write_cifar(tmp_path, monkeypatch, datasets.CIFAR10, "labels", "label_names", 10)
    write_cifar(tmp_path, monkeypatch, datasets.CIFAR100, "fine_labels", "fine_label_names", 20)
    write_stl10(tmp_path, monkeypatch)
    return tmp_path


@pytest.mark.parametrize("kind", SETS)
def test_each_set_comes_as_it_was_written(kind: type[TorchvisionSet], root: Path) -> None:
    task = kind(root=str(root))
    (source,) = task.sources
    assert TASKS[source] is kind
    test = task.load(source, "test")
    assert tuple(test.images.shape) == (N_TEST, *task.shape)
    assert torch.equal(test.images, torch.from_numpy(images_of(N_TEST, task.shape[0], task.shape[1])))
    assert test.labels.tolist() == labels_of(N_TEST, 20 if kind is Cifar100 else 10).tolist()


@pytest.mark.parametrize("kind", SETS)
def test_splits_and_samples_are_disjoint(kind: type[TorchvisionSet], root: Path) -> None:
    task = kind(root=str(root))
    (source,) = task.sources
    parts = [task.load(source, "train", "a"), task.load(source, "train", "b"), task.load(source, "validation")]
    assert [len(part) for part in parts] == [27, 27, 6]
    parts.append(task.load(source, "test"))
    ids = [i for part in parts for i in part.ids.tolist()]
    assert len(set(ids)) == N_TRAIN + N_TEST


def test_digits32_brings_three_sets_to_one_shape(root: Path) -> None:
    task = Digits32(root=str(root))
    ids: set[int] = set()
    for source, single in (("mnist", Mnist), ("usps", Usps), ("svhn", Svhn)):
        for split in ("train", "validation", "test"):
            images = task.load(source, split)
            assert tuple(images.images.shape[1:]) == (1, 32, 32)
            assert torch.equal(images.labels, single(root=str(root)).load(source, split).labels)
            assert not ids & set(images.ids.tolist())
            ids |= set(images.ids.tolist())
    mnist = task.load("mnist", "test").images
    assert torch.equal(mnist[:, :, 2:30, 2:30], torch.from_numpy(images_of(N_TEST, 1, 28)))
    assert mnist[:, :, :2].max() == 0
    red, green, blue = images_of(N_TEST, 3, 32)[4, :, 5, 6].astype(float)
    assert task.load("svhn", "test").images[4, 0, 5, 6] == round(0.299 * red + 0.587 * green + 0.114 * blue)
    usps, larger = images_of(N_TEST, 1, 16)[3, 0].astype(float), task.load("usps", "test").images[3, 0]
    corner = (9 * usps[4, 6] + 3 * usps[4, 7] + 3 * usps[5, 6] + usps[5, 7]) / 16  # a quarter of a pixel away
    assert abs(float(larger[9, 13]) - corner) <= 0.5


@pytest.mark.parametrize("kind", SETS)
def test_missing_files_say_how_to_get_them(kind: type[TorchvisionSet], tmp_path: Path) -> None:
    task = kind(root=str(tmp_path))
    (source,) = task.sources
    with pytest.raises(MissingData, match=rf"^{source}: torchvision finds no sound files in .*set download = true, or"):
        task.load(source, "test")


def test_a_wrong_checksum_is_refused_before_anything_is_unpickled(root: Path) -> None:
    file = root / "cifar-10-batches-py" / "test"
    file.write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    with pytest.raises(MissingData, match="no sound files"):
        Cifar10(root=str(root)).load("cifar10", "test")


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host\nmore")

    monkeypatch.setattr(datasets.MNIST, "download", refuse)
    with pytest.raises(MissingData, match=r"mnist: the download into .* failed: no route to host$"):
        Mnist(root=str(tmp_path), download=True).load("mnist", "test")


def test_damaged_or_foreign_files_are_refused(root: Path) -> None:
    raw = root / "MNIST" / "raw"
    labels, images = raw / "t10k-labels-idx1-ubyte", raw / "t10k-images-idx3-ubyte"
    good = labels.read_bytes()
    labels.write_bytes(good[:8] + bytes([11] * N_TEST))
    with pytest.raises(InputError, match="mnist: labels from 11 to 11; expected 0 to 9"):
        Mnist(root=str(root)).load("mnist", "test")
    labels.write_bytes(good)
    images.write_bytes(images.read_bytes()[:-5])
    with pytest.raises(MissingData, match="mnist: torchvision finds no sound files"):
        Mnist(root=str(root)).load("mnist", "test")
    images.write_bytes(struct.pack(">BBBBIII", 0, 0, 8, 3, N_TEST, 14, 14) + bytes(N_TEST * 196))
    with pytest.raises(
        InputError, match=r"holds torch.uint8 \(20, 1, 14, 14\) with 20 labels; expected 8-bit n x 1 x 28"
    ):
        Mnist(root=str(root)).load("mnist", "test")
    (root / "usps.t.bz2").write_bytes(bz2.compress(b"1 1:0.5 2:0.5\n"))
    with pytest.raises(InputError, match=r"usps: the files in .* are damaged"):
        Usps(root=str(root)).load("usps", "test")
    (root / "usps.t.bz2").write_bytes(gzip.compress(b"1 1:0.5\n"))
    with pytest.raises(MissingData, match="usps: torchvision finds no sound files"):
        Usps(root=str(root)).load("usps", "test")


def test_class_names_are_complete() -> None:
    assert len(set(CIFAR100.classes)) == 100
    assert list(CIFAR100.classes) == sorted(CIFAR100.classes)
    for kind in SETS[:4]:
        assert len(set(kind().classes)) == 10
