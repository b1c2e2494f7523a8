"""Students: plain networks taken out of an elastic one, and their independent twins."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Literal

from typing_extensions import override

from carom.budget import Norm
from carom.defenses.defense import PublicModel
from carom.draws import stream
from carom.errors import InputError
from carom.registry import checked
from carom.stages import Entry
from carom.zoo.architectures import Architecture
from carom.zoo.architectures.elastic.family import Elastic
from carom.zoo.architectures.elastic.space import Choice
from carom.zoo.models.classifier import weights
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe, adapted
from carom.zoo.training.state import Passes
from carom.zoo.training.trained import DivergedError

from .distilled import Distilled, LossName, distillation
from .robust_distillation import RobustDistillation
from .taken_out import accuracy, elastic_of, recalibrate, refuse_guessing, taken_out


def _sizes(ground: Ground, choice: Choice) -> dict[str, object]:
    elastic = elastic_of(ground.architecture, "student")
    preprocessing = ground.preprocessing
    shape = ground.shape if preprocessing is None else preprocessing.output_shape(ground.shape)
    return {
        "choice": str(choice),
        "macs": elastic.macs(choice, shape, ground.classes),
        "parameters": elastic.parameters(choice, shape, ground.classes),
    }


def _recalibrated(ground: Ground, given: Weights, choice: Choice, *, where: str) -> Built:
    """A part with statistics of its own."""
    classifier = taken_out(ground, given, choice)
    before = accuracy(classifier, ground.validation)
    looked = recalibrate(classifier, ground.train, seed=ground.seed)
    after = accuracy(classifier, ground.validation)
    if not all(bool(tensor.isfinite().all()) for tensor in classifier.state_dict().values()):
        raise DivergedError(f"{where}: the statistics of {str(choice)!r} are not finite; check the network it is of")
    record = {"accuracy": after, "accuracy before recalibration": before, "recalibration images": looked}
    return Built(members=(weights(classifier),), passes=Passes(looked, 0), record={**_sizes(ground, choice), **record})


class _Plain:
    """What stages share that make a plain network of a part of an elastic one."""

    takes: ClassVar[Literal["one", "none", "either"]] = "one"
    pool: ClassVar[bool] = False

    choice: str

    def planned(self, given: Architecture, groups: Sequence[str]) -> Architecture | None:
        """The plain network of the choice.

        Raises:
            InputError: The architecture holds no sub-networks, or none of this name.
        """
        del groups
        name = type(self).__name__.lower()
        elastic = elastic_of(given, name)
        return elastic.of(elastic.space.parse(self.choice, where=f"{name}.choice"))

    def passes(self, recipe: Recipe) -> float:
        """Next to none: batch norm's statistics."""
        del recipe
        return 1.0

    def architecture(self, given: Architecture, weights: Weights) -> Architecture:
        """A plain network; which one stands in the names and shapes of its weights.

        Raises:
            InputError: They are not of a sub-network of `given`.
        """
        if not isinstance(given, Elastic):
            raise InputError(f"{type(self).__name__.lower()}: {type(given).__name__} has no sub-networks")
        return given.student(weights)


@dataclass(frozen=True, kw_only=True)
class Student(_Plain):
    """A sub-network of an elastic network that was trained as such, as a plain network (ProARD, arXiv:2506.07666).

    Its weights are copies, and batch norm's statistics are taken anew on 2,000 clean training images. `search` chooses
    one by what it can do.

    Attributes:
        choice: The sub-network's name, such as "w1-0.75-0.5-1 d2-1-1 e0.5-0.35-0.25-0.5", or "largest" or "smallest".
    """

    choice: str = "smallest"

    version: ClassVar[int] = 1

    def build(self, ground: Ground, given: Sequence[Weights], pool: Sequence[PublicModel]) -> Built:
        """Take out, recalibrate.

        Raises:
            InputError: The network is not elastic, or the choice not of its space.
            DivergedError: Statistics that are not finite.
        """
        del pool
        choice = elastic_of(ground.architecture, "student").space.parse(self.choice, where="student: choice")
        return _recalibrated(ground, given[0], choice, where="student")


@dataclass(frozen=True, kw_only=True)
class Slice(_Plain):
    """A part of the network that came before, without further training: the baseline that learns nothing.

    Channels are sorted by L1 importance first, as ProARD does before it trains, and batch norm's statistics are taken
    anew on training images.

    Attributes:
        choice: The sub-network's name, or "largest" or "smallest".
    """

    choice: str = "smallest"

    version: ClassVar[int] = 1

    def build(self, ground: Ground, given: Sequence[Weights], pool: Sequence[PublicModel]) -> Built:
        """Sort, take out, recalibrate.

        Raises:
            InputError: The network is not elastic, or the choice not of its space.
            DivergedError: Statistics that are not finite.
        """
        del pool
        elastic = elastic_of(ground.architecture, "slice")
        choice = elastic.space.parse(self.choice, where="slice: choice")
        whole = elastic.sorted_channels(elastic.sorted_channels(given[0], "widths"), "expansions")
        return _recalibrated(ground, whole, choice, where="slice")


@dataclass(frozen=True, kw_only=True)
class Twin(_Plain):
    """A plain network of a sub-network's sizes, distilled on its own from the network that came before.

    What ProARD's students have to be measured against (arXiv:2506.07666): the same loss, teacher and sizes, and its own
    training. Where the recipe keeps the best epoch, that is the best under attack on validation images. Passes of the
    teacher are counted too.

    Attributes:
        choice: The sub-network's name, or "largest" or "smallest".
        loss: "rslad", "ard" or "adaad".
        start: "fresh" weights, or a "slice" of the teacher with sorted channels.
        epochs: 1 to 1000000; None for the recipe's.
        eps: Radius of the ball, pixels in [0, 1].
        norm: "linf" or "l2".
        steps: Of the attack, 1 to 10000.
        step: Length of one, in units of eps, above 0 and up to 10.

    Raises:
        InputError: Out of range.
    """

    choice: str = "smallest"
    loss: LossName = "rslad"
    start: Literal["fresh", "slice"] = "fresh"
    epochs: int | None = None
    eps: Fraction = Fraction(16, 255)
    norm: Norm = "linf"
    steps: int = 10
    step: float = 0.25

    version: ClassVar[int] = 1

    @override
    def passes(self, recipe: Recipe) -> float:
        """Its own training."""
        return 2.0 * (recipe.epochs if self.epochs is None else self.epochs) * (1 + self.steps)

    def __post_init__(self) -> None:
        checked(self, "twin")
        if self.epochs is not None and self.epochs < 1:
            raise InputError(f"twin: epochs must be at least 1, got {self.epochs}")
        self._by()

    def _by(self) -> RobustDistillation:
        return distillation(self.loss, eps=self.eps, norm=self.norm, steps=self.steps, step=self.step, where="twin")

    def build(self, ground: Ground, given: Sequence[Weights], pool: Sequence[PublicModel]) -> Built:
        """Distil.

        Raises:
            InputError: The network is not elastic, or the choice not of its space.
            DivergedError: The student does no better than guessing.
        """
        del pool
        elastic = elastic_of(ground.architecture, "twin")
        choice = elastic.space.parse(self.choice, where="twin: choice")
        own = replace(ground, architecture=elastic.of(choice), seed=stream(ground.seed, "twin"))
        start, looked = None, 0
        if self.start == "slice":
            sliced = Slice(choice=self.choice).build(ground, given, ())
            (start,), looked = sliced.members, sliced.passes.forward
        recipe: Recipe = adapted(
            ground.recipe,
            Distilled(by=self._by(), teacher=ground.classifier(given[0])),
            epochs=self.epochs or ground.recipe.epochs,
        )
        trained = own.trained(recipe, start)
        classifier = trained.classifier().to(ground.device)
        reached = accuracy(classifier, ground.validation)
        refuse_guessing(reached, ground.classes, where="twin")
        return Built(
            members=(weights(classifier),),
            passes=trained.passes + Passes(forward=looked),
            record={
                **_sizes(ground, choice),
                "accuracy": reached,
                "epochs": len(trained.history),
                "seconds": trained.seconds,
            },
        )


ENTRY = Entry(
    summary="A sub-network of what came before, taken out as a plain network.",
    paper="Mousavi et al. 2025, arXiv:2506.07666",
    stages=(Student(),),
)
ENTRY_TWIN = Entry(
    summary="A plain network of a student's sizes, distilled on its own from what came before.",
    paper="Zi, Zhao, Ma and Jiang 2021, arXiv:2108.07969",
    stages=(Twin(),),
)
ENTRY_SLICE = Entry(
    summary="A part of the network that came before, without further training.",
    paper="Mousavi et al. 2025, arXiv:2506.07666",
    stages=(Slice(),),
)
