"""A prepared classifier is the same function."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from carom.zoo.architectures import ARCHITECTURES, architecture
from carom.zoo.models import prepare as preparing
from carom.zoo.models.classifier import Classifier, Shape, create
from carom.zoo.models.prepare import prepare
from carom.zoo.preprocessing import Preprocessing
from carom.zoo.training.allocator import tune_allocator

SHAPE: Shape = (3, 24, 25)


def trained_statistics(model: Classifier) -> Classifier:
    """Batch norms that are not the identity: statistics of data, weights of their own."""
    generator = torch.Generator().manual_seed(0)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.rand(8, *model.shape, generator=generator) ** 2)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.copy_(0.5 + torch.rand(module.weight.shape, generator=generator))
                module.bias.copy_(torch.rand(module.bias.shape, generator=generator) - 0.5)
    return model.eval()


def norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def gradient(model: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(nn.functional.cross_entropy(model(x), torch.zeros(len(x)).long()), x)[0]


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        *sorted(ARCHITECTURES),
        "timm:resnet18",
        "timm:test_efficientnet",
        "torchvision:resnet18",
    ],
)
def test_same_logits_and_gradients_without_batch_norms(name: str, channels_last: bool) -> None:
    model = trained_statistics(create(architecture(name), shape=SHAPE, classes=5))
    state = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    prepared = prepare(model, channels_last=channels_last)
    scale = float(model(x).detach().abs().max())
    torch.testing.assert_close(prepared(x), model(x), atol=2e-4 * scale, rtol=0)
    ours, theirs = gradient(prepared, x), gradient(model, x)
    # a ReLU at zero may fall on either side
    assert float((ours - theirs).norm()) <= 0.02 * float(theirs.norm())
    assert norms(prepared) == 0
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert not any(p.requires_grad for p in prepared.parameters())
    assert all(p.requires_grad for p in model.parameters())
    assert not prepared.training
    owned = {p.data_ptr() for p in model.parameters()}
    assert not owned & {p.data_ptr() for p in prepared.parameters()}


class Twice(nn.Module):
    """One norm after two convolutions, and one convolution before two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.other = nn.BatchNorm2d(4)

    @override
    def forward(self, x: Tensor) -> Tensor:
        a, b = self.first(x), self.second(x)
        y: Tensor = (self.norm(a) + self.norm(b) + self.other(a)).mean((2, 3))
        return y


class Tapped(nn.Module):
    """What one norm reads is read by the sum as well; another's is not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.second = nn.Conv2d(4, 4, 3)
        self.last = nn.BatchNorm2d(4)

    @override
    def forward(self, x: Tensor) -> Tensor:
        a = self.conv(x)
        y: Tensor = self.last(self.second(self.norm(a) + a)).mean((2, 3))
        return y


class Branching(nn.Module):
    """Control flow that no tracer follows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.norm = nn.BatchNorm2d(4)

    @override
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return (y if float(x.sum()) > 0 else -y).mean((2, 3))


@pytest.mark.parametrize(("make", "left"), [(Twice, 2), (Tapped, 1), (Branching, 0)])
def test_only_what_may_be_folded_is(make: Callable[[], nn.Module], left: int) -> None:
    plain = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
    model = trained_statistics(
        Classifier(make(), shape=(3, 8, 7), classes=4, preprocessing=plain, architecture=make.__name__)
    )
    prepared = prepare(model)
    x = torch.rand(5, 3, 8, 7)
    torch.testing.assert_close(prepared(x), model(x), atol=1e-5, rtol=1e-4)
    assert norms(prepared) == left


class Pooled(nn.Module):
    """One max pool alone reads its ReLU, before another whose ReLU the sum reads too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        self.last = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.tapped = nn.MaxPool2d(2)

    @override
    def forward(self, x: Tensor) -> Tensor:
        a = self.last(self.pool(self.relu(self.conv(x))))
        y: Tensor = self.tapped(a).mean((2, 3)) + a.mean((2, 3))
        return y


def pooled() -> Classifier:
    plain = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
    return Classifier(Pooled(), shape=(3, 8, 7), classes=4, preprocessing=plain, architecture="pooled").eval()


def test_a_relu_goes_behind_the_max_pool_that_alone_reads_it() -> None:
    model = pooled()
    x = torch.rand(5, 3, 8, 7, generator=torch.Generator().manual_seed(0))
    prepared = prepare(model, channels_last=False)
    kinds = {name: type(module) for name, module in prepared.get_submodule("network").named_modules()}
    assert kinds["relu"] is nn.MaxPool2d
    assert kinds["pool"] is nn.ReLU
    assert kinds["last.1"] is nn.ReLU
    assert kinds["tapped"] is nn.MaxPool2d
    assert torch.equal(prepared(x), model(x))
    assert torch.equal(gradient(prepared, x), gradient(model, x))


def test_a_relu_that_another_layer_reads_too_stays_where_it_is() -> None:
    """The other reader would meet images of another shape; some stems read one output by a pool and a convolution."""

    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.relu = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()
            self.pool, self.strided = nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, stride=2, padding=1)
            self.head = nn.Linear(8, 3)

        @override
        def forward(self, x: Tensor) -> Tensor:
            h = self.relu(self.first(x))
            both: Tensor = torch.cat((self.pool(h), self.strided(h)), 1)
            logits: Tensor = self.head(both.mean((2, 3)))
            return logits

    plain = Preprocessing(mean=(0.0,), std=(1.0,))
    net = Classifier(Forked(), shape=(1, 8, 8), classes=3, preprocessing=plain, architecture=None).eval()
    x = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(prepare(net)(x), net(x))


def test_ties_and_windows_without_a_positive_value_have_the_same_gradient_behind_the_pool() -> None:
    model = pooled()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():  # whole numbers meet at zero and above it
        parameter.data = torch.randint(-1, 2, parameter.shape, generator=generator).float()
    x = torch.randint(0, 2, (64, 3, 8, 7), generator=generator).float()
    convolved = model.get_submodule("network.conv")(x * 2 - 1)
    assert (convolved == 0).any()
    assert (nn.functional.max_pool2d(convolved, 3, 2, 1) <= 0).any()
    prepared = prepare(model, channels_last=False)
    assert torch.equal(prepared(x), model(x))
    assert torch.equal(gradient(prepared, x), gradient(model, x))


def test_classifiers_inside_a_wrapper_are_folded_too() -> None:
    model = trained_statistics(create(architecture("vgg-small"), shape=(3, 8, 7), classes=4))
    wrapped = nn.Sequential(model, nn.Softmax(-1))
    x = torch.rand(5, 3, 8, 7)
    prepared = prepare(wrapped)
    torch.testing.assert_close(prepared(x), wrapped(x), atol=1e-5, rtol=1e-4)
    assert norms(prepared) == 0


def test_preparing_twice_changes_nothing_and_leaves_random_state_alone() -> None:
    model = trained_statistics(create(architecture("resnet-small"), shape=(3, 8, 7), classes=4))
    before = torch.random.get_rng_state()
    once = prepare(model)
    twice = prepare(copy.deepcopy(once))
    assert torch.equal(before, torch.random.get_rng_state())
    x = torch.rand(5, 3, 8, 7)
    assert torch.equal(once(x), twice(x))


@pytest.mark.parametrize("name", ["resnet-small", "vgg-small", "timm:resnet18"])
def test_what_is_remembered_of_an_architecture_gives_what_trying_gives(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: what an attack finds may not depend on what was prepared before."""
    first, second = (
        trained_statistics(create(architecture(name), shape=(3, 24, 25), classes=5, seed=seed)) for seed in (0, 1)
    )
    monkeypatch.setattr(preparing, "_PLANS", {})
    tried = prepare(second)
    preparing._PLANS.clear()
    prepare(first)
    assert len(preparing._PLANS) == 1
    monkeypatch.setattr(preparing, "_observe", forbidden)
    remembered = prepare(second)
    x = torch.rand(3, 3, 24, 25, generator=torch.Generator().manual_seed(0))
    assert torch.equal(remembered(x), tried(x))
    assert torch.equal(gradient(remembered, x), gradient(tried, x))
    assert [type(m) for m in remembered.modules()] == [type(m) for m in tried.modules()]
    owned = {t.data_ptr() for t in (*second.parameters(), *second.buffers()) if t.numel()}
    assert not owned & {t.data_ptr() for t in (*remembered.parameters(), *remembered.buffers()) if t.numel()}


def forbidden(*arguments: object) -> None:
    raise AssertionError("networks are tried once for each architecture")


@dataclass(frozen=True)
class Named:
    """An architecture's description."""

    name: str


def test_what_is_remembered_and_does_not_fit_is_undone() -> None:
    """Two kinds of networks under one description, which no one should make."""

    class Either(nn.Module):
        def __init__(self, *, tapped: bool) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(3, 1, 1)
            self.tapped = tapped

        @override
        def forward(self, x: Tensor) -> Tensor:
            a = self.conv(x)
            b = self.relu(self.norm(a))
            y: Tensor = (self.pool(b) + (a + b if self.tapped else 0)).mean((2, 3))
            return y

    plain = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
    x = torch.rand(5, 3, 8, 7)
    for tapped, left in ((False, 0), (True, 1), (False, 0)):
        net = Either(tapped=tapped)
        model = Classifier(net, shape=(3, 8, 7), classes=4, preprocessing=plain, architecture=Named("either"))
        model = trained_statistics(model)
        prepared = prepare(model)
        torch.testing.assert_close(prepared(x), model(x), atol=1e-5, rtol=1e-4)
        assert norms(prepared) == left
        assert type(prepared.get_submodule("network.relu")) is (nn.ReLU if tapped else nn.MaxPool2d)


def test_what_layers_carry_beside_numbers_is_copied_too() -> None:
    """Torch's own layers are copied in a faster way, where they hold nothing else."""
    model = pooled()
    conv, pool = model.get_submodule("network.conv"), model.get_submodule("network.tapped")
    seen: list[str] = []
    conv.register_forward_hook(lambda module, inputs, output: seen.append("hook"))
    vars(pool)["notes"] = ["mine"]
    prepared = prepare(model)
    vars(prepared.get_submodule("network.tapped"))["notes"].append("yours")
    assert vars(pool)["notes"] == ["mine"]
    seen.clear()
    prepared(torch.rand(1, 3, 8, 7))
    assert seen == ["hook"]
    model.train()
    assert not any(module.training for module in prepared.modules())
    prepared.get_submodule("network.last").add_module("more", nn.Identity())
    assert "more" not in dict(model.get_submodule("network.last").named_children())


def test_networks_without_a_description_are_tried_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "_PLANS", {})
    prepare(pooled())
    assert not preparing._PLANS


def test_allocator_is_quiet_where_there_is_no_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert tune_allocator() is False
