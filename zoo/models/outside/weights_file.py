"""Weights in a file, `.safetensors` or a state dict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from carom.errors import InputError, MissingData, ModelError
from carom.files import located
from carom.identity import content_key, file_digest
from carom.registry import check_keys
from carom.zoo.architectures import Architecture, architecture
from carom.zoo.models.checkpoints import Description, read_weights
from carom.zoo.models.classifier import Classifier, Shape, create, load_weights
from carom.zoo.models.wrapped_weights import tensors_of
from carom.zoo.preprocessing import Declared, on_images

from .declared import declared_preprocessing


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """Weights in a file.

    Attributes:
        path: `.safetensors`, or a state dict as `.pt`, `.pth` or `.th`.
        sha256: Of the file when it was named.
        architecture: Of the weights; None where the file says it (`carom train -o` writes such files).
        preprocessing: Between pixels in [0, 1] and the network; None for the file's, or the architecture's own.
        weights_key: Which weights of the file, such as "model_ema"; None where it has one set of them.
    """

    path: str
    sha256: str
    architecture: Architecture | None = None
    preprocessing: Declared | None = None
    weights_key: str | None = None

    version: ClassVar[int] = 1

    def key(self) -> str:
        """What is asked for; changes with the file's content, not with its place."""
        which = () if self.weights_key is None else (self.weights_key,)
        return content_key("weights-file", self.version, self.sha256, self.architecture, self.preprocessing, *which)


def weights_file(name: str, table: Mapping[str, Any], *, where: str) -> WeightsFile:
    """From a path, and a table of "architecture", "preprocessing" and "weights_key".

    Raises:
        InputError: A field is unknown or wrong.
        MissingData: No such file.
    """
    check_keys(table, ("architecture", "preprocessing", "weights_key"), where=where)
    path = located(name)
    if not path.is_file():
        raise MissingData(f"{where}: {name}: no such file; check the path, which is relative to the working directory")
    declared = table.get("architecture")
    if declared is not None and not isinstance(declared, str | Mapping):
        raise InputError(f"{where}.architecture: expected a name or a table, got {declared!r}")
    key = table.get("weights_key")
    if key is not None and (not isinstance(key, str) or not key.strip(".")):
        raise InputError(f'{where}.weights_key: expected where the weights lie, such as "model_ema", got {key!r}')
    return WeightsFile(
        path=name,
        sha256=file_digest(path),
        architecture=None if declared is None else architecture(declared, where=f"{where}.architecture"),
        preprocessing=declared_preprocessing(table, where=where),
        weights_key=None if key is None else key.strip("."),
    )


def load_weights_file(reference: WeightsFile, *, shape: Shape, classes: int, where: str) -> Classifier:
    """The classifier with the file's weights, in eval mode.

    Raises:
        InputError: Nobody says its architecture.
        ModelError: The file changed since, or it is a model of another task or architecture.
    """
    path = located(reference.path)
    where = f"{where}: {reference.path}"
    found, said = read_weights(path)
    if file_digest(path) != reference.sha256:
        raise ModelError(f"{where}: the file changed after it was named; start again")
    chosen = _agreed(reference, said, shape, classes, where)
    declared = reference.preprocessing
    preprocessing = said.preprocessing if declared is None and said is not None else None
    if declared is not None:
        preprocessing = on_images(declared, shape)
    classifier = create(chosen, shape=shape, classes=classes, preprocessing=preprocessing, pretrained=False)
    tensors = tensors_of(classifier.network.state_dict(), found, where=where, key=reference.weights_key)
    load_weights(classifier, tensors, where=where)
    return classifier.eval()


def _agreed(reference: WeightsFile, said: Description | None, shape: Shape, classes: int, where: str) -> Architecture:
    if said is None:
        if reference.architecture is None:
            raise InputError(f'{where}: the file does not say its architecture; add architecture = "NAME"')
        return reference.architecture
    if reference.architecture not in (None, said.architecture):
        raise ModelError(f"{where}: declared {reference.architecture}, but the file says {said.architecture}")
    if (said.shape, said.classes) != (shape, classes):
        raise ModelError(
            f"{where}: a model of images {said.shape} in {said.classes} classes; the task has {shape} in {classes}"
        )
    return said.architecture
