"""The images that are attacked, the same for every cell; the classes aimed at; and the images mixed into them."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from carom.draws import Draws
from carom.errors import InputError
from carom.typing import Ids, Labels

from .images import ImageSet, Split, concatenate
from .splits import apportion, choose, class_counts
from .task import Task


def attacked_images(
    task: Task, split: Split, per_source: int, seed: int, sources: Sequence[str] | None = None
) -> tuple[ImageSet, Int[Tensor, " n"]]:
    """`per_source` images from each source of `task`, source after source, and the index of each image's source.

    Of `sources` alone, where they are given; the index is then one into these.

    All classes are equally frequent in each source; what is left over goes to the first ones. The seed chooses, and
    fewer images are a subset of more.

    Raises:
        InputError: A class of a source has too few images; says how many would do.
        MissingData: The files of a source are not on this machine.
    """
    classes = len(task.classes)
    if per_source < classes:
        raise InputError(f"attacked images: {per_source} per source for {classes} classes; take at least {classes}")
    counts = apportion(per_source, [1.0] * classes)
    parts = []
    for source in task.sources if sources is None else sources:
        found = task.load(source, split)
        have = class_counts(found.labels, classes)
        for k, (want, has) in enumerate(zip(counts, have, strict=True)):
            if want > has:
                raise InputError(
                    f"attacked images: source {source!r} has {has} {split} images of class {task.classes[k]!r}, {want} "
                    f"are wanted; take at most {min(have) * classes} per source"
                )
        chosen = choose(found.labels, found.ids, counts, seed=seed, purpose="attacked images")
        parts.append(found.select(chosen.nonzero().flatten()))
    return concatenate(parts), torch.arange(len(parts)).repeat_interleave(per_source)


PARTNERS_PER_CLASS = 20  # of each source


def partner_images(task: Task) -> ImageSet:
    """The fixed pool of training images that attacks mix into others: the first of each class of each source.

    Raises:
        MissingData: The files of a source are not on this machine.
    """
    classes = len(task.classes)
    parts = []
    for source in task.sources:
        found = task.load(source, "train")
        counts = [min(PARTNERS_PER_CLASS, has) for has in class_counts(found.labels, classes)]
        chosen = choose(found.labels, found.ids, counts, seed=0, purpose="partners")
        parts.append(found.select(chosen.nonzero().flatten()))
    return concatenate(parts)


TARGET_SEED = 0


def target_classes(labels: Labels, ids: Ids, classes: int) -> Labels:
    """For targeted attacks: a class other than the true one, uniform, one for each image in all scenarios."""
    offset = 1 + Draws(TARGET_SEED, ids).integers("target class", classes - 1)
    return (labels + offset) % classes
