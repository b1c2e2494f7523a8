"""Image folders in three layouts, with the traps that real folders have."""

import shutil
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carom.errors import InputError, MissingData
from carom.registry import build
from carom.zoo.tasks.folder import ImageFolder, decode
from carom.zoo.tasks.npz import Npz


def write(file: Path, seed: int, size: tuple[int, int] = (9, 6), mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode=None).save(file)


def fill(root: Path, splits: Iterable[str], classes: Iterable[str] = ("cat", "dog"), n: int = 4) -> None:
    """`n` files a class and split; the file names are the same in all classes, as in DUMB's cats and dogs."""
    for split in splits:
        for c, name in enumerate(classes):
            for i in range(n):
                write(root / split / name / f"{i}.png", seed=100 * len(split) + 10 * c + i)


@pytest.fixture
def dumb(tmp_path: Path) -> Path:
    for source in ("google", "bing"):
        fill(tmp_path / source, ("train", "val", "test"))
    return tmp_path


def test_dumbs_layout(dumb: Path) -> None:
    task = ImageFolder(root=str(dumb), size=5)
    assert task.sources == ("bing", "google")
    assert task.classes == ("cat", "dog")
    assert task.shape == (3, 5, 5)
    ids: set[int] = set()
    for source in task.sources:
        for split in ("train", "validation", "test"):
            images = task.load(source, split)
            assert tuple(images.images.shape) == (8, 3, 5, 5)
            assert images.labels.tolist() == [0] * 4 + [1] * 4
            ids |= set(images.ids.tolist())
    assert len(ids) == 2 * 3 * 8  # equal file names of two classes are two images
    for part in ("train", "validation"):
        a, b = (task.load("bing", part, samples) for samples in ("a", "b"))
        assert sorted(a.ids.tolist() + b.ids.tolist()) == sorted(task.load("bing", part).ids.tolist())
        assert torch.bincount(a.labels).tolist() == [2, 2]


def test_ids_are_those_of_the_paths_below_the_root(dumb: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    moved = tmp_path_factory.mktemp("moved") / "here"
    shutil.copytree(dumb, moved)
    before = ImageFolder(root=str(dumb), size=5).load("google", "test")
    assert ImageFolder(root=str(moved), size=5).load("google", "test").digest == before.digest
    write(moved / "google" / "test" / "cat" / "00.png", seed=7)
    after = ImageFolder(root=str(moved), size=5).load("google", "test")
    assert set(before.ids.tolist()) < set(after.ids.tolist())
    write(moved / "google" / "test" / "cat" / "0.png", seed=8)
    assert ImageFolder(root=str(moved), size=5).load("google", "test").digest != after.digest


def test_one_source_with_splits_and_without_validation(tmp_path: Path) -> None:
    fill(tmp_path, ("train",), n=30)
    fill(tmp_path, ("test",), n=3)
    task = ImageFolder(root=str(tmp_path), size=4, channels=1)
    assert task.sources == ("images",)
    train, validation, test = (task.load("images", split) for split in ("train", "validation", "test"))
    assert [len(part) for part in (train, validation, test)] == [54, 6, 6]
    assert torch.bincount(validation.labels).tolist() == [3, 3]
    assert not set(train.ids.tolist()) & set(validation.ids.tolist())


def test_train_and_val_alone_make_val_the_test_set(tmp_path: Path) -> None:
    fill(tmp_path, ("train",), n=10)
    fill(tmp_path, ("val",), n=5)
    task = ImageFolder(root=str(tmp_path), size=4)
    assert [len(task.load("images", split)) for split in ("train", "validation", "test")] == [18, 2, 10]


def test_class_folders_without_splits(tmp_path: Path) -> None:
    fill(tmp_path, (".",), classes=("train", "bus", "car"), n=20)  # a class may be called train
    task = ImageFolder(root=str(tmp_path), size=4)
    assert task.classes == ("bus", "car", "train")
    parts = [task.load("images", split) for split in ("train", "validation", "test")]
    assert [torch.bincount(part.labels).tolist() for part in parts] == [[16] * 3, [2] * 3, [2] * 3]
    assert len({i for part in parts for i in part.ids.tolist()}) == 60
    for whole, split in zip(parts, ("train", "validation"), strict=False):
        halves = [task.load("images", split, samples) for samples in ("a", "b")]  # type: ignore[arg-type]
        assert sorted(i for half in halves for i in half.ids.tolist()) == sorted(whole.ids.tolist())


def test_per_class_takes_few_and_opens_no_more(tmp_path: Path) -> None:
    fill(tmp_path, ("train", "test"), n=12)
    few = ImageFolder(root=str(tmp_path), size=4, per_class=3).load("images", "test")
    assert torch.bincount(few.labels).tolist() == [3, 3]
    chosen = set(few.ids.tolist())
    more = ImageFolder(root=str(tmp_path), size=4, per_class=5).load("images", "test")
    assert chosen < set(more.ids.tolist())
    everything = ImageFolder(root=str(tmp_path), size=4).load("images", "test")
    order = sorted((tmp_path / "test").glob("*/*.png"), key=lambda f: (f.parent.name, f.name))
    for file, image_id in zip(order, everything.ids.tolist(), strict=True):
        if image_id not in chosen:
            file.write_bytes(b"broken")
    assert ImageFolder(root=str(tmp_path), size=4, per_class=3).load("images", "test").digest == few.digest


def test_a_crop_keeps_the_middle_and_a_squash_keeps_all(tmp_path: Path) -> None:
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, :4] = (255, 0, 0)
    wide[:, 8:] = (0, 0, 255)
    file = tmp_path / "wide.png"
    Image.fromarray(wide).save(file)
    assert decode(file, 4, 3, "crop").max() == 0
    squashed = decode(file, 6, 3, "squash")
    assert squashed[0, 0].tolist() == [255, 0, 0]
    assert squashed[5, 5].tolist() == [0, 0, 255]


def test_shrinking_is_antialiased(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    file = tmp_path / "stripes.png"
    Image.fromarray(stripes).save(file)
    assert abs(decode(file, 8, 1, "crop").astype(int) - 128).max() <= 8


def test_modes_become_grey_or_colour(tmp_path: Path) -> None:
    colour = np.full((5, 5, 4), (200, 100, 50, 0), np.uint8)
    Image.fromarray(colour).save(tmp_path / "rgba.png")
    Image.fromarray(colour[..., :3]).quantize(4).save(tmp_path / "palette.png", transparency=0)
    Image.fromarray(colour[..., :3]).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    for name in ("rgba.png", "palette.png", "cmyk.jpg"):
        assert np.abs(decode(tmp_path / name, 3, 3, "crop").astype(int) - [200, 100, 50]).max() <= 3
        assert np.abs(decode(tmp_path / name, 3, 1, "crop").astype(int) - 124).max() <= 3


def test_unreadable_files_are_named(dumb: Path) -> None:
    file = dumb / "bing" / "test" / "dog" / "2.png"
    whole = file.read_bytes()
    for content in (b"\0", b"not an image", whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"bing/test/dog/2\.png: cannot be read as an image"):
            ImageFolder(root=str(dumb), size=5).load("bing", "test")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(file)
    with pytest.raises(InputError, match=r"2\.png: more than 8 bits a channel"):
        ImageFolder(root=str(dumb), size=5).load("bing", "test")


def test_hidden_and_other_files_are_no_images(dumb: Path) -> None:
    before = ImageFolder(root=str(dumb), size=5).load("bing", "test").digest
    (dumb / ".git").mkdir()
    (dumb / "bing" / "test" / "dog" / ".hidden.png").write_bytes(b"")
    (dumb / "bing" / "test" / "dog" / "readme.txt").write_text("dogs")
    assert ImageFolder(root=str(dumb), size=5).load("bing", "test").digest == before


def test_wrong_folders_are_refused(dumb: Path) -> None:
    def message(root: Path = dumb, source: str = "bing") -> str:
        with pytest.raises(InputError) as error:
            ImageFolder(root=str(root), size=5).load(source, "test")
        return str(error.value)

    assert "unknown source 'bingo'; did you mean 'bing'" in message(source="bingo")
    (dumb / "bing" / "val" / "cow").mkdir()
    assert "its classes are not those of" in message()
    assert "'cow' is in one of them only" in message()
    shutil.rmtree(dumb / "bing" / "val" / "cow")
    shutil.rmtree(dumb / "bing" / "test" / "dog")
    (dumb / "bing" / "test" / "dog").mkdir()
    assert "no image files" in message()
    shutil.rmtree(dumb / "google" / "test")
    shutil.rmtree(dumb / "google" / "val")
    assert "split folders train; expected train and test" in message(source="google")
    (dumb / "google" / "training").mkdir()
    assert "both train/ and training/ are train images" in message(source="google")
    (dumb / "extra" / "things").mkdir(parents=True)
    assert "expected <source>/<split>/<class>/, <split>/<class>/ or <class>/" in message()


def test_missing_empty_and_tiny_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="no such folder"):
        ImageFolder(root=str(tmp_path / "nowhere"), size=5).load("images", "test")
    with pytest.raises(InputError, match="it holds no folders"):
        _ = ImageFolder(root=str(tmp_path), size=5).sources
    fill(tmp_path, (".",), n=9)
    with pytest.raises(InputError, match="class 'cat' has 9 images; to split 80:10:10"):
        ImageFolder(root=str(tmp_path), size=5).load("images", "test")
    shutil.rmtree(tmp_path / "dog")
    with pytest.raises(InputError, match="1 class folders; expected two or more"):
        ImageFolder(root=str(tmp_path), size=5).load("images", "test")


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(InputError, match="size 0"):
        ImageFolder(root="x", size=0)
    with pytest.raises(InputError, match="channels 4; expected 3"):
        ImageFolder(root="x", size=4, channels=4)
    with pytest.raises(InputError, match=r"^task\.fit: input should be 'crop' or 'squash'"):
        build(ImageFolder, {"root": "x", "size": 4, "fit": "cropp"}, where="task")


def test_more_than_the_memory_is_refused_before_reading(tmp_path: Path) -> None:
    fill(tmp_path, ("train", "test"))
    with pytest.raises(InputError, match=r"need \d+ GiB, this machine has \d+ GiB; set per_class"):
        ImageFolder(root=str(tmp_path), size=1_000_000).load("images", "test")


# --- what real folders have beside images


@pytest.mark.parametrize("left", ["__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", ".git"])
def test_what_systems_leave_is_passed_over(left: str, tmp_path: Path) -> None:
    fill(tmp_path, ("train", "test"))
    expected = ImageFolder(root=str(tmp_path), size=4).load("images", "test").digest
    for place in (tmp_path, tmp_path / "train", tmp_path / "train" / "cat"):
        (place / left / "train").mkdir(parents=True)
        (place / left / "._0.png").write_bytes(b"resource fork")
        (place / "._0.png").write_bytes(b"resource fork")
    task = ImageFolder(root=str(tmp_path), size=4)
    assert task.classes == ("cat", "dog")
    assert task.load("images", "test").digest == expected


@pytest.mark.parametrize("beside", ["extra", "annotations", "unlabelled"])
def test_a_folder_beside_the_splits_is_named(beside: str, tmp_path: Path) -> None:
    fill(tmp_path, ("train", "test"))
    (tmp_path / beside).mkdir()
    with pytest.raises(InputError, match=rf"beside test/, train/ stands {beside}/; .*move the rest away"):
        ImageFolder(root=str(tmp_path), size=4).load("images", "train")


def png16(colour: int, rows: bytes) -> bytes:
    """A 16-bit PNG of 3 x 2 pixels, written as the specification says (ISO/IEC 15948)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 2, 16, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("grey.png", png16(0, (b"\0" + bytes(6)) * 2)),
        ("colour.png", png16(2, (b"\0" + bytes(18)) * 2)),
        ("grey-alpha.png", png16(4, (b"\0" + bytes(12)) * 2)),
        ("colour-alpha.png", png16(6, (b"\0" + bytes(24)) * 2)),
        ("colour.ppm", b"P6 3 2 65535\n" + bytes(36)),
        ("grey.pgm", b"P5 3 2 65535\n" + bytes(12)),
    ],
)
def test_more_than_8_bits_a_channel_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    for channels in (1, 3):
        with pytest.raises(InputError, match=rf"{name}: more than 8 bits a channel \(.*convert it to an 8-bit image"):
            decode(tmp_path / name, 2, channels, "crop")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_eight_bits_a_channel_are_read_in_any_mode(mode: str, tmp_path: Path) -> None:
    for suffix in ("png", "tif", "jpg", "bmp"):
        image = Image.new("RGB", (4, 4), (200, 30, 10)).convert(mode)
        try:
            image.save(tmp_path / f"i.{suffix}", quality=100)
        except (OSError, KeyError):  # no such images in files of this kind
            continue
        expected = np.array(image.convert("RGB").getpixel((1, 1)), dtype=int)
        found = decode(tmp_path / f"i.{suffix}", 4, 3, "crop")[1, 1].astype(int)
        assert np.abs(found - expected).max() <= 12, (mode, suffix)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"no image", "cannot be read as an image"),
    ],
)
def test_files_that_are_no_images_and_no_arrays(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "i.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"i\.png: .*{words}"):
        decode(tmp_path / "i.png", 4, 3, "crop")
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(
        InputError, match=rf"d\.npz: .*{words.replace('cannot be read as an image', 'not an npz file')}"
    ):
        Npz(path=str(tmp_path / "d.npz"), layout="nhw").load("images", "test")
