"""What plugs in. Each protocol is one call, or nearly; everything configured is a frozen dataclass."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from carom.budget import Budget, Norm
from carom.draws import Draws
from carom.typing import Images, Labels, Logits, PerImage

Combination = Literal["logits", "probabilities", "loss"]


@dataclass(frozen=True, slots=True)
class Passes:
    """Image passes: one image through one classifier.

    Attributes:
        forward: From image to logits.
        backward: From loss to image.
    """

    forward: int = 0
    backward: int = 0

    def __add__(self, other: "Passes") -> "Passes":
        return Passes(self.forward + other.forward, self.backward + other.backward)

    @property
    def total(self) -> int:
        """Forward and backward together."""
        return self.forward + self.backward


@runtime_checkable
class Classifier(Protocol):
    """Float images `n c h w` in [0, 1] to logits `n k`. Resizing and normalisation live inside."""

    def __call__(self, x: Images, /) -> Logits: ...


@runtime_checkable
class GradientSource(Protocol):
    """What an attack sees of a surrogate.

    Attributes:
        combination: How several active members become one loss: mean of logits, of probabilities, or of losses.
    """

    @property
    def combination(self) -> Combination: ...

    def members(self, step: int, copy: int) -> Sequence[Classifier]:
        """The classifiers that are active at this step for this copy of the images.

        Depends on (seed, step, copy) alone: never on an image, nor on how often somebody asked.
        """
        ...


@runtime_checkable
class DrawnSource(GradientSource, Protocol):
    """A gradient source whose members are other draws at each step, such as a victim that draws.

    An attack that reads it without counting steps gets a step of its own for each reading, or it would overfit the
    draws of the first.
    """

    def redraws(self) -> bool:
        """Whether it does."""
        ...


@runtime_checkable
class Pool(Protocol):
    """Images that attacks mix into others, with their classes; the same for every chunk.

    Attributes:
        images: `m c h w`, floats in [0, 1].
        labels: `m`.
    """

    @property
    def images(self) -> Images: ...

    @property
    def labels(self) -> Labels: ...

    def check(self, y: Labels) -> None:
        """That there is another class for each of these.

        Raises:
            InputError: The pool has no other class for one of the images.
        """
        ...

    def of_other_classes(self, u: Tensor, y: Labels) -> Int[Tensor, "n ..."]:
        """For each image a place in the pool, uniform over those of another class than `y`; `check` comes before.

        Args:
            u: Uniform draws in [0, 1), `n ...`.
            y: Classes that the partners must not have, `n`.
        """
        ...


@runtime_checkable
class BlackBox(Protocol):
    """A target that can only be asked, and counts.

    Attributes:
        queries: `n` int64: how often each image was asked about.
    """

    @property
    def queries(self) -> Int[Tensor, " n"]: ...

    def limited(self, limit: int) -> "BlackBox":
        """The same target and counts under a limit of `limit` queries an image from now on."""
        ...

    def scores(self, x: Images, rows: Int[Tensor, " m"]) -> Logits:
        """Scores `m k` (logits, or log-probabilities: what the target gives) for versions of the images `rows`.

        Raises:
            ModelError: The target answers labels only, in another number than the images, or with NaN.
            ContractError: More queries than the limit.
        """
        ...

    def labels(self, x: Images, rows: Int[Tensor, " m"]) -> Labels:
        """Predicted classes `m` for versions of the images `rows`; errors as for `scores`."""
        ...


@runtime_checkable
class Reader(Protocol):
    """What an attack may ask: its images, and near them its target's gradients, answers and features, all counted.

    A loss that is raised is one of logits and labels, or one of a classifier's features that names the point where it
    reads them. Every call raises ModelError where the target breaks the classifier contract.

    Attributes:
        x: Clean images, `n c h w`, in [0, 1].
        y: True classes, `n`.
        target: Classes that the images should be taken for, `n`; None for untargeted.
        partners: A pool of images to mix in; None where there is none.
        oracle: The answers that a query attack may buy; None where there is no target to ask.
    """

    @property
    def x(self) -> Images: ...

    @property
    def y(self) -> Labels: ...

    @property
    def target(self) -> Labels | None: ...

    @property
    def partners(self) -> Pool | None: ...

    @property
    def oracle(self) -> BlackBox | None: ...

    def along(self, path: Callable[..., nn.Module] | None, draws: Draws) -> AbstractContextManager[None]:
        """Inside the `with` block, read along this model path; its random parts come from `draws`."""
        ...

    def members(self, step: int = 0, copy: int = 0) -> Sequence[Classifier]:
        """The classifiers that are active at this step for this copy."""
        ...

    def at(
        self,
        x_adv: Images,
        objective: Callable[..., PerImage],
        *,
        step: int = 0,
        copy: int = 0,
        member: int | None = None,
        summed: bool = False,
        through: Callable[[Images], Images] | None = None,
    ) -> Images:
        """The gradient to climb: of the summed loss of `y`, or of minus the summed loss of `target`.

        Do not change the result in place: it may be shared.

        Args:
            x_adv: Where, `n c h w`.
            objective: The loss. One of features is climbed as it is, targeted or not.
            step: Which step of the attack asks; the source may show other members at another step.
            copy: Which of the passes of this step asks.
            member: Only this one of the active members; None for all of them.
            summed: The loss of the members' added logits, whatever the source makes of several answers.
            through: What the images go through before the classifiers; differentiated too.
        """
        ...

    def at_versions(
        self,
        x_adv: Images,
        objective: Callable[..., PerImage],
        versions: Mapping[int, Callable[[Images], Images]],
        *,
        step: int = 0,
        member: int | None = None,
        summed: bool = False,
    ) -> Images:
        """As `at`, for several versions of the images: the gradient of one loss of their averaged logits.

        Args:
            x_adv: As in `at`.
            objective: The loss; of several versions one of logits, not of features.
            versions: For each copy, what the images go through. One alone is `at`.
            step: As in `at`.
            member: As in `at`.
            summed: As in `at`.
        """
        ...

    def logits(self, x_adv: Images, *, step: int = 0, copy: int = 0) -> Logits:
        """The active members' answer `m k` to versions of any of the images, without gradient."""
        ...

    def jacobian(
        self, x_adv: Images, classes: Int[Tensor, "m j"], of: Int[Tensor, " m"], *, step: int = 0
    ) -> tuple[Logits, Float[Tensor, "m j c h w"]]:
        """The logits `m k`, and the gradients of the logits of the given classes, one backward pass a class.

        `of` says which image each of `x_adv` is a version of.
        """
        ...

    def scored(self, x_adv: Images, loss: Callable[[Logits], PerImage]) -> tuple[Logits, Images]:
        """The logits `n k`, and the gradient of the sum of a loss of them: one forward and one backward pass."""
        ...

    def answer(self, x_adv: Images) -> Logits:
        """The logits `m k` with their graph to `x_adv`, for code that differentiates them itself."""
        ...

    def features(self, x_adv: Images, point: str, member: Classifier) -> Float[Tensor, "n ..."]:
        """What one member computes at a feature point, without gradient."""
        ...

    def feature_gradient(
        self, x_adv: Images, point: str, member: Classifier, objective: Callable[..., PerImage]
    ) -> Float[Tensor, "n ..."]:
        """The gradient, at one member's feature point, of the loss of logits that `at` would climb."""
        ...

    def image_gradient(self, x_adv: Images, member: Classifier, objective: Callable[..., PerImage]) -> Images:
        """The gradient that `at` would give if this member were alone."""
        ...

    def both_gradients(
        self,
        x_adv: Images,
        point: str,
        member: Classifier,
        inside: Callable[..., PerImage],
        outside: Callable[..., PerImage],
    ) -> tuple[Float[Tensor, "n ..."], Images]:
        """`feature_gradient` of one loss and `image_gradient` of another, from one forward pass."""
        ...

    def note(self, name: str, values: Num[Tensor, " n"]) -> None:
        """Keep a number of each image beside the images: its queries, its radius."""
        ...


@runtime_checkable
class Attack(Protocol):
    """Proposes adversarial images. Loads no model, picks no device, decides no success.

    It may read its own target's answers and gradients, never another model's.

    Attributes:
        norms: The budgets it is defined for.
        targeted: Whether it can aim at a given class.
    """

    norms: ClassVar[tuple[Norm, ...]]
    targeted: ClassVar[bool]

    def passes(self, members: int = 1) -> Passes:
        """Forward and backward passes that an image costs at most, on a target of this many active classifiers."""
        ...

    def __call__(self, reader: Reader, budget: Budget, draws: Draws) -> Images:
        """Images in the ball of `budget` around `reader.x`, `n c h w`, detached.

        Args:
            reader: The clean images, their classes (and target classes), and what the target says near them.
            budget: The allowed change.
            draws: The only source of randomness; image by image.
        """
        ...


@runtime_checkable
class Control(Protocol):
    """Changes images without any model: what an attack must beat."""

    def __call__(self, x: Images, budget: Budget, draws: Draws) -> Images:
        """Images in the ball of `budget` around `x`."""
        ...


@runtime_checkable
class Victim(Protocol):
    """Anything that answers images with scores `n k` or labels `n`."""

    def __call__(self, x: Images, /) -> Logits | Labels: ...
