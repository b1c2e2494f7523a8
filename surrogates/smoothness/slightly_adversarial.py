"""Slightly adversarial training: a little robustness goes a long way."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from carom.budget import Budget
from carom.registry import checked
from carom.stages import Entry
from carom.surrogates.networks.single import Single
from carom.typing import Images, Labels, Logits, PerImage, per_image
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State


@dataclass(frozen=True, kw_only=True)
class SlightlyAdversarial(Single):
    """Adversarial training in a small l2 ball (Springer, Mitchell and Kenyon 2021, arXiv:2106.02105).

    Each step trains on the images that PGD makes of the batch, from a random start in the ball. The attack reads the
    network in eval mode, as the authors' library does: its steps leave batch norm's statistics alone, an image's attack
    does not hang on the rest of its batch, and nothing drops out. Each of its steps costs one pass forward and one
    backward more.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], 0 to 100; 0 leaves the attack out, at no cost.
        steps: Of the attack, at least 1.
        step: Length of one, in units of eps, 0 to 10.
        random_start: Begin uniformly in the ball instead of at the image.

    Raises:
        InputError: Out of range.
    """

    eps: float = 0.25
    steps: int = 3
    step: float = 0.5
    random_start: bool = True

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        checked(self, "slightly adversarial", eps=(0.0, 100.0), steps=(1.0, 1e4), step=(0.0, 10.0))

    @override
    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, on other images."""
        return adapted(base, self)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss."""
        del recipe

        def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
            return slots.loss(state, self._attacked(state, x, y), y)

        return replace(slots, loss=loss) if self.eps else slots

    def _attacked(self, state: State, x: Images, y: Labels) -> Images:
        budget = Budget.parse("l2", self.eps)
        classifier = state.classifier.eval()
        x_adv = budget.project(x + self._start(state, x), x) if self.random_start else x
        for _ in range(self.steps):
            point = x_adv.detach().requires_grad_()
            value = nn.functional.cross_entropy(classifier(point), y, reduction="sum")
            (gradient,) = torch.autograd.grad(value, point)
            x_adv = budget.project(point.detach() + self.step * self.eps * budget.steepest(gradient), x)
            state.passes.forward += len(x)
            state.passes.backward += len(x)
        classifier.train()
        return x_adv

    def _start(self, state: State, x: Images) -> Images:
        """Uniform in the ball."""
        direction = torch.randn(x.shape, generator=state.generator).to(x)
        radius: PerImage = torch.rand(len(x), generator=state.generator).to(x) ** (1 / x[0].numel())
        length = direction.flatten(1).norm(dim=1).clamp_min(1e-12)
        return self.eps * direction * per_image(radius / length)


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    # of arXiv:2307.07873
    {"cifar10": MappingProxyType({"eps": 0.5, "steps": 10, "step": 0.25, "random_start": True})}
)


ENTRY = Entry(
    summary="Trained on adversarial images of a small radius.",
    paper="Springer, Mitchell and Kenyon 2021, arXiv:2106.02105; Zhang et al. 2024, arXiv:2307.07873",
    stages=(SlightlyAdversarial(),),
    presets=PRESETS,
)
