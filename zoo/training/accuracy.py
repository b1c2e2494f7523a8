"""Accuracy as the mean over classes, and whether weights that have it are of use."""

import torch

from carom.typing import Labels, PerImage


def better_than_guessing(accuracy: float, classes: int) -> bool:
    """Whether weights are of use: by a fifth."""
    return accuracy > 1.2 / classes


def macro_accuracy(right: PerImage, labels: Labels) -> float:
    """Mean over the classes that occur of the mean of `right` (1 or 0 an image) within the class."""
    totals = torch.bincount(labels)
    hits = torch.bincount(labels, weights=right.double())
    return float((hits[totals > 0] / totals[totals > 0]).mean())
