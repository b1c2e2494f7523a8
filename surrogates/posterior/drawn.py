"""What draws from a posterior have in common: batch norm that fits each, and a look at whether they are of use."""

from collections.abc import Iterable

from carom.surrogates.stack import reestimated
from carom.zoo.training.accuracy import better_than_guessing
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.state import Passes
from carom.zoo.training.trained import DivergedError


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
        passes += cost
        accuracies.append(ground.accuracy(draw))
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
