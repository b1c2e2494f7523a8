"""Fashion-MNIST from files of our own in every layout, and the real ones where Debian's package is installed."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from carom.errors import InputError, MissingData
from carom.identity import tensor_digest
from carom.zoo.tasks import fashion_mnist
from carom.zoo.tasks.fashion_mnist import DEBIAN, FashionMnist, read_idx
from carom.zoo.tasks.images import Split
from carom.zoo.tasks.recapture import recapture
from carom.zoo.tasks.splits import training_part

N_TRAIN, N_TEST = 120, 30


def idx(array: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, n in (("train", N_TRAIN), ("t10k", N_TEST)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def test_splits_are_disjoint_stratified_and_the_same_pictures_in_both_sources(folder: Path) -> None:
    task = FashionMnist(root=str(folder))
    seen: set[int] = set()
    for source in task.sources:
        for split, n in (("train", 108), ("validation", 12), ("test", N_TEST)):
            images = task.load(source, split)  # type: ignore[arg-type]
            assert len(images) == n
            assert images.images.shape[1:] == task.shape
            assert torch.bincount(images.labels, minlength=10).min() > 0
            assert not seen & set(images.ids.tolist())
            seen |= set(images.ids.tolist())
    original, recaptured = task.load("original", "validation"), task.load("recaptured", "validation")
    assert torch.equal(original.labels, recaptured.labels)
    assert torch.equal(recapture(original.images, original.ids), recaptured.images)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_samples_halve_the_images_to_learn_from_and_those_to_choose_by(folder: Path, split: Split) -> None:
    """An attacker on half a and a victim on half b share no image, neither in training nor in choosing an epoch."""
    task = FashionMnist(root=str(folder))
    for source in task.sources:
        whole, a, b = (task.load(source, split, samples) for samples in task.samples)
        assert sorted(a.ids.tolist() + b.ids.tolist()) == whole.ids.tolist()
        difference = torch.bincount(a.labels, minlength=10) - torch.bincount(b.labels, minlength=10)
        assert difference.abs().max() <= 1
        assert abs(len(a) - len(b)) <= 1
        assert task.load(source, "test", "a").digest == task.load(source, "test").digest
    original, recaptured = (task.load(source, split, "a") for source in task.sources)
    assert torch.equal(recapture(original.images, original.ids), recaptured.images)  # the same pictures in both sources


def test_plain_files_in_torchvisions_layout_are_the_same(folder: Path) -> None:
    raw = folder / "elsewhere" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in folder.glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    there = FashionMnist(root=str(folder / "elsewhere"))
    assert there.load("original", "train").digest == FashionMnist(root=str(folder)).load("original", "train").digest


def test_the_environment_names_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAROM_DATA", str(folder))
    assert len(FashionMnist().load("original", "test")) == N_TEST


def test_changed_files_and_changed_results_do_not_leak(folder: Path) -> None:
    task = FashionMnist(root=str(folder))
    before = task.load("original", "test")
    digest = before.digest
    before.images.zero_()
    assert task.load("original", "test").digest == digest
    images = np.zeros((N_TEST, 28, 28), np.uint8)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    assert task.load("original", "test").images.max() == 0


def test_missing_files_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingData, match=r"^fashion-mnist: no idx files in .*apt install dataset-fashion-mnist.*root"):
        FashionMnist(root=str(tmp_path)).load("original", "test")

    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("Error downloading train-images\nTried a mirror")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", refuse)
    with pytest.raises(MissingData, match=r"failed: Error downloading train-images$"):
        FashionMnist(root=str(tmp_path), download=True).load("original", "test")


def test_debians_package_is_not_used_for_a_root_of_ones_own(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path_factory.mktemp("empty")
    monkeypatch.setattr(fashion_mnist, "DEBIAN", folder)
    monkeypatch.setenv("CAROM_DATA", str(empty))
    assert len(FashionMnist().load("original", "test")) == N_TEST
    with pytest.raises(MissingData):
        FashionMnist(root=str(empty)).load("original", "test")


def test_wrong_requests_are_refused(folder: Path) -> None:
    task = FashionMnist(root=str(folder))
    with pytest.raises(InputError, match="unknown source 'recapture'; did you mean 'recaptured'"):
        task.load("recapture", "test")
    with pytest.raises(InputError, match="unknown samples 'c'"):
        task.load("original", "train", "c")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (b"\x89PNG", "not an idx file"),
        (b"\0\0\x0d\x01" + bytes(8), "not an idx file of bytes"),
        (idx(np.zeros((3, 28, 28), np.uint8))[:-1], r"holds 2351 bytes of data, its header says \(3, 28, 28\)"),
        (b"\0\0\x08\x03\0\0", r"holds 0 bytes of data, its header says \(\)"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_idx(file)


def test_cut_off_archives_and_mismatched_files_are_refused(folder: Path) -> None:
    task = FashionMnist(root=str(folder))
    images, labels = folder / "t10k-images-idx3-ubyte.gz", folder / "t10k-labels-idx1-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[:1000])
    with pytest.raises(InputError, match="cannot be unpacked"):
        task.load("original", "test")
    images.write_bytes(whole)
    labels.write_bytes(gzip.compress(idx(np.zeros(N_TEST + 1, np.uint8))))
    with pytest.raises(InputError, match=r"labels \(31,\); expected \(n, 28, 28\) and \(n,\)"):
        task.load("original", "test")
    labels.write_bytes(gzip.compress(idx(np.full(N_TEST, 10, np.uint8))))
    with pytest.raises(InputError, match="label 10; Fashion-MNIST has the classes 0 to 9"):
        task.load("original", "test")


def test_recapturing_rests_on_the_image_alone() -> None:
    images = torch.randint(0, 256, (5, 3, 8, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([7, 1, 2**40, -3, 11])
    seen = recapture(images, ids)
    turned = torch.tensor([4, 2, 0, 1, 3])
    assert torch.equal(recapture(images[turned], ids[turned]), seen[turned])
    assert torch.equal(recapture(images[2:3], ids[2:3]), seen[2:3])
    assert not torch.equal(recapture(images, ids + 1), seen)
    assert recapture(images[:0], ids[:0]).shape == (0, 3, 8, 7)


def test_recapturing_keeps_the_picture_but_raises_black_and_lowers_white() -> None:
    box = torch.zeros(40, 1, 28, 28, dtype=torch.uint8)
    box[:, :, 6:22, 6:22] = 255
    seen = recapture(box, torch.arange(40)).float()
    inside, outside = seen[:, :, 10:18, 10:18].mean((1, 2, 3)), seen[:, :, [0, -1]].mean((1, 2, 3))
    assert (inside > 200 * 0.7).all()
    assert (inside <= 255).all()
    assert (outside > 2).all()
    assert (outside < 30).all()
    assert outside.std() > 2  # every picture has its own camera settings


def test_what_version_1_promises() -> None:
    """If this fails on purpose, raise `version` of every task concerned: stored results no longer fit."""
    images = (torch.arange(5 * 3 * 8 * 7) * 37 % 256).to(torch.uint8).reshape(5, 3, 8, 7)
    assert tensor_digest({"images": recapture(images, torch.arange(5))}).startswith("54bc406099b1dc20")
    labels, ids = torch.arange(40) % 4, torch.arange(40)
    assert training_part(labels, ids, "validation", "all", carve=True).tolist() == [4, 9, 10, 11]
    half = [1, 5, 7, 8, 12, 18, 19, 20, 21, 23, 25, 26, 27, 30, 32, 34, 37, 39]
    assert training_part(labels, ids, "train", "a", carve=True).tolist() == half


@pytest.mark.thorough
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_the_real_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CAROM_DATA", str(tmp_path))
    task = FashionMnist()
    train, validation, test = (task.load("original", split) for split in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (55_000, 5_000, 10_000)
    assert torch.bincount(validation.labels).tolist() == [500] * 10
    assert torch.bincount(task.load("original", "train", "b").labels).tolist() == [2750] * 10
    assert train.pixels[:2000].mean() == pytest.approx(0.286, abs=0.02)  # the data set's mean brightness
    seen = task.load("recaptured", "test")
    assert torch.equal(seen.labels, test.labels)
    change = (seen.pixels - test.pixels).flatten(1).square().mean(1).sqrt()
    assert change.min() > 0.03
