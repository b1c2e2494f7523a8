"""Models of timm and torchvision with their published weights."""

from dataclasses import dataclass
from typing import ClassVar

from carom.errors import ModelError
from carom.identity import content_key
from carom.zoo.architectures.timm_models import Timm
from carom.zoo.architectures.torchvision_models import Torchvision
from carom.zoo.models.classifier import Classifier, Shape, create


@dataclass(frozen=True, kw_only=True)
class Published:
    """A model of timm or torchvision with its published weights and preprocessing."""

    architecture: Timm | Torchvision

    version: ClassVar[int] = 1

    def key(self) -> str:
        """What is asked for: library, model and set of weights."""
        return content_key(self)


def load_published(reference: Published, *, shape: Shape, classes: int, where: str) -> Classifier:
    """The model, in eval mode.

    Raises:
        MissingData: Its weights are not on this machine.
        ModelError: It has other classes.
    """
    found = reference.architecture
    if found.native_classes != classes:
        raise ModelError(
            f"{where}: {found.name} answers with {found.native_classes} classes, the task has {classes}; "
            "name it as an architecture to train it on the task"
        )
    return create(found, shape=shape, classes=classes).eval()
