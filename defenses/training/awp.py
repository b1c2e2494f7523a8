"""Adversarial weight perturbation: trains at weights that are made worse on purpose."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from carom.stages import Entry
from carom.typing import Images, Labels, Logits
from carom.zoo.training.recipes import Recipe, matrices
from carom.zoo.training.slots import Loss, Slots
from carom.zoo.training.state import State

from .mart import MART
from .pgd_at import PGDAT, Adversarial
from .trades import TRADES

_TINY = 1e-20  # a gradient of 0 moves nothing


@dataclass(frozen=True, kw_only=True)
class AWP(Adversarial):
    """Adversarial weight perturbation on PGD-AT, TRADES or MART (Wu, Xia and Wang 2020, arXiv:2004.05884).

    In each step the images are attacked once; each matrix or kernel W moves by `gamma |W| g / |g|` along the gradient g
    of the loss on them; the loss's gradient is read there, W is put back bit for bit, and the optimizer steps. Biases,
    norms, positions and tokens do not move. One more reading of the loss is what it costs.

    Unlike in the authors' code weight decay acts on the weights themselves, not on the moved ones; the attack reads the
    network in eval mode, theirs in training mode; and batch norm's statistics are of the first reading, so of weights
    that the network had and of attacked images alone.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.
        on: What it is added to: "pgd-at", "trades" or "mart".
        beta: Weight of robustness in TRADES and MART, 0 to 1000; PGD-AT has none.
        gamma: How far a weight tensor moves, in units of its norm, 0 to 1; the paper's is 0.01 on PGD-AT, 0.005 on
            TRADES.
        warmup: Epochs without it, 0 to a million; the paper's are 0 on PGD-AT, 10 on TRADES.

    Raises:
        InputError: Out of range.
    """

    on: Literal["pgd-at", "trades", "mart"] = "pgd-at"
    beta: float = 6.0
    gamma: float = 0.01
    warmup: int = 0

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        self._check(beta=(0.0, 1e3), gamma=(0.0, 1.0), warmup=(0.0, 1e6))

    @property
    def _base(self) -> Adversarial:
        if self.on == "pgd-at":
            return PGDAT(eps=self.eps, norm=self.norm, steps=self.steps, step=self.step)
        cls = {"trades": TRADES, "mart": MART}[self.on]
        return cls(eps=self.eps, norm=self.norm, steps=self.steps, step=self.step, beta=self.beta)

    @override
    def attacked(self, state: State, x: Images, y: Labels) -> Images:
        return self._base.attacked(state, x, y)

    @override
    def loss(self, plain: Loss, state: State, x: Images, x_adv: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
        return self._base.loss(plain, state, x, x_adv, y)

    @override
    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss, another update, and the best epoch chosen under attack."""
        base, attacked = self._base, list[Images]()  # of the present step, for both readings

        def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
            if not attacked:
                attacked.append(base.attacked(state, x, y))
            return base.loss(slots.loss, state, x, attacked[0], y)

        def update(state: State, gradient: Callable[[], None]) -> None:
            attacked.clear()
            if state.epoch < self.warmup or not self.gamma:
                slots.update(state, gradient)
            else:
                gradient_nearby(state, gradient, self.gamma)
                state.optimizer.step()

        return replace(super().slots(slots, recipe), loss=loss, update=update)


def gradient_nearby(state: State, gradient: Callable[[], None], gamma: float) -> None:
    """Parameters' gradients at weights moved uphill, each tensor by `gamma` times its norm; the weights are put back.

    Args:
        state: Where the training stands.
        gradient: Sets every parameter's gradient at the present weights.
        gamma: How far.
    """
    gradient()
    moved: list[Tensor] = [p for p in matrices(state.classifier) if p.grad is not None]
    with torch.no_grad():
        kept = torch._foreach_clone(moved)
        slopes = [p.grad for p in moved if p.grad is not None]
        lengths = torch._foreach_norm(moved)
        torch._foreach_div_(lengths, torch._foreach_add(torch._foreach_norm(slopes), _TINY))
        torch._foreach_mul_(lengths, gamma)
        torch._foreach_addcmul_(moved, slopes, lengths)
    with _still(state.classifier):
        gradient()
    with torch.no_grad():
        torch._foreach_copy_(moved, kept)


@contextmanager
def _still(classifier: nn.Module) -> Iterator[None]:
    """Batch norm normalises by the batch, and takes nothing down."""
    norms = [
        m for m in classifier.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]
    for layer in norms:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in norms:
            layer.track_running_stats = True


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"cifar10": MappingProxyType({"eps": Fraction(8, 255), "steps": 10, "step": 0.25, "gamma": 0.01, "warmup": 0})}
)


ENTRY = Entry(
    summary="Adversarial training whose weights are moved against it as well.",
    paper="Wu, Xia and Wang 2020, arXiv:2004.05884",
    stages=(AWP(),),
    presets=PRESETS,
)
