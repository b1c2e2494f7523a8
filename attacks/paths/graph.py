"""One run of a network, as a graph of the values on its way."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from typing_extensions import override

# by name: timm has classes of its own for some of them
_ACTIVATIONS = frozenset(
    {
        *("relu", "relu6", "leakyrelu", "prelu", "rrelu", "elu", "selu", "celu", "softplus"),
        *("gelu", "gelutanh", "quickgelu", "silu", "swish", "mish", "hardswish", "hardswishme", "hardmish"),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Activation:
    """One call of an activation module.

    Attributes:
        module: Its name.
        call: Which of the module's calls, from 0.
        at: When, as in `Anatomy.first`.
        outer: It reads the sum of a residual branch and its skip.
    """

    module: str
    call: int
    at: int
    outer: bool


@dataclass
class Node:
    """One value on its way: what made it of what, and who reads it."""

    inputs: tuple[int, ...] = ()
    func: str = ""
    weighted: bool = False
    module: str = ""
    shape: tuple[int, ...] = ()
    before: int = 0  # bit set of all values that it depends on, itself too
    readers: list[int] = field(default_factory=list)
    makers: list[str] = field(default_factory=list)
    read_by: list[str] = field(default_factory=list)


class Run(TorchFunctionMode):
    """One run, as a graph of values."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.nodes: list[Node] = []
        self.at: dict[int, int] = {}  # id of a tensor -> the value that it holds now
        self.kept: list[Tensor] = []  # so that no id is given twice
        self.calls: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.clock = 0  # calls of all modules so far
        self.active: list[tuple[Activation, int]] = []  # with the value that it reads, -1 for one that is not followed
        self.stack: list[str] = []
        self.functions: set[str] = set()

    def run(self, classifier: nn.Module, x: Tensor) -> None:
        hooks = []
        for name, module in self.network.named_modules():
            if name:
                hooks.append(module.register_forward_pre_hook(lambda m, a, name=name: self._enter(name, a)))
                hooks.append(module.register_forward_hook(lambda m, a, out, name=name: self._leave(name, out)))
        try:
            self._add(x, (), "", False)
            with torch.no_grad(), self:
                classifier(x)
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, name: str, args: tuple[object, ...]) -> None:
        self.stack.append(name)
        now, call = self.clock, self.calls.get(name, 0)
        self.first.setdefault(name, now)
        self.clock, self.calls[name] = now + 1, call + 1
        read = self.at.get(id(args[0]), -1) if args and isinstance(args[0], Tensor) else -1
        if read >= 0:
            self.nodes[read].read_by.append(name)
        if _is_activation(self.network.get_submodule(name)):
            self.active.append((Activation(module=name, call=call, at=now, outer=False), read))

    def _leave(self, name: str, out: object) -> None:
        self.stack.pop()
        if isinstance(out, Tensor) and id(out) in self.at:
            self.nodes[self.at[id(out)]].makers.append(name)

    @override
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = list(_tensors((args, kwargs or {})))
        inputs = tuple(dict.fromkeys(self.at[id(t)] for t in tensors if id(t) in self.at))
        if inputs:
            name = str(getattr(func, "__name__", func))
            self.functions.add(name)
            in_place = name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
            # options such as F.relu(x, inplace=True) change their input too
            in_place = in_place or (kwargs or {}).get("inplace") is True
            weighted = any(isinstance(t, nn.Parameter) for t in tensors)
            for tensor in _tensors(out):
                if in_place or id(tensor) not in self.at:
                    self._add(tensor, inputs, name, weighted)
        return out

    def _add(self, tensor: Tensor, inputs: tuple[int, ...], func: str, weighted: bool) -> None:
        index = len(self.nodes)
        before = 1 << index
        for i in inputs:
            before |= self.nodes[i].before
            self.nodes[i].readers.append(index)
        module = self.stack[-1] if self.stack else ""
        self.nodes.append(Node(inputs, func, weighted, module, _shape(tensor), before))
        self.at[id(tensor)] = index
        self.kept.append(tensor)


def _tensors(values: object) -> Iterable[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from _tensors(value)
    elif isinstance(values, dict):
        yield from _tensors(list(values.values()))


def _shape(tensor: Tensor) -> tuple[int, ...]:
    with torch._C.DisableTorchFunction():
        return tuple(tensor.shape)


def _is_activation(module: nn.Module) -> bool:
    return type(module).__name__.lower() in _ACTIVATIONS
