"""Monte-Carlo dropout, for any architecture: trained with dropout, and drawn as weight sets of their own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from carom.draws import stream
from carom.errors import InputError
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.builder import Member
from carom.surrogates.networks.single import Single
from carom.surrogates.surrogate import Schedule
from carom.surrogates.untrained import fitted_draws
from carom.typing import Images, Labels, Logits
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Loss, Slots
from carom.zoo.training.state import Passes, State

Hook = Callable[[str, nn.Module, Tensor], Tensor | None]
"""From a layer's name, the layer and its input to another input, or None for the same."""


@contextmanager
def inputs_of_layers(network: nn.Module, hook: Hook) -> Iterator[None]:
    """Every linear layer and ungrouped convolution but the first to run gets what `hook` makes of its input.

    Names, weights and the module tree stay as they are, and nothing is left behind.
    """
    first: list[nn.Module] = []

    def begin(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module, inputs
        first.clear()

    def before(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...] | None]:
        def run(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            if not first:
                first.append(module)
            if module is first[0]:
                return None
            changed = hook(name, module, inputs[0])
            return None if changed is None else (changed, *inputs[1:])

        return run

    handles = [network.register_forward_pre_hook(begin)]
    handles += [m.register_forward_pre_hook(before(name)) for name, m in network.named_modules() if _droppable(m)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def dropped(rate: float, plain: Loss) -> Loss:
    """`plain`, with dropout of whole input channels or features: one mask an image, the same at all its positions."""

    def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
        def hook(name: str, module: nn.Module, given: Tensor) -> Tensor:
            del name
            shape = [1] * given.ndim
            shape[0] = len(given)
            place = 1 if isinstance(module, nn.Conv2d) else given.ndim - 1
            shape[place] = given.shape[place]
            return given * _mask(tuple(shape), rate, state.generator).to(given)

        with inputs_of_layers(state.classifier.network, hook):
            return plain(state, x, y)

    return loss


@dataclass(frozen=True, kw_only=True)
class Dropout(Single):
    """Trained with dropout before every linear layer and convolution (Gal and Ghahramani 2016, arXiv:1506.02142).

    The first layer, which reads the image, and grouped convolutions are left alone. A mask drops features of a linear
    layer's input, and channels of a convolution's, for each image anew, the same at all positions: what a draw from the
    posterior of that layer's weights does. With rate 0 it is the plain training. Layers that a network does not call as
    modules, such as the projections inside torch's own attention, are left alone too.

    Attributes:
        rate: Part that is dropped, 0 to 0.95.

    Raises:
        InputError: Out of range.
    """

    rate: float = 0.1

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"

    def __post_init__(self) -> None:
        checked(self, "dropout", rate=(0.0, 0.95))

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, with dropout."""
        return adapted(base, self)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """The plain training's, with another loss."""
        del recipe
        return replace(slots, loss=dropped(self.rate, slots.loss)) if self.rate else slots


@dataclass(frozen=True, kw_only=True)
class DropoutDraws:
    """Networks drawn from one that was trained with dropout (Gal and Ghahramani 2016, arXiv:1506.02142).

    A mask over a layer's input that all images share is a change of its weights: columns of 0, and the others over one
    less the rate. So a draw is a weight set like any other. Batch norm is taken anew for each. With rate 0 all are the
    given network.

    Attributes:
        rate: Part that is dropped, 0 to 0.95; that of the training.
        draws: Members, 1 to 10000.

    Raises:
        InputError: Out of range.
    """

    rate: float = 0.1
    draws: int = 10

    version: ClassVar[int] = 1
    schedule: ClassVar[Schedule] = "light"
    takes: ClassVar[str] = "one"
    asks: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checked(self, "dropout", rate=(0.0, 0.95), draws=(1.0, 1e4))

    def count(self, given: int) -> int:
        """The draws; those that do no better than guessing are left out."""
        del given
        return self.draws

    def others(self, seed: int) -> tuple[Member, ...]:
        """None."""
        del seed
        return ()

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """Draw. The record has "layers", the names of those whose inputs are dropped, beside the draws' accuracy.

        Raises:
            InputError: The network has a single layer, or too few images for batch norm.
            DivergedError: No draw does better than guessing.
        """
        if not self.rate:
            return Built(members=(given[0],) * self.draws, passes=Passes())
        layers = _layers(ground, given[0])
        if not layers:
            raise InputError(
                "dropout: the network has no linear layer or ungrouped convolution behind its first; "
                "use another architecture or builder"
            )

        def draws() -> Iterator[Weights]:
            for i in range(self.draws):
                generator = torch.Generator().manual_seed(stream(ground.seed, "dropout draws", i))
                masks = {name: _mask((size,), self.rate, generator) for name, size in layers.items()}
                yield masked(given[0], masks)

        made = fitted_draws(ground, draws(), where="dropout", remedy="lower the rate")
        return replace(made, passes=Passes(forward=1) + made.passes, record={**made.record, "layers": list(layers)})


def masked(given: Weights, masks: Mapping[str, Float[Tensor, " _"]]) -> Weights:
    """The weights with layers' input columns times a mask, by the layers' names; all else as it is."""
    changed = dict(given)
    for name, mask in masks.items():
        weight = given[f"{name}.weight"]
        changed[f"{name}.weight"] = weight * mask.to(weight).reshape(1, -1, *[1] * (weight.ndim - 2))
    return changed


def _layers(ground: Ground, given: Weights) -> dict[str, int]:
    """Names and input sizes of the layers whose inputs are dropped, as one image of the training passes them."""
    classifier = ground.classifier(given)
    found: dict[str, int] = {}

    def hook(name: str, module: nn.Module, x: Tensor) -> None:
        del x
        weight = module.weight
        assert isinstance(weight, Tensor)
        found[name] = weight.shape[1]

    with inputs_of_layers(classifier.network, hook), torch.no_grad():
        classifier(ground.train.pixels[:1].to(ground.device))
    return found


def _droppable(module: nn.Module) -> bool:
    """Layers whose masked inputs are masked weights: not those that standardise their weights before they use them."""
    if type(module).__name__ in ("Conv2d", "Conv2dSame"):
        return isinstance(module, nn.Conv2d) and module.groups == 1
    return isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward


def _mask(shape: tuple[int, ...], rate: float, generator: torch.Generator) -> Float[Tensor, "..."]:
    """0 for what is dropped; what is kept makes up for it."""
    return (torch.rand(shape, generator=generator) >= rate).float() / (1 - rate)


ENTRY = Entry(
    summary="Networks thinned at random, of one that was trained with dropout.",
    paper="Gal and Ghahramani 2016, arXiv:1506.02142",
    stages=(Dropout(), DropoutDraws()),
)
