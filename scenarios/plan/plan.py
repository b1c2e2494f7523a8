"""From a scenario to jobs: what has to be trained, crafted and evaluated, each under a key, and which cells that gives.

Planning reads data and checks every model that exists already, so that what is wrong is said before anything is
computed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from carom.budget import Budget
from carom.errors import InputError
from carom.scenarios.spec.scenario import ReferencedModel, Role, Scenario, SurrogateSpec
from carom.zoo.models.references import load_reference
from carom.zoo.tasks.attacked import partner_images
from carom.zoo.tasks.images import Split

from .images import AttackedImages, images_to_attack, repeated
from .models import (
    BuiltModel,
    Model,
    PlannedModel,
    WrappedModel,
    data_digests,
    defended_model,
    planned_model,
    training_images,
)
from .outside import checked, held_to
from .sets import PlannedCell, PlannedSet, attack_sets, brought_sets, control_sets, misspelt
from .surrogates import PlannedSurrogate, as_attacker, built_surrogate, refuse_one_model_twice, understated


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a scenario needs, in the order in which it is computed."""

    scenario: Scenario
    images: Mapping[Split, AttackedImages]
    models: Mapping[str, PlannedModel]
    roles: Sequence[tuple[str, Role, str]]  # model key, role, label
    sets: Mapping[str, PlannedSet]
    cells: Sequence[PlannedCell]
    surrogates: Sequence[PlannedSurrogate] = field(default=())
    warnings: Sequence[str] = field(default=())
    pool: str | None = None  # digest of the pool of images that attacks mix in; None where none does
    checks: Sequence[str] = field(default=())  # what checking the referenced models noticed
    examined_victims: Sequence[str] = field(default=())  # keys of victims that are looked at for masked gradients

    @property
    def examination_budget(self) -> Budget | None:
        """The ball of that look: the largest of linf, or else of l2; None where all radii are 0."""
        some = [b for b in self.scenario.budgets if b.eps > 0]
        return max(some, key=lambda b: (b.norm == "linf", b.eps), default=None)

    def rests_on(self, victim: str) -> list[str]:
        """Keys of all models that were made for a victim, it among them; public models are not."""
        found, open_ = [victim], [victim]
        while open_:
            model = self.models[open_.pop()].model
            behind = (
                (*model.given, *model.others)
                if isinstance(model, BuiltModel)
                else (model.inner,)
                if isinstance(model, WrappedModel)
                else ()
            )
            new = [key for key in behind if key not in found]
            found += new
            open_ += new
        return found


def plan(scenario: Scenario, *, run_id: str = "", progress: Callable[[str], None] | None = None) -> Plan:
    """The plan of a scenario.

    Args:
        scenario: What is asked.
        run_id: Key of outcomes of victims without a revision: they serve one run only.
        progress: Told what is being read.

    Raises:
        InputError: A source is too small for what is asked, or a referenced model breaks its contract.
        MissingData: The task's files are not on this machine.
    """
    say = progress or (lambda _: None)
    task = scenario.task
    n = training_images(scenario, say)
    splits: list[Split] = ["test"]
    if scenario.defended or any(v.role == "validation victim" for v in scenario.victims):
        splits.append("validation")
    images = {split: images_to_attack(scenario, split) for split in splits}
    digests, learned = data_digests(scenario, frozenset(each for attacked in images.values() for each in attacked.each))
    checks: list[str] = []
    models: dict[str, PlannedModel] = {}
    roles: dict[tuple[str, Role], str] = {}
    owners: dict[str | None, tuple[Role, str, str]] = {}  # of models that exist already, by their digest
    differentiated: set[str] = set()  # models that exist already whose gradients were checked
    held: set[tuple[Any, ...]] = set()  # the stated accuracies that were checked

    def add(model: Model, role: Role, label: str, *, own: bool = False) -> str:
        """The model's key; a label of its own wins over that of one who rests on it."""
        planned = planned_model(model, task, n, digests, label, run_id, images, scenario.precision)
        if isinstance(model, ReferencedModel):
            states = (planned.key, model.stated, model.axes.get("source"))
            attacks = role not in ("victim", "validation victim")
            if planned.key not in models or (attacks and planned.key not in differentiated):
                say(f"checking {label}")
                planned, remark = checked(planned, model, scenario, images["test"], role)
                if remark not in checks:
                    checks.append(remark)
                differentiated.update([planned.key] if attacks else [])
            else:
                planned = replace(models[planned.key], label=label)
                if model.stated is not None and states not in held:
                    say(f"checking {label}")
                    found = load_reference(model.reference, shape=task.shape, classes=len(task.classes), where=label)
                    checks.append(f"{label} has {held_to(found, model, scenario, label)}")
            held.add(states)
            owner = owners.setdefault(planned.digest, (role, label, planned.key))
            if owner[0] != role and owner[2] != planned.key:
                raise InputError(
                    f"scenario {scenario.name}: {owner[0]} {owner[1]!r} and {role} {label!r} have the same weights, so "
                    "one model is in two roles; give each role models of its own, or name one file in both (a "
                    "surrogate meets itself by `itself = true`)"
                )
        models[planned.key] = planned if own else models.get(planned.key, planned)
        if own:
            roles[planned.key, role] = label
        roles.setdefault((planned.key, role), label)
        return planned.key

    def build(spec: SurrogateSpec, asked: str | None) -> PlannedSurrogate:
        return built_surrogate(spec, asked, {v.label: k for k, v in victims}, judges, add)

    sets: dict[str, PlannedSet] = {}
    cells: list[PlannedCell] = []
    public = [(defended_model(p, (), add), p) for p in scenario.pool]
    seen = [(key, p) for key, p in public if p.role == "public pool seen"]
    victims = [(defended_model(v, seen, add), v) for v in scenario.victims]
    for key, victim in victims:
        twins = [v.label for k, v in victims if k == key]
        if len(twins) > 1:
            raise InputError(
                f"scenario {scenario.name}: victims {twins[0]!r} and {twins[1]!r} are the same model; "
                f"drop {victim.label!r}"
            )
    judges = tuple(key for key, victim in victims if victim.role == "validation victim")
    surrogates = [
        build(spec, asked)
        for spec in scenario.surrogates
        for asked in ([key for key, _ in victims] if spec.builder.asks else [None])
    ]
    for planned_surrogate in surrogates:
        refuse_one_model_twice(planned_surrogate, models)
    groups = {p.group for _, p in seen}
    attackers = [*surrogates, *(as_attacker(key, p, groups) for key, p in public if p.attacks)]
    pool = partner_images(task).digest if any(attack.mixes for attack in scenario.attacks) else None
    for split in splits:
        judged = [(k, v) for k, v in victims if (v.role == "validation victim") == (split == "validation")]
        # each victim's best attack is chosen on validation images, so it meets there what is made without it
        meets = [key for key, v in victims if v.role == "victim"] if scenario.defended and split == "validation" else []
        crafted = attack_sets(scenario, images[split], attackers, judged, judges, pool)
        theirs = brought_sets(scenario, images[split], attackers, judged) if split == "test" else []
        for planned in (*control_sets(scenario, images[split]), *crafted, *theirs):
            if planned.key in sets:
                twin = sets[planned.key]
                raise InputError(
                    f"scenario {scenario.name}: {twin.surrogate}, {twin.label} and {planned.surrogate}, "
                    f"{planned.label} ask for the same adversarial set; drop one"
                )
            sets[planned.key] = planned
            own_model = planned.reads == "victim"
            for victim_key, victim in judged:
                if planned.only_victim not in (None, victim_key):
                    continue
                number = planned.case_on(victim_key, victim.model)
                cells.append(PlannedCell(set_key=planned.key, victim_key=victim_key, case=number))
            if planned.spec is not None and not own_model and planned.asked is None and planned.only_victim is None:
                bases = {key: v.model for key, v in victims}
                cells += [
                    PlannedCell(set_key=planned.key, victim_key=key, case=planned.case_on(key, bases[key]))
                    for key in meets
                ]
            if planned.spec is not None and scenario.itself and split == "test" and not own_model and not planned.asked:
                met = {key for key, _ in judged}
                own = [member for member in dict.fromkeys(planned.members) if member not in met]
                cells += [PlannedCell(set_key=planned.key, victim_key=member, case=0) for member in own]
    return Plan(
        scenario=scenario,
        images=images,
        models=models,
        roles=[(key, role, label) for (key, role), label in roles.items()],
        sets=sets,
        cells=cells,
        surrogates=surrogates,
        warnings=(
            *understated(scenario),
            *misspelt(scenario),
            *(said for attacked in images.values() for said in repeated(attacked, learned)),
        ),
        pool=pool,
        checks=tuple(checks),
        examined_victims=tuple(key for key, v in victims if v.role == "victim") if scenario.defended else (),
    )


def layers(plan: Plan) -> list[list[str]]:
    """Keys of the built models, in layers: each layer rests on those before it."""
    placed: dict[str, int] = {}
    for key, planned in plan.models.items():  # a model stands behind what it rests on
        if isinstance(planned.model, BuiltModel):
            placed[key] = 1 + max((placed.get(m, 0) for m in planned.model.models), default=0)
        elif isinstance(planned.model, WrappedModel):
            placed[key] = placed.get(planned.model.inner, 0)
    built = {k: d for k, d in placed.items() if isinstance(plan.models[k].model, BuiltModel)}
    return [[k for k, d in built.items() if d == depth] for depth in range(1, max(built.values(), default=0) + 1)]
