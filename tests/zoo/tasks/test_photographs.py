"""Image files that are only attacked: every layout that people have, and refusals that say what is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from carom.errors import CaromError, InputError, MissingData
from carom.zoo.tasks.attacked import attacked_images, partner_images, target_classes
from carom.zoo.tasks.images import ImageSet
from carom.zoo.tasks.names import class_names, imagenet
from carom.zoo.tasks.npz import Npz
from carom.zoo.tasks.photographs import Photographs
from carom.zoo.tasks.task import Task

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def pixels(seed: int, width: int = 9, height: int = 7) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, seed: int, width: int = 9, height: int = 7) -> Pixels:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = pixels(seed, width, height)
    Image.fromarray(found).save(path)
    return found


def class_folders(root: Path, *names: str, n: int = 2, **size: int) -> None:
    for k, name in enumerate(names):
        for i in range(n):
            save(root / name / f"{i}.png", 10 * k + i, **size)


def table(root: Path, text: str, name: str = "labels.csv") -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")


def load(task: Task) -> ImageSet:
    return task.load("images", "test")


def refusal(root: Path, **settings: Any) -> str:
    def read() -> None:
        task = Photographs(root=str(root), **settings)
        _ = task.classes, task.shape
        load(task)

    with pytest.raises(CaromError) as error:
        read()
    message = str(error.value)
    assert "\n" not in message
    return message


# ------------------------------------------------------------------------------------------------------ class folders


def test_class_folders_name_the_classes_where_nobody_does(tmp_path: Path) -> None:
    class_folders(tmp_path, "dog", "cat")
    task = Photographs(root=str(tmp_path))
    assert isinstance(task, Task)
    assert (task.classes, task.shape, task.splits, task.sources) == (("cat", "dog"), (3, 7, 9), ("test",), ("images",))
    found = load(task)
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.targets is None
    assert np.array_equal(found.images[0].permute(1, 2, 0).numpy(), pixels(10))
    assert len(set(found.ids.tolist())) == 4


@pytest.mark.parametrize("below", ["", "val", "test"])
@pytest.mark.parametrize("named", ["n01443537", "goldfish", "Goldfish", "1"])
def test_not_every_class_of_imagenet_needs_a_folder(tmp_path: Path, below: str, named: str) -> None:
    class_folders(tmp_path / below, named, "n02102318")
    if below == "val":
        class_folders(tmp_path / "train", "n01440764", n=1)
    task = Photographs(root=str(tmp_path), names="imagenet")
    assert len(task.classes) == 1000
    assert sorted(load(task).labels.tolist()) == [1, 1, 219, 219]  # goldfish, cocker spaniel


def test_a_file_says_the_order_of_the_classes(tmp_path: Path) -> None:
    class_folders(tmp_path / "images", "ant", "polar_bear")
    names = tmp_path / "names.txt"
    names.write_text("Polar bear\ncat\nant\n")
    task = Photographs(root=str(tmp_path / "images"), names=str(names))
    assert task.classes == ("Polar bear", "cat", "ant")
    assert load(task).labels.tolist() == [2, 2, 0, 0]


def test_a_file_of_synsets_says_names_too(tmp_path: Path) -> None:
    class_folders(tmp_path / "images", "n02012849", "crane machine")
    names = tmp_path / "synset_words.txt"
    names.write_text("n03126707 crane\nn02012849 crane\nn00000001 crane machine\n")
    task = Photographs(root=str(tmp_path / "images"), names=str(names))
    assert task.classes == ("crane (n03126707)", "crane (n02012849)", "crane machine")
    assert load(task).labels.tolist() == [2, 2, 1, 1]


def test_refusals_of_folders(tmp_path: Path) -> None:
    class_folders(tmp_path / "a", "cat", "dog")
    assert "'cat' is none of the 1,000 classes; expected a name, a synset, or a number from 0 to 999" in refusal(
        tmp_path / "a", names="imagenet"
    )
    assert "'dog' is none of the 2 classes" in refusal(tmp_path / "a", names=("cat", "dot"))
    assert "did you mean 'dot'?" in refusal(tmp_path / "a", names=("cat", "dot"))
    save(tmp_path / "a" / "cat" / "more" / "x.png", 0)
    assert "more/x.png: an image in a folder below the class folder cat/" in refusal(tmp_path / "a")
    class_folders(tmp_path / "b", "cat", "dog")
    (tmp_path / "b" / "eel").mkdir()
    assert "eel: no image files" in refusal(tmp_path / "b")
    save(tmp_path / "b" / "loose.png", 0)
    assert "loose.png has no label" in refusal(tmp_path / "b")
    class_folders(tmp_path / "c" / "train", "cat", "dog")
    assert "none is test/ or val/" in refusal(tmp_path / "c")
    class_folders(tmp_path / "d", "0", "1000")
    assert "label 1000; with 1,000 classes expected 0 to 999; are they counted from 1?" in refusal(
        tmp_path / "d", names="imagenet"
    )
    class_folders(tmp_path / "e", "cat")
    assert "images of 1 classes" in refusal(tmp_path / "e")
    assert "no such folder" in refusal(tmp_path / "nowhere")
    (tmp_path / "f").mkdir()
    assert "no images" in refusal(tmp_path / "f")
    assert "no such file" in refusal(tmp_path / "a", names="imagenette")
    (tmp_path / "b" / "loose.png").unlink()
    (tmp_path / "b" / "eel" / "x.jpg").write_text("no picture")
    assert "x.jpg: cannot be read as an image" in refusal(tmp_path / "b")


def test_other_splits_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path, "cat", "dog")
    with pytest.raises(InputError, match="attacked only, there are no train images; expected test"):
        Photographs(root=str(tmp_path)).load("images", "train")


# ------------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    "text",
    [
        "file,label\nb.png,1\na.png,goldfish\n",
        "Filename;CLASS;size\nb.png;goldfish;7\nimages/a.png;n01443537;7\n",
        "\ufeffimage\tlabel\nb\t1\nimages/a\t1\n\n",
    ],
)
def test_a_table_of_files_and_labels(tmp_path: Path, text: str) -> None:
    for i, name in enumerate("abc"):
        save(tmp_path / "images" / f"{name}.png", i)
    table(tmp_path, text)
    found = load(Photographs(root=str(tmp_path), names="imagenet"))
    assert found.labels.tolist() == [1, 1]
    assert found.targets is None
    assert np.array_equal(found.images[1].permute(1, 2, 0).numpy(), pixels(1))


def test_targets_are_part_of_the_images(tmp_path: Path) -> None:
    for i, name in enumerate("ab"):
        save(tmp_path / f"{name}.png", i)
    table(tmp_path, "image,label,target\na,0,2\nb,1,0\n")
    task = Photographs(root=str(tmp_path), names=3)
    found = load(task)
    assert found.targets is not None
    assert found.targets.tolist() == [2, 0]
    assert target_classes(found.labels, found.ids, 3, found.targets).tolist() == [2, 0]
    attacked, _ = attacked_images(task, "test", None, 0)
    assert attacked.digest == found.digest
    table(tmp_path, "image,label,target\na,0,1\nb,1,0\n")
    other = load(task)
    assert other.digest != found.digest
    table(tmp_path, "image,label\na,0\nb,1\n")
    assert load(task).digest == ImageSet(found.images, found.labels, found.ids).digest


@pytest.mark.parametrize(("first", "labels", "targets"), [(1, [2, 0], [0, 1]), (0, [2, 0], [0, 1])])
def test_the_table_of_the_nips_competition_counts_from_1(
    tmp_path: Path, first: int, labels: list[int], targets: list[int]
) -> None:
    rows = ["ImageId,URL,x1,y1,x2,y2,TrueLabel,TargetClass,OriginalLandingURL,License"]
    for i, (label, target) in enumerate(zip(labels, targets, strict=True)):
        save(tmp_path / "images" / f"{i}f.png", i)
        rows.append(f"{i}f,http://x/{i},0,0,1,1,{label + first},{target + first},http://y,z")
    table(tmp_path, "\n".join(rows) + "\n", "dev_dataset.csv")
    found = load(Photographs(root=str(tmp_path), names=3))
    assert found.targets is not None
    assert (found.labels.tolist(), found.targets.tolist()) == (labels, targets)


def test_labels_name_or_number_the_classes_where_nobody_does(tmp_path: Path) -> None:
    for i, name in enumerate("ab"):
        save(tmp_path / f"{name}.png", i)
    table(tmp_path, "file,label\na,dog\nb,cat\n")
    assert Photographs(root=str(tmp_path)).classes == ("cat", "dog")
    table(tmp_path, "file,label\na,1\nb,0\n")
    assert Photographs(root=str(tmp_path)).classes == ("0", "1")
    table(tmp_path, "file,label\na,7\nb,0\n")
    assert "no image is of class 1; expected 0 to 1 for 2 classes, or `names`" in refusal(tmp_path)
    table(tmp_path, "file,label\na,1440764000000000000\nb,0\n")
    assert "labels go up to 1440764000000000000" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\na,0\na.png,1\n", "labels.csv:3: a.png has two rows"),
        ("file,label\na,0\nc,1\n", "labels.csv:3: no image 'c' below"),
        ("file,label\na,0\nb,3\n", "labels.csv:3: label 3; with 3 classes expected 0 to 2; are they counted from 1?"),
        ("file,label\na,0\nb,-1\n", "label -1; with 3 classes expected 0 to 2"),
        ("file,label,target\na,0,1\nb,1,1\n", "b is of its target class '1'"),
        ("file,label,target\na,0,1\nb,1,\n", "some images have a target and some have none"),
        ("file,label\na,0\nb\n", "labels.csv:3: 1 columns; expected 2"),
        ("file,label\na,0\nb,\n", "labels.csv:3: no label"),
        ("file,label\n", "no images; expected a line for each"),
        ("picture,label\na,0\n", "its first line is picture, label; expected the columns file and label"),
        ("", "its first line is nothing"),
        ("file,label\na,0\nx,1\n", "'x' is one/x.png or two/x.png; write its path"),
    ],
)
def test_refusals_of_tables(tmp_path: Path, text: str, said: str) -> None:
    for i, name in enumerate(("a", "b", "one/x", "two/x")):
        save(tmp_path / f"{name}.png", i)
    table(tmp_path, text)
    assert said in refusal(tmp_path, names=3)


def test_of_two_tables_one_has_to_be_named(tmp_path: Path) -> None:
    save(tmp_path / "a.png", 0)
    table(tmp_path, "file,label\na,0\n", "one.csv")
    table(tmp_path, "file,label\na,1\n", "two.csv")
    assert 'one.csv, two.csv; say which has the labels: labels = "one.csv"' in refusal(tmp_path, names=3)
    assert load(Photographs(root=str(tmp_path), names=3, labels="two.csv")).labels.tolist() == [1]
    assert "three.csv: no such file" in refusal(tmp_path, names=3, labels="three.csv")


# -------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("width", "height"), [(61, 40), (40, 61), (32, 57), (45, 45)])
def test_resize_and_crop_are_those_of_torchvision_and_timm(
    tmp_path: Path, width: int, height: int, interpolation: str
) -> None:
    timm_data = pytest.importorskip("timm.data")
    from torchvision import transforms as torchvision_transforms

    transforms: Any = torchvision_transforms

    class_folders(tmp_path, "cat", "dog", n=1, width=width, height=height)
    found = load(Photographs(root=str(tmp_path), resize=32, crop=27, interpolation=interpolation))  # type: ignore[arg-type]
    image = Image.open(tmp_path / "cat" / "0.png")
    mode = transforms.InterpolationMode(interpolation)
    wanted = transforms.Compose([transforms.Resize(32, mode), transforms.CenterCrop(27), transforms.PILToTensor()])(
        image
    )
    assert torch.equal(found.images[0], wanted)
    of_timm = timm_data.create_transform(
        (3, 27, 27), interpolation=interpolation, crop_pct=27 / 32, mean=(0.0,) * 3, std=(1.0,) * 3
    )
    assert torch.equal(found.images[0], (of_timm(image) * 255).round().to(torch.uint8))


def test_size_squashes_and_crop_alone_cuts(tmp_path: Path) -> None:
    class_folders(tmp_path, "cat", "dog", n=1, width=12, height=8)
    squashed = load(Photographs(root=str(tmp_path), size=4))
    wanted = np.asarray(Image.open(tmp_path / "cat" / "0.png").resize((4, 4), Image.Resampling.BILINEAR))
    assert np.array_equal(squashed.images[0].permute(1, 2, 0).numpy(), wanted)
    cut = load(Photographs(root=str(tmp_path), crop=6))
    assert np.array_equal(cut.images[0].permute(1, 2, 0).numpy(), pixels(0, 12, 8)[1:7, 3:9])
    grey = Photographs(root=str(tmp_path), crop=6, channels=1)
    assert grey.shape == tuple(load(grey).images.shape[1:]) == (1, 6, 6)


def test_refusals_of_sizes(tmp_path: Path) -> None:
    class_folders(tmp_path, "cat", "dog", n=1)
    save(tmp_path / "dog" / "1.png", 5, width=8)
    assert (
        "0.png has 9x7 pixels, 1.png has 8x7 pixels; bring them to one size: resize = 256 with crop = 224"
        in refusal(tmp_path)
    )
    assert "9x7 pixels, too few for crop 8; set resize to 8 or more" in refusal(tmp_path, crop=8)
    assert "crop 8 is larger than resize 7" in refusal(tmp_path, resize=7, crop=8)
    assert "sets the shorter side alone" in refusal(tmp_path, resize=7)
    assert "leave it out" in refusal(tmp_path, size=7, crop=7)
    assert "channels 2" in refusal(tmp_path, channels=2)
    assert "crop -1" in refusal(tmp_path, crop=-1)


# ------------------------------------------------------------------------------------------------- what is attacked


def many(tmp_path: Path) -> Photographs:
    """Seven images of one class, three of another and one of a third, of the 1,000."""
    for name, n in (("1", 7), ("5", 3), ("900", 1)):
        for i in range(n):
            save(tmp_path / name / f"{i}.png", int(name) + i)
    return Photographs(root=str(tmp_path), names="imagenet")


def test_all_images_of_a_few_classes_are_attacked(tmp_path: Path) -> None:
    task = many(tmp_path)
    images, source = attacked_images(task, "test", None, 0)
    assert len(images) == len(source) == 11


def test_fewer_are_a_subset_with_classes_in_turns(tmp_path: Path) -> None:
    task = many(tmp_path)
    chosen = {n: attacked_images(task, "test", n, 0)[0] for n in range(1, 12)}
    counts = {n: sorted(torch.bincount(found.labels).tolist(), reverse=True)[:3] for n, found in chosen.items()}
    assert (counts[3], counts[5], counts[8], counts[11]) == ([1, 1, 1], [2, 2, 1], [4, 3, 1], [7, 3, 1])
    for n in range(1, 11):
        assert set(chosen[n].ids.tolist()) < set(chosen[n + 1].ids.tolist())
    other = attacked_images(task, "test", 5, 1)[0]
    assert set(other.ids.tolist()) != set(chosen[5].ids.tolist())
    with pytest.raises(InputError, match="has 11 test images, 12 are wanted; leave per_source out for all"):
        attacked_images(task, "test", 12, 0)


def test_at_most_so_many_of_a_class(tmp_path: Path) -> None:
    many(tmp_path)
    task = Photographs(root=str(tmp_path), names="imagenet", per_class=2)
    assert sorted(load(task).labels.tolist()) == [1, 1, 5, 5, 900]


def test_images_mixed_in_are_attacked_ones(tmp_path: Path) -> None:
    task = many(tmp_path)
    assert set(partner_images(task).ids.tolist()) == set(load(task).ids.tolist())


# ---------------------------------------------------------------------------------------------------------------- npz


def arrays(n: int = 20, seed: int = 0) -> tuple[Pixels, Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 8, 6, 3), dtype=np.uint8), np.arange(n) * 50


@pytest.mark.parametrize("ends", ["", "_test"])
def test_an_npz_of_two_arrays_is_attacked_only(tmp_path: Path, ends: str) -> None:
    x, y = arrays()
    np.savez_compressed(tmp_path / "photographs.npz", **{f"x{ends}": x, f"y{ends}": y})
    task = Npz(path=str(tmp_path / "photographs.npz"), layout="nhwc", names="imagenet")
    assert (task.splits, task.shape, task.sources, len(task.classes)) == (("test",), (3, 8, 6), ("images",), 1000)
    found = load(task)
    assert np.array_equal(found.images.permute(0, 2, 3, 1).numpy(), x)
    assert found.labels.tolist() == y.tolist()
    assert len(attacked_images(task, "test", None, 0)[0]) == 20
    with pytest.raises(InputError, match="there are no validation images"):
        task.load("images", "validation")


def test_an_npz_with_validation_images_and_none_to_train_on(tmp_path: Path) -> None:
    x, y = arrays()
    np.savez(tmp_path / "a.npz", x_test=x, y_test=y, x_validation=x[:3], y_validation=y[:3])
    task = Npz(path=str(tmp_path / "a.npz"), layout="nhwc", names=1000)
    assert task.splits == ("validation", "test")
    assert len(task.load("images", "validation")) == 3


def test_refusals_of_npz(tmp_path: Path) -> None:
    x, y = arrays()

    def said(names: Any = (), **found: Any) -> str:
        np.savez(tmp_path / "a.npz", **found)
        task = Npz(path=str(tmp_path / "a.npz"), layout="nhwc", names=names)
        with pytest.raises(InputError) as error:
            load(task)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "no array 'y_test'" in said(x_test=x)
    assert "no array 'x'" in said(y=y)
    assert "'x'" in (both := said(x=x, y=y, x_train=x, y_train=y)) or "'y'" in both
    assert "beside other arrays; call them x_test and y_test" in both
    assert "no image is of class 1; expected 0 to 19 for 20 classes, or `names`" in said(x=x, y=y)
    huge = np.where(y == 950, 1440764000000, np.arange(20))
    assert "labels go up to 1440764000000" in said(x=x, y=huge)
    assert "with 1000 classes expected 0 to 999" in said(1000, x=x, y=huge)
    assert "expected two or more" in said(1, x=x, y=y)


def test_one_huge_label_of_training_images_is_one_line_at_once(tmp_path: Path) -> None:
    x, _ = arrays(40)
    y = np.arange(40) % 4
    y[y == 3] = 1440764
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with pytest.raises(InputError, match="labels go up to 1440764, and no image is of class 3; expected 0 to 3"):
        Npz(path=str(tmp_path / "a.npz"), layout="nhwc").load("images", "train")


# -------------------------------------------------------------------------------------------------------------- names


def test_the_classes_of_imagenet_are_those_of_the_libraries() -> None:
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    info = pytest.importorskip("timm.data").ImageNetInfo()
    classes = imagenet()
    assert list(classes.names) == _IMAGENET_CATEGORIES
    assert list(classes.synsets) == info.label_names()
    assert (classes.label("tench", where=""), classes.label("n15075141", where="")) == (0, 999)
    assert classes.label("cardigan", where="") == 474
    assert classes.label("Cardigan", where="") == 264


def test_refusals_of_names(tmp_path: Path) -> None:
    def said(names: Any, text: bytes | None = None) -> str:
        if text is not None:
            (tmp_path / names).write_bytes(text)
            names = str(tmp_path / names)
        with pytest.raises(InputError) as error:
            class_names(names, where="photographs")
        return str(error.value)

    assert "'cat'" in said(("cat", "dog", "cat"))
    assert "expected two or more" in said("few.txt", b"cat\n")
    assert 'begins with \'{"0": "cat"}\'; expected text with one name a line' in said("a.json", b'{"0": "cat"}')
    assert "cannot be read as text" in said("a.txt", b"\xff\xfe\x00")
    assert class_names("", where="") is None
    assert class_names((), where="") is None
    with pytest.raises(MissingData, match="no such file"):
        class_names("nowhere.txt", where="photographs")
    classes = class_names(("a b", "a-b"), where="")
    assert classes is not None
    with pytest.raises(InputError, match="names more than one class"):
        classes.label("A_B", where="")
