"""What a scenario asks for, every name resolved and every grid expanded."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from carom.attacks import PAS, Admix, Iterative, Snapshot, TransferThenQuery
from carom.budget import NORMS, Budget, Norm
from carom.defenses import Defense
from carom.errors import InputError
from carom.protocols import Attack, Control
from carom.surrogates import Chain, Single
from carom.zoo.architectures import Architecture
from carom.zoo.models.references import Reference
from carom.zoo.models.victims import StatedAccuracy
from carom.zoo.tasks import Task
from carom.zoo.tasks.balance import Balance
from carom.zoo.training.recipes import Recipe

Role = Literal["surrogate", "victim", "validation victim", "public pool seen", "public pool held out"]
Reads = Literal["surrogate", "victim"]
READS: tuple[Reads, ...] = ("surrogate", "victim")
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

SINGLE = Chain(first=Single())  # a model as it is
UNDEFENDED = Defense()


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """How a model is trained, up to its seed.

    Attributes:
        source: Image source of the task.
        samples: Which of the source's disjoint pools of training images.
        balance: Class profile.
        architecture: The network.
        recipe: How it is trained.
        n: Training images; None takes the largest number that every balance and source of the scenario can give.
    """

    source: str
    samples: str
    balance: Balance
    architecture: Architecture
    recipe: Recipe
    n: int | None

    version: ClassVar[int] = 1

    @property
    def passes(self) -> int:
        """Image passes of a training, forward and backward."""
        return round((self.n or 0) * self.recipe.passes)


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model that the scenario trains."""

    configuration: Configuration
    seed: int
    axes: Mapping[str, str]  # the names that the file used, for labels and tables


@dataclass(frozen=True, kw_only=True)
class ReferencedModel:
    """A model that exists already."""

    name: str
    reference: Reference
    axes: Mapping[str, str]  # what the user declared of its source, balance, architecture, recipe
    stated: StatedAccuracy | None = None  # what the user says of its clean accuracy


Base = TrainedModel | ReferencedModel


@dataclass(frozen=True, kw_only=True)
class ReferencedEnsemble:
    """Models that exist already and are attacked as one; each resizes and normalises for itself."""

    name: str
    members: tuple[ReferencedModel, ...]
    axes: Mapping[str, str]  # what the user declared of all of them


@dataclass(frozen=True, kw_only=True)
class SurrogateSpec:
    """A surrogate: what it is built on and how."""

    label: str
    base: Base | ReferencedEnsemble
    builder: Chain
    builder_name: str

    @property
    def existing(self) -> tuple[ReferencedModel, ...]:
        """The models that exist already, of which it is one or an ensemble; none where networks are trained."""
        if isinstance(self.base, ReferencedEnsemble):
            return self.base.members
        return (self.base,) if isinstance(self.base, ReferencedModel) else ()


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """What is measured of each surrogate's loss beside its transfer.

    Attributes:
        images: Of the surrogate's own training images, without augmentation.
        members: Weight sets that are looked at, spread evenly, the last among them.
    """

    images: int = 500
    members: int = 3

    version: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.images < 10 or self.members < 1:
            raise InputError(
                f"geometry: images={self.images}, members={self.members}; expected at least 10 images and 1 member"
            )


@dataclass(frozen=True, kw_only=True)
class VictimSpec:
    """A victim and its role."""

    label: str
    model: Base
    role: Role
    defense: Defense = UNDEFENDED
    defense_name: str = "none"


@dataclass(frozen=True, kw_only=True)
class PublicSpec:
    """A model of the public pool.

    Attributes:
        label: For tables.
        model: What it is.
        role: Whether defences may learn from it.
        group: Its training style.
        defense: How it was trained.
        defense_name: For tables.
        attacks: Whether attackers use it too.
    """

    label: str
    model: Base
    role: Role
    group: str
    defense: Defense
    defense_name: str
    attacks: bool


@dataclass(frozen=True, kw_only=True)
class AttackSpec:
    """An attack with the name that tables show.

    Attributes:
        label: For tables.
        attack: What it is.
        targeted: Whether it aims at a given class.
        reads: Whose gradients or answers it reads: each surrogate's, or each victim's own (white-box and query
            attacks). What starts from a transfer and then asks reads both.
        norms: Of the scenario's budgets, those that it is run with.
        decoy: Crafted against a wrong class instead of the true one: nearly harmless, so a victim that it puts right
            reads the label from the perturbation.
    """

    label: str
    attack: Attack
    targeted: bool
    reads: Reads = "surrogate"
    norms: tuple[Norm, ...] = NORMS
    decoy: bool = False

    @property
    def asks_victims(self) -> bool:
        """Whether it crafts on a surrogate and then asks each victim."""
        return isinstance(self.attack, TransferThenQuery)

    @property
    def searched(self) -> PAS | None:
        """The model path whose coefficients are still to be searched on validation victims."""
        loop = loop_of(self.attack)
        path = loop.path if loop is not None else None
        return path if isinstance(path, PAS) and not path.coefficients else None

    @property
    def mixes(self) -> bool:
        """Whether it mixes images of a pool into others."""
        loop = loop_of(self.attack)
        return loop is not None and any(isinstance(t, Admix) for t in loop.transformations)


@dataclass(frozen=True, kw_only=True)
class BroughtSet:
    """Adversarial images that were made elsewhere.

    Attributes:
        label: What tables call the attack.
        path: An npz file, or a folder of images.
        clean: Of a folder: the folder of the images that they started from.
        budget: The ball that they keep to.
        targeted: Whether they aim at the scenario's target classes.
        seed: What tables call the attack's seed.
        surrogate: What they were made on: a surrogate or victim of the scenario, or any other name.
        axes: What the user declared of the training of what they were made on.
    """

    label: str
    path: str
    clean: str | None
    budget: Budget
    targeted: bool
    seed: int
    surrogate: str
    axes: Mapping[str, str]


def loop_of(attack: Attack) -> Iterative | None:
    """The iterative attack in a snapshot or in what transfers first, or the attack itself; None where there is none."""
    if isinstance(attack, TransferThenQuery):
        return loop_of(attack.transfer)
    if isinstance(attack, Snapshot):
        return attack.attack
    return attack if isinstance(attack, Iterative) else None


def with_loop(attack: Attack, loop: Iterative) -> Attack:
    """The same attack with another loop in the place of `loop_of`."""
    if isinstance(attack, TransferThenQuery):
        return replace(attack, transfer=with_loop(attack.transfer, loop))
    return replace(attack, attack=loop) if isinstance(attack, Snapshot) else loop


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What a scenario file asks for, every name resolved and every grid expanded."""

    name: str
    description: str
    task: Task
    task_name: str
    precision: Precision
    attack_seeds: tuple[int, ...]
    image_sources: tuple[str, ...]  # whose images are attacked
    per_source: int | None  # None: all images of a task without training images
    itself: bool
    surrogates: tuple[SurrogateSpec, ...]
    pool: tuple[PublicSpec, ...]
    victims: tuple[VictimSpec, ...]
    attacks: tuple[AttackSpec, ...]
    budgets: tuple[Budget, ...]
    sets: tuple[BroughtSet, ...]
    controls: Mapping[str, Control]  # surrogate-free sets, by the name in tables
    geometry: Geometry | None
    text: str = field(repr=False)

    @property
    def balls(self) -> tuple[Budget, ...]:
        """Its budgets, and those of sets that were made elsewhere."""
        return tuple(dict.fromkeys((*self.budgets, *(s.budget for s in self.sets))))

    @property
    def defended(self) -> bool:
        """Whether a victim is hardened: then each one's best attack is chosen on validation images, and each is
        looked at for masked gradients.
        """
        return any(v.defense != UNDEFENDED for v in self.victims if v.role == "victim")
