"""The loss along lines through weight space, and how many directions a set of weights spans."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from carom.draws import stream
from carom.errors import InputError
from carom.surrogates.stack import reestimated, vector, with_vector
from carom.zoo.models.classifier import Classifier, weights
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.ground import Ground, Weights
from carom.zoo.training.state import Passes

from .hessian import BATCH, check, chunk

RAY = 0.02  # root mean square change of a parameter at the end of a ray: norm 100 for a ResNet-50, as LGV went
_COLUMNS = 1 << 18  # parameters in float64 at a time


@dataclass(frozen=True, kw_only=True, eq=False)
class Path:
    """The loss at points along lines.

    Attributes:
        places: Of the points: distances from the weights, or shares of the way.
        losses: Mean cross-entropy, `lines points`.
        accuracies: Share of right answers, `lines points`.
        passes: What they cost.
    """

    places: Float[Tensor, " points"]
    losses: Float[Tensor, "lines points"]
    accuracies: Float[Tensor, "lines points"]
    passes: Passes


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Principal components of a set of weights.

    Attributes:
        shares: Of the total variance, by component, the largest first; one fewer than weight sets. Zeros if all equal.
        dimension: Effective number of directions, (sum of variances)^2 / sum of their squares; 0 if all are equal.
    """

    shares: tuple[float, ...]
    dimension: float


def loss_along_rays(
    classifier: Classifier,
    images: ImageSet,
    *,
    seed: int,
    rays: int = 10,
    points: int = 20,
    longest: float | None = None,
    ground: Ground | None = None,
    batch: int = BATCH,
) -> Path:
    """The loss on the way from the weights in random directions, as Gubri et al. 2022 (LGV, arXiv:2207.13129) draw it.

    Directions are uniform over the sphere of all parameters; points are evenly spaced, the last at `longest`.

    Args:
        classifier: In eval mode; it stays as it is.
        images: Not augmented; on the CPU.
        seed: Of the directions.
        rays: How many.
        points: Of each, without the weights themselves.
        longest: L2 length of a ray; None for 0.02 times the root of the number of parameters, so that networks of
            different size have their parameters moved equally far.
        ground: Whose images batch norm's statistics are taken from anew at each point; None keeps the network's own,
            which belong to other weights, and so tells of the statistics too. Statistics taken anew may suit the
            weights themselves better than their own: compare points with points, not with the loss before.
        batch: Images at a time.

    Raises:
        InputError: No images, training mode, or a number out of range.
    """
    if rays < 1 or points < 1 or (longest is not None and not longest > 0):
        raise InputError(f"rays: rays={rays}, points={points}, longest={longest}; expected at least 1, 1, and above 0")
    check(classifier, images)
    given, names = weights(classifier), [name for name, _ in classifier.network.named_parameters()]
    centre = vector(given, names)
    length = RAY * math.sqrt(len(centre)) if longest is None else longest
    places = length * torch.arange(1, points + 1) / points
    losses, accuracies, passes = torch.empty(rays, points), torch.empty(rays, points), Passes()
    for ray in range(rays):
        generator = torch.Generator().manual_seed(stream(seed, "rays", ray))
        direction = torch.randn(len(centre), generator=generator)
        direction /= direction.norm()
        for point, place in enumerate(places.tolist()):
            moved: Weights = with_vector(given, names, centre + place * direction)
            moved = _refitted(ground, moved, passes)
            losses[ray, point], accuracies[ray, point] = _loss_at(classifier, moved, images, batch, passes)
    return Path(places=places, losses=losses, accuracies=accuracies, passes=passes)


def loss_between(
    first: Classifier,
    second: Classifier,
    images: ImageSet,
    *,
    shares: Sequence[float] | None = None,
    ground: Ground | None = None,
    batch: int = BATCH,
) -> Path:
    """The loss on the straight line through two networks' weights: at 0 the first, at 1 the second.

    Args:
        first: In eval mode; both stay as they are.
        second: Of the same architecture.
        images: Not augmented; on the CPU.
        shares: Of the way; None for 40 from -1 to 2.
        ground: Whose images batch norm's statistics are taken from anew at each point but 0 and 1, where the networks
            have their own; None takes the statistics of the nearer network.
        batch: Images at a time.

    Raises:
        InputError: No images, training mode, no share, or networks of two architectures.
    """
    check(first, images)
    check(second, images)
    start, end = weights(first), weights(second)
    if {n: t.shape for n, t in start.items()} != {n: t.shape for n, t in end.items()}:
        raise InputError("interpolation: the networks are of different architectures; expected the same weights")
    places = torch.linspace(-1, 2, 40) if shares is None else torch.tensor(list(shares), dtype=torch.float32)
    if not len(places):
        raise InputError("interpolation: no shares; expected at least one")
    names = [name for name, _ in first.network.named_parameters()]
    one, two = vector(start, names), vector(end, names)
    losses, accuracies, passes = torch.empty(1, len(places)), torch.empty(1, len(places)), Passes()
    for i, place in enumerate(places.tolist()):
        nearer = start if place < 0.5 else end
        here: Weights = nearer
        if place not in (0.0, 1.0):
            here = _refitted(ground, with_vector(nearer, names, torch.lerp(one, two, place)), passes)
        losses[0, i], accuracies[0, i] = _loss_at(first, here, images, batch, passes)
    return Path(places=places, losses=losses, accuracies=accuracies, passes=passes)


def weight_spectrum(members: Sequence[Weights], names: Sequence[str]) -> Spectrum:
    """Principal components of weight sets about their mean.

    Args:
        members: At least two, of one architecture.
        names: Of the parameters, `carom.surrogates.stack.parameter_names`.

    Raises:
        InputError: Fewer than two.
    """
    if len(members) < 2:
        raise InputError(f"principal components: {len(members)} weight sets; expected at least two")
    first = vector(members[0], names)
    # about the first, which loses no digits where all are near it; only inner products of the members are needed
    apart = torch.stack([vector(member, names) - first for member in members])
    inner = torch.zeros(len(members), len(members), dtype=torch.float64)
    for columns in torch.split(apart, _COLUMNS, dim=1):
        inner += columns.double() @ columns.double().T
    inner = inner - inner.mean(0, keepdim=True)
    inner = inner - inner.mean(1, keepdim=True)
    variances = torch.linalg.eigvalsh(inner).flip(0)[:-1].clamp(min=0)
    total = float(variances.sum())
    if total == 0:
        return Spectrum(shares=(0.0,) * len(variances), dimension=0.0)
    shares = variances / total
    return Spectrum(shares=tuple(shares.tolist()), dimension=1 / float((shares**2).sum()))


def _refitted(ground: Ground | None, given: Weights, passes: Passes) -> Weights:
    if ground is None:
        return given
    fitted, cost = reestimated(ground, given)
    passes.forward += cost.forward
    passes.backward += cost.backward
    return fitted


def _loss_at(
    classifier: Classifier, given: Mapping[str, Tensor], images: ImageSet, batch: int, passes: Passes
) -> tuple[float, float]:
    """Mean cross-entropy and accuracy with these weights in the place of the classifier's own."""
    device = classifier.mean.device
    tensors = {f"network.{name}": tensor.to(device) for name, tensor in given.items()}
    total, right = 0.0, 0
    with torch.no_grad():
        for start in range(0, len(images), batch):
            x, labels = chunk(classifier, images, start, start + batch)
            logits: Tensor = functional_call(classifier, tensors, (x,))
            total += float(cross_entropy(logits, labels, reduction="sum"))
            right += int((logits.argmax(1) == labels).sum())
    passes.forward += len(images)
    return total / len(images), right / len(images)
