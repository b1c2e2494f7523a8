"""What every architecture promises."""

import dataclasses
import json

import pytest
import torch

from carom.errors import InputError, MissingData
from carom.identity import content_key, tensor_digest
from carom.zoo.architectures import ARCHITECTURES, Architecture, LibraryModel, architecture, table
from carom.zoo.architectures.families import family_of
from carom.zoo.architectures.timm_models import Timm
from carom.zoo.architectures.torchvision_models import Torchvision
from carom.zoo.models.classifier import Shape, create, weights

SHAPES: list[Shape] = [(1, 16, 16), (1, 28, 28), (3, 32, 32), (3, 8, 7)]

# Parameters, and two logits of 3x8x7 images in 5 classes for fixed weights: where one changes, the version must.
PINNED: dict[str, tuple[int, float, float]] = {
    "elastic-mobile": (127829, 6.06632, 5.35998),
    "elastic-resnet": (124925, 9.88986, -1.15815),
    "lenet": (30133, 3.25974, 3.15668),
    "mixer-small": (31469, 2.42588, -1.09815),
    "mlp": (110341, 6.06445, 0.268964),
    "resnet-small": (77717, 3.33869, 1.57493),
    "resnet-thin": (269397, 4.75641, 3.69878),
    "vgg-small": (32661, 3.20552, -0.846449),
    "vit-small": (40805, 2.4402, -1.11519),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_images_to_logits_and_gradients(name: str, shape: Shape) -> None:
    classifier = create(architecture(name), shape=shape, classes=5).eval()
    x = torch.rand(3, *shape, requires_grad=True)
    logits = classifier(x)
    assert logits.shape == (3, 5)
    gradient = torch.autograd.grad(logits.square().sum(), x)[0]
    assert bool((gradient.flatten(1).abs().amax(1) > 0).all())


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_an_image_does_not_depend_on_its_batch(name: str) -> None:
    classifier = create(architecture(name), shape=(3, 8, 7), classes=4).eval()
    x = torch.rand(5, 3, 8, 7)
    torch.testing.assert_close(classifier(x)[2:3], classifier(x[2:3]))


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_fields_change_the_network_and_the_key(name: str) -> None:
    plain = architecture(name)
    for field in dataclasses.fields(plain):  # type: ignore[arg-type]
        value = getattr(plain, field.name)
        # levels that may be chosen, and a sub-network that is
        changed = value[-1:] if isinstance(value, tuple) else "smallest" if value is None else 2 * value
        other = dataclasses.replace(plain, **{field.name: changed})  # type: ignore[type-var]
        assert content_key(other) != content_key(plain)
        sizes = [{k: v.shape for k, v in one.network((3, 16, 16), 4).state_dict().items()} for one in (plain, other)]
        # the same tensors, read in more parts, or in parts of other sizes
        if field.name != "heads" and not isinstance(value, tuple):
            assert sizes[0] != sizes[1], field.name


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_table_of_an_architecture_reads_back(name: str) -> None:
    plain = architecture(name)
    assert isinstance(plain, Architecture)
    assert plain.paper
    assert plain.family in {"mlp", "cnn", "residual", "mixer", "transformer"}
    assert architecture(json.loads(json.dumps(table(plain)))) == plain


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_weights_belong_to_the_seed(name: str) -> None:
    one, two, other = (
        tensor_digest(weights(create(architecture(name), shape=(3, 8, 7), classes=5, seed=seed))) for seed in (0, 0, 1)
    )
    assert one == two != other


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_another_network_needs_another_version(name: str) -> None:
    network = create(architecture(name), shape=(3, 8, 7), classes=5).eval().network
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * (1 + torch.arange(parameter.numel())).sin().reshape(parameter.shape))
        logits = network(torch.linspace(-1, 1, 3 * 8 * 7).reshape(1, 3, 8, 7))[0]
    found = (sum(p.numel() for p in network.parameters()), float(logits[0]), float(logits[1]))
    assert found == pytest.approx(PINNED[name], rel=1e-3), f"{name} is another network now: raise its version"


def test_an_odd_width_of_heads_is_refused() -> None:
    with pytest.raises(InputError, match=r"^s: vit: width 48 must be a multiple of heads 5$"):
        architecture({"name": "vit-small", "heads": 5}, where="s")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("lenett", "did you mean 'lenet'"),
        ({"name": "lenet", "widht": 3}, "did you mean 'width'"),
        ({"name": "lenet", "width": "3"}, r"width: input should be a valid integer, got '3'"),
        ({"width": 3}, "expected a name"),
        ("timn:resnet18", "did you mean 'timm'"),
        ("timm:resnet19", "did you mean 'resnet18'"),
        ("timm:resnet18.a1_in2k", "did you mean 'a1_in1k'"),
        ("torchvision:resnet19", "did you mean 'resnet18'"),
        ({"name": "torchvision:resnet18", "weights": "IMAGENET1K_V7"}, "did you mean 'IMAGENET1K_V1'"),
    ],
)
def test_wrong_names_say_what_was_meant(value: str | dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        architecture(value, where="s.toml: models[0]")
    assert str(error.value).startswith("s.toml: models[0]")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit", "torchvision:shufflenet_v2_x0_5"])
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 8, 7)], ids=str)
def test_library_models_take_any_size(name: str, shape: Shape) -> None:
    made = architecture(name)
    assert isinstance(made, LibraryModel)
    assert architecture(table(made)) == made
    logits = create(made, shape=shape, classes=4).eval()(torch.rand(2, *shape))
    assert logits.shape == (2, 4)
    assert bool(logits.isfinite().all())


def test_a_transformer_whose_patches_do_not_fit_gets_its_own_size() -> None:
    vit = Timm(name="test_vit")
    assert vit.preprocessing((3, 32, 32)).resize is None  # img_size makes it fit
    assert vit.preprocessing((3, 8, 7)).resize == (160, 160)
    assert Torchvision(name="vgg11").preprocessing((1, 16, 16)).resize == (224, 224)


def test_building_a_library_model_first_or_second_gives_the_same_weights() -> None:
    made = Timm(name="test_resnet")
    before = torch.random.get_rng_state()
    one, two = (weights(create(made, shape=(3, 9, 9), classes=4, seed=3)) for _ in range(2))
    assert tensor_digest(one) == tensor_digest(two)
    assert torch.equal(before, torch.random.get_rng_state())


def test_default_weights_are_named_in_the_key() -> None:
    assert Torchvision(name="resnet18", weights="DEFAULT") == Torchvision(name="resnet18", weights="IMAGENET1K_V1")
    assert Timm(name="resnet18", pretrained=True).name == "resnet18.a1_in1k"
    assert Timm(name="resnet18").name == "resnet18"


def test_published_preprocessing_is_taken_over() -> None:
    found = Torchvision(name="resnet18", weights="DEFAULT").preprocessing((3, 224, 224))
    assert found.mean == (0.485, 0.456, 0.406)
    assert found.std == (0.229, 0.224, 0.225)
    assert found.resize is None
    small = Timm(name="test_vit", pretrained=True).preprocessing((1, 28, 28))
    assert (small.resize, small.mean, small.interpolation) == ((160, 160), (0.5, 0.5, 0.5), "bicubic")


def test_inception_is_normalised_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # its weights come with a network that turns ImageNet's normalisation into [-1, 1] inside
    made = Torchvision(name="inception_v3", weights="DEFAULT")
    published = made.network((3, 299, 299), 1000).state_dict()
    import torchvision.models as models

    monkeypatch.setattr(models.Inception_V3_Weights, "get_state_dict", lambda *_, **__: published)
    classifier = create(made, shape=(3, 299, 299), classes=1000).eval()
    seen: list[torch.Tensor] = []
    first = classifier.network.get_submodule("Conv2d_1a_3x3")
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(1, 3, 299, 299)
    with torch.no_grad():
        classifier(x)
    torch.testing.assert_close(seen[0], 2 * x - 1, atol=1e-5, rtol=0)
    assert torch.equal(classifier.network.state_dict()["fc.weight"], published["fc.weight"])


def test_published_weights_are_loaded_and_a_head_for_other_classes_stays_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision.models as models

    made = Torchvision(name="shufflenet_v2_x0_5", weights="DEFAULT")
    published = {name: t + 1 for name, t in made.network((3, 32, 32), 1000).state_dict().items()}
    monkeypatch.setattr(models.ShuffleNet_V2_X0_5_Weights, "get_state_dict", lambda *_, **__: published)
    loaded = weights(create(made, shape=(3, 32, 32), classes=4))
    assert torch.equal(loaded["conv1.0.weight"], published["conv1.0.weight"])
    assert loaded["fc.weight"].shape[0] == 4
    untouched = weights(create(made, shape=(3, 32, 32), classes=4, pretrained=False))
    assert not torch.equal(untouched["conv1.0.weight"], published["conv1.0.weight"])


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm
    import torchvision.models as models

    def offline(*_: object, **__: object) -> None:
        raise OSError("[Errno -2] Name or service not known\nand more lines")

    monkeypatch.setattr(models.ShuffleNet_V2_X0_5_Weights, "get_state_dict", offline)
    vision = Torchvision(name="shufflenet_v2_x0_5", weights="DEFAULT")
    create_model = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda *a, **k: offline() if k.get("pretrained") else create_model(*a, **k)
    )
    for made in (vision, Timm(name="test_resnet", pretrained=True)):
        with pytest.raises(MissingData, match="could not be downloaded") as error:
            create(made, shape=(3, 32, 32), classes=1000)
        assert "\n" not in str(error.value)
        assert made.name in str(error.value)


def test_families_of_libraries() -> None:
    assert Timm(name="resnet18").family == Torchvision(name="resnet18").family == "residual"
    assert Torchvision(name="vgg11").family == "cnn"
    assert Timm(name="test_vit").family == "transformer"
    assert family_of("timm.models.nobody_knows") == "nobody_knows"
