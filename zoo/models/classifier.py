"""A classifier: a network behind its preprocessing, with all that identifies it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from carom.draws import stream
from carom.errors import ModelError
from carom.identity import content_key, tensor_digest
from carom.typing import Images, Logits
from carom.zoo.architectures import Architecture, LibraryModel
from carom.zoo.preprocessing import Inputs, Preprocessing, Shape, centred

__all__ = ["Classifier", "Preprocessing", "Shape", "create", "load_weights", "restore", "weights"]


class Classifier(nn.Module):
    """Float images `n c h w` in [0, 1] of a task's shape to logits `n k`; preprocessing is inside.

    Attributes:
        network: What gets the preprocessed images.
        shape: Channels, rows and columns of the images.
        classes: How many logits.
        preprocessing: Resize, mean and deviation.
        architecture: A frozen dataclass that says what `network` is; part of the fingerprint.

    Raises:
        InputError: The preprocessing cannot take images of this shape.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, *, shape: Shape, classes: int, preprocessing: Preprocessing, architecture: Any
    ) -> None:
        super().__init__()
        preprocessing.check(shape)
        self.network = network
        self.shape = shape
        self.classes = classes
        self.preprocessing = preprocessing
        self.architecture = architecture
        self.register_buffer("mean", torch.tensor(preprocessing.mean)[None, :, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(preprocessing.std)[None, :, None, None], persistent=False)

    @override
    def forward(self, x: Images) -> Logits:
        logits: Logits = self.network(self.preprocess(x))
        return logits

    def preprocess(self, x: Images) -> Inputs:
        """What the network gets."""
        return self.preprocessing.apply(x, self.mean, self.std)

    def fingerprint(self) -> str:
        """32 hexadecimal digits of sha256 over weights, preprocessing, architecture, shape and classes."""
        return content_key(
            tensor_digest(weights(self)), self.preprocessing, self.architecture, self.shape, self.classes
        )


def create(
    architecture: Architecture,
    *,
    shape: Shape,
    classes: int,
    seed: int = 0,
    preprocessing: Preprocessing | None = None,
    pretrained: bool = True,
) -> Classifier:
    """A classifier with fresh weights drawn from (seed, "initialisation"), or the library's where it asks for them.

    The caller's generators stay as they were.

    Args:
        architecture: What to build.
        shape: Channels, rows and columns of the images.
        classes: How many logits.
        seed: Of the weights.
        preprocessing: None for that of the library's weights, or [-1, 1] where there are none.
        pretrained: False leaves published weights out, for weights that are about to be replaced.

    Raises:
        MissingData: Published weights are asked for, are not here and cannot be downloaded.
    """
    library = architecture if isinstance(architecture, LibraryModel) else None
    if preprocessing is None:
        preprocessing = library.preprocessing(shape) if library is not None else centred(shape)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(stream(seed, "initialisation"))
        network = architecture.network(preprocessing.output_shape(shape), classes)
        if library is not None and pretrained:
            library.load_pretrained(network)
    return Classifier(
        network, shape=shape, classes=classes, preprocessing=preprocessing, architecture=architecture
    ).float()


def weights(classifier: Classifier) -> dict[str, Tensor]:
    """Copies of the network's parameters and buffers, on the CPU, contiguous, by name."""
    # copied even where they are on the CPU already: a later training step must not reach them
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in classifier.network.state_dict().items()
    }


def load_weights(classifier: Classifier, tensors: Mapping[str, Tensor], *, where: str = "weights") -> None:
    """Put `tensors` into the network; every name and shape must fit.

    The counters of batches that normalisation keeps may be missing: files older than torch 0.4.1 have none.

    Raises:
        ModelError: A name is missing or too many, or a shape differs; names the first.
    """
    own = classifier.network.state_dict()
    tensors = {**{name: tensor for name, tensor in own.items() if name.endswith(".num_batches_tracked")}, **tensors}
    if missing := [name for name in own if name not in tensors]:
        raise ModelError(
            f"{where}: {len(missing)} of {len(own)} tensors are missing, such as {missing[0]!r}; "
            "expected weights of the declared architecture"
        )
    if extra := [name for name in tensors if name not in own]:
        raise ModelError(
            f"{where}: {len(extra)} tensors too many, such as {extra[0]!r}; "
            "expected weights of the declared architecture"
        )
    for name, tensor in own.items():
        if tensors[name].shape != tensor.shape:
            raise ModelError(
                f"{where}: {name} has shape {tuple(tensors[name].shape)}, the architecture has {tuple(tensor.shape)}; "
                "check its arguments, the number of classes and the shape of the images"
            )
    classifier.network.load_state_dict(dict(tensors))


def restore(
    architecture: Architecture,
    tensors: Mapping[str, Tensor],
    *,
    shape: Shape,
    classes: int,
    preprocessing: Preprocessing | None = None,
    where: str = "weights",
) -> Classifier:
    """The classifier that has these weights, in eval mode; nothing is downloaded.

    Raises:
        ModelError: They are not weights of this architecture.
    """
    classifier = create(architecture, shape=shape, classes=classes, preprocessing=preprocessing, pretrained=False)
    load_weights(classifier, tensors, where=where)
    return classifier.eval()
