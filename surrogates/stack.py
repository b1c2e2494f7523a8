"""Several weight sets of one architecture: as one artefact, as vectors, and with batch norm that fits them."""

import copy
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from carom.draws import stream
from carom.errors import InputError
from carom.zoo.architectures import Architecture
from carom.zoo.models.classifier import Classifier, Shape, create, load_weights, weights
from carom.zoo.preprocessing import Preprocessing
from carom.zoo.training.ground import Ground, Weights
from carom.zoo.training.state import Passes

Vector = Float[Tensor, " d"]

_BATCH = 128
_LEAST = 32  # images that a batch norm is re-estimated from


def stacked(members: Sequence[Weights]) -> dict[str, Tensor]:
    """One tensor for each name, the weight sets along its first dimension: each is stored once."""
    return {name: torch.stack([member[name] for member in members]) for name in members[0]}


def unstacked(tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The weight sets of `stacked`, as views."""
    count = len(next(iter(tensors.values())))
    return [{name: tensor[i] for name, tensor in tensors.items()} for i in range(count)]


def restored(
    architecture: Architecture,
    members: Sequence[Weights],
    *,
    shape: Shape,
    classes: int,
    preprocessing: Preprocessing | None = None,
    where: str = "weights",
) -> list[Classifier]:
    """A classifier for each weight set, in eval mode; the module tree is built once and the tensors are not copied.

    Raises:
        ModelError: They are not weights of this architecture.
    """
    first = create(architecture, shape=shape, classes=classes, preprocessing=preprocessing, pretrained=False).eval()
    load_weights(first, members[0], where=where)
    empty = copy.deepcopy(first.network).to("meta")
    classifiers = []
    for member in members:
        network = copy.deepcopy(empty)
        network.load_state_dict(dict(member), assign=True)
        lost = [n for n, t in (*network.named_buffers(), *network.named_parameters()) if t.is_meta]
        if lost:  # what is no part of the weights, such as a table of positions, is the same in all of them
            network = copy.deepcopy(first.network)
            network.load_state_dict(dict(member))
        classifiers.append(
            Classifier(
                network,
                shape=shape,
                classes=classes,
                preprocessing=first.preprocessing,
                architecture=architecture,
            ).eval()
        )
    return classifiers


def parameter_names(ground: Ground, given: Weights) -> tuple[str, ...]:
    """Names of the parameters among the weights; the rest are buffers, such as batch norm's statistics."""
    return tuple(name for name, _ in ground.classifier(given).network.named_parameters())


def vector(given: Weights, names: Sequence[str]) -> Vector:
    """The parameters as one vector, float32."""
    return torch.cat([given[name].flatten().float() for name in names])


def with_vector(given: Weights, names: Sequence[str], values: Vector) -> dict[str, Tensor]:
    """`given` with other parameters; buffers are `given`'s."""
    parts = torch.split(values, [given[name].numel() for name in names])
    new = {name: part.reshape(given[name].shape).to(given[name].dtype) for name, part in zip(names, parts, strict=True)}
    return {name: new.get(name, tensor).clone() for name, tensor in given.items()}


def mean(members: Sequence[Weights], names: Sequence[str]) -> dict[str, Tensor]:
    """The mean of the parameters; buffers are the first's. Equal weight sets give themselves back, bit for bit."""
    total = vector(members[0], names)
    for i, member in enumerate(members[1:], start=2):
        total += (vector(member, names) - total) / i
    return with_vector(members[0], names, total)


def reestimated(ground: Ground, given: Weights, part: float = 0.1) -> tuple[Weights, Passes]:
    """The weights with batch norm's statistics taken anew, and what that cost.

    Every weight set that no training came by needs it (Izmailov et al. 2018, arXiv:1803.05407). Statistics are reset
    and averaged over batches of a part of the training images, without augmentation; all else stays in eval mode.

    Args:
        ground: The attacker's images.
        given: Weights.
        part: Of the training images, at least 32 of them.

    Raises:
        InputError: There are fewer than 32 training images, and the network has batch norm.
    """
    classifier = ground.classifier(given)
    norms = [
        m for m in classifier.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats
    ]
    if not norms:
        return given, Passes()
    n = len(ground.train)
    if n < _LEAST:
        raise InputError(
            f"surrogate: batch norm has {n} images to take its statistics from; expected at least {_LEAST}"
        )
    generator = torch.Generator().manual_seed(stream(ground.seed, "batch norm"))
    chosen = torch.randperm(n, generator=generator)[: max(_LEAST, round(part * n))]
    images = ground.train.select(chosen)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
        norm.train()
    pieces = max(1, len(images) // _BATCH)
    with torch.no_grad():
        for batch in images.images.tensor_split(pieces):
            classifier(batch.to(ground.device).float() / 255)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return weights(classifier), Passes(forward=len(images))
