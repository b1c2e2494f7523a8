"""A classifier made ready for crafting and evaluation: same function, less work."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, is_dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from carom.copying import copied

from .classifier import Classifier

Pair = tuple[str, str]
"""Names of two modules, the second of which reads what the first answers."""


@dataclass(frozen=True)
class _Plan:
    """What can be done to every network of one structure."""

    folds: tuple[Pair, ...]
    swaps: tuple[Pair, ...]


_PLANS: dict[Hashable, _Plan] = {}
_MOST_PLANS = 256
_PLAIN = (bool, int, float, str, tuple, type(None))


def prepare(classifier: nn.Module, *, channels_last: bool = True) -> nn.Module:
    """A copy in eval mode with frozen parameters, batch norms folded, ReLUs behind their max pools, and channels last.

    It computes the same logits and input gradients up to float error, and shares nothing with the original. A batch
    norm is folded only where it reads one convolution's output and nothing else does; that is seen by running the
    network once, so any network will do, and checked by comparing logits; a pair that would change them stays. A ReLU
    and the max pool that alone reads it change places in the same way: the numbers are the same, bit for bit, forward
    and backward, but the ReLU then sees a quarter of them. What was found for an architecture is remembered, so that
    many weight sets of one architecture, such as LGV's, are prepared in a third of the time.

    Args:
        classifier: A `Classifier`, or a module that contains some.
        channels_last: Memory order of kernels and images; faster on a CPU for every architecture of the zoo.
    """
    # the copy shares memory until it is clear what folding replaces
    memo: dict[int, object] = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in classifier.parameters()}
    memo |= {id(b): b.detach() for b in classifier.buffers()}
    shared = {id(tensor) for tensor in memo.values()}
    for module in classifier.modules():
        if (twin := _twin(module, memo)) is not None:
            memo[id(module)] = twin
    prepared = copied(classifier, memo).eval()
    for module in prepared.modules():
        if isinstance(module, Classifier):
            _simplify(module)
    for tensor in (*prepared.parameters(), *prepared.buffers()):
        if id(tensor) in shared:
            tensor.data = tensor.data.clone()
    return prepared.to(memory_format=torch.channels_last) if channels_last else prepared


def _twin(module: nn.Module, memo: Mapping[int, object]) -> nn.Module | None:
    """A copy of one of torch's own layers, faster than a deep copy; None where it may hold more than numbers."""
    if not type(module).__module__.startswith("torch.nn.modules."):
        return None
    held = vars(module)
    own: dict[str, Any] = {name: value for name, value in held.items() if isinstance(value, _PLAIN)}
    for name, value in held.items():
        if name in ("_parameters", "_buffers"):
            own[name] = {key: None if tensor is None else memo[id(tensor)] for key, tensor in value.items()}
        elif name not in own:
            if not isinstance(value, dict | set) or value:  # parts, hooks, or what only a deep copy does right
                return None
            own[name] = type(value)()
    twin = type(module).__new__(type(module))
    vars(twin).update(own)
    return twin


def _simplify(classifier: Classifier) -> None:
    """Fold and swap what can be, in place."""
    key = _structure(classifier)
    plan = None if key is None else _PLANS.get(key)
    if plan is not None and _carried_out(classifier, plan):
        return
    folds, swaps = _fold(classifier), _pool_first(classifier)
    # only what the structure alone settles: whether some pairs do may depend on the weights
    if key is not None and folds is not None and swaps is not None:
        if len(_PLANS) >= _MOST_PLANS:
            _PLANS.clear()
        _PLANS[key] = _Plan(tuple(folds), tuple(swaps))


def _structure(classifier: Classifier) -> Hashable | None:
    """What settles who reads whom in a network; None where only the network itself can tell."""
    if not is_dataclass(classifier.architecture):
        return None
    modules = tuple((name, type(module)) for name, module in classifier.network.named_modules())
    return classifier.architecture, classifier.shape, modules


def _carried_out(classifier: Classifier, plan: _Plan) -> bool:
    """Do all of the plan, in place; undone, and False, where that changes the logits by more than rounding."""
    if not plan.folds and not plan.swaps:
        return True
    x = _images(classifier)[:1]
    before = _logits(classifier, x)
    undo = [_fuse(classifier.network, *pair) for pair in plan.folds]
    undo += [_swap(classifier.network, *pair) for pair in plan.swaps]
    if _alike(_logits(classifier, x), before):
        return True
    for back in reversed(undo):
        back()
    return False


def _fold(classifier: Classifier) -> list[Pair] | None:
    """Fold what can be folded, in place; the pairs, or None where some of them could not be."""
    if not any(isinstance(m, nn.BatchNorm2d) for m in classifier.network.modules()):
        return []
    x = _images(classifier)
    before, pairs = _observe(classifier, x, lambda m: type(m) is nn.Conv2d, _foldable)
    if _try(classifier, pairs, x, before):
        return pairs
    # something else reads one of the outputs, as in a pre-activation network: find those that nothing else reads
    _try(classifier, [pair for pair in pairs if _try(classifier, [pair], x, before, keep=False)], x, before)
    return None


def _pool_first(classifier: Classifier) -> list[Pair] | None:
    """Let max pools read what their ReLUs read, in place: the largest of the positive parts is that of the largest.

    Returns:
        The pairs, or None where some of them could not.
    """
    network = classifier.network
    if not {nn.ReLU, nn.MaxPool2d} <= {type(m) for m in network.modules()}:
        return []
    x = _images(classifier)
    before, pairs = _observe(classifier, x, lambda m: type(m) is nn.ReLU, _pool)
    every = True
    for relu, pool in pairs:
        back = _swap(network, relu, pool)
        try:
            same = torch.equal(_logits(classifier, x), before)
        except RuntimeError:  # what else reads the output now meets another shape
            same = False
        if not same:
            back()
            every = False
    return pairs if every else None


def _pool(module: nn.Module) -> bool:
    return type(module) is nn.MaxPool2d and not module.return_indices


def _images(classifier: Classifier) -> Tensor:
    """Two images to try a network on, where its weights are."""
    numbers = (t for t in chain(classifier.parameters(), classifier.buffers()) if t.is_floating_point())
    place = next(numbers, classifier.mean)
    generator = torch.Generator().manual_seed(0)
    return torch.rand(2, *classifier.shape, generator=generator, device="cpu").to(place.device, place.dtype)


def _try(classifier: Classifier, pairs: list[Pair], x: Tensor, before: Tensor, *, keep: bool = True) -> bool:
    """Fold these pairs; undone, and False, where the logits of `x` change by more than rounding."""
    undo = [_fuse(classifier.network, *pair) for pair in pairs]
    same = _alike(_logits(classifier, x), before)
    if not same or not keep:
        for back in reversed(undo):
            back()
    return same


def _alike(after: Tensor, before: Tensor) -> bool:
    return bool(((after - before).abs() <= 1e-3 * before.abs().amax().clamp_min(1.0)).all())


def _logits(classifier: Classifier, x: Tensor) -> Tensor:
    """Logits with the same global random state each time, so that a random layer does not look like a wrong fold."""
    with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []), torch.no_grad():
        torch.default_generator.manual_seed(0)
        logits: Tensor = classifier(x)
        return logits


def _observe(
    classifier: Classifier, x: Tensor, first: Callable[[nn.Module], bool], second: Callable[[nn.Module], bool]
) -> tuple[Tensor, list[Pair]]:
    """The logits of `x`, and the names of each module of the first kind and one of the second that reads its output.

    Both run once.
    """
    made: dict[int, str] = {}  # id of an output -> name of the module of the first kind
    kept: list[Tensor] = []  # holds those outputs, so that no id is given twice
    runs: dict[str, int] = {}
    pairs: list[Pair] = []
    hooks = []

    def after_first(name: str, output: Tensor) -> None:
        runs[name] = runs.get(name, 0) + 1
        made[id(output)] = name
        kept.append(output)

    def before_second(name: str, value: Tensor) -> None:
        runs[name] = runs.get(name, 0) + 1
        if id(value) in made:
            pairs.append((made[id(value)], name))

    for name, module in classifier.network.named_modules():
        if first(module):
            hooks.append(module.register_forward_hook(lambda m, i, o, name=name: after_first(name, o)))
        elif second(module):
            hooks.append(module.register_forward_pre_hook(lambda m, i, name=name: before_second(name, i[0])))
    try:
        logits = _logits(classifier, x)
    finally:
        for hook in hooks:
            hook.remove()
    return logits, [(one, two) for one, two in pairs if runs[one] == runs[two] == 1]


def _foldable(module: nn.Module) -> bool:
    """Batch norm with running statistics; timm's subclass, which also applies an activation, included."""
    if not isinstance(module, nn.BatchNorm2d) or module.running_mean is None:
        return False
    return type(module) is nn.BatchNorm2d or (hasattr(module, "act") and hasattr(module, "drop"))


def _fuse(network: nn.Module, conv_name: str, norm_name: str) -> Callable[[], None]:
    """Put the norm into the convolution; where it stood remains what it did besides.

    Returns:
        What undoes it.
    """
    conv, norm = network.get_submodule(conv_name), network.get_submodule(norm_name)
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = conv.weight, conv.bias
    folded, shift = fuse_conv_bn_weights(
        weight, bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    conv.weight = nn.Parameter(folded.detach(), requires_grad=False)
    conv.bias = nn.Parameter(shift.detach(), requires_grad=False)
    rest: nn.Module = (
        nn.Identity()
        if type(norm) is nn.BatchNorm2d
        else nn.Sequential(norm.get_submodule("drop"), norm.get_submodule("act"))
    )
    _put(network, norm_name, rest)

    def back() -> None:
        conv.weight, conv.bias = weight, bias
        _put(network, norm_name, norm)

    return back


def _swap(network: nn.Module, one: str, two: str) -> Callable[[], None]:
    """Exchange two modules; their names stay where they were.

    Returns:
        What undoes it.
    """
    first, second = network.get_submodule(one), network.get_submodule(two)
    _put(network, one, second)
    _put(network, two, first)

    def back() -> None:
        _put(network, one, first)
        _put(network, two, second)

    return back


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
