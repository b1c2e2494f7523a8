"""Where the gradient flows inside a network: seen in one run of one image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isqrt

import torch
from torch import Tensor, nn

from carom.attacks.reading.networks import network_of, rebuilt
from carom.attacks.slots import Shape
from carom.errors import InputError, ModelError, one_line

from .graph import Activation, Run

__all__ = ["Activation", "Anatomy", "Branch", "anatomy", "known"]

_SUMS = frozenset(["add", "add_", "__add__", "__radd__", "__iadd__"])
_JOINS = frozenset(["cat", "concat", "concatenate"])
_ATTENTION = frozenset(["softmax", "scaled_dot_product_attention", "multi_head_attention_forward"])
_SIDES = (32, 224, 28, 16, 64, 8, 256, 384)


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """One residual branch: what is added to its own input, or joined to it as dense connections do.

    Names are those of modules that run once.

    Attributes:
        end: The module whose output is the branch.
        dense: Joined, not added.
        entrance: The only module of the branch that reads what branch and skip share; None where there are several.
        holder: A module through which the skip passes before the branch ends, as its input or its output; None where
            the skip is no identity, or where what is added is not what `end` puts out but something made of it.
        made: The holder puts the skip out; else it reads it.
        projection: The module whose output is the skip, where the skip is more than the identity.
        first: It begins a stage: the first branch of its shape, in a network where some skip is no identity.
        channel: The dimension of the skip's channels.
    """

    end: str
    dense: bool
    entrance: str | None = None
    holder: str | None = None
    made: bool = False
    projection: str | None = None
    first: bool = False
    channel: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Anatomy:
    """What one run of a network shows. Names count from behind the preprocessing, in the order of the first call.

    Attributes:
        first: When each module was called first, counted in calls; modules that were not called are missing.
        calls: How often each of them was called.
        entry: The first module without parts that was called; None where it was called again.
        activations: Calls of activation modules, in their order.
        branches: Residual branches that end in a module.
        beyond: Residual branches that end in none, so that nothing can be put there.
        convolutions: Those that could be the identity: as many channels out as in, same size, odd kernel, no groups.
        attention: Tokens read each other.
        kernels: How many convolutions run.
    """

    first: Mapping[str, int]
    calls: Mapping[str, int]
    entry: str | None
    activations: tuple[Activation, ...]
    branches: tuple[Branch, ...]
    beyond: int
    convolutions: tuple[str, ...]
    attention: bool
    kernels: int


def anatomy(classifier: nn.Module, shape: Shape | None = None, *, where: str) -> Anatomy:
    """What one image shows on its way through; the classifier stays as it was.

    Args:
        classifier: The network, preprocessing and all.
        shape: Channels, rows and columns of its images. None for its own attribute `shape`, or for usual sizes, tried
            one after the other.
        where: For errors.

    Raises:
        ModelError: It takes no such image.
    """
    seen = rebuilt(classifier).eval()
    problem = "no size was tried"
    for size in [shape] if shape is not None else _shapes(seen):
        record = _Record(network_of(seen))
        try:
            record.run(seen, _image(seen, size))
        except Exception as error:  # whatever a network raises on images that do not fit it
            problem = one_line(error)
            continue
        return record.read()
    raise ModelError(
        f"{where}: cannot run the network to see its branches ({problem}); give the classifier an attribute "
        "`shape` = (channels, rows, columns)"
    )


class _Record(Run):
    """One run, and what it shows."""

    def read(self) -> Anatomy:
        self.kept.clear()
        modules = dict(self.network.named_modules())
        sums = self._sums()
        staged = any(skip != fork for skip, fork, _ in sums.values())
        shapes: set[tuple[int, ...]] = set()
        ends: dict[int, Branch | None] = {}  # by the value that the branch is; None where no module makes it
        for index, node in enumerate(self.nodes):
            if index in sums:
                skip, fork, branch = sums[index]
                first = staged and node.shape not in shapes
                shapes.add(node.shape)
                ends.setdefault(branch, self._branch(index, skip, fork, branch, first=first))
            elif node.func in _JOINS:
                for b in node.inputs:
                    if any(a != b and self.nodes[b].before >> a & 1 for a in node.inputs):
                        end = self._end(b)
                        ends.setdefault(b, None if end is None else Branch(end=end, dense=True))
        order = sorted(self.first, key=self.first.__getitem__)
        entry = next((name for name in order if not self._has_children(name)), None)
        return Anatomy(
            first=self.first,
            calls=self.calls,
            entry=None if entry is None or self.calls[entry] > 1 else entry,
            activations=tuple(replace(call, outer=value in sums) for call, value in self.active),
            branches=tuple(branch for _, branch in sorted(ends.items()) if branch is not None),
            beyond=sum(branch is None for branch in ends.values()),
            convolutions=tuple(name for name in order if _could_be_identity(modules[name])),
            attention=bool(_ATTENTION & (self.functions - self._of_head())),
            kernels=sum(isinstance(modules[name], nn.Conv2d) for name in order),
        )

    def _sums(self) -> dict[int, tuple[int, int, int]]:
        """By the value that a residual sum is: its skip, where skip and branch part, and its branch."""
        pairs = {i: n.inputs for i, n in enumerate(self.nodes) if n.func in _SUMS and len(n.inputs) == 2}
        found = {index: self._skip_and_branch(*pair) for index, pair in pairs.items()}
        return {index: parts for index, parts in found.items() if parts is not None}

    def _of_head(self) -> set[str]:
        """A softmax that makes the network's answer is no attention."""
        last = self.nodes[-1]
        others = any(node.func == last.func for node in self.nodes[:-1])
        return set() if others else {last.func}

    def _skip_and_branch(self, a: int, b: int) -> tuple[int, int, int] | None:
        """Of two summands: the skip, where the two part, and the branch; None where neither is a branch."""
        one, two = self.nodes[a], self.nodes[b]
        if one.shape != two.shape:
            return None
        if two.before >> a & 1:
            return a, a, b
        if one.before >> b & 1:
            return b, b, a
        common = one.before & two.before
        if not common:
            return None
        fork = common.bit_length() - 1
        way_a, way_b = self._way(fork, a), self._way(fork, b)
        if way_a == way_b:
            return None
        return (a, fork, b) if way_a < way_b else (b, fork, a)

    def _way(self, start: int, end: int) -> int:
        """The fewest layers with weights between two values."""
        ways = {start: 0}
        for index in range(start + 1, end + 1):
            known = [ways[i] for i in self.nodes[index].inputs if i in ways]
            if known:
                ways[index] = min(known) + self.nodes[index].weighted
        return ways[end]

    def _end(self, value: int, *, itself: bool = False) -> str | None:
        """The module that makes this value `itself`, or one that this value alone is made of; it runs once."""
        while True:
            node = self.nodes[value]
            once = [name for name in node.makers if self.calls[name] == 1]
            leaves = [name for name in once if not self._has_children(name)]
            if once:
                return (leaves or once)[-1]
            if itself or len(node.inputs) != 1 or len(self.nodes[node.inputs[0]].readers) != 1:
                return None
            value = node.inputs[0]

    def _branch(self, total: int, skip: int, fork: int, branch: int, *, first: bool) -> Branch | None:
        alone = all(reader == total for reader in self.nodes[branch].readers)
        end = self._end(branch) if alone else None
        if end is None:
            return None
        entrance = self._entrance(skip, fork, branch)
        holder, made = self._holder(skip, end)
        straight = skip == fork
        alone = all(reader == total for reader in self.nodes[skip].readers)
        channel = 1 if len(self.nodes[skip].shape) == 4 else -1
        if entrance is not None and _is_of_last(self.network.get_submodule(entrance)):
            channel = -1
        return Branch(
            end=end,
            dense=False,
            entrance=entrance,
            holder=holder if straight and end == self._end(branch, itself=True) else None,
            made=made,
            projection=None if straight or not alone else self._end(skip, itself=True),
            first=first,
            channel=channel,
        )

    def _entrance(self, skip: int, fork: int, branch: int) -> str | None:
        inside = self.nodes[branch].before & ~(self.nodes[skip].before if skip != fork else 0)
        readers = [reader for reader in self.nodes[fork].readers if inside >> reader & 1]
        name = self.nodes[readers[0]].module if len(readers) == 1 else ""
        if not name or self.calls[name] != 1 or name not in self.nodes[fork].read_by:
            return None
        module = self.network.get_submodule(name)
        # what changes its input in place leaves no place between skip and branch
        return None if getattr(module, "inplace", False) or isinstance(module, nn.MultiheadAttention) else name

    def _holder(self, skip: int, end: str) -> tuple[str | None, bool]:
        node = self.nodes[skip]
        names = [(name, False) for name in node.read_by] + [(name, True) for name in node.makers]
        fit = [(n, made) for n, made in names if self.calls[n] == 1 and (made or self.first[n] <= self.first[end])]
        leaves = [(name, made) for name, made in fit if not self._has_children(name)]
        return (leaves or fit)[0] if fit else (None, False)

    def _has_children(self, name: str) -> bool:
        return next(self.network.get_submodule(name).children(), None) is not None


def _is_of_last(module: nn.Module) -> bool:
    """A norm over the last dimension, so that channels are there; the 2d variants of timm and torchvision are not."""
    return isinstance(module, nn.LayerNorm) and not type(module).__name__.endswith("2d")


def _could_be_identity(module: nn.Module) -> bool:
    if type(module) is not nn.Conv2d or module.in_channels != module.out_channels or module.groups != 1:
        return False
    same = module.padding == "same" or module.padding == tuple(
        d * (k - 1) // 2 for k, d in zip(module.kernel_size, module.dilation, strict=True)
    )
    return same and set(module.stride) == {1} and all(k % 2 for k in module.kernel_size)


def _shapes(classifier: nn.Module) -> list[Shape]:
    """The classifier's own, or usual ones for what its first layer takes."""
    shape = getattr(classifier, "shape", None)
    if isinstance(shape, tuple) and len(shape) == 3:
        return [shape]
    weight = next((p for p in classifier.parameters() if p.ndim in {2, 4}), None)
    if weight is None:
        return [(3, side, side) for side in _SIDES]
    if weight.ndim == 4:
        return [(weight.shape[1], side, side) for side in _SIDES]
    squares = [(c, isqrt(weight.shape[1] // c)) for c in (3, 1)]
    return [(c, side, side) for c, side in squares if c * side * side == weight.shape[1]]


def _image(classifier: nn.Module, shape: Shape) -> Tensor:
    place = next(classifier.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, *shape, generator=generator).to(place.device, place.dtype)


def known(name: str, first: Mapping[str, int], *, where: str) -> int:
    """When a module was called first.

    Raises:
        InputError: The network has no such module, or does not call it.
    """
    if name not in first:
        outer = ", ".join(n for n in first if "." not in n)
        raise InputError(f"{where}: the network runs no module {name!r} (it runs: {outer}, and what lies in them)")
    return first[name]
