"""Weight sets that no training came by: averages, draws, projections. Made fit to be read, and looked at."""

from collections.abc import Iterable

import torch

from carom.zoo.training.accuracy import better_than_guessing
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.state import Passes
from carom.zoo.training.trained import DivergedError

from .stack import Vector, parameter_names, reestimated, vector, with_vector


def fitted_vectors(ground: Ground, made: Iterable[tuple[Vector, Weights]], total: int, *, where: str) -> Built:
    """The weight sets with batch norm that fits them, those left out that do no better than guessing.

    Parameters that equal those of their origin bit for bit give the origin back as it is.

    Args:
        ground: The attacker's images; the validation images are those that tell guessing.
        made: Parameters as a vector, and the weights that they stem from; one after the other, so that they may be made
            when they are asked for.
        total: How many there will be.
        where: Who makes them, for the error.

    Raises:
        DivergedError: None does better than guessing.
        InputError: Too few images to take batch norm's statistics from.
    """
    members: list[Weights] = []
    accuracies: list[float] = []
    diverged: list[int] = []
    passes = Passes()
    for place, (values, origin) in enumerate(made):
        names = parameter_names(ground, origin)
        one = origin
        if not torch.equal(values, vector(origin, names)):
            one, cost = reestimated(ground, with_vector(origin, names, values))
            passes += cost
        accuracy = ground.accuracy(one)
        if better_than_guessing(accuracy, ground.classes):
            members.append(one)
            accuracies.append(accuracy)
        else:
            diverged.append(place + 1)
        if ground.progress is not None:
            ground.progress(place + 1, total, {"validation_accuracy": accuracy})
    if not members:
        raise DivergedError(
            f"{where}: none of {len(diverged)} weight sets does better than guessing; stay closer to the weights that "
            "they stem from"
        )
    return Built(
        members=tuple(members),
        passes=passes,
        record={"validation_accuracy": accuracies, "diverged": diverged},
    )


def fitted_draws(ground: Ground, draws: Iterable[Weights], *, where: str, remedy: str, norms: bool = True) -> Built:
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
