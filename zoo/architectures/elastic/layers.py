"""Networks and layers of which a part may be used."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from carom.zoo.preprocessing import Inputs

from .space import Choice, Space

Maps = Float[Tensor, "n d i j"]  # what a layer makes of inputs


class ElasticNetwork(nn.Sequential):
    """A network of which a part may be used.

    Attributes:
        space: What can be chosen.
        choice: What is; None for the largest sub-network.
    """

    def __init__(self, layers: Mapping[str, nn.Module], space: Space) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.space = space
        self.choice: Choice | None = None

    def choose(self, choice: Choice | None) -> None:
        """From now on the forward pass is that of this sub-network; None for the largest. No weight is copied.

        Raises:
            InputError: Not of this network's space.
        """
        if choice is not None:
            self.space.check(choice)
        self.choice = choice
        self._resize(choice)

    def _resize(self, choice: Choice | None) -> None:
        raise NotImplementedError


class Stage(nn.Sequential):
    """Blocks, of which the first `kept` run; None for all."""

    kept: int | None = None

    @override
    def forward(self, x: Inputs) -> Maps:
        for block in list(self)[: self.kept]:
            x = block(x)
        return x


def convolve(layer: nn.Module, x: Inputs, outputs: int | None, kernel: Tensor | None = None) -> Maps:
    """The first `outputs` channels of a convolution on the first of its input channels, as many as there are.

    Args:
        layer: An `nn.Conv2d`, of one group or of as many as it has channels.
        x: What it reads.
        outputs: None for all that the layer is.
        kernel: Instead of the layer's, with all output channels; for kernels of another size.
    """
    if outputs is None:
        y: Tensor = layer(x)
        return y
    assert isinstance(layer, nn.Conv2d)
    weight = (layer.weight if kernel is None else kernel)[:outputs]
    alone = layer.groups > 1
    if not alone:
        weight = weight[:, : x.shape[1]]
    bias = None if layer.bias is None else layer.bias[:outputs]
    return nn.functional.conv2d(x, weight, bias, layer.stride, weight.shape[-1] // 2, groups=outputs if alone else 1)


def normalise(layer: nn.Module, x: Inputs, *, part: bool) -> Inputs:
    """Batch norm with the first of its statistics, as many as there are channels, if only a `part` is used."""
    if not part or not isinstance(layer, nn.BatchNorm2d):  # folded into the convolution before it
        y: Tensor = layer(x)
        return y
    n = x.shape[1]
    assert layer.running_mean is not None
    assert layer.running_var is not None
    assert layer.num_batches_tracked is not None
    tracked = layer.track_running_stats or not layer.training
    if layer.training and tracked:
        layer.num_batches_tracked.add_(1)
    return nn.functional.batch_norm(
        x,
        layer.running_mean[:n] if tracked else None,
        layer.running_var[:n] if tracked else None,
        layer.weight[:n],
        layer.bias[:n],
        layer.training,
        layer.momentum or 0.0,
        layer.eps,
    )


class PartialLinear(nn.Linear):
    """A linear layer that reads as many of its inputs as there are."""

    @override
    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        weight = self.weight if x.shape[1] == self.in_features else self.weight[:, : x.shape[1]]
        return nn.functional.linear(x, weight, self.bias)


@contextmanager
def still(network: nn.Module) -> Iterator[None]:
    """Batch norms in training mode normalise by the batch, and take nothing down."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]
    for layer in norms:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in norms:
            layer.track_running_stats = True
