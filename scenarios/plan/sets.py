"""The adversarial sets that a plan needs, each under its key, the images that they start from, and their cells."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from carom.budget import Budget
from carom.errors import InputError
from carom.identity import content_key
from carom.registry import did_you_mean
from carom.scenarios.axes import CONDITIONS
from carom.scenarios.cases import case
from carom.scenarios.spec.scenario import (
    SINGLE,
    AttackSpec,
    Base,
    BroughtSet,
    Reads,
    ReferencedEnsemble,
    Scenario,
    SurrogateSpec,
    VictimSpec,
)
from carom.zoo.tasks.images import Split

from .brought import VERSION, brought
from .images import AttackedImages
from .surrogates import PlannedSurrogate

CONTROL_SEED = 0  # surrogate-free sets are made once per image set, whatever the seeds of the attacks


@dataclass(frozen=True, kw_only=True)
class PlannedSet:
    """An adversarial set under its key: one target x attack x budget x seed on one image set.

    Attributes:
        key: Of what was asked.
        surrogate: Label of the model that is read: a surrogate's, or a victim's own; None for a control.
        members: Keys of its networks.
        spec: What it is.
        attack: None for a control.
        control: The name of a control.
        asked: Key of the victim that a query attack asks; None where it asks the model that it reads.
        only_victim: Key of the one victim that it is made for; None for all.
        judges: Keys of the validation victims that coefficients are searched on.
        budget: The ball.
        seed: Of the draws.
        split: Of the attacked images.
        brought: What the scenario says of it, where it was made elsewhere: then neither attack nor control made it.
        files: sha256 of what it was read from, where it was made elsewhere.
    """

    key: str
    surrogate: str | None
    members: tuple[str, ...]
    spec: SurrogateSpec | None
    attack: AttackSpec | None
    control: str | None
    asked: str | None = None
    only_victim: str | None = None
    judges: tuple[str, ...] = ()
    budget: Budget
    seed: int
    split: Split
    brought: BroughtSet | None = None
    files: str | None = None

    @property
    def label(self) -> str:
        """The attack's or control's name."""
        if self.brought is not None:
            return self.brought.label
        return self.attack.label if self.attack else str(self.control)

    @property
    def models(self) -> tuple[str, ...]:
        """Keys of all models that it rests on."""
        return (*self.members, *(() if self.asked is None else (self.asked,)), *self.judges)

    @property
    def passes(self) -> int:
        """Image passes that an image costs; a control costs none."""
        return (
            0 if self.attack is None or self.spec is None else self.attack.attack.passes(self.spec.builder.active).total
        )

    @property
    def targeted(self) -> bool:
        """Whether success means a given other class."""
        asked = self.attack or self.brought
        return asked is not None and asked.targeted

    @property
    def reads(self) -> Reads:
        """Whose gradients or answers it was made of."""
        if self.brought is not None:
            return "surrogate" if self.only_victim is None else "victim"
        return "surrogate" if self.attack is None else self.attack.reads

    def case_on(self, key: str, victim: Base) -> int | None:
        """The case of its cell on a victim: C0 on what it was made on, alone or among others; None of a control.

        Args:
            key: Of the victim.
            victim: What the victim is.
        """
        if self.spec is None:
            return None
        return 0 if self.reads == "victim" or key in self.members else case_between(self.spec.base, victim)


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """An adversarial set x a victim."""

    set_key: str
    victim_key: str
    case: int | None


def control_sets(scenario: Scenario, attacked: AttackedImages) -> list[PlannedSet]:
    sets = []
    for name, control in scenario.controls.items():
        for budget in scenario.balls:
            if name == "identity":
                budget = replace(budget, eps=Fraction(0))
            key = content_key("control", control, budget, CONTROL_SEED, attacked.key)
            sets.append(
                PlannedSet(
                    key=key,
                    surrogate=None,
                    members=(),
                    spec=None,
                    attack=None,
                    control=name,
                    budget=budget,
                    seed=CONTROL_SEED,
                    split=attacked.split,
                )
            )
    return list({s.key: s for s in sets}.values())


def attack_sets(
    scenario: Scenario,
    attacked: AttackedImages,
    surrogates: Sequence[PlannedSurrogate],
    judged: Sequence[tuple[str, VictimSpec]],
    judges: tuple[str, ...],
    pool: str | None,
) -> list[PlannedSet]:
    """Every adversarial set on one image set: of each surrogate, or of each victim where that is what is read."""
    own = [
        PlannedSurrogate(
            spec=SurrogateSpec(label=victim.label, base=victim.model, builder=SINGLE, builder_name="single"),
            members=(key,),
            rests_on=(key,),
            only_victim=key,
        )
        for key, victim in judged
    ]
    here = {key for key, _ in judged}
    sets = []
    for attack, budget, seed in itertools.product(scenario.attacks, scenario.budgets, scenario.attack_seeds):
        if budget.norm not in attack.norms or (attack.decoy and attacked.split == "validation"):
            continue
        theirs = [s for s in surrogates if s.only_victim is None or s.only_victim in here]
        targets = own if attack.reads == "victim" else theirs
        victims = [key for key, _ in judged] if attack.asks_victims else [None]
        searched_on = judges if attack.searched is not None else ()
        for target, asked in itertools.product(targets, victims):
            if asked is not None and target.only_victim not in (None, asked):
                continue
            further = (
                *(("pool", pool) if attack.mixes else ()),
                *(("judges", searched_on) if searched_on else ()),
                *(("asked", asked) if asked is not None else ()),
                *(("decoy",) if attack.decoy else ()),
            )
            question: tuple[Any, ...] = (
                target.spec.builder,
                target.members,
                attack.attack,
                attack.targeted,
                budget,
                seed,
            )
            sets.append(
                PlannedSet(
                    key=content_key("craft", *question, attacked.key, scenario.precision, *further),
                    surrogate=target.spec.label,
                    members=target.members,
                    spec=target.spec,
                    attack=attack,
                    control=None,
                    asked=asked,
                    only_victim=target.only_victim if asked is None else asked,
                    judges=searched_on,
                    budget=budget,
                    seed=seed,
                    split=attacked.split,
                )
            )
    return sets


def brought_sets(
    scenario: Scenario,
    attacked: AttackedImages,
    surrogates: Sequence[PlannedSurrogate],
    judged: Sequence[tuple[str, VictimSpec]],
) -> list[PlannedSet]:
    """The sets that were made elsewhere, read and checked.

    Raises:
        InputError: One cannot be read, is of other images, or is not in its ball.
    """
    sets = []
    for spec in scenario.sets:
        came = brought(spec, attacked.images, len(scenario.task.classes))
        made_on, only = _made_on(spec, surrogates, judged)
        question = (VERSION, came.files, spec.budget, spec.targeted, made_on.members)
        sets.append(
            PlannedSet(
                key=content_key("brought", *question, attacked.key),
                surrogate=spec.surrogate,
                members=made_on.members,
                spec=made_on.spec,
                attack=None,
                control=None,
                only_victim=only,
                budget=spec.budget,
                seed=spec.seed,
                split=attacked.split,
                brought=spec,
                files=came.files,
            )
        )
    return sets


def _made_on(
    spec: BroughtSet, surrogates: Sequence[PlannedSurrogate], judged: Sequence[tuple[str, VictimSpec]]
) -> tuple[PlannedSurrogate, str | None]:
    """What a set from elsewhere was made on; where that is a victim, its key: it is for that one alone."""
    of_that_name = [s for s in surrogates if s.spec.label == spec.surrogate]
    if any(s.only_victim is not None for s in of_that_name):
        raise InputError(
            f"sets: {spec.label}: {spec.surrogate} is built for each victim anew; name another model as what it was "
            "made on"
        )
    if of_that_name:
        return of_that_name[0], None
    for key, victim in judged:
        if victim.label == spec.surrogate:  # a white box: no transfer, and shown on this victim alone
            own = SurrogateSpec(label=victim.label, base=victim.model, builder=SINGLE, builder_name="single")
            return PlannedSurrogate(spec=own, members=(key,), rests_on=(key,)), key
    declared = ReferencedEnsemble(name=spec.surrogate, members=(), axes=spec.axes)
    unknown = SurrogateSpec(label=spec.surrogate, base=declared, builder=SINGLE, builder_name="single")
    return PlannedSurrogate(spec=unknown, members=(), rests_on=()), None


def misspelt(scenario: Scenario) -> tuple[str, ...]:
    """Sets from elsewhere whose surrogate is no model of the scenario, but has nearly the name of one."""
    own = [*(s.label for s in scenario.surrogates), *(v.label for v in scenario.victims)]
    hints = [(s, did_you_mean(s.surrogate, own)) for s in scenario.sets if s.surrogate not in own]
    return tuple(
        f"sets: {s.label}: made on {s.surrogate!r}, which is no model of this scenario{hint}"
        for s, hint in hints
        if hint
    )


def case_between(attacker: Base | ReferencedEnsemble, victim: Base) -> int | None:
    """C1..C8; None where the source, balance or architecture of a model that was not trained here was not declared."""
    if any(name not in model.axes for model in (attacker, victim) for name in CONDITIONS):
        return None
    return case(False, *(attacker.axes[name] == victim.axes[name] for name in CONDITIONS))
