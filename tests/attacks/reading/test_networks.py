"""Feature points and taps; and classifiers that a source shows for one step alone are freed, made ready or not."""

import gc
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from carom.attacks import craft_images, parse_attack
from carom.attacks.reading.networks import Ready, feature_points, middle_point
from carom.budget import Budget
from carom.errors import InputError, ModelError
from carom.protocols import Combination
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.models.prepare import prepare


@dataclass(eq=False)
class Fresh:
    """Other networks at each step, two of them."""

    make: Callable[..., nn.Module]
    combination: Combination = "loss"
    seen: list["weakref.ref[nn.Module]"] = field(default_factory=list)
    most: int = 0

    def members(self, step: int, copy: int) -> Sequence[nn.Module]:
        made = [self.make(10 * step + i) for i in range(2)]
        self.seen += [weakref.ref(network) for network in made]
        gc.collect()
        self.most = max(self.most, sum(one() is not None for one in self.seen))
        return made


@pytest.mark.parametrize("preparing", [None, prepare], ids=["as they are", "prepared"])
@pytest.mark.parametrize("attack", ["mi", "mi+sgm", "fia"])
def test_networks_of_earlier_steps_are_freed(
    attack: str, preparing: Callable[[nn.Module], nn.Module] | None, network: Callable[..., nn.Module]
) -> None:
    gc.freeze()  # what other tests left is not looked at each time
    source = Fresh(network)
    x = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    steps = parse_attack({"name": attack, "steps": 4})
    craft_images(
        [(steps, Budget.parse("linf", "8/255"))], source, x, torch.tensor([0, 1, 2]), seed=0, prepare=preparing
    )
    assert len(source.seen) >= 8
    # those of the first step are kept, for the attacks that share it; those of a step and the next may meet
    assert source.most <= 6
    gc.unfreeze()


def test_what_preparing_leaves_as_it_is_does_not_keep_itself_alive(network: Callable[..., nn.Module]) -> None:
    for ready in (Ready(), Ready(lambda module: module)):
        member = network(0)
        assert ready(member) is member
        gone = weakref.ref(member)
        del member
        gc.collect()
        assert gone() is None


@pytest.mark.parametrize(
    ("name", "middle", "some"),
    [
        ("lenet", "3", ["0", "3", "7"]),
        ("vgg-small", "8", ["0", "4", "8", "13"]),
        ("resnet-small", "stage2", ["stem", "stage1", "stage2", "stage3"]),
        ("vit-small", "blocks.0", ["patches", "blocks.0", "blocks.1"]),
        ("timm:resnet18", "layer2", ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        ("timm:vit_tiny_patch16_224", "blocks.5", ["patch_embed", "blocks.0", "blocks.11"]),
        ("timm:convnext_atto", "stages.1", ["stem", "stages.0", "stages.3"]),
        ("timm:mobilenetv3_small_100", "blocks.3", ["conv_stem", "blocks.0", "conv_head"]),
        ("torchvision:resnet18", "layer2", ["conv1", "layer1", "layer4"]),
        ("torchvision:resnet101", "layer2", ["conv1", "layer1", "layer4"]),
        ("torchvision:vgg11", "features.11", ["features.0", "features.18"]),
        ("torchvision:vit_b_32", "encoder.layers.encoder_layer_5", ["conv_proj", "encoder.layers.encoder_layer_11"]),
    ],
)
def test_stages_are_listed_and_the_middle_one_is_the_usual_choice(name: str, middle: str, some: list[str]) -> None:
    with torch.device("meta"):
        network = architecture(name).network((3, 32, 32), 10)
    points = feature_points(network)
    assert [point for point in points if point in some] == some
    assert middle_point(network) == middle
    for point in points:
        network.get_submodule(point)
    head = list(network.named_children())[-1][0]
    assert not any(point.split(".")[0] == head for point in points)


def test_a_network_in_a_wrapper_has_its_own_points(network: Any) -> None:
    wrapped = nn.Sequential(nn.Identity(), network(0))
    assert feature_points(wrapped) == ["1.stem", "1.stage1", "1.stage2"]
    assert middle_point(nn.Sequential(nn.Flatten(), nn.Linear(3, 2))) == "1"


def test_networks_without_points_are_refused(network: Any) -> None:
    with pytest.raises(ModelError, match="no part with weights"):
        middle_point(nn.Sequential(nn.Flatten(), nn.ReLU()))
    with pytest.raises(ModelError, match="function is no torch module"):
        middle_point(lambda x: network(0)(x))


@pytest.mark.parametrize("name", ["resnet-small", "vgg-small", "timm:resnet18", "torchvision:resnet18"])
def test_a_tap_changes_nothing_and_sees_the_same_behind_preparation(name: str) -> None:
    classifier = create(architecture(name), shape=(3, 16, 16), classes=10, seed=1).eval().requires_grad_(False)
    g = torch.Generator().manual_seed(0)
    for module in classifier.modules():  # a batch norm that does something
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=g)
            module.running_var.uniform_(0.5, 1.5, generator=g)
    x = torch.rand(2, 3, 16, 16, generator=g)
    plain = classifier(x)
    for point in (middle_point(classifier), feature_points(classifier)[0]):
        ready, prepared = Ready(), Ready(prepare)
        assert torch.equal(ready(classifier, None, point)(x), plain)
        logits = prepared(classifier, None, point)(x)
        torch.testing.assert_close(logits, plain, rtol=0, atol=1e-4)
        seen, behind = (r.tap(classifier, None, point).read() for r in (ready, prepared))
        torch.testing.assert_close(seen, behind, rtol=0, atol=1e-4 * float(seen.abs().max()))
    assert torch.equal(classifier(x), plain)


def test_a_tap_is_read_once_and_keeps_no_graph(source: Any, batch: Any) -> None:
    (network,) = source.networks
    ready = Ready()
    ready(network, None, "stage1")(batch.pixels.float() / 255)
    tap = ready.tap(network, None, "stage1")
    tap.read()
    with pytest.raises(InputError, match="does not run its module 'stage1'"):
        tap.read()
