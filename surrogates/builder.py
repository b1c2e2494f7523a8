"""How surrogates come to be: trainings to start from, and refinements that make weights from weights.

A builder is a chain: a `Training` says which networks are trained from scratch, and how; each `Refinement` after it
takes the weights that came before and makes others. `sam -> lgv -> swa -> rd` trains with SAM, collects along SGD,
averages, and draws around the average.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, runtime_checkable

from carom.attacks.iterative import Iterative
from carom.budget import Budget
from carom.errors import InputError
from carom.protocols import Combination, GradientSource
from carom.zoo.models.classifier import Classifier
from carom.zoo.training.ground import Built, Ground, Weights
from carom.zoo.training.recipes import Recipe
from carom.zoo.training.state import Passes

from .surrogate import Schedule, Surrogate

SEED_STRIDE = 1_000_000  # seeds of one scenario lie below it, so members of different surrogates never share one


@dataclass(frozen=True, kw_only=True)
class Member:
    """One training that a builder asks for: what differs from the surrogate's own configuration.

    Attributes:
        seed: Training seed.
        architecture: Name of another architecture, or None for the surrogate's own.
    """

    seed: int
    architecture: str | None = None


@runtime_checkable
class Training(Protocol):
    """Networks that are trained from scratch. A frozen dataclass.

    Attributes:
        version: Part of every key; raise it when the result changes.
        schedule: How its networks are read where a scenario does not say.
    """

    version: ClassVar[int]
    schedule: ClassVar[Schedule]

    def members(self, seed: int) -> tuple[Member, ...]:
        """The trainings, for one training seed of the surrogate."""
        ...

    def recipe(self, base: Recipe) -> Recipe:
        """How each of them is trained, from how the scenario trains networks."""
        ...

    def count(self) -> int:
        """Weight sets of one training."""
        ...


@runtime_checkable
class Refinement(Protocol):
    """Weights from weights. A frozen dataclass.

    Attributes:
        version: Part of every key.
        schedule: How its weight sets are read where a scenario does not say.
        takes: "one" network, "several" weight sets of one training, or "none", where it begins by itself.
        asks: Whether it asks the victim that is to be attacked; then each victim gets a surrogate of its own.
        judged: Whether it chooses by transfer to validation victims.
    """

    version: ClassVar[int]
    schedule: ClassVar[Schedule]
    takes: ClassVar[str]
    asks: ClassVar[bool]
    judged: ClassVar[bool]

    def count(self, given: int) -> int:
        """Weight sets that it makes of `given` ones."""
        ...

    def others(self, seed: int) -> tuple[Member, ...]:
        """Further plain trainings that it needs beside what came before; they follow in `given`."""
        ...

    def build(self, ground: Ground, given: Sequence[Weights]) -> Built:
        """The weight sets, from those that came before.

        All that is random comes from generators seeded by `stream(ground.seed, purpose, step)`.

        Raises:
            InputError: What is given or the attacker's data do not suffice.
            DivergedError: Nothing came out that does better than guessing.
        """
        ...


@runtime_checkable
class JudgesByAttack(Protocol):
    """A refinement that attacks in order to choose: with what the scenario attacks with, where it does not say."""

    def against(self, attack: Iterative | None, budgets: Sequence[Budget]) -> "Refinement":
        """Itself, with what it will judge with among its fields, and so in its key.

        Args:
            attack: The scenario's first untargeted loop that reads surrogates; None where it has none.
            budgets: The scenario's.

        Raises:
            InputError: The scenario has nothing to judge with.
        """
        ...


@runtime_checkable
class ReadsItsOwnWay(Protocol):
    """A refinement whose weight sets are not networks to be read in turn, such as a mean and its deviations."""

    def source(self, classifiers: Sequence[Classifier], seed: int) -> GradientSource:
        """The gradient source, from one classifier for each weight set and the attack's seed."""
        ...

    def answering(self, classifiers: Sequence[Classifier]) -> Sequence[Classifier]:
        """Those that answer for the surrogate."""
        ...

    def active(self, count: int) -> int:
        """Classifiers that are read at a step."""
        ...


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A surrogate builder: a training and what is made of it.

    Attributes:
        first: None where the first refinement begins by itself.
        then: In their order.
        combination: Mean of logits, of probabilities, or of losses.
        schedule: "full" (all at every step) or "light" (`per_step` at a step, in turn).
        per_step: Members a step of the light schedule.
    """

    first: Training | None
    then: tuple[Refinement, ...] = ()
    combination: Combination = "logits"
    schedule: Schedule = "full"
    per_step: int = 1

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.first is None and not self.then:
            raise InputError("surrogate: an empty chain; name a builder")
        count = 0 if self.first is None else len(self.first.members(0)) * self.first.count()
        networks = 0 if self.first is None else len(self.first.members(0))
        for stage in self.then:
            name = type(stage).__name__
            if stage.asks and stage is not self.then[-1]:
                raise InputError(
                    f"surrogate: {name} has no true labels, and what comes behind it would learn from them; end with it"
                )
            if stage.takes == "none" and count:
                raise InputError(f"surrogate: {name} begins by itself; put it first")
            if stage.takes == "one" and count != 1:
                raise InputError(f"surrogate: {name} takes one network, and {count or 'none'} came before it")
            if stage.takes == "several" and networks != 1:
                raise InputError(
                    f"surrogate: {name} takes weights of one training, and {networks or 'none'} came before it"
                )
            count, networks = stage.count(count), 1
            if isinstance(stage, ReadsItsOwnWay) and stage is not self.then[-1]:
                raise InputError(f"surrogate: what {name} makes is not a set of networks; put nothing behind it")
        if not 1 <= self.per_step <= self.count:
            raise InputError(f"surrogate: per_step={self.per_step}; expected 1 to the number of members, {self.count}")

    @property
    def count(self) -> int:
        """Weight sets in the end."""
        count = 0 if self.first is None else len(self.first.members(0)) * self.first.count()
        for stage in self.then:
            count = stage.count(count)
        return count

    @property
    def asks(self) -> bool:
        """Whether each victim gets a surrogate of its own."""
        return any(stage.asks for stage in self.then)

    @property
    def judged(self) -> bool:
        """Whether something is chosen by transfer to validation victims."""
        return any(stage.judged for stage in self.then)

    @property
    def active(self) -> int:
        """Classifiers that are read at a step."""
        last = self.then[-1] if self.then else None
        if isinstance(last, ReadsItsOwnWay):
            return last.active(self.count)
        return self.count if self.schedule == "full" else self.per_step

    def against(self, attack: Iterative | None, budgets: Sequence[Budget]) -> "Chain":
        """The same, where what chooses by attacks does so with those of a scenario.

        Raises:
            InputError: The scenario has nothing to judge with.
        """
        then = (stage.against(attack, budgets) if isinstance(stage, JudgesByAttack) else stage for stage in self.then)
        return replace(self, then=tuple(then))

    def members(self, seed: int) -> tuple[Member, ...]:
        """All trainings from scratch that it rests on, for one training seed of the surrogate."""
        first = () if self.first is None else self.first.members(seed)
        return (*first, *(other for stage in self.then for other in stage.others(seed)))

    def surrogate(self, classifiers: Sequence[Classifier], seed: int) -> GradientSource:
        """What an attack reads, from one classifier for each weight set and the attack's seed."""
        last = self.then[-1] if self.then else None
        if isinstance(last, ReadsItsOwnWay):
            return last.source(classifiers, seed)
        return Surrogate(
            tuple(classifiers),
            combination=self.combination,
            schedule=self.schedule,
            per_step=min(self.per_step, len(classifiers)),
            seed=seed,
        )

    def answering(self, classifiers: Sequence[Classifier]) -> Sequence[Classifier]:
        """The classifiers whose mean logits are the surrogate's own answer."""
        last = self.then[-1] if self.then else None
        return last.answering(classifiers) if isinstance(last, ReadsItsOwnWay) else classifiers


def build(
    chain: Chain, ground: Ground, given: Sequence[Weights] | None = None, others: Sequence[Sequence[Weights]] = ()
) -> Built:
    """A whole chain in this process: train what it starts from, unless it is given, then refine.

    Args:
        chain: What to build.
        ground: What with.
        given: Weights that exist already, in the place of the chain's first training.
        others: For each refinement, weights of the further trainings that it asks for; trained where left out.

    Raises:
        InputError: Something does not suit.
        DivergedError: A training came to nothing.
    """
    passes = Passes()

    def at(place: str, **changes: Any) -> Ground:
        """The ground of one training or stage, with a checkpoint of its own."""
        path = ground.checkpoint
        return replace(ground, checkpoint=None if path is None else path.with_name(f"{place}-{path.name}"), **changes)

    def train_(member: Member, recipe: Recipe, place: str) -> list[Weights]:
        nonlocal passes
        trained = at(place, seed=member.seed).trained(recipe)
        passes += trained.passes
        samples: list[Weights] = [sample.weights for sample in trained.samples]
        return samples or [trained.best if trained.select == "best" else trained.last]

    members: list[Weights] = [] if given is None else list(given)
    if given is None and chain.first is not None:
        recipe = chain.first.recipe(ground.recipe)
        for i, member in enumerate(chain.first.members(ground.seed)):
            members += train_(member, recipe, f"training-{i}")
    expected = 0 if chain.first is None else len(chain.first.members(0)) * chain.first.count()
    record: dict[str, object] = {}
    for place, stage in enumerate(chain.then):
        more = list(others[place]) if place < len(others) else []
        for i, member in enumerate(stage.others(ground.seed)[len(more) :]):
            more += train_(member, ground.recipe, f"other-{place}-{i}")
        made = stage.build(at(f"stage-{place}", expected=expected), [*members, *more])
        members, expected = list(made.members), stage.count(expected)
        passes += made.passes
        record |= made.record
    return Built(members=tuple(members), passes=passes, record=record)
