"""Going on from trained weights by SGD: what LGV, FGE, SWA and MoreBayesian share."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from carom.zoo.training.recipes import Recipe
from carom.zoo.training.slots import Slots


@dataclass(frozen=True, kw_only=True)
class Onward:
    """SGD that goes on from trained weights and keeps samples: plain momentum, weight decay on all parameters.

    Recipes otherwise use Nesterov's momentum, and leave biases and norms without decay.

    Attributes:
        momentum: Of SGD.
        weight_decay: On all parameters.
        part: Of the images, that an epoch of the loop sees.
        every: A sample after every so many epochs of the loop; 0 for none.
        first: Epochs before the first sample; 0 for `every`.
    """

    momentum: float
    weight_decay: float
    part: float = 1.0
    every: int = 1
    first: int = 0

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another optimizer, and samples."""
        first = self.first or self.every

        def optimizer(classifier: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.SGD(
                [p for p in classifier.parameters() if p.requires_grad],
                lr=recipe.learning_rate,
                momentum=self.momentum,
                weight_decay=self.weight_decay,
                fused=True,
            )

        def collect(done: int) -> bool:
            return done >= first and (done - first) % self.every == 0

        return replace(slots, optimizer=optimizer, part=self.part, collect=collect if self.every else None)
