"""Image classifiers of transformers, from a folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from carom.errors import InputError, MissingData, ModelError
from carom.typing import Pixels
from carom.zoo.models.classifier import Classifier, Shape
from carom.zoo.models.references import load_reference, reference
from carom.zoo.models.victims import check_victim
from carom.zoo.preprocessing import Preprocessing

transformers = pytest.importorskip("transformers")

SHAPE: Shape = (3, 8, 7)
CLASSES = 4
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 12, "width": 8},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": MEAN,
    "image_std": STD,
}


@pytest.fixture
def images() -> Pixels:
    return torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small residual network as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("resnet")
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=CLASSES
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.ResNetForImageClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    process(tmp_path)
    return tmp_path


def process(folder: Path, **changed: object) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **changed}))


def load(folder: Path, classes: int = CLASSES, **table: object) -> Classifier:
    named: Mapping[str, Any] = {"model": f"transformers:{folder}", **table}
    found = load_reference(reference(named, where="s.toml: victims[0]"), shape=SHAPE, classes=classes, where="v")
    assert isinstance(found, Classifier)
    return found


def test_it_answers_as_the_library_does_with_its_own_processor(folder: Path, images: Pixels) -> None:
    process(folder, resample=2)  # bicubic overshoots at noise, which the library cuts off at 0 and 255
    loaded = load(folder)
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        inputs = processor(images=list(images), return_tensors="pt")["pixel_values"]
        expected = model(pixel_values=inputs).logits
    assert inputs.shape[2:] == (12, 8)
    # the library resizes in whole numbers: one of 255 levels may differ
    torch.testing.assert_close(loaded.preprocess(images.float() / 255), inputs, rtol=0, atol=1 / 255 / 0.2 + 1e-4)
    torch.testing.assert_close(loaded(images.float() / 255), expected, rtol=0, atol=0.01)
    found = check_victim(loaded, name="v", shape=SHAPE, classes=CLASSES, images=images, surrogate=True)
    assert (found.differentiable, found.was_training) == (True, False)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Preprocessing(mean=MEAN, std=STD, resize=(12, 8), interpolation="bicubic")),
        ({"do_resize": False}, Preprocessing(mean=MEAN, std=STD)),
        ({"size": 9, "resample": 2}, Preprocessing(mean=MEAN, std=STD, resize=(9, 9))),
        ({"resample": 0}, Preprocessing(mean=MEAN, std=STD, resize=(12, 8), interpolation="nearest-exact")),
        (
            {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 12}, "crop_pct": 0.8},
            Preprocessing(mean=MEAN, std=STD, resize=(12, 12), interpolation="bicubic"),
        ),
        (
            {
                "image_processor_type": "CLIPImageProcessor",
                "size": {"shortest_edge": 14},
                "do_center_crop": True,
                "crop_size": {"height": 12, "width": 10},
            },
            Preprocessing(mean=MEAN, std=STD, resize=(12, 10), interpolation="bicubic"),
        ),
        (
            {"image_processor_type": "EfficientNetImageProcessor", "include_top": False},
            Preprocessing(mean=MEAN, std=STD, resize=(12, 8), interpolation="bicubic"),
        ),
        ({"do_normalize": False, "do_resize": False}, Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3)),
        (
            {"do_rescale": False, "do_resize": False, "image_mean": [51.0] * 3, "image_std": [102.0] * 3},
            Preprocessing(mean=(0.2,) * 3, std=(0.4,) * 3),
        ),
    ],
)
def test_preprocessing_is_read_from_the_folder(
    changed: dict[str, object], expected: Preprocessing, folder: Path
) -> None:
    process(folder, **changed)
    found = load(folder).preprocessing
    assert (found.resize, found.interpolation) == (expected.resize, expected.interpolation)
    assert found.mean == pytest.approx(expected.mean)
    assert found.std == pytest.approx(expected.std)


def test_declared_preprocessing_stands_instead_of_the_folders(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"no preprocessor_config.json in it; add preprocessing = {mean, std, resize}"):
        load(folder)
    declared = {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert load(folder, preprocessing=declared).preprocessing == Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)


@pytest.mark.parametrize("changed", [{"resample": 1}, {"image_mean": [0.5, "a"]}, {"size": {"longest_edge": 5}}])
def test_preprocessing_that_cannot_be_had(changed: dict[str, object], folder: Path) -> None:
    process(folder, **changed)
    with pytest.raises(ModelError, match=r"preprocessor_config.json: .*add preprocessing = {mean, std") as error:
        load(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"image_processor_type": "EfficientNetImageProcessor", "include_top": True},  # divides by the deviation twice
        {"image_processor_type": "EfficientNetImageProcessor", "include_top": True, "do_resize": False},
        {"image_processor_type": "PPLCNetImageProcessor"},  # RGB to BGR
        {"image_processor_type": "ViTImageProcessor", "do_pad": True, "pad_size": {"height": 20, "width": 20}},
    ],
)
def test_processors_that_do_more_than_is_taken_of_them(changed: dict[str, object], folder: Path) -> None:
    process(folder, **changed)
    with pytest.raises(ModelError, match=r"ImageProcessor .* a noise image.*; add preprocessing = {mean, std") as error:
        load(folder)
    assert "\n" not in str(error.value)
    declared = {"mean": [0.5] * 3, "std": [0.5] * 3}
    assert load(folder, preprocessing=declared).preprocessing.mean == (0.5,) * 3


def test_a_processor_nested_in_that_of_a_pair_is_read_and_is_in_the_key(folder: Path) -> None:
    before = reference(f"transformers:{folder}").key()
    nested = folder / "processor_config.json"
    nested.write_text(json.dumps({"image_processor": {**PROCESSOR, "resample": 2}}))
    assert reference(f"transformers:{folder}").key() != before
    assert load(folder).preprocessing.interpolation == "bilinear"  # it wins, as in the library
    (folder / "preprocessor_config.json").unlink()
    assert load(folder).preprocessing.interpolation == "bilinear"


def test_the_key_is_the_content(folder: Path) -> None:
    named = reference(f"transformers:{folder}")
    loaded = load(folder)
    process(folder, resample=2)
    assert reference(f"transformers:{folder}").key() != named.key()
    assert load(folder).fingerprint() != loaded.fingerprint()
    with pytest.raises(ModelError, match="the folder changed after it was named"):
        load_reference(named, shape=SHAPE, classes=CLASSES)


def test_folders_that_hold_no_classifier_of_the_task(folder: Path) -> None:
    with pytest.raises(ModelError, match="answers with 4 classes, the task has 5"):
        load(folder, classes=5)
    with pytest.raises(InputError, match="unknown key 'answers'"):
        load(folder, answers="labels")
    config = folder / "config.json"
    good = config.read_text()
    config.write_text("{")
    with pytest.raises(ModelError, match="transformers cannot open it as an image classifier") as error:
        load(folder)
    assert "\n" not in str(error.value)
    config.write_text(good)
    weights = folder / "model.safetensors"
    tensors = weights.read_bytes()
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(ModelError, match=r"model\.safetensors: a pointer of Git LFS.*git lfs pull"):
        load(folder)
    weights.write_bytes(tensors)
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(MissingData, match=r"no weights as safetensors in it; .* pickled weights are not opened"):
        load(folder)
    with pytest.raises(MissingData, match=r"no config\.json in it"):
        load(folder / "nowhere")


def test_a_network_without_its_head_is_refused(folder: Path) -> None:
    body = transformers.AutoModelForImageClassification.from_pretrained(folder).resnet
    body.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"2 of its weights are not in the file, such as 'classifier.1.bias'"):
        load(folder)
