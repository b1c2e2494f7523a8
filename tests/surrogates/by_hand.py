"""A training whose loss is known, so that an update can be followed by hand."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from carom.surrogates.builder import Training
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, create
from carom.zoo.training.ground import Ground
from carom.zoo.training.recipes import Adaptation, Recipe
from carom.zoo.training.state import State
from carom.zoo.training.trained import Trained

from .conftest import images

W = torch.tensor([1.0, -2.0, 0.5, 3.0, 4.0, -1.0])
"""Where it begins: a matrix named weight, then a vector named bias."""
A = torch.tensor([1.0, 1.0, 1.0, 1.0, 2.0, 2.0])
"""The loss is `0.5 sum(A w^2)`."""
RATE = 0.5


class Quadratic(nn.Module):
    """Parameters of several shapes; the gradient is given by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
        self.bias = nn.Parameter(torch.tensor([4.0, -1.0]))
        self.unused = nn.Parameter(torch.ones(3))


def by_hand(weight_decay: float = 0.0) -> tuple[State, Callable[[], None], list[Tensor]]:
    """The state of the training, its gradient, and the weights at which that was read."""
    shape = (1, 2, 2)
    kind = architecture("mlp")
    preprocessing = create(kind, shape=shape, classes=2).preprocessing
    network = Quadratic()
    classifier = Classifier(network, shape=shape, classes=2, preprocessing=preprocessing, architecture=kind)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, weight_decay=weight_decay)
    data = images(4)
    state = State(classifier, optimizer, data, data, 0, 1, 100, torch.Generator().manual_seed(0))
    read: list[Tensor] = []

    def gradient() -> None:
        optimizer.zero_grad()
        point = torch.cat([network.weight.flatten(), network.bias])
        torch.autograd.backward(0.5 * (A * point.square()).sum())
        read.append(point.detach().clone())

    return state, gradient, read


def trained(here: Ground, way: Training) -> Trained:
    return here.trained(way.recipe(here.recipe))


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def weights(state: State) -> Tensor:
    """Those that the loss knows, as one vector."""
    return torch.cat([p.detach().flatten() for p in state.classifier.parameters()])[: len(W)]


def step(way: Adaptation, state: State, gradient: Callable[[], None], recipe: Recipe | None = None) -> None:
    """One step of the training's own update."""
    recipe = recipe or Recipe(schedule="constant")
    way.slots(Recipe.slots(recipe), recipe).update(state, gradient)
