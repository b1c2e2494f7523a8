"""Accuracy, robustness and size of sub-networks."""

from dataclasses import dataclass

import torch

from carom.budget import Budget
from carom.defenses.training.pgd import withstood
from carom.draws import stream
from carom.zoo.architectures.elastic.family import Elastic
from carom.zoo.architectures.elastic.space import Choice, Space
from carom.zoo.models.classifier import Classifier
from carom.zoo.preprocessing import Shape
from carom.zoo.training.accuracy import macro_accuracy
from carom.zoo.training.ground import Ground, Weights
from carom.zoo.training.state import Passes

from .candidates import Scores
from .taken_out import accuracy, recalibrate, taken_out


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large sub-networks are.

    Attributes:
        architecture: The elastic family.
        shape: Channels, rows and columns of what the network gets.
        classes: How many.
    """

    architecture: Elastic
    shape: Shape
    classes: int

    @property
    def space(self) -> Space:
        """What can be chosen."""
        return self.architecture.space

    def macs(self, choice: Choice) -> int:
        """Multiplications for one image."""
        return self.architecture.macs(choice, self.shape, self.classes)

    def parameters(self, choice: Choice) -> int:
        """How many."""
        return self.architecture.parameters(choice, self.shape, self.classes)


class Measure:
    """Accuracy and robust accuracy of sub-networks on validation images, means over classes; always the same images.

    Each sub-network is taken out, and batch norm's statistics are taken anew on training images. PGD starts from the
    same points for all of them, so that two differ by themselves alone.

    Attributes:
        ground: Whose architecture is elastic.
        given: Weights of the elastic network.
        budget: Of PGD.
        steps: Of PGD, each of 2.5 / steps of the radius.
        passes: Taken so far, in images: those of recalibration too.
    """

    def __init__(self, ground: Ground, given: Weights, budget: Budget, *, steps: int = 20) -> None:
        self.ground, self.given, self.budget, self.steps = ground, given, budget, steps
        self.passes = Passes()

    def student(self, choice: Choice) -> Classifier:
        """The sub-network as a plain network with statistics of its own, in eval mode."""
        classifier = taken_out(self.ground, self.given, choice)
        self.passes.forward += recalibrate(classifier, self.ground.train, seed=self.ground.seed)
        return classifier

    def __call__(self, choice: Choice) -> Scores:
        """Of this sub-network."""
        ground, held = self.ground, self.ground.validation
        classifier = self.student(choice)
        x, y = held.images.to(ground.device).float() / 255, held.labels.to(ground.device)
        generator = torch.Generator().manual_seed(stream(ground.seed, "search PGD"))
        right = withstood(classifier, x, y, self.budget, steps=self.steps, step=2.5 / self.steps, generator=generator)
        self.passes.forward += (2 + self.steps) * len(held)
        self.passes.backward += self.steps * len(held)
        return accuracy(classifier, held), macro_accuracy(right.cpu(), held.labels)
