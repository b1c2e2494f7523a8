"""What draws from a posterior have in common: batch norm that fits each, and a look at whether they are of use."""

from collections.abc import Iterable

import torch

from carom.zoo.ground import Built, Ground, Weights
from carom.zoo.training import DivergedError, Passes, macro_accuracy

from .stack import reestimated

_BATCH = 256


def better_than_guessing(accuracy: float, classes: int) -> bool:
    """By the training loop's measure: a fifth above."""
    return accuracy > 1.2 / classes


def validation_accuracy(ground: Ground, given: Weights) -> float:
    """Macro accuracy on the attacker's validation images; 0 where a logit is not finite."""
    classifier = ground.classifier(given)
    parts = torch.split(ground.validation.pixels, _BATCH)
    with torch.inference_mode():
        logits = torch.cat([classifier(part.to(ground.device)) for part in parts]).cpu()
    if not bool(logits.isfinite().all()):
        return 0.0
    labels = ground.validation.labels.cpu()
    return macro_accuracy((logits.argmax(1) == labels).float(), labels)


def drawn(ground: Ground, draws: Iterable[Weights], *, where: str, remedy: str, norms: bool = True) -> Built:
    """Draws as members, each with batch norm taken anew; those that do no better than guessing are left out.

    The record has "validation_accuracy" of each draw, in order, and "diverged", the places of those left out, from 1.

    Args:
        ground: The attacker's.
        draws: Weight sets, made one by one.
        where: Who drew; begins the message of an error.
        remedy: What to do where none is of use; ends it.
        norms: Whether what comes before a batch norm differs from the given network.

    Raises:
        DivergedError: All would be left out.
        InputError: Too few images for batch norm.
    """
    members: list[Weights] = []
    accuracies: list[float] = []
    diverged: list[int] = []
    passes = Passes()
    for place, draw in enumerate(draws, start=1):
        cost = Passes()
        if norms:
            draw, cost = reestimated(ground, draw)
        passes = Passes(passes.forward + cost.forward, passes.backward + cost.backward)
        accuracies.append(validation_accuracy(ground, draw))
        if better_than_guessing(accuracies[-1], ground.classes):
            members.append(draw)
        else:
            diverged.append(place)
    if not members:
        raise DivergedError(f"{where}: none of {len(accuracies)} draws does better than guessing; {remedy}")
    return Built(
        members=tuple(members),
        passes=passes,
        record={"validation_accuracy": accuracies, "diverged": diverged},
    )


def total(*parts: Passes) -> Passes:
    """Passes of several stages together."""
    return Passes(sum(p.forward for p in parts), sum(p.backward for p in parts))
