"""PAS: a share of its own for every place where a gradient can take another way."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from carom.attacks.reading.networks import network_of, rebuilt
from carom.attacks.slots import Shape
from carom.errors import InputError, ModelError

from .anatomy import Anatomy, Branch, anatomy
from .graph import Activation
from .linbp import linear
from .operators import Decayed, Place, SkipConv, activation, at_calls, replace
from .sgm import usual_gamma


@dataclass(frozen=True, kw_only=True, slots=True)
class PAS:
    """Backpropagation path search: the way back is searched, not guessed (Xu et al. 2023, arXiv:2308.07625).

    A coefficient of 1 is the usual gradient. Of a convolution it is the share of what its kernel is beside the
    identity, of a residual branch the share of its gradient (as in SGM), of an activation the share of its derivative
    in a mixture with the identity's (0 as in LinBP, without rescaling), one for each of its calls. Values stay as they
    are, whatever the coefficients. The authors' code is not public: which modules may change, and how the search
    begins, is read from the paper's abstract and idea.

    Attributes:
        coefficients: Of a network's places, in [0, 1], in the order of `knobs`; a single one is of all places. Empty
            until `search` has found them.
        evaluations: Paths that a search tries, at least 1.

    Raises:
        InputError: Out of these ranges.
    """

    coefficients: tuple[float, ...] = ()
    evaluations: int = 40

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        for coefficient in self.coefficients:
            if not 0 <= coefficient <= 1:
                raise InputError(f"pas: coefficients must be in [0, 1], got {coefficient:g}")
        if self.evaluations < 1:
            raise InputError(f"pas: evaluations must be at least 1, got {self.evaluations}")

    def __call__(self, classifier: nn.Module, shape: Shape | None = None) -> nn.Module:
        """The classifier with these coefficients.

        Raises:
            InputError: No coefficients, or neither one nor one for each place.
            ModelError: A network without any place to change.
        """
        if not self.coefficients:
            raise InputError(
                "pas: its coefficients are yet to be searched; carom.attacks.paths.search finds them for a network, "
                "or give pas = { coefficients = [...] }"
            )
        found = anatomy(classifier, shape, where="pas")
        names = knobs_of(found)
        shares = self.coefficients * len(names) if len(self.coefficients) == 1 else self.coefficients
        if len(names) != len(shares):
            raise InputError(
                f"pas: {len(self.coefficients)} coefficients, but the network has {len(names)} places; "
                "`carom.attacks.paths.knobs` lists them"
            )
        given = {name: share for name, share in zip(names, shares, strict=True) if share != 1}
        convolutions = {name: given.get(_of_convolution(name)) for name in found.convolutions}
        activations = {call: given.get(_of_activation(call, found)) for call in found.activations}
        branches = {branch.end: given.get(_of_branch(branch)) for branch in found.branches}
        mixed = {call: partial(activation, share=share) for call, share in activations.items() if share is not None}
        # a branch may end in a convolution or an activation: its share lies around theirs
        places: list[Place] = [
            *((name, partial(SkipConv, share=share)) for name, share in convolutions.items() if share is not None),
            *at_calls(found, mixed, where="pas"),
            *((name, partial(Decayed, share=share)) for name, share in branches.items() if share is not None),
        ]
        built = rebuilt(classifier)
        replace(network_of(built), places)
        return built


def knobs(classifier: nn.Module, shape: Shape | None = None) -> list[str]:
    """What the coefficients belong to: "conv:NAME", then "branch:NAME", then "activation:NAME", each in order of use.

    An activation module that is called several times has a place for each call: "activation:NAME[0]" and so on.

    Args:
        classifier: Whose places.
        shape: Channels, rows and columns of its images, where it has no `shape` of its own.

    Raises:
        ModelError: A network without any place to change.
    """
    return knobs_of(anatomy(classifier, shape, where="pas"))


def knobs_of(found: Anatomy) -> list[str]:
    """The same of a network that was looked at already."""
    names = [_of_convolution(name) for name in found.convolutions]
    names += [_of_branch(branch) for branch in found.branches]
    names += [_of_activation(call, found) for call in found.activations]
    if not names:
        raise ModelError("pas: the network has no residual branch, activation module or square convolution")
    return names


def known_paths(found: Anatomy) -> list[tuple[float, ...]]:
    """The coefficients of the plain gradient, of SGM and of LinBP; without repetition."""
    names, gamma = knobs_of(found), usual_gamma(found)
    branches = {_of_branch(branch) for branch in found.branches if not branch.first}
    straight = {_of_activation(call, found) for call in linear(found)}
    plain = tuple(1.0 for _ in names)
    sgm = tuple(gamma if name in branches else 1.0 for name in names)
    linbp = tuple(0.0 if name in straight else 1.0 for name in names)
    return list(dict.fromkeys([plain, sgm, linbp]))


def _of_convolution(name: str) -> str:
    return f"conv:{name}"


def _of_branch(branch: Branch) -> str:
    return f"branch:{branch.end}"


def _of_activation(call: Activation, found: Anatomy) -> str:
    several = found.calls[call.module] > 1
    return f"activation:{call.module}[{call.call}]" if several else f"activation:{call.module}"
