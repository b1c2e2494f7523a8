"""Models that a user names: where they come from, what identifies them, what is refused."""

import itertools
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from typing_extensions import override

from carom.errors import InputError, MissingData, ModelError
from carom.scenarios import store
from carom.typing import Pixels
from carom.zoo import classifier, references
from carom.zoo.architectures import Architecture, architecture
from carom.zoo.models import victims
from carom.zoo.models.checkpoints import save_state_dict
from carom.zoo.models.classifier import Classifier, Shape, create, weights
from carom.zoo.models.outside.published import Published
from carom.zoo.models.outside.python_model import PythonModel
from carom.zoo.models.outside.weights_file import WeightsFile
from carom.zoo.models.references import load_reference, reference, stated_accuracy
from carom.zoo.models.victims import CallableVictim, StatedAccuracy, check_accuracy, check_victim
from carom.zoo.preprocessing import Preprocessing

SHAPE: Shape = (3, 8, 7)
CLASSES = 4


@pytest.fixture
def images() -> Pixels:
    return torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> Classifier:
    return create(architecture("lenet"), shape=SHAPE, classes=CLASSES).eval()


def load(value: str | Mapping[str, object]) -> Classifier | CallableVictim:
    named = reference(value, where="s.toml: victims[0]")
    return load_reference(named, shape=SHAPE, classes=CLASSES, where="victims[0]")


# --- files


@pytest.mark.parametrize("name", ["lenet", "timm:test_vit", "torchvision:shufflenet_v2_x0_5"])
def test_an_exported_file_says_what_it_is(name: str, tmp_path: Path, images: Pixels) -> None:
    made = create(
        architecture(name),
        shape=SHAPE,
        classes=CLASSES,
        preprocessing=Preprocessing(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), resize=(32, 32)),
    ).eval()
    path = tmp_path / "model.safetensors"
    save_state_dict(made, path)
    again = load(str(path))
    assert isinstance(again, Classifier)
    x = images.float() / 255
    assert torch.equal(again(x), made(x))
    assert again.fingerprint() == made.fingerprint()
    assert not again.training
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_a_plain_state_dict_needs_its_architecture(
    suffix: str, tmp_path: Path, model: Classifier, images: Pixels
) -> None:
    path = tmp_path / f"plain{suffix}"
    if suffix == ".safetensors":
        save_file(weights(model), path)
    else:
        save_state_dict(model, path)
    with pytest.raises(InputError, match="the file does not say its architecture"):
        load(str(path))
    declared = {"model": str(path), "architecture": {"name": "lenet", "width": 16}}
    x = images.float() / 255
    same, other = load(declared), load({**declared, "preprocessing": {"mean": [0.0] * 3, "std": [1.0] * 3}})
    assert torch.equal(same(x), model(x))
    assert torch.equal(other(x), model.network(x))
    with pytest.raises(ModelError, match=r"tensors are missing|has shape"):
        load({**declared, "architecture": "mlp"})
    with pytest.raises(ModelError, match="has shape"):
        load({**declared, "architecture": {"name": "lenet", "width": 8}})


@pytest.mark.parametrize("suffix", [".pt", ".th"])
def test_state_dicts_as_training_scripts_leave_them(
    suffix: str, tmp_path: Path, model: Classifier, images: Pixels
) -> None:
    path = tmp_path / f"epoch9{suffix}"
    inside = {f"module.{k}": v for k, v in weights(model).items()}
    torch.save({"best_prec1": 92.5, "state_dict": inside, "epoch": 9}, path)
    x = images.float() / 255
    assert torch.equal(load({"model": str(path), "architecture": "lenet"})(x), model(x))


def test_files_from_before_normalisation_counted_its_batches(tmp_path: Path, images: Pixels) -> None:
    made = create(architecture("resnet-small"), shape=SHAPE, classes=CLASSES).eval()
    path = tmp_path / "old.pt"
    old = {k: v for k, v in weights(made).items() if not k.endswith("num_batches_tracked")}
    assert len(old) < len(weights(made))
    torch.save(old, path)
    x = images.float() / 255
    assert torch.equal(load({"model": str(path), "architecture": "resnet-small"})(x), made(x))


def test_a_pickled_model_is_refused_and_not_run(tmp_path: Path, model: Classifier) -> None:
    ran = tmp_path / "ran"

    class Evil:
        @override
        def __reduce__(self) -> tuple[Any, ...]:
            return (ran.touch, ())

    for name, content in (("whole.pt", model.network), ("evil.pt", {"x": Evil()})):
        path = tmp_path / name
        torch.save(content, path)
        with pytest.raises(ModelError, match=r"export it with torch\.save\(model\.state_dict\(\)") as error:
            load({"model": str(path), "architecture": "lenet"})
        assert "\n" not in str(error.value)
    plain = tmp_path / "plain.pt"
    plain.write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(ModelError):
        load({"model": str(plain), "architecture": "lenet"})
    assert not ran.exists()


@pytest.mark.parametrize("name", ["broken.pt", "broken.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x08" + b"\0" * 7 + b"{}"])
def test_damaged_files(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match="broken") as error:
        load({"model": str(path), "architecture": "lenet"})
    assert "\n" not in str(error.value)


def test_tensors_are_expected(tmp_path: Path) -> None:
    path = tmp_path / "numbers.pt"
    torch.save({"a": 1}, path)
    with pytest.raises(ModelError, match="expected tensors by name"):
        load({"model": str(path), "architecture": "lenet"})


def test_the_key_of_a_file_is_its_content(tmp_path: Path, model: Classifier) -> None:
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    save_state_dict(model, one)
    two.write_bytes(one.read_bytes())
    before = reference(str(one))
    assert before.key() == reference(str(two)).key()
    save_state_dict(create(architecture("lenet"), shape=SHAPE, classes=CLASSES, seed=1), one)
    assert before.key() != reference(str(one)).key()
    with pytest.raises(ModelError, match="changed after it was named"):
        load_reference(before, shape=SHAPE, classes=CLASSES)
    keys = {
        reference({"model": str(one), **more}).key()
        for more in (
            {},
            {"architecture": "lenet"},
            {"architecture": "mlp"},
            {"preprocessing": {"mean": [0.5], "std": [0.5]}},
            {"preprocessing": {"mean": [0.5], "std": [0.25]}},
        )
    }
    assert len(keys) == 5


def test_a_file_of_another_task_or_architecture(tmp_path: Path, model: Classifier) -> None:
    path = tmp_path / "model.safetensors"
    save_state_dict(model, path)
    with pytest.raises(ModelError, match=r"a model of images \(3, 8, 7\) in 4 classes; the task has \(3, 8, 7\) in 5"):
        load_reference(reference(str(path)), shape=SHAPE, classes=5)
    with pytest.raises(ModelError, match=r"declared MLP.* but the file says LeNet"):
        load({"model": str(path), "architecture": "mlp"})


def test_a_header_that_describes_no_model(tmp_path: Path, model: Classifier) -> None:
    for described in ("{", json.dumps({"architecture": "lenet"}), json.dumps([])):
        path = tmp_path / "model.safetensors"
        save_file(weights(model), path, metadata={"carom": described})
        with pytest.raises(ModelError, match="its header does not describe a model"):
            load(str(path))


def test_exports_of_what_cannot_be_named(tmp_path: Path, model: Classifier) -> None:
    with pytest.raises(InputError, match=r"unknown suffix '\.onnx'"):
        save_state_dict(model, tmp_path / "model.onnx")
    model.architecture = PythonModel(target="a:b")
    with pytest.raises(InputError, match="PythonModel has no registered name"):
        save_state_dict(model, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


# --- libraries


def test_published_models() -> None:
    timm, vision = reference("timm:test_resnet"), reference({"model": "torchvision:resnet18"})
    assert isinstance(timm, Published)
    assert isinstance(vision, Published)
    assert timm.architecture.name == "test_resnet.r160_in1k"
    assert vision.architecture == architecture({"name": "torchvision:resnet18", "weights": "IMAGENET1K_V1"})
    assert timm.key() != vision.key()
    assert isinstance(timm.architecture, Architecture)


def test_a_published_model_of_other_classes_is_refused_before_any_download() -> None:
    with pytest.raises(ModelError, match=r"resnet18 answers with 1000 classes, the task has 4; name it as an architec"):
        load("torchvision:resnet18")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("resnet18", "names no model"),
        ("timm:resnet19", "did you mean 'resnet18'"),
        ({"model": "timm:resnet18", "answers": "labels"}, "unknown key 'answers'"),
        ({"model": "numpy:sum", "anwsers": "labels"}, "did you mean 'answers'"),
        ({"model": "numpy:sum", "answers": "scores"}, "answers: input should be 'logits'"),
        ({"architecture": "lenet"}, "expected a model such as"),
        ("nowhere/model.safetensors", "no such file"),
    ],
)
def test_wrong_references(value: str | dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        reference(value, where="s.toml: victims[0]")
    assert str(error.value).startswith("s.toml: victims[0]")
    if message == "no such file":
        assert isinstance(error.value, MissingData)


# --- Python

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(168, 4)
    def forward(self, x):
        return self.head(x.flatten(1))

net = Net()
def make(): return Net()
def predict(x): return net(x).detach()
def leaking(x): return net(x)
def array(x): return net(x).detach().numpy()
def labels(x): return predict(x).argmax(1)
def make_labels(): return labels
def failing(): raise RuntimeError("first line\\nsecond line")
number = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    name = f"my_models_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize("attribute", ["Net", "net", "make"])
def test_modules_and_their_factories_are_classifiers(attribute: str, module: str, images: Pixels) -> None:
    before = torch.random.get_rng_state()
    loaded = load(f"{module}:{attribute}")
    torch.random.set_rng_state(before)
    assert isinstance(loaded, Classifier)
    x = images.float() / 255
    torch.testing.assert_close(loaded(x), loaded.network(x))
    check = check_victim(loaded, name="net", shape=SHAPE, classes=CLASSES, images=images, surrogate=True)
    assert check.differentiable


@pytest.mark.parametrize(
    ("attribute", "answers"),
    [("predict", "logits"), ("array", "logits"), ("labels", "labels"), ("make_labels", "labels")],
)
def test_functions_are_victims_only(attribute: str, answers: str, module: str, images: Pixels) -> None:
    loaded = load({"model": f"{module}:{attribute}", "answers": answers})
    assert isinstance(loaded, CallableVictim)
    assert loaded(images.float() / 255).shape == ((5,) if answers == "labels" else (5, CLASSES))
    check = check_victim(loaded, name="f", shape=SHAPE, classes=CLASSES, images=images)
    assert (check.answers, check.differentiable, check.deterministic) == (answers, False, True)
    with pytest.raises(ModelError, match="a surrogate needs gradients, so it must be a torch module"):
        check_victim(loaded, name="f", shape=SHAPE, classes=CLASSES, images=images, surrogate=True)


def test_what_is_only_asked_must_not_give_its_gradient_away(module: str, images: Pixels) -> None:
    leaking = load(f"{module}:leaking")
    with pytest.raises(ModelError, match=r"^f: answers with a gradient although it is only asked; wrap its answer in"):
        check_victim(leaking, name="f", shape=SHAPE, classes=CLASSES, images=images)
    asked = load({"model": f"{module}:net", "deterministic": False})  # a module that is only asked is wrapped
    assert isinstance(asked, CallableVictim)
    check_victim(asked, name="f", shape=SHAPE, classes=CLASSES, images=images)


def test_declared_preprocessing_wraps_modules_and_functions(module: str, images: Pixels) -> None:
    declared = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.5, 0.25]}
    x = images.float() / 255
    mean, std = (torch.tensor(declared[k])[None, :, None, None] for k in ("mean", "std"))
    for attribute in ("net", "predict"):
        plain = load(f"{module}:{attribute}")
        wrapped = load({"model": f"{module}:{attribute}", "preprocessing": declared})
        torch.testing.assert_close(wrapped(x), plain((x - mean) / std))
        assert type(wrapped) is type(plain)
    keys = [reference({"model": "a.b:c", "revision": "1", "preprocessing": p}).key() for p in (declared, {})]
    assert None not in keys
    assert len({*keys, reference({"model": "a.b:c", "revision": "1"}).key()}) == 3
    assert reference({"model": "a.b:c", "preprocessing": declared}).key() is None
    net, other = (load({"model": f"{module}:net", "preprocessing": {"mean": [m] * 3, "std": [1] * 3}}) for m in (0, 1))
    assert isinstance(net, Classifier)
    assert isinstance(other, Classifier)
    assert net.fingerprint() != other.fingerprint()


def test_a_preprocessing_without_mean_and_deviation_has_none(module: str, tmp_path: Path, images: Pixels) -> None:
    x = images.float() / 255
    small = nn.functional.interpolate(x[:, :1], (12, 14), mode="bilinear", antialias=True)
    victim = load_reference(
        reference({"model": f"{module}:predict", "preprocessing": {"resize": [12, 14]}}),
        shape=(1, 8, 7),
        classes=CLASSES,
    )
    plain = load(f"{module}:predict")
    torch.testing.assert_close(victim(x[:, :1]), plain(small))
    made = create(architecture("lenet"), shape=SHAPE, classes=CLASSES)
    save_state_dict(made, tmp_path / "model.safetensors")
    again = load({"model": str(tmp_path / "model.safetensors"), "preprocessing": {}})
    assert isinstance(again, Classifier)
    assert (again.preprocessing.mean, again.preprocessing.std) == ((0.0,) * 3, (1.0,) * 3)
    for declared, message in (
        ({"mean": [0.5]}, r"preprocessing: mean without std; declare both, or neither"),
        ({"std": [0.5]}, r"preprocessing: std without mean; declare both, or neither"),
        ({"mean": [float("nan")], "std": [1.0]}, "expected finite numbers"),
        ({"mean": [0.0], "std": [float("inf")]}, "expected finite numbers"),
        ({"resize": [0, 3]}, "rows and columns must be above 0"),
    ):
        with pytest.raises(InputError, match=message):
            reference({"model": f"{module}:predict", "preprocessing": declared}, where="s.toml: victims[0]")


def test_nearest_as_pil_and_as_torch_does_it(images: Pixels) -> None:
    x = images.float() / 255
    exact = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, resize=(5, 4), interpolation="nearest-exact")
    plain = Preprocessing(mean=(0.0,) * 3, std=(1.0,) * 3, resize=(5, 4), interpolation="nearest")
    mean, std = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    theirs = [np.asarray(Image.fromarray(i.permute(1, 2, 0).numpy()).resize((4, 5), 0)) for i in images]
    assert torch.equal((exact.apply(x, mean, std) * 255).round(), torch.tensor(np.stack(theirs)).permute(0, 3, 1, 2))
    assert torch.equal(plain.apply(x, mean, std), nn.functional.interpolate(x, (5, 4)))
    assert not torch.equal(plain.apply(x, mean, std), exact.apply(x, mean, std))


# --- the accuracy that is stated


@pytest.mark.parametrize(("right", "refused"), [(100, False), (94, False), (88, False), (87, True), (10, True)])
def test_a_stated_accuracy_is_held_to_its_binomial_interval(right: int, refused: bool) -> None:
    labels = torch.arange(100) % CLASSES
    answers = torch.where(torch.arange(100) < right, labels, (labels + 1) % CLASSES)
    pixels = torch.zeros((100, *SHAPE), dtype=torch.uint8)
    victim = CallableVictim(lambda x: answers, "v", answers="labels")
    stated = stated_accuracy({"model": "a:b", "clean_accuracy": 0.94})  # +- 6.1 points, and half an image
    assert stated is not None
    args: dict[str, Any] = {"name": "v", "images": pixels, "labels": labels, "classes": CLASSES}
    if not refused:
        assert check_accuracy(victim, stated, **args) == right / 100
        return
    with pytest.raises(
        ModelError, match=rf"^v: clean accuracy {right}\.0% on 100 validation images, stated 94\.0% .*mean"
    ):
        check_accuracy(victim, stated, **args)
    check_accuracy(victim, StatedAccuracy(clean_accuracy=0.94, tolerance=0.85), **args)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"clean_accuracy": 94.0}, r"clean_accuracy must be in \(0, 1\]"),
        ({"clean_accuracy": float("nan")}, "clean_accuracy must be"),
        ({"clean_accuracy": 0.9, "tolerance": -0.1}, "tolerance must be"),
        ({"tolerance": 0.1}, "clean_accuracy: field required"),
    ],
)
def test_stated_accuracies_that_are_none(table: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        stated_accuracy({"model": "a:b", **table}, where="s.toml: victims[0]")
    assert str(error.value).startswith("s.toml: victims[0]")
    assert stated_accuracy("a:b") is None


def test_python_that_is_no_model(module: str) -> None:
    with pytest.raises(InputError, match="has no 'predic'; did you mean 'predict'"):
        load(f"{module}:predic")
    whole = r"failed when called without arguments: RuntimeError: first line second line$"
    with pytest.raises(ModelError, match=whole):
        load(f"{module}:failing")
    with pytest.raises(ModelError, match="expected a torch module or a function of images, got int"):
        load(f"{module}:number")
    with pytest.raises(ModelError, match="cannot import no_such_module_here: ModuleNotFoundError"):
        load("no_such_module_here:f")


def test_code_has_a_key_only_with_a_revision() -> None:
    assert reference("a.b:c").key() is None
    one, two = (reference({"model": "a.b:c", "revision": revision}).key() for revision in ("1", "2"))
    assert one is not None
    assert one != two


# --- what is checked of a victim


class Head(nn.Module):
    """Logits that a function then spoils."""

    def __init__(self, spoil: Callable[[Tensor], Any] = lambda logits: logits, classes: int = CLASSES) -> None:
        super().__init__()
        self.linear = nn.Linear(168, classes)
        self.spoil = spoil

    @override
    def forward(self, x: Tensor) -> Any:
        return self.spoil(self.linear(x.flatten(1)))


def check(victim: Callable[..., Any], images: Pixels, **options: Any) -> Any:
    return check_victim(victim, name="bad", shape=SHAPE, classes=CLASSES, images=images, **options)


def one_nan(logits: Tensor) -> Tensor:
    return torch.where(torch.arange(logits.numel()).reshape(logits.shape) == 6, float("nan"), logits)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (one_nan, "the score of image 1 for class 2 is nan"),
        (lambda z: z.softmax(1), "probabilities, where logits are expected"),
        (lambda z: z[:, :3], "answers with 3 classes, the task has 4"),
        (lambda z: z[:-1], "answered 5 images with 4 rows"),
        (lambda z: z.argmax(1), r'expected logits as floats n k, got torch.int64 \(5,\); declare answers = "labels"'),
        (lambda z: z[:, :, None], r"got torch.float32 \(5, 4, 1\)"),
        (lambda z: (z, z), "expected a tensor or an array, got tuple"),
        (lambda z: None, "got NoneType"),
        (lambda z: np.array(["a"] * len(z)), "expected an array of numbers"),
        (lambda z: z + torch.randn(z.shape), "the same images got another answer the second time"),
        (lambda z: (z - z.mean(0)) / (z.std(0, correction=0) + 1e-5), "batch norm in training mode"),
        (lambda z: z @ torch.zeros(3, 3), r"failed on images \(5, 3, 8, 7\) in \[0, 1\]: RuntimeError: "),
    ],
)
def test_broken_victims_are_refused(spoil: Callable[[Tensor], Any], message: str, images: Pixels) -> None:
    victim = Head(spoil)
    for given in (victim, CallableVictim(lambda x: victim(x), "bad")):
        with pytest.raises(ModelError, match=message) as error:
            check(given, images)
        assert str(error.value).startswith("bad: ")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda z: z.detach(), "no gradient reaches the images"),
        (lambda z: (z - z.detach()).abs().sqrt() + z.detach(), "its gradient at a clean image is not finite"),
    ],
)
def test_surrogates_need_finite_gradients(spoil: Callable[[Tensor], Any], message: str, images: Pixels) -> None:
    assert not check(Head(spoil), images).differentiable
    with pytest.raises(ModelError, match=message):
        check(Head(spoil), images, surrogate=True)


def test_a_sound_module(images: Pixels) -> None:
    found = check(Head(), images, surrogate=True)
    assert (found.answers, found.differentiable, found.deterministic) == ("logits", True, True)


def test_training_mode_is_left_and_reported(images: Pixels) -> None:
    victim = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), Head())
    assert check(victim, images).was_training
    assert not any(part.training for part in victim.modules())
    assert not check(victim, images).was_training


def test_images_arrive_in_zero_to_one_and_are_not_shared(images: Pixels) -> None:
    seen: list[Tensor] = []

    def watching(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        x.mul_(0)  # a victim that scribbles on its input
        return seen[-1].flatten(1)[:, :CLASSES]

    check(CallableVictim(watching, "scribbler"), images)
    assert all(float(x.min()) >= 0 and float(x.max()) <= 1 for x in seen)
    assert torch.equal(seen[0], images.float() / 255)
    assert torch.equal(seen[1], seen[0])


def test_declared_answers(images: Pixels) -> None:
    head = Head()
    probabilities = CallableVictim(lambda x: head(x).softmax(1).detach(), "p", answers="probabilities")
    assert check(probabilities, images).answers == "probabilities"
    labels = CallableVictim(lambda x: head(x).argmax(1).to(torch.int32), "l", answers="labels")
    assert check(labels, images).answers == "labels"
    assert labels(images.float() / 255).dtype == torch.int64
    with pytest.raises(ModelError, match=r"expected labels as 5 integers, got torch\.float32"):
        check(CallableVictim(head, "bad", answers="labels"), images)
    with pytest.raises(ModelError, match="answered with classes from 7 to 7; the task has 0 to 3"):
        check(CallableVictim(lambda x: torch.full((len(x),), 7), "bad", answers="labels"), images)


def test_randomised_victims_are_declared(images: Pixels) -> None:
    head = Head(lambda z: z + torch.randn(z.shape))
    found = check(CallableVictim(lambda x: head(x).detach(), "random", deterministic=False), images)
    assert found.deterministic is None


def test_labels_that_change_are_refused(images: Pixels) -> None:
    count = itertools.count()
    victim = CallableVictim(lambda x: torch.full((len(x),), next(count) % 2), "bad", answers="labels")
    with pytest.raises(ModelError, match="another answer the second time"):
        check(victim, images)


def test_a_victim_of_another_shape_says_so(images: Pixels) -> None:
    with pytest.raises(ModelError, match=r"images are \(3, 8, 7\), the task's shape is \(1, 8, 7\)"):
        check_victim(Head(), name="bad", shape=(1, 8, 7), classes=4, images=images)
    with pytest.raises(ModelError, match="failed on images"):
        check(nn.Sequential(nn.Flatten(), nn.Linear(100, 4)), images)


def test_missing_weights_file_type() -> None:
    with pytest.raises(MissingData):
        load_reference(WeightsFile(path="gone.pt", sha256="0"), shape=SHAPE, classes=CLASSES)


def test_scripts_of_before_find_what_they_import() -> None:
    assert references.check_victim is victims.check_victim
    assert references.load_reference is load_reference
    assert classifier.create is create
    assert store.Store.__module__ == "carom.scenarios.store.database"
    with pytest.raises(AttributeError, match=r"'carom\.scenarios\.store' has no attribute 'Shop'"):
        store.Shop  # noqa: B018
