"""A sub-network taken out of an elastic network, with batch norm's statistics of its own."""

from dataclasses import replace

import torch
from torch import nn

from carom.draws import stream
from carom.errors import InputError
from carom.zoo.architectures import Architecture
from carom.zoo.architectures.elastic.family import Elastic
from carom.zoo.architectures.elastic.layers import ElasticNetwork
from carom.zoo.architectures.elastic.space import Choice
from carom.zoo.models.classifier import Classifier
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.accuracy import better_than_guessing, macro_accuracy
from carom.zoo.training.ground import Ground, Weights
from carom.zoo.training.trained import DivergedError

RECALIBRATION = 2000  # training images, as in Once-for-All and ProARD


_BATCH = 200  # of them at once


_EVALUATION_BATCH = 256


def elastic_of(found: Architecture, where: str) -> Elastic:
    """The same architecture.

    Raises:
        InputError: It holds no sub-networks.
    """
    if not isinstance(found, Elastic) or found.choice is not None:
        what = type(found).__name__ if not isinstance(found, Elastic) else f"the sub-network {found.choice!r}"
        raise InputError(f"{where}: needs a network of sub-networks, got {what}; use elastic-resnet or elastic-mobile")
    return found


def recalibrate(classifier: Classifier, images: ImageSet, *, seed: int, most: int = RECALIBRATION) -> int:
    """Take batch norm's statistics anew, in place: the plain mean of those of batches of about 200 clean images.

    The classifier is that of one sub-network alone, as a sub-network's statistics are no other's: the largest of an
    elastic network, or a plain network that was taken out. It is in eval mode afterwards. Forward passes only.

    Args:
        classifier: Whose.
        images: Training images.
        seed: Of which of them are looked at.
        most: How many, at most.

    Returns:
        How many images were looked at.

    Raises:
        InputError: A part of an elastic network is chosen, whose statistics would be taken for those of the others.
    """
    if isinstance(classifier.network, ElasticNetwork) and classifier.network.choice is not None:
        raise InputError(
            f"recalibration: the sub-network {str(classifier.network.choice)!r} shares its statistics with others; "
            "take it out first"
        )
    norms = [module for module in classifier.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(stream(seed, "recalibration")))[:most]
    place = classifier.mean.device
    classifier.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of all batches
        norm.train()
    with torch.no_grad():
        # of nearly equal size, as all count alike
        for index in order.tensor_split(-(-len(order) // _BATCH)):
            x = images.images[index].to(place).float() / 255
            classifier(x.contiguous(memory_format=torch.channels_last))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    classifier.eval()
    return len(order)


def taken_out(ground: Ground, given: Weights, choice: Choice) -> Classifier:
    """The plain network of a choice with its part of an elastic network's weights, in eval mode, on the device.

    Batch norm's statistics are the first of the elastic network's, which say nothing of a part; see `recalibrate`.

    Raises:
        InputError: The ground's architecture is not elastic, or the choice not of its space.
    """
    elastic = elastic_of(ground.architecture, "student")
    return replace(ground, architecture=elastic.of(choice)).classifier(elastic.extracted(given, choice))


def accuracy(classifier: Classifier, images: ImageSet) -> float:
    """Macro accuracy: the mean over classes; in the mode that the classifier is in."""
    place = classifier.mean.device
    with torch.no_grad():
        parts = torch.split(images.images, _EVALUATION_BATCH)
        logits = torch.cat([classifier(part.to(place).float() / 255).cpu() for part in parts])
    return macro_accuracy((logits.argmax(1) == images.labels).float(), images.labels)


def refuse_guessing(reached: float, classes: int, *, where: str) -> None:
    """Refuse what is of no use.

    Raises:
        DivergedError: No better than guessing.
    """
    if not better_than_guessing(reached, classes):
        raise DivergedError(
            f"{where}: validation accuracy {reached:.3f} is no better than guessing; lower the learning rate, or train "
            "longer"
        )
