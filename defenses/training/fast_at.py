"""Fast adversarial training: one step of attack, and a guard against its collapse."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from carom.budget import Budget, Norm
from carom.draws import stream
from carom.registry import checked
from carom.stages import Entry
from carom.typing import Images, Labels, Logits
from carom.zoo.models.classifier import load_weights, weights
from carom.zoo.training.accuracy import macro_accuracy
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.slots import Slots
from carom.zoo.training.state import State

from .pgd import ascended, evaluating, robust_accuracy, started, summed_cross_entropy, withstood
from .pgd_at import ball

_WATCHED = 256  # training images that the guard looks at
_DROP = 0.2  # of accuracy, from one epoch to the next, is a collapse
_WEIGHTS, _ACCURACY, STOPPED = "fast_at.weights.", "fast_at.accuracy", "fast_at.stopped"


@dataclass(frozen=True, kw_only=True)
class FastAT:
    """Fast adversarial training: one long step from a random start (Wong, Rice and Kolter 2020, arXiv:2001.03994).

    Such training can collapse within an epoch: it becomes immune to its own single step and helpless against several
    ("catastrophic overfitting"). The guard sees it: after each epoch it takes accuracy under PGD with 5 steps on the
    same training images (256 at most); where this falls by more than 0.2 from one epoch to the next, it puts the
    weights of the epoch before back and ends the training; the epoch of the collapse, from 1, is then kept as
    "fast_at.stopped" in the training's memory. The guard's passes are looking, and are not counted.

    The attack reads the network in eval mode, unlike in the authors' code. A step costs two passes forward and two
    backward an image. The best epoch is the one with the highest accuracy under PGD on validation images.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        step: Length of the step, in units of eps, above 0 and up to 10.
        start: "uniform" in the ball; "zero" at the image, which is plain FGSM and collapses soonest; "uniform-2eps" in
            a ball of twice the radius, after which nothing is clipped but to [0, 1] (N-FGSM).
        detect: Whether the guard is on.

    Raises:
        InputError: Out of range.
    """

    eps: Fraction = Fraction(16, 255)
    norm: Norm = "linf"
    step: float = 1.25
    start: Literal["uniform", "zero", "uniform-2eps"] = "uniform"
    detect: bool = True

    version: ClassVar[int] = 1

    @property
    def multiple(self) -> float:
        """Passes of a step, in those of a plain one."""
        return 2.0

    def __post_init__(self) -> None:
        name = type(self).__name__.lower()
        checked(self, name, step=(1e-6, 10.0))
        ball(name, self.eps, self.norm)

    @property
    def budget(self) -> Budget:
        """The ball."""
        return Budget(norm=self.norm, eps=self.eps)

    def recipe(self, base: Recipe) -> Recipe:
        """As the scenario trains networks, on other images."""
        return adapted(base, self)

    def slots(self, slots: Slots, recipe: Recipe) -> Slots:
        """Another loss, the best epoch chosen under attack, and the guard."""
        del recipe

        def loss(state: State, x: Images, y: Labels) -> tuple[Float[Tensor, ""], Logits]:
            return slots.loss(state, self.attacked(state, x, y), y)

        return replace(
            slots,
            loss=loss,
            after_epoch=(*slots.after_epoch, self.guard) if self.detect else slots.after_epoch,
            robust=lambda state: robust_accuracy(state, self.budget),
        )

    def attacked(self, state: State, x: Images, y: Labels) -> Images:
        """What the batch is attacked to; leaves the classifier as it was, adds passes to the state's."""
        budget, first = self.budget, self.budget
        if self.start == "uniform-2eps":
            # start and step together cannot leave the wider ball, so that only [0, 1] clips them
            budget, first = self._times(2.0 + self.step), self._times(2.0)
        begin = started(x, first, "zero" if self.start == "zero" else "uniform", state.generator)
        step = self.step * float(self.eps / budget.eps)
        loss = summed_cross_entropy(y)
        with evaluating(state.classifier):
            return ascended(
                lambda z: loss(state.classifier(z)), x, begin, budget, steps=1, step=step, passes=state.passes
            )

    def _times(self, factor: float) -> Budget:
        eps = Fraction(factor) * self.eps
        return Budget(norm=self.norm, eps=min(eps, Fraction(1)) if self.norm == "linf" else eps)

    def guard(self, state: State) -> None:
        """Looks for a collapse after an epoch; ends the training where it finds one."""
        before = state.memory.get(_ACCURACY)
        accuracy = self.watched_accuracy(state)
        if before is not None and float(before) - accuracy > _DROP:
            load_weights(state.classifier, _kept(state.memory), where="fast-at")
            state.memory[STOPPED] = torch.tensor(state.epoch + 1)
            state.stop = True
        if state.stop or state.epoch + 1 == state.epochs:
            for name in [name for name in state.memory if name.startswith(_WEIGHTS)]:
                del state.memory[name]
            return
        state.memory[_ACCURACY] = torch.tensor(accuracy, dtype=torch.float64)
        state.memory |= {_WEIGHTS + name: tensor for name, tensor in weights(state.classifier).items()}

    def watched_accuracy(self, state: State) -> float:
        """Accuracy under PGD with 5 steps on training images: the same ones from the same starts after each epoch."""
        generator = torch.Generator().manual_seed(stream(state.seed, "fast-at, watched"))
        index = torch.randperm(len(state.images), generator=generator)[:_WATCHED].to(state.images.labels.device)
        some = state.images.select(index)
        right = withstood(
            state.classifier, some.pixels, some.labels, self.budget, steps=5, step=0.5, generator=generator
        )
        return macro_accuracy(right, some.labels)


@dataclass(frozen=True, kw_only=True)
class NFGSM(FastAT):
    """Noisy FGSM: a start further out and no clipping, against collapse (de Jorge et al. 2022, arXiv:2202.01181).

    Images: `x + n + eps sign g(x + n)` with n uniform in twice the ball, clipped to [0, 1] alone, so that they may lie
    up to 3 eps away.

    Attributes:
        eps: Radius of the ball, pixels in [0, 1], above 0; at most 1 for linf.
        norm: "linf" or "l2".
        step: Length of the step, in units of eps, above 0 and up to 10.
        start: See `FastAT`.
        detect: Whether the guard of `FastAT` is on.

    Raises:
        InputError: Out of range.
    """

    step: float = 1.0
    start: Literal["uniform", "zero", "uniform-2eps"] = "uniform-2eps"

    version: ClassVar[int] = 1


def _kept(memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(_WEIGHTS): tensor for name, tensor in memory.items() if name.startswith(_WEIGHTS)}


PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"cifar10": MappingProxyType({"eps": Fraction(8, 255), "step": 1.25})}
)
PRESETS_NFGSM: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {"cifar10": MappingProxyType({"eps": Fraction(8, 255), "step": 1.0})}
)


ENTRY = Entry(
    summary="Adversarial training with one step from a random start, and a guard against collapse.",
    paper="Wong, Rice and Kolter 2020, arXiv:2001.03994",
    stages=(FastAT(),),
    presets=PRESETS,
)
ENTRY_N_FGSM = Entry(
    summary="One step from a start further out, without clipping.",
    paper="de Jorge et al. 2022, arXiv:2202.01181",
    stages=(NFGSM(),),
    presets=PRESETS_NFGSM,
)
