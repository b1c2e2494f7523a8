"""Seeded, stratified subsets: which training images validate, and which half an image is in.

An image's place rests on its id and a fixed seed, not on its position: adding a file to a folder moves no other image
by more than the stratification needs.
"""

from collections.abc import Sequence
from math import floor

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from carom.draws import Draws
from carom.errors import InputError
from carom.registry import lookup
from carom.typing import Ids, Labels

from .images import SPLITS, Split

SAMPLES = ("all", "a", "b")
_SPLIT_SEED = 0  # the splits belong to the task; a scenario's seed never moves them


def apportion(n: int, weights: Sequence[float | int]) -> tuple[int, ...]:
    """`n` things dealt out in proportion to `weights`, by largest remainder; of equals the first gets more."""
    total = sum(weights)
    # Rounded, so that remainders which are equal on paper stay equal on every machine.
    quotas = [round(n * weight / total, 9) for weight in weights]
    counts = [floor(quota) for quota in quotas]
    by_remainder = sorted(range(len(counts)), key=lambda k: counts[k] - quotas[k])
    for k in by_remainder[: n - sum(counts)]:
        counts[k] += 1
    return tuple(counts)


def class_counts(labels: Labels, classes: int) -> tuple[int, ...]:
    """How many images each class has."""
    return tuple(torch.bincount(labels, minlength=classes).tolist())


def choose(labels: Labels, ids: Ids, counts: Sequence[int], *, seed: int, purpose: str) -> Bool[Tensor, " n"]:
    """True for the first `counts[k]` images of each class `k` in an order that (seed, purpose) draws.

    A smaller count is a prefix of a larger one. A class with fewer images gives all it has.
    """
    order = torch.argsort(Draws(seed, ids).bits(purpose), stable=True)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for k, count in enumerate(counts):
        chosen[order[labels[order] == k][:count]] = True
    return chosen


def validation_mask(labels: Labels, ids: Ids) -> Bool[Tensor, " n"]:
    """True for the training images that validate: a tenth, at most 5,000, each class in proportion."""
    sizes = class_counts(labels, int(labels.max()) + 1 if len(labels) else 1)
    counts = apportion(min(5000, len(labels) // 10), sizes) if len(labels) else (0,)
    return choose(labels, ids, counts, seed=_SPLIT_SEED, purpose="validation")


def samples_mask(labels: Labels, ids: Ids, samples: str) -> Bool[Tensor, " n"]:
    """True for the images of one pool: "all", or the stratified halves "a" and "b"."""
    if samples == "all":
        return torch.ones(len(labels), dtype=torch.bool)
    sizes = class_counts(labels, int(labels.max()) + 1 if len(labels) else 1)
    halves = [(size + k % 2) // 2 for k, size in enumerate(sizes)]  # the odd image goes to "a" and "b" in turn
    in_a = choose(labels, ids, halves, seed=_SPLIT_SEED, purpose="samples")
    return in_a if samples == "a" else ~in_a


def training_part(labels: Labels, ids: Ids, split: Split, samples: str, *, carve: bool) -> Int[Tensor, " m"]:
    """Positions, ascending, of one split among a source's training images.

    Args:
        labels: Classes of all the training images.
        ids: Their ids.
        split: "train", or "validation", which is carved from the training images.
        samples: "all", or the halves "a" and "b" of either.
        carve: Whether the source has no validation images of its own.
    """
    held_out = validation_mask(labels, ids) if carve else torch.zeros(len(labels), dtype=torch.bool)
    part = (held_out if split == "validation" and carve else ~held_out).nonzero().flatten()
    return part[samples_mask(labels[part], ids[part], samples)]


def check_request(
    source: str,
    split: str,
    samples: str,
    *,
    sources: Sequence[str],
    where: str,
    splits: Sequence[Split] = SPLITS,
) -> int:
    """The position of `source` among `sources`.

    Args:
        source: What is asked for.
        split: What is asked for.
        samples: What is asked for.
        sources: Those that the task has.
        where: The task, for errors.
        splits: Those that the task has.

    Raises:
        InputError: Unknown source, split or samples, with the known ones; or a split that the task does not have.
    """
    lookup(split, dict.fromkeys(SPLITS), where=where, what="split")
    if split not in splits:
        raise InputError(f"{where}: its images are attacked only, there are no {split} images; expected {splits[-1]}")
    lookup(samples, dict.fromkeys(SAMPLES), where=where, what="samples")
    return lookup(source, {name: i for i, name in enumerate(sources)}, where=where, what="source")


def numbered(part: int, n: int) -> Ids:
    """Ids for the `n` images of one part (a source's training or test images) of a task."""
    return part * 2**32 + torch.arange(n)
