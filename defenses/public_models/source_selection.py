"""Which public models a defender learns from: one a group, the one whose attacks transfer best."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from carom.budget import Budget
from carom.defenses.defense import PublicModel
from carom.draws import stream
from carom.errors import InputError
from carom.identity import tensor_digest
from carom.protocols import Attack
from carom.registry import did_you_mean
from carom.typing import Pixels
from carom.zoo.models.classifier import weights
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.ground import Ground, Weights
from carom.zoo.training.state import Passes

from .adversarial_copies import adversarial_copy, predicted

Accuracies = Float[Tensor, "s t"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Transfer:
    """How the attacks on each public model do on the others.

    Attributes:
        accuracy: Share of images in [0, 1] that model t gets right of those crafted on model s; float64.
        sets: The images crafted on each model, 8-bit.
        passes: Image passes of crafting and of answering.
        seconds: Of crafting.
    """

    accuracy: Accuracies
    sets: tuple[Pixels, ...]
    passes: Passes
    seconds: float


def transfer_matrix(
    pool: Sequence[PublicModel],
    images: ImageSet,
    *,
    attack: Attack,
    budget: Budget,
    seed: int,
    device: torch.device | None = None,
    stored: Path | None = None,
    made: Callable[[], None] | None = None,
) -> Transfer:
    """Accuracy of each public model on the images crafted on each, true classes attacked; all images count.

    Args:
        pool: Public models alone, on `device`.
        images: Validation images, never test images.
        attack: Of the crafting engine.
        budget: Of the attack.
        seed: Of the attack's draws.
        device: Where to work; None for the CPU.
        stored: A folder that keeps what was crafted; None keeps nothing.
        made: Called after each set.
    """
    device = device or torch.device("cpu")
    accuracy = torch.zeros(len(pool), len(pool), dtype=torch.float64)
    sets: list[Pixels] = []
    passes, seconds = Passes(), 0.0
    labels = images.labels.cpu()
    for s, source in enumerate(pool):
        copy = adversarial_copy(source, images, attack=attack, budget=budget, seed=seed, device=device, stored=stored)
        for t, judge in enumerate(pool):
            right = predicted(judge.classifier, copy.images, device) == labels
            accuracy[s, t] = right.double().mean()
        passes.forward += copy.passes.forward + len(pool) * len(images)
        passes.backward += copy.passes.backward
        seconds += copy.seconds
        sets.append(copy.images)
        if made is not None:
            made()
    return Transfer(accuracy=accuracy, sets=tuple(sets), passes=passes, seconds=seconds)


def selected(accuracy: Accuracies, pool: Sequence[PublicModel], groups: Sequence[str]) -> tuple[int, ...]:
    """The place in the pool of each group's source: that on whose examples the other models are right least often.

    The others are all other models of the pool, of whatever group, so that a group's source does not hang on which
    groups are used beside it. Of equals, the one with the highest accuracy on its own examples; then the first.
    Sitawarin et al. 2024, arXiv:2310.17645, choose by such a matrix; the rule is ours, as the paper gives none.
    """
    others = len(pool) - 1
    reach = [(float(row.sum()) - float(row[s])) / max(1, others) for s, row in enumerate(accuracy)]
    # rounded: equal means of counts are not always equal sums of floats
    order = [(round(mean, 12), -round(float(accuracy[s, s]), 12), s) for s, mean in enumerate(reach)]
    return tuple(min(order[s] for s in _members(pool, group))[2] for group in groups)


def drawn(pool: Sequence[PublicModel], groups: Sequence[str], seed: int) -> tuple[int, ...]:
    """The place in the pool of one member of each group, drawn; a group's does not hang on the other groups."""
    chosen = []
    for group in groups:
        members = _members(pool, group)
        generator = torch.Generator().manual_seed(stream(seed, f"pubdef source of {group}"))
        chosen.append(members[int(torch.randint(len(members), (), generator=generator))])
    return tuple(chosen)


def groups_of(pool: Iterable[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The groups to learn from, by name, out of those of the pool: those wanted, or all where none is named.

    Raises:
        InputError: A group without a member.
    """
    known = sorted(set(pool))
    for group in wanted:
        if group not in known:
            raise InputError(
                f"pubdef: no public model is of group {group!r}{did_you_mean(group, known)} "
                f"(groups of the pool: {', '.join(known)})"
            )
    return tuple(sorted(wanted) or known)


def check_pool(pool: Sequence[PublicModel], ground: Ground, given: Sequence[Weights]) -> None:
    """Refuse a pool that a defender cannot learn from.

    Raises:
        InputError: An empty pool, two models of one label, a model of other images or classes, or one that is the
            start of the defended model.
    """
    if not pool:
        raise InputError("pubdef: the public pool is empty; name at least one public model")
    labels = [model.label for model in pool]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise InputError(f"pubdef: the label {twice[0]!r} stands twice in the public pool; give each model its own")
    own = {tensor_digest(start) for start in given}
    for model in pool:
        classifier = model.classifier
        if (classifier.shape, classifier.classes) != (ground.shape, ground.classes):
            raise InputError(
                f"pubdef: public model {model.label!r} takes images {classifier.shape} of {classifier.classes} "
                f"classes, expected {ground.shape} of {ground.classes}; leave it out of the pool"
            )
        if own and tensor_digest(weights(classifier)) in own:
            raise InputError(
                f"pubdef: public model {model.label!r} has the weights that the defended model starts from; "
                "leave it out of the pool, or start from another"
            )


def _members(pool: Sequence[PublicModel], group: str) -> list[int]:
    return [place for place, model in enumerate(pool) if model.group == group]
