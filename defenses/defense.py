"""How victims come to be: a way of training, stages that make a network of others, wrappers around it.

A defence is a chain: a `Hardening` trains the first network; each `Stage` makes another one, from what came before,
from public models, or both; each `Wrapper` changes the images on their way in. `trades -> proard -> student` trains a
teacher and a network of many sub-networks, and takes one out; `pgd-at -> jpeg` puts JPEG before a hardened network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from carom.errors import InputError
from carom.zoo.architectures import Architecture
from carom.zoo.models.classifier import Classifier
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe


@runtime_checkable
class Hardening(Protocol):
    """A network trained from scratch in another way. A frozen dataclass, and mostly its own `Adaptation`.

    Attributes:
        version: Part of every key; raise it when the result changes.
    """

    version: ClassVar[int]

    def recipe(self, base: Recipe) -> Recipe:
        """How the network is trained, from how the scenario trains networks."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class PublicModel:
    """A model that everybody may have.

    Attributes:
        label: For errors and records.
        group: Its training style, such as "normal", "linf", "l2" or "corruption".
        classifier: In eval mode, on the device.
    """

    label: str
    group: str
    classifier: Classifier


@runtime_checkable
class Stage(Protocol):
    """A network made of others. A frozen dataclass.

    Attributes:
        version: Part of every key.
        takes: "one": goes on from what came before; "none": begins by itself; "either".
        pool: Whether it learns from the public pool of the scenario.
    """

    version: ClassVar[int]
    takes: ClassVar[Literal["one", "none", "either"]]
    pool: ClassVar[bool]

    def architecture(self, given: Architecture, weights: Weights) -> Architecture:
        """What `weights`, which it made on a ground of the architecture `given`, are weights of."""
        ...

    def planned(self, given: Architecture, groups: Sequence[str]) -> Architecture | None:
        """The architecture of what will come out; None where that is not known beforehand.

        Args:
            given: Of what comes before.
            groups: Training styles of the public models.

        Raises:
            InputError: It cannot be made of these.
        """
        ...

    def passes(self, recipe: Recipe) -> float:
        """Image passes for each training image, forward and backward, about; for the time left.

        Args:
            recipe: The scenario's plain one.
        """
        ...

    def build(self, ground: Ground, given: Sequence[Weights], pool: Sequence[PublicModel]) -> Built:
        """One weight set (a `Built` of one member), from none or one that came before.

        All that is random comes from generators seeded by `stream(ground.seed, purpose, step)`; `ground.recipe` is the
        scenario's plain one.

        Raises:
            InputError: What is given does not suffice.
            DivergedError: Nothing came out that does better than guessing.
        """
        ...


@runtime_checkable
class Wrapper(Protocol):
    """Changes images on their way into a classifier. A frozen dataclass.

    Attributes:
        version: Part of every key.
        deterministic: The same images always get the same answer.
        differentiable: Gradients through it are those of what it computes; where not, its backward pass is an
            approximation (BPDA, Athalye, Carlini and Wagner 2018, arXiv:1802.00420).
    """

    version: ClassVar[int]
    deterministic: ClassVar[bool]
    differentiable: ClassVar[bool]

    def wrap(self, classifier: Classifier) -> Classifier:
        """The classifier behind it: images of the same shape in, logits out, the wrapped one's weights shared."""
        ...


@dataclass(frozen=True, kw_only=True)
class Defense:
    """How a victim is hardened; nothing at all, where all is left out.

    Attributes:
        first: How the first network is trained; None as the scenario trains networks.
        then: In their order.
        wrappers: In the order in which an image meets them last to first: the last is outermost.
    """

    first: Hardening | None = None
    then: tuple[Stage, ...] = ()
    wrappers: tuple[Wrapper, ...] = ()

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for place, stage in enumerate(self.then):
            before = place > 0 or self.first is not None
            if stage.takes == "none" and before:
                raise InputError(f"defense: {type(stage).__name__.lower()} begins by itself; put it first")

    @property
    def trains_first(self) -> bool:
        """Whether a network is trained before the first stage."""
        return self.first is not None or not self.then or self.then[0].takes == "one"

    @property
    def pool(self) -> bool:
        """Whether it learns from public models."""
        return any(stage.pool for stage in self.then)
