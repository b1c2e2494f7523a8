"""LinBP: activations that give back everything."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from carom.attacks.reading.networks import network_of, rebuilt
from carom.attacks.slots import Shape
from carom.errors import ModelError

from .anatomy import Anatomy, anatomy, known
from .graph import Activation
from .operators import Entrance, Measured, Place, Rescaler, activation, at_calls, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class LinBP:
    """Linear backpropagation: late activations are the identity on the way back (Guo et al. 2020, arXiv:2012.03528).

    In a residual network these are the activations inside the branches: one that reads the sum of branch and skip
    keeps its derivative. The paper knows ReLU; the other activations that are close to it far from zero (GELU, SiLU,
    ...) are treated alike. The gradient through a branch would grow by that: it is scaled back to the length that it
    has with the usual derivatives, image by image and branch by branch, which costs a second way back through these
    branches. A branch that several modules enter is not scaled. Activations that are no modules keep their derivative.

    Attributes:
        start: The module from whose first call on activations are linear. None: the second half of all calls of
            activations, which is where the paper's ResNet-50 starts (the second block of its third stage), and about
            where its VGG-19 does.
        rescale: Scale the gradient through residual branches.
    """

    start: str | None = None
    rescale: bool = True

    version: ClassVar[int] = 2

    def __call__(self, classifier: nn.Module, shape: Shape | None = None) -> nn.Module:
        """The classifier with linear activations.

        Raises:
            ModelError: No activation module.
            InputError: No module `start`.
        """
        found = anatomy(classifier, shape, where="linbp")
        if not found.activations:
            raise ModelError("linbp: the network has no activation module, such as nn.ReLU; use another surrogate")
        chosen = linear(found) if self.start is None else _from(self.start, found)
        built = rebuilt(classifier)
        plain = Rescaler.Plain()
        ends: list[Place] = []
        for branch in found.branches if self.rescale else ():
            if branch.entrance is None:
                continue
            begin, end = found.first[branch.entrance], found.first[branch.end]
            if any(begin <= call.at <= end for call in chosen):
                rescaler = Rescaler(plain)
                ends.append((branch.entrance, partial(Entrance, rescaler=rescaler)))
                ends.append((branch.end, partial(Measured, rescaler=rescaler)))
        straight = partial(activation, share=0.0, plain=plain if ends else None)
        replace(network_of(built), at_calls(found, dict.fromkeys(chosen, straight), where="linbp") + ends)
        return built


def linear(found: Anatomy) -> list[Activation]:
    """The second half of all calls of activations, without those that read a residual sum."""
    calls = found.activations
    return [call for call in calls[(len(calls) + 1) // 2 :] if not call.outer]


def _from(start: str, found: Anatomy) -> list[Activation]:
    begin = known(start, found.first, where="linbp.start")
    return [call for call in found.activations if call.at >= begin and not call.outer]
