"""Preprocessing, fingerprints and weights."""

import dataclasses

import pytest
import torch
from torch import nn

from carom.errors import InputError, ModelError
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, create, load_weights, restore, weights
from carom.zoo.preprocessing import Preprocessing


def classifier(name: str = "vgg-small", seed: int = 0, **preprocessing: object) -> Classifier:
    chosen = Preprocessing(**preprocessing) if preprocessing else None  # type: ignore[arg-type]
    return create(architecture(name), shape=(3, 8, 7), classes=4, seed=seed, preprocessing=chosen).eval()


def test_preprocessing_is_inside() -> None:
    model = classifier("mlp", mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    x = torch.rand(5, 3, 8, 7)
    by_hand = (x - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.5, 1.0, 2.0]).view(1, 3, 1, 1)
    assert torch.equal(model(x), model.network(by_hand))


def test_from_scratch_pixels_become_minus_one_to_one() -> None:
    seen = classifier().preprocess(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 8, 7))
    assert float(seen.min()) == -1
    assert float(seen.max()) == 1


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_resize(mode: str) -> None:
    flat = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, resize=(4, 5), interpolation=mode)  # type: ignore[arg-type]
    model = create(architecture("mlp"), shape=(3, 4, 5), classes=4, preprocessing=flat)
    seen = model.preprocess(torch.full((2, 3, 8, 7), 0.25))
    torch.testing.assert_close(seen, torch.full((2, 3, 4, 5), 0.25))


def test_antialias_matters_when_shrinking() -> None:
    x = torch.rand(2, 1, 16, 16)
    smooth, sharp = (
        create(
            architecture("mlp"),
            shape=(1, 4, 4),
            classes=2,
            preprocessing=Preprocessing(resize=(4, 4), antialias=antialias),
        ).preprocess(x)
        for antialias in (True, False)
    )
    assert float(smooth.std()) < 0.8 * float(sharp.std())


def test_one_channel_is_repeated_for_a_network_of_three() -> None:
    colour = Preprocessing(mean=(0.1, 0.2, 0.3), std=(1.0, 1.0, 1.0))
    model = Classifier(nn.Flatten(), shape=(1, 8, 7), classes=168, preprocessing=colour, architecture="flatten")
    x = torch.rand(2, 1, 8, 7)
    torch.testing.assert_close(model.preprocess(x)[:, 2], x[:, 0] - 0.3)
    with pytest.raises(InputError, match="images have 2 channels, the network takes 3"):
        Classifier(nn.Flatten(), shape=(2, 8, 7), classes=168, preprocessing=colour, architecture="flatten")


@pytest.mark.parametrize(
    "wrong", [{"mean": (0.5, 0.5)}, {"std": (0.0,)}, {"std": (float("nan"),)}, {"resize": (0, 4)}, {"mean": ()}]
)
def test_wrong_preprocessing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="preprocessing: "):
        Preprocessing(**wrong)  # type: ignore[arg-type]


def test_the_fingerprint_changes_with_everything_that_changes_the_function() -> None:
    model = classifier()
    prints = {model.fingerprint()}
    assert classifier().fingerprint() in prints
    prints.add(classifier(seed=1).fingerprint())
    for change in ({"resize": (8, 7)}, {"antialias": False}, {"interpolation": "nearest"}, {"std": (0.5, 0.5, 0.4)}):
        changed = dataclasses.replace(model.preprocessing, **change)
        prints.add(
            restore(model.architecture, weights(model), shape=(3, 8, 7), classes=4, preprocessing=changed).fingerprint()
        )
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-3
    prints.add(model.fingerprint())
    assert len(prints) == 7


def test_weights_are_copies_and_restore_the_function() -> None:
    model = classifier()
    taken = weights(model)
    x = torch.rand(5, 3, 8, 7)
    before = model(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    again = restore(model.architecture, taken, shape=(3, 8, 7), classes=4)
    assert not again.training
    assert torch.equal(again(x), before)


def test_weights_do_not_depend_on_memory_order() -> None:
    model = classifier()
    before = model.fingerprint()
    assert model.to(memory_format=torch.channels_last).fingerprint() == before


def test_loading_is_strict() -> None:
    model = classifier("mlp")
    taken = weights(model)
    first = next(iter(taken))
    with pytest.raises(ModelError, match=rf"^file: 1 of 6 tensors are missing, such as '{first}'"):
        load_weights(model, {k: v for k, v in taken.items() if k != first}, where="file")
    with pytest.raises(ModelError, match="1 tensors too many, such as 'more'"):
        load_weights(model, taken | {"more": torch.zeros(1)})
    with pytest.raises(ModelError, match=r"has shape \(2, 2\), the architecture has"):
        load_weights(model, taken | {first: torch.zeros(2, 2)})


def test_making_a_classifier_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    classifier("vit-small")
    assert torch.equal(before, torch.random.get_rng_state())
