"""Copies of modules that keep what cannot be copied, and attacks on them."""

import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import carom
from carom.copying import copied

X = torch.rand(5, 3, 8, 7, generator=torch.Generator().manual_seed(3))


def linear() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(168, 4)).eval()


class Around(nn.Module):
    """The linear network, called by something that keeps what it must not."""

    def __init__(self, keep: Callable[["Around", Tensor], None] = lambda own, answer: None, **beside: Any) -> None:
        super().__init__()
        self.net = linear()
        self.keep = keep
        self.kept: Any = None
        vars(self).update(beside)

    @property
    def weight(self) -> Tensor:
        return self.net[1].get_parameter("weight")

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.net(x)
        self.keep(self, answer)
        return answer


class Client:
    """Holds a lock, as clients of services do."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last = torch.ones(2, requires_grad=True) * 2


def called(module: nn.Module) -> nn.Module:
    module(X)
    return module


def kept_last(own: Around, answer: Tensor) -> None:
    own.kept = answer


def kept_all(own: Around, answer: Tensor) -> None:
    own.kept = [*(own.kept or []), {"answer": (answer,)}]


def old_weight_norm() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):  # torch announces its end
        net = linear()
        nn.utils.weight_norm(net[1])
    return net


def traced(net: nn.Module) -> nn.Module:
    with warnings.catch_warnings(action="ignore"):  # torch announces the end of TorchScript
        made: nn.Module = torch.jit.trace(net, X[:1])  # type: ignore[no-untyped-call]
    return made


def scripted() -> nn.Module:
    with warnings.catch_warnings(action="ignore"):
        made: nn.Module = torch.jit.script(linear())
    return made


def hooked() -> nn.Module:
    net = linear()
    net[1].register_forward_hook(lambda module, inputs, output: setattr(module, "seen", output))
    net[1].cached = torch.ones(3, 3)
    return net


def parametrized() -> nn.Module:
    net = linear()
    nn.utils.parametrizations.weight_norm(net[1])
    return net


KEEPERS: dict[str, Callable[[], nn.Module]] = {
    "its last answer": lambda: called(Around(kept_last)),
    "all its answers": lambda: called(called(Around(kept_all))),
    "a lock": lambda: Around(lock=threading.Lock()),
    "a lock in a table": lambda: Around(tools={"locks": [threading.RLock()]}),
    "a client": lambda: Around(client=Client()),
    "a generator": lambda: Around(numbers=iter(i for i in range(3))),
    "weight norm by hooks": old_weight_norm,
    "weight norm by hooks, called": lambda: called(old_weight_norm()),
    "weight norm as a parametrization": lambda: called(parametrized()),
    "a trace": lambda: traced(linear()),
    "a trace inside": lambda: nn.Sequential(traced(linear()), nn.Identity()),
    "a script": scripted,
    "hooks and tensors of a layer": lambda: called(hooked()),
    "compiled": lambda: torch.compile(linear(), backend="eager"),  # type: ignore[dict-item, return-value]
}


@pytest.mark.parametrize("what", KEEPERS)
def test_a_module_is_attacked_as_what_it_computes(what: str) -> None:
    """The expectation is the attack on the plain network with the same weights."""
    plain, module = linear(), KEEPERS[what]().eval()
    with torch.no_grad():
        y = plain(X).argmax(1)
    wanted = [p.requires_grad for p in module.parameters()]
    torch.testing.assert_close(
        carom.attack("mi", module, X, y, eps="8/255"), carom.attack("mi", plain, X, y, eps="8/255"), rtol=0, atol=1e-6
    )
    assert [p.requires_grad for p in module.parameters()] == wanted
    assert carom.evaluate(module, X, y, X).n == 5


def test_a_copy_shares_no_weight_and_no_answer() -> None:
    module = Around(kept_last, lock=threading.Lock())
    module(X)
    twin = copied(module)
    assert vars(twin)["lock"] is vars(module)["lock"]
    assert torch.equal(twin.kept, module.kept)
    assert twin.kept.grad_fn is None
    with torch.no_grad():
        twin.weight.zero_()
        twin.kept.zero_()
    assert bool(module.weight.any())
    assert bool(module.kept.any())


class Refuses(nn.Module):
    """Cannot be copied at all."""

    def __deepcopy__(self, memo: object) -> "Refuses":
        raise RuntimeError("one of\na kind")

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :4]


def test_what_cannot_be_copied_is_one_line() -> None:
    with pytest.raises(carom.errors.ModelError, match=r"the model: cannot be copied.*one of a kind; build") as error:
        carom.attack("mi", Refuses(), X, torch.zeros(5, dtype=torch.int64), eps="8/255")
    assert "\n" not in str(error.value)


class Without(nn.Module):
    """No parameters: its matrix is a buffer, or a plain attribute."""

    def __init__(self, first: nn.Module, size: int, *, buffer: bool) -> None:
        super().__init__()
        self.first = first
        matrix = torch.randn(4, size, generator=torch.Generator().manual_seed(0))
        self.matrix: Tensor
        if buffer:
            self.register_buffer("matrix", matrix)
        else:
            self.matrix = matrix

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.first(x).flatten(1) @ self.matrix.T
        return logits


@pytest.mark.parametrize("buffer", [True, False])
@pytest.mark.parametrize(
    ("first", "size"),
    [
        (nn.Identity(), 168),
        (nn.BatchNorm2d(3, affine=False), 168),
        (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), 36),
        (nn.Sequential(nn.BatchNorm2d(3, affine=False), nn.ReLU(), nn.MaxPool2d(2)), 36),
    ],
)
def test_modules_without_parameters_are_attacked(first: nn.Module, size: int, buffer: bool) -> None:
    model = Without(first, size, buffer=buffer).eval()
    y = model(X).argmax(1)
    x_adv = carom.attack("mi", model, X, y, eps="16/255")
    loss = nn.functional.cross_entropy
    assert float(loss(model(x_adv), y)) > float(loss(model(X), y))
