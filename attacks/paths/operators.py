"""How to turn a gradient: modules that stand around others.

They leave every value as it is, bit for bit, and change what it gives back. What they need for that hangs on the
tensors of one pass, never on a module: two networks that share parameters never disturb each other.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from carom.errors import ModelError

from .anatomy import Anatomy
from .graph import Activation

__all__ = [
    "Beginning",
    "Decayed",
    "Entrance",
    "InTurn",
    "Measured",
    "Place",
    "Rectified",
    "Rescaler",
    "SkipConv",
    "Smooth",
    "activation",
    "at_calls",
    "replace",
]

By = Callable[[nn.Module], nn.Module]
Place = tuple[str, By]


def replace(network: nn.Module, places: Iterable[Place]) -> None:
    """Put something else, made of it, in the place of each named module; of one module in the given order.

    A module that stands in several places is replaced in all of them.
    """
    # the innermost first: what is put around a module moves those inside it to other names
    for name, by in sorted(places, key=lambda place: -place[0].count(".")):
        old = network.get_submodule(name)
        new = by(old)
        new.training = old.training
        for holder in list(network.modules()):
            for child in [name for name, module in holder._modules.items() if module is old]:
                setattr(holder, child, new)


def at_calls(found: Anatomy, made: Mapping[Activation, By], *, where: str) -> list[Place]:
    """The places that change these calls of activation modules, each as its function makes it, and leave the others.

    Args:
        found: Of the network.
        made: From a call to what makes a module of the one that is called.
        where: For errors.

    Raises:
        ModelError: A module runs several times, and nothing shows where a pass begins.
    """
    ran: Counter[str] = Counter()
    places: list[Place] = []
    several = False
    for name in dict.fromkeys(call.module for call in made):
        calls = [made.get(call) for call in found.activations if call.module == name]
        if len(calls) == 1 and calls[0] is not None:
            places.append((name, calls[0]))
        else:
            several = True
            places.append((name, partial(InTurn, turns=calls, ran=ran, name=name)))
    if several and found.entry is None:
        raise ModelError(
            f"{where}: the network runs one activation module several times, and its first layer too, so its calls "
            "cannot be told apart; give it modules of their own"
        )
    if several and found.entry is not None:
        places.append((found.entry, partial(Beginning, ran=ran)))
    return places


class InTurn(nn.Module):
    """A module that runs several times in a pass, each time as what was made of it for that call.

    Attributes:
        name: Its place in the network.
        ran: How often modules such as this one have run in the pass at hand.
    """

    def __init__(self, inner: nn.Module, *, turns: Sequence[By | None], ran: Counter[str], name: str) -> None:
        super().__init__()
        self.turns = nn.ModuleList([inner if by is None else by(inner) for by in turns])
        self.ran, self.name = ran, name

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        turn = self.ran[self.name]
        if turn >= len(self.turns):
            raise ModelError(
                f"surrogate: its module {self.name!r} runs more than the {len(self.turns)} times seen before, so a "
                "model path cannot tell its calls apart; use an attack without model path"
            )
        self.ran[self.name] += 1
        return self.turns[turn](*args, **kwargs)


class Beginning(nn.Module):
    """The first layer of a network: where modules in turn begin anew, however the last pass ended."""

    def __init__(self, inner: nn.Module, *, ran: Counter[str]) -> None:
        super().__init__()
        self.inner, self.ran = inner, ran

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.ran.clear()
        return self.inner(*args, **kwargs)


class Decayed(nn.Module):
    """A module with a share of its gradient."""

    def __init__(self, inner: nn.Module, share: float) -> None:
        super().__init__()
        self.inner, self.share = inner, share

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        answer = self.inner(*args, **kwargs)
        # a hook of this pass's tensor: it costs nothing on the way there, and what follows may work in place
        if answer.requires_grad:
            share = self.share
            answer.register_hook(lambda gradient: gradient * share)
        return answer


class Rescaler:
    """What the two ends of a branch tell each other in one pass, so that its gradient keeps its usual length.

    Attributes:
        plain: Activations give back their usual gradient now; shared by all branches of a network.
        entered: The pass whose branch has not ended yet.
    """

    class Pass:
        """One forward pass: the entrance's output, and how long the usual gradient there is."""

        def __init__(self, entrance: Tensor) -> None:
            self.entrance = entrance
            self.length: Tensor | None = None

    class Plain:
        """One flag."""

        now = False

    def __init__(self, plain: "Rescaler.Plain") -> None:
        self.plain = plain
        self.entered: Rescaler.Pass | None = None


class Entrance(nn.Module):
    """The module at a branch's entrance; scales the gradient that leaves there, image by image."""

    def __init__(self, inner: nn.Module, rescaler: Rescaler) -> None:
        super().__init__()
        self.inner, self.rescaler = inner, rescaler

    @override
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not x.requires_grad:
            return self.inner(x, *args, **kwargs)
        entrance = x.view_as(x)  # a place of its own: the skip reads x too
        own = self.rescaler.entered = Rescaler.Pass(entrance)
        plain = self.rescaler.plain

        def scaled(gradient: Tensor) -> Tensor:
            if plain.now or own.length is None:
                return gradient
            length = _length(gradient)
            factor: Tensor = torch.where(length > 0, own.length / length, 0)
            return gradient * factor

        entrance.register_hook(scaled)  # type: ignore[no-untyped-call]
        return self.inner(entrance, *args, **kwargs)


class Measured(nn.Module):
    """The module at a branch's end; measures there how long the branch's usual gradient would be."""

    def __init__(self, inner: nn.Module, rescaler: Rescaler) -> None:
        super().__init__()
        self.inner, self.rescaler = inner, rescaler

    @override
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        answer = self.inner(*args, **kwargs)
        own, self.rescaler.entered = self.rescaler.entered, None
        if own is None or not answer.requires_grad:
            return answer
        plain = self.rescaler.plain

        def measure(gradient: Tensor) -> None:
            if plain.now:
                return
            plain.now = True
            try:
                (inward,) = torch.autograd.grad(answer, own.entrance, gradient, retain_graph=True)
            finally:
                plain.now = False
            own.length = _length(inward)

        end = answer.clone()  # what adds in place must leave `answer` to be differentiated again
        end.register_hook(measure)
        return end


class Rectified(nn.Module):
    """ReLU whose negative side gives back the share that it usually keeps.

    Attributes:
        share: Of the usual derivative in a mixture with the identity's; 0 is the identity, 1 is a ReLU.
    """

    def __init__(self, relu: nn.Module, share: float, plain: Rescaler.Plain | None = None) -> None:
        super().__init__()
        # the ReLU itself is not kept: what looks for ReLUs that can be moved must not find this one
        self.inplace = bool(getattr(relu, "inplace", False))
        self.share, self.plain = share, plain

    @override
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Rectify.apply(x, self.share, self.inplace, self.plain)
        return y


class Smooth(nn.Module):
    """Another activation, its derivative mixed with the identity's; as `Rectified`."""

    def __init__(self, inner: nn.Module, share: float, plain: Rescaler.Plain | None = None) -> None:
        super().__init__()
        self.inner, self.share, self.plain = inner, share, plain

    @override
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Activate.apply(x, self.inner, self.share, self.plain)
        return y


class SkipConv(nn.Module):
    """A convolution as identity plus rest, the rest with a share of its gradient (arXiv:2308.07625).

    K = I + (K - I): what comes back is that of I, and `share` times that of K - I. As I is the identity, this is
    `share` times that of K, and 1 - `share` times the gradient itself; no second convolution is needed.
    """

    def __init__(self, inner: nn.Module, share: float) -> None:
        super().__init__()
        self.inner, self.share = inner, share

    @override
    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Bypass.apply(self.inner(x), x, self.share)
        # an alias: a batch norm behind it must not be folded, as it scales what goes past the kernel too
        return y.view_as(y)


def activation(module: nn.Module, *, share: float, plain: Rescaler.Plain | None = None) -> nn.Module:
    """The same with its derivative mixed with the identity's, but while `plain` says otherwise."""
    return Rectified(module, share, plain) if type(module) is nn.ReLU else Smooth(module, share, plain)


class _Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, share: float, inplace: bool, plain: Rescaler.Plain | None) -> Tensor:
        y = x.relu_() if inplace else x.relu()
        if inplace:
            ctx.mark_dirty(x)
        ctx.share, ctx.plain = share, plain
        if share or plain is not None:
            ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        share = 1.0 if ctx.plain is not None and ctx.plain.now else ctx.share
        if not share:
            return gradient, None, None, None
        (y,) = ctx.saved_tensors
        if share == 1:
            return torch.ops.aten.threshold_backward(gradient, y, 0), None, None, None
        # that of a leaky ReLU: one pass over the numbers
        return torch.ops.aten.leaky_relu_backward(gradient, y, 1 - share, False), None, None, None


class _Activate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, inner: nn.Module, share: float, plain: Rescaler.Plain | None) -> Tensor:
        ctx.share, ctx.plain, ctx.inner = share, plain, inner
        keep = share or plain is not None
        before = x.clone() if keep and getattr(inner, "inplace", False) else x
        y: Tensor = inner(x)
        if y is x:
            ctx.mark_dirty(x)
        if keep:
            ctx.save_for_backward(before)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        share = 1.0 if ctx.plain is not None and ctx.plain.now else ctx.share
        if not share:
            return gradient, None, None, None
        (before,) = ctx.saved_tensors
        with torch.enable_grad():
            x = before.detach().requires_grad_()
            (usual,) = torch.autograd.grad(ctx.inner(x.clone()), x, gradient)
        return (usual if share == 1 else share * usual + (1 - share) * gradient), None, None, None


class _Bypass(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, x: Tensor, share: float) -> Tensor:
        ctx.mark_dirty(y)  # no copy: a convolution does not read its own output on the way back
        ctx.share = share
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        return (gradient * ctx.share if ctx.share else None), gradient * (1 - ctx.share), None


def _length(gradient: Tensor) -> Tensor:
    """Of each image, in the shape that scales them."""
    length: Tensor = gradient.flatten(1).norm(dim=1)
    return length.reshape(-1, *[1] * (gradient.ndim - 1))
