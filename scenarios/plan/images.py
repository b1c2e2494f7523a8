"""The images that every set of one split starts from."""

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


def images_to_attack(scenario: Scenario, split: Split) -> AttackedImages:
    task, precision = scenario.task, scenario.precision
    images, source = attacked_images(task, split, scenario.per_source, 0, scenario.image_sources)
    some = () if scenario.image_sources == task.sources else (scenario.image_sources,)
    asked: tuple[Any, ...] = (task, split, scenario.per_source, *some)
    # answers are stored by victim and image set, so victims that answer in another precision get an image set of
    # their own: a cell never pairs clean answers of one precision with adversarial ones of the other
    key = content_key("attacked images", *asked, *(() if precision == "float32" else (precision,)))
    return AttackedImages(key=key, split=split, images=images, image_source=source)
