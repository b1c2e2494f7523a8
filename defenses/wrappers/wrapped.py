"""A classifier behind what changes its images, and gradients through what changes them at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor
from typing_extensions import override

from carom.defenses.defense import Wrapper
from carom.draws import Draws, content_ids, stream
from carom.errors import InputError
from carom.identity import content_key
from carom.protocols import Combination
from carom.typing import Ids, Images, Logits
from carom.zoo.models.classifier import Classifier
from carom.zoo.preprocessing import Inputs


@runtime_checkable
class Change(Wrapper, Protocol):
    """A wrapper that says what it makes of images; the classifier around it is `Wrapped`."""

    def __call__(self, x: Images, draws: Draws, /) -> Images:
        """Other images of the same shape, differentiable.

        Args:
            x: `n c h w`, in [0, 1].
            draws: The only source of randomness: of `n` images, or of one, and then all share its draws.
        """
        ...


@runtime_checkable
class RandomChange(Change, Protocol):
    """A wrapper that draws."""

    @property
    def seed(self) -> int:
        """Of the draws in an evaluation; several seeds are several wrappers."""
        ...


class Wrapped(Classifier):
    """A classifier whose images are changed before its own preprocessing; the network and its weights are shared.

    It is a `Classifier` like any other: weights have the same names, and folding reaches the network.

    Attributes:
        wrappers: In the order in which an image meets them; the outermost first.

    Raises:
        InputError: The classifier computes its logits in a way of its own, which this would leave out.
    """

    def __init__(self, inner: Classifier, wrappers: Sequence[Change]) -> None:
        if not isinstance(inner, Wrapped) and type(inner).forward is not Classifier.forward:
            raise InputError(f"defense: {type(inner).__name__} finds its logits in its own way; wrap its parts")
        super().__init__(
            inner.network,
            shape=inner.shape,
            classes=inner.classes,
            preprocessing=inner.preprocessing,
            architecture=inner.architecture,
        )
        self.mean, self.std = inner.mean, inner.std  # where the network is
        self.training = inner.training
        inside: tuple[Change, ...] = inner.wrappers if isinstance(inner, Wrapped) else ()
        self.wrappers: tuple[Change, ...] = (*wrappers, *inside)

    @override
    def preprocess(self, x: Images) -> Inputs:
        return super().preprocess(self.changed(x))

    def changed(self, x: Images, ids: Ids | None = None) -> Images:
        """The images behind all wrappers.

        Args:
            x: `n c h w`, in [0, 1].
            ids: Whose draws random wrappers take, image by image; None for one fixed draw for all images.
        """
        if ids is None:
            return self._changed(x, "every image", torch.zeros(1, dtype=torch.int64, device=x.device))
        return self._changed(x, "image", ids.to(x.device))

    def _changed(self, x: Images, purpose: str, ids: Int[Tensor, " m"]) -> Images:
        for place, wrapper in enumerate(self.wrappers, start=-len(self.wrappers)):  # counted from the network
            seed = wrapper.seed if isinstance(wrapper, RandomChange) else 0
            x = wrapper(x, Draws(stream(seed, f"{purpose}, wrapper {-place}"), ids))
        return x

    @override
    def fingerprint(self) -> str:
        """As of the classifier inside, and of the wrappers."""
        return content_key(super().fingerprint(), self.wrappers)


class Randomised(Wrapped):
    """Behind at least one wrapper that draws.

    Called, it takes one fixed draw for all images: the same images get the same answer, in any batch. A victim under
    evaluation draws image by image (`answer`), one that an attacker asks draws query by query (`asked`), and an
    attacker who knows it averages over draws of his own (`expectation`).
    """

    def answer(self, x: Images, ids: Ids) -> Logits:
        """Logits `n k`, each image under its own draw by the wrappers' seeds and its id.

        An image and what an attack made of it share the draw, as they share the id. Batch and order do not matter.
        """
        logits: Logits = self.network(Classifier.preprocess(self, self.changed(x, ids)))
        return logits

    def asked(self, x: Images) -> Logits:
        """What somebody who only asks is answered, logits `n k`: each image under a draw that its own bytes name.

        So two queries never share a draw, however near they are, and the answers depend on no batch and no order.
        """
        return self.answer(x, content_ids(x))

    def expectation(self, seed: int, draws: int = 10) -> "Expectation":
        """What a white-box attack reads: the mean logits over draws; see `Expectation`."""
        return Expectation(self, seed=seed, draws=draws)


class Expectation:
    """Expectation over transformation (Athalye et al. 2018, arXiv:1707.07397): a gradient source of several draws.

    The active classifiers of step s and copy c are the victim under the draws 1 to `draws` of (seed, s, c), one draw
    for all images, never the draws of an evaluation; one loss is of the mean of their logits. Each reading costs
    `draws` forward and `draws` backward passes an image, and keeps as many graphs. The classifiers are the same objects
    at each step, so each is made ready once; a reading takes the draws of the last call of `members`.

    Attributes:
        victim: The model that is attacked.
        seed: The attacker's.
        draws: At least 1.

    Raises:
        InputError: Fewer.
    """

    combination: ClassVar[Combination] = "logits"

    def __init__(self, victim: Randomised, *, seed: int, draws: int = 10) -> None:
        if draws < 1:
            raise InputError(f"expectation: draws must be at least 1, got {draws}")
        self.victim, self.seed, self.draws = victim, seed, draws
        self._now = _Now()
        self._members = tuple(_Draw(victim, self._now, seed, number) for number in range(draws))

    def redraws(self) -> bool:
        """At each step."""
        return True

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        """The victim under each of the draws of this step and copy."""
        self._now.step, self._now.copy = step, copy
        return self._members


@dataclass
class _Now:
    """Which step and copy of an attack reads; one object for a classifier and all copies of it."""

    step: int = 0
    copy: int = 0

    def __deepcopy__(self, memo: object) -> "_Now":
        return self


class _Draw(Wrapped):
    """A victim under one draw, for all images, of the present step and copy."""

    def __init__(self, victim: Randomised, now: _Now, seed: int, number: int) -> None:
        super().__init__(victim, ())
        self._now, self._seed, self._number = now, seed, number

    @override
    def changed(self, x: Images, ids: Ids | None = None) -> Images:
        number = torch.tensor([self._number], device=x.device)
        for place, wrapper in enumerate(self.wrappers, start=-len(self.wrappers)):
            of = stream(self._seed, f"expectation, wrapper {-place}", self._now.step, self._now.copy)
            x = wrapper(x, Draws(of, number))
        return x


def wrapped(classifier: Classifier, wrapper: Change) -> Wrapped:
    """The classifier behind `wrapper`; `Randomised` where this or another wrapper draws."""
    inside = isinstance(classifier, Randomised)
    return (Wrapped if wrapper.deterministic and not inside else Randomised)(classifier, (wrapper,))


def straight_through(x: Images, changed: Images) -> Images:
    """`changed`, bit for bit, with the gradient of `x`: the backward pass takes the change for the identity.

    BPDA with the identity (Athalye, Carlini and Wagner 2018, arXiv:1802.00420). The difference added is exactly zero.
    """
    return changed.detach() + (x - x.detach())
