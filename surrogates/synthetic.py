"""Weight sets that no training came by: averages, draws, projections. Made fit to be read, and looked at."""

from collections.abc import Iterable

import torch

from carom.zoo.ground import Built, Ground, Weights
from carom.zoo.training import DivergedError, Passes, macro_accuracy

from .stack import Vector, parameter_names, reestimated, vector, with_vector

_BATCH = 256


def fitted(ground: Ground, made: Iterable[tuple[Vector, Weights]], total: int, *, where: str) -> Built:
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
    forward = 0
    for place, (values, origin) in enumerate(made):
        names = parameter_names(ground, origin)
        one, passes = origin, Passes()
        if not torch.equal(values, vector(origin, names)):
            one, passes = reestimated(ground, with_vector(origin, names, values))
        forward += passes.forward
        accuracy = validation_accuracy(ground, one)
        if accuracy > 1.2 / ground.classes:  # the bar of trainings' samples
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
        passes=Passes(forward=forward),
        record={"validation_accuracy": accuracies, "diverged": diverged},
    )


def validation_accuracy(ground: Ground, given: Weights) -> float:
    """Macro accuracy on the validation images; 0 where logits are not finite."""
    classifier = ground.classifier(given)
    with torch.inference_mode():
        parts = torch.split(ground.validation.images, _BATCH)
        logits = torch.cat([classifier(part.to(ground.device).float() / 255) for part in parts]).cpu()
    right = (logits.argmax(1) == ground.validation.labels.cpu()) & logits.isfinite().all(1)
    return macro_accuracy(right.float(), ground.validation.labels.cpu())
