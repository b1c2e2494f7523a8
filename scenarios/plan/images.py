"""The images that every set of one split starts from."""

from collections.abc import Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from carom.identity import content_key
from carom.scenarios.spec.scenario import Scenario
from carom.typing import Labels
from carom.zoo.tasks.attacked import attacked_images
from carom.zoo.tasks.images import ImageSet, Split


@dataclass(frozen=True, kw_only=True)
class AttackedImages:
    """The images that every set of one split starts from."""

    key: str
    split: Split
    images: ImageSet
    image_source: Labels  # index into the task's sources, image by image

    @cached_property
    def digest(self) -> str:
        """sha256 of the images, labels and ids; every set names it, so it is computed once."""
        return self.images.digest

    @cached_property
    def each(self) -> list[bytes]:
        """A digest of each image's bytes."""
        return self.images.each


def images_to_attack(scenario: Scenario, split: Split) -> AttackedImages:
    task, precision = scenario.task, scenario.precision
    images, source = attacked_images(task, split, scenario.per_source, 0, scenario.image_sources)
    some = () if scenario.image_sources == task.sources else (scenario.image_sources,)
    asked: tuple[Any, ...] = (task, split, scenario.per_source, *some)
    if "train" not in task.splits:
        asked = (*asked, task.classes)  # which may stand in a file that the task only names
    # answers are stored by victim and image set, so victims that answer in another precision get an image set of
    # their own: a cell never pairs clean answers of one precision with adversarial ones of the other
    key = content_key("attacked images", *asked, *(() if precision == "float32" else (precision,)))
    return AttackedImages(key=key, split=split, images=images, image_source=source)


def repeated(attacked: AttackedImages, learned: Set[bytes]) -> list[str]:
    """A warning where attacked images are training images, and one where they are one another, byte for byte.

    Args:
        attacked: The images.
        learned: Digests of images that models are trained on.
    """
    n, kinds = len(attacked.each), set(attacked.each)
    known, copies = sum(each in learned for each in attacked.each), n - len(kinds)
    warnings = []
    if known:
        warnings.append(
            f"{known} of the {n} {attacked.split} images that are attacked are also among the training images, byte "
            "for byte: models were trained on what they are judged by, and rates are not those of new images; take "
            "these out of one of the two"
        )
    if copies:
        warnings.append(
            f"of the {n} {attacked.split} images that are attacked {copies} are identical with others, byte for byte: "
            f"each is counted anew, so n is {len(kinds)} at most and intervals are too narrow; keep one of each"
        )
    return warnings
