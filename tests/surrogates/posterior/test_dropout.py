"""Monte-Carlo dropout: masks of inputs and masked weights are one, on every architecture."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.surrogates.conftest import ground, images, plain
from torch import Tensor, nn

from carom.errors import InputError
from carom.surrogates.builder import Chain, Refinement, Training, build
from carom.surrogates.posterior.dropout import Dropout, DropoutDraws, inputs_of_layers, masked
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, create, weights
from carom.zoo.training.recipes import Adaptation
from carom.zoo.training.state import State
from carom.zoo.training.trained import DivergedError, Trained


def trained(rate: float, name: str = "mlp") -> Trained:
    here = ground(name)
    return here.trained(Dropout(rate=rate).recipe(here.recipe))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_they_are_a_training_and_a_refinement() -> None:
    assert isinstance(Dropout(), Training)
    assert isinstance(Dropout(), Adaptation)
    assert isinstance(DropoutDraws(), Refinement)


@pytest.mark.parametrize("name", ["mlp", "resnet-small"])
def test_rate_zero_is_the_plain_network_bit_for_bit(name: str) -> None:
    here = ground(name)
    whole = here.trained(here.recipe)
    assert same(trained(0.0, name).last, whole.last)
    made = DropoutDraws(rate=0.0, draws=2).build(here, [whole.last])
    assert all(same(dict(member), whole.last) for member in made.members)
    assert made.passes.forward == 0


@pytest.mark.parametrize(
    "name", ["mlp", "lenet", "vgg-small", "resnet-small", "mixer-small", "vit-small", "torchvision:shufflenet_v2_x0_5"]
)
def test_a_mask_that_all_images_share_is_a_change_of_the_weights(name: str) -> None:
    """On other networks than those that the names were made for, too."""
    classifier = create(architecture(name), shape=(1, 16, 16), classes=3, pretrained=False).eval()
    x = torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for norm in classifier.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = None  # statistics of these images, or a fresh deep network says nothing
    with torch.no_grad():
        classifier.train()(x)
    classifier.eval()
    generator = torch.Generator().manual_seed(1)
    masks: dict[str, Tensor] = {}

    def hook(layer: str, module: nn.Module, given: Tensor) -> Tensor:
        place = 1 if isinstance(module, nn.Conv2d) else given.ndim - 1
        size = given.shape[place]
        masks[layer] = (torch.rand(size, generator=generator) < 0.7).float() / 0.7
        shape = [1] * given.ndim
        shape[place] = size
        return given * masks[layer].reshape(shape)

    with torch.no_grad():
        before = classifier(x)
        with inputs_of_layers(classifier.network, hook):
            expected = classifier(x)
        assert torch.equal(classifier(x), before)  # nothing is left behind
        names = list(weights(classifier))
        classifier.network.load_state_dict(dict(masked(weights(classifier), masks)))
        torch.testing.assert_close(classifier(x), expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(expected, before, atol=1e-3)
    assert list(weights(classifier)) == names
    layers = [m for m in classifier.modules() if isinstance(m, nn.Linear) or (type(m) is nn.Conv2d and m.groups == 1)]
    assert len(masks) == len(layers) - 1


def test_masks_of_a_training_are_for_each_image_and_feature_alone() -> None:
    """A convolution's channels fall as wholes, a token's features alike in all tokens; a part of `rate` falls."""
    seen: dict[str, list[Tensor]] = {}

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 40, 3, padding=1)
            self.second = nn.Conv2d(40, 40, 1, bias=False)
            self.tokens = nn.Linear(64, 64, bias=False)
            with torch.no_grad():
                self.first.weight.zero_()
                self.first.bias.fill_(1.0)  # type: ignore[union-attr]
                self.second.weight.copy_(torch.eye(40)[..., None, None])
                self.tokens.weight.copy_(torch.eye(64))
            self.last = nn.Linear(64, 3)

        def forward(self, x: Tensor) -> Tensor:
            convolved = self.second(self.first(x))
            seen.setdefault("second", []).append(convolved.detach())
            mixed = self.tokens(torch.ones(len(x), 7, 64))
            seen.setdefault("tokens", []).append(mixed.detach())
            out: Tensor = self.last(convolved.mean(1).flatten(1) + mixed.mean(1))
            return out

    kind = architecture("mlp")
    preprocessing = create(kind, shape=(1, 8, 8), classes=3).preprocessing
    classifier = Classifier(Watched(), shape=(1, 8, 8), classes=3, preprocessing=preprocessing, architecture=kind)
    state = State(
        classifier,
        torch.optim.SGD(classifier.parameters(), lr=0.1),
        images(60),
        images(60),
        0,
        1,
        1,
        torch.Generator().manual_seed(0),
    )
    recipe = Dropout(rate=0.25).recipe(plain())
    recipe.slots().loss(state, images(60).pixels, images(60).labels)
    second, tokens = seen["second"][0], seen["tokens"][0]
    for masks in (second.amax((2, 3)), tokens.amax(1)):
        assert sorted(set(masks.flatten().tolist())) == pytest.approx([0.0, 1 / 0.75])
        part = float((masks == 0).float().mean())
        assert part == pytest.approx(0.25, abs=5 * (0.25 * 0.75 / masks.numel()) ** 0.5)
        assert len({tuple(mask) for mask in masks.tolist()}) == 60
    assert torch.equal(second.amax((2, 3)), second.amin((2, 3)))
    assert torch.equal(tokens.amax(1), tokens.amin(1))


def test_the_network_learns_with_dropout_and_costs_no_more() -> None:
    here = ground("resnet-small")
    whole, made = here.trained(here.recipe), trained(0.2, "resnet-small")
    assert not same(whole.last, made.last)
    assert list(whole.last) == list(made.last)
    assert made.passes == whole.passes
    assert same(trained(0.2, "resnet-small").last, made.last)


def test_draws_differ_and_belong_to_the_seed() -> None:
    here = ground("resnet-small", recipe=plain(epochs=4))
    chain = Chain(first=Dropout(rate=0.1), then=(DropoutDraws(rate=0.1, draws=4),))
    assert chain.count == 4
    made = build(chain, here)
    accuracies = made.record["validation_accuracy"]
    assert isinstance(accuracies, list)
    assert len(accuracies) == 4
    assert len(made.members) + len(made.record["diverged"]) == 4  # type: ignore[arg-type]
    assert made.passes.forward == 4 * 96 + 1 + 4 * 32
    one, two = made.members[:2]
    layers = made.record["layers"]
    assert isinstance(layers, list)
    first = next(name for name in one if one[name].ndim == 4)  # the convolution that reads the image
    assert first.removesuffix(".weight") not in layers
    assert torch.equal(one[first], two[first])
    assert all(not torch.equal(one[f"{layer}.weight"], two[f"{layer}.weight"]) for layer in layers[-3:])
    again = build(chain, here)
    assert all(same(dict(a), dict(b)) for a, b in zip(made.members, again.members, strict=True))


def test_what_is_interrupted_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carom.zoo.training.checkpoint._SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def stop(done: int, total: int, numbers: dict[str, float]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    here = ground("mlp", checkpoint=tmp_path / "dropout.pt")
    recipe = Dropout(rate=0.3).recipe(here.recipe)
    with pytest.raises(KeyboardInterrupt):
        replace(here, progress=stop).trained(recipe)
    assert same(here.trained(recipe).last, trained(0.3).last)


def test_a_network_of_one_layer_has_nothing_to_drop() -> None:
    here = replace(ground(), architecture=architecture({"name": "mlp", "depth": 0}))
    with pytest.raises(InputError, match="no linear layer or ungrouped convolution behind its first"):
        DropoutDraws().build(here, [here.trained(here.recipe).last])


def test_draws_of_a_rate_far_too_high_are_told() -> None:
    here = ground("mlp")
    poor = {name: tensor * 0 for name, tensor in here.trained(here.recipe).last.items()}
    with pytest.raises(DivergedError, match="none of 3 draws does better than guessing; lower the rate"):
        DropoutDraws(rate=0.9, draws=3).build(here, [poor])


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_out_of_range(rate: float) -> None:
    with pytest.raises(InputError, match=r"dropout: rate must be in \[0, 0.95\]"):
        Dropout(rate=rate)
