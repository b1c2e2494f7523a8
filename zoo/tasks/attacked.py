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
    task: Task, split: Split, per_source: int | None, seed: int, sources: Sequence[str] | None = None
) -> tuple[ImageSet, Int[Tensor, " n"]]:
    """`per_source` images from each source of `task`, source after source, and the index of each image's source.

    Of `sources` alone, where they are given; the index is then one into these. The seed chooses, and fewer images are a
    subset of more. All classes are equally frequent in each source; what is left over goes to the first ones. Of a task
    without training images any number of any of its classes will do: they are chosen in turns of one image of each
    class that has some left, in a drawn order of the classes, and None takes all.

    Raises:
        InputError: Too few images, of a class where all are equally frequent; says how many would do.
        MissingData: The files of a source are not on this machine.
    """
    parts = []
    for source in task.sources if sources is None else sources:
        found = task.load(source, split)
        if "train" in task.splits:
            assert per_source is not None
            parts.append(_equally(found, task, source, split, per_source, seed))
        else:
            parts.append(_in_turns(found, source, split, per_source, seed))
    sizes = torch.tensor([len(part) for part in parts])
    return concatenate(parts), torch.arange(len(parts)).repeat_interleave(sizes)


def _equally(found: ImageSet, task: Task, source: str, split: Split, n: int, seed: int) -> ImageSet:
    classes = len(task.classes)
    if n < classes:
        raise InputError(f"attacked images: {n} per source for {classes} classes; take at least {classes}")
    counts = apportion(n, [1.0] * classes)
    have = class_counts(found.labels, classes)
    for k, (want, has) in enumerate(zip(counts, have, strict=True)):
        if want > has:
            raise InputError(
                f"attacked images: source {source!r} has {has} {split} images of class {task.classes[k]!r}, {want} "
                f"are wanted; take at most {min(have) * classes} per source"
            )
    chosen = choose(found.labels, found.ids, counts, seed=seed, purpose="attacked images")
    return found.select(chosen.nonzero().flatten())


def _in_turns(found: ImageSet, source: str, split: Split, n: int | None, seed: int) -> ImageSet:
    if n is None or n == len(found):
        return found
    if n > len(found):
        raise InputError(
            f"attacked images: source {source!r} has {len(found)} {split} images, {n} are wanted; leave per_source out "
            "for all"
        )
    return found.select(turns(found.labels, found.ids, seed)[:n].sort().values)


def turns(labels: Labels, ids: Ids, seed: int) -> Int[Tensor, " n"]:
    """Positions of all images in a drawn order that has one of each class, then a second of each that has one, ...."""
    order = torch.argsort(Draws(seed, ids).bits("attacked images"), stable=True)
    turn = torch.empty(len(labels), dtype=torch.int64)
    for k in sorted(set(labels.tolist())):
        mine = order[labels[order] == k]
        turn[mine] = torch.arange(len(mine))
    return order[torch.argsort(turn[order], stable=True)]


PARTNERS_PER_CLASS = 20  # of each source
PARTNERS_ATTACKED = 200  # of each source of a task without training images


def partner_images(task: Task) -> ImageSet:
    """The fixed pool of images that attacks mix into others.

    The first training images of each class of each source; of a task without any, images that may be attacked
    themselves, as many classes as there are. What is mixed into an image is of another class, so it is never itself.

    Raises:
        MissingData: The files of a source are not on this machine.
    """
    classes = len(task.classes)
    parts = []
    for source in task.sources:
        if "train" not in task.splits:
            found = task.load(source, "test")
            parts.append(found.select(turns(found.labels, found.ids, 0)[:PARTNERS_ATTACKED].sort().values))
            continue
        found = task.load(source, "train")
        counts = [min(PARTNERS_PER_CLASS, has) for has in class_counts(found.labels, classes)]
        chosen = choose(found.labels, found.ids, counts, seed=0, purpose="partners")
        parts.append(found.select(chosen.nonzero().flatten()))
    return concatenate(parts)


TARGET_SEED = 0


def target_classes(labels: Labels, ids: Ids, classes: int, given: Labels | None = None) -> Labels:
    """For targeted attacks: the class that was given with an image, or else another than the true one.

    Which other is uniform, and one for each image in all scenarios.
    """
    if given is not None:
        return given
    offset = 1 + Draws(TARGET_SEED, ids).integers("target class", classes - 1)
    return (labels + offset) % classes
