"""From a scenario to jobs: what has to be trained, crafted and evaluated, each under a key, and which cells that gives.

Planning reads data and checks every model that exists already, so that what is wrong is said before anything is
computed.
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import torch

from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError
from carom.identity import content_key
from carom.scenarios.cases import case
from carom.scenarios.spec.scenario import (
    SINGLE,
    AttackSpec,
    Base,
    BuiltModel,
    Model,
    Precision,
    PublicSpec,
    ReferencedModel,
    Role,
    Scenario,
    SurrogateSpec,
    TrainedModel,
    VictimSpec,
    WrappedModel,
    loop_of,
)
from carom.surrogates import Member
from carom.typing import Ids, Labels
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.references import (
    CallableVictim,
    check_accuracy,
    check_victim,
    code_behind,
    load_reference,
)
from carom.zoo.tasks import Task
from carom.zoo.tasks.attacked import attacked_images, partner_images
from carom.zoo.tasks.balance import largest_n
from carom.zoo.tasks.images import ImageSet, Split, concatenate

CONTROL_SEED = 0  # surrogate-free sets are made once per image set, whatever the seeds of the attacks

TARGET_SEED = 0


@dataclass(frozen=True, kw_only=True)
class AttackedImages:
    """The images that every set of one split starts from."""

    key: str
    split: Split
    images: ImageSet
    image_source: Labels  # index into the task's sources, image by image

    @cached_property
    def digest(self) -> str:
        """sha256 of the images, labels and ids; every set names it, so it is computed once."""
        return self.images.digest


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """A model under its key; the digest of one that exists already is known before anything runs.

    Attributes:
        key: Of what was asked.
        model: What it is.
        inputs: Digests of the data that it is made from.
        label: For tables.
        digest: Of a model that exists already.
        code: Of the Python module that makes one that exists already, as `code_behind` says.
    """

    key: str
    model: Model
    inputs: Mapping[str, str]
    label: str
    digest: str | None = None
    code: str | None = None

    @property
    def trained(self) -> TrainedModel | None:
        """The training that it is, or that it rests on; None of a model that exists already."""
        base = self.model if isinstance(self.model, TrainedModel | ReferencedModel) else self.model.base
        return base if isinstance(base, TrainedModel) else None

    @property
    def stacked(self) -> bool:
        """Whether its artefact holds several weight sets, or one in the same form."""
        if isinstance(self.model, TrainedModel):
            return self.model.configuration.recipe.slots().collect is not None
        return isinstance(self.model, BuiltModel)


@dataclass(frozen=True, kw_only=True)
class PlannedSurrogate:
    """A surrogate, with the keys of its models.

    Attributes:
        spec: What it is.
        members: Models whose weight sets are read, in their order.
        rests_on: All models that had to be made for it, these among them.
        only: Key of the one victim that it is built for; None for all.
    """

    spec: SurrogateSpec
    members: tuple[str, ...]
    rests_on: tuple[str, ...]
    only: str | None = None


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
        only: Key of the one victim that it is made for; None for all.
        judges: Keys of the validation victims that coefficients are searched on.
        budget: The ball.
        seed: Of the draws.
        split: Of the attacked images.
    """

    key: str
    surrogate: str | None
    members: tuple[str, ...]
    spec: SurrogateSpec | None
    attack: AttackSpec | None
    control: str | None
    asked: str | None = None
    only: str | None = None
    judges: tuple[str, ...] = ()
    budget: Budget
    seed: int
    split: Split

    @property
    def label(self) -> str:
        """The attack's or control's name."""
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
        return self.attack is not None and self.attack.targeted


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """An adversarial set x a victim."""

    set_key: str
    victim_key: str
    case: int | None


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
    examined: Sequence[str] = field(default=())  # keys of victims that are looked at for masked gradients

    @property
    def examined_in(self) -> Budget | None:
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
    n = _training_images(scenario, say)
    splits: list[Split] = ["test"]
    if scenario.defended or any(v.role == "validation victim" for v in scenario.victims):
        splits.append("validation")
    images = {split: _attacked(scenario, split) for split in splits}
    digests = _data_digests(scenario)
    checks: list[str] = []
    models: dict[str, PlannedModel] = {}
    roles: dict[tuple[str, Role], str] = {}
    owners: dict[str | None, tuple[Role, str]] = {}  # of models that exist already, by their digest
    held: set[tuple[Any, ...]] = set()  # the stated accuracies that were checked

    def add(model: Model, role: Role, label: str, *, own: bool = False) -> str:
        """The model's key; a label of its own wins over that of one who rests on it."""
        planned = _planned_model(model, task, n, digests, label, run_id, images, scenario.precision)
        if isinstance(model, ReferencedModel):
            states = (planned.key, model.stated, model.axes.get("source"))
            if planned.key not in models:
                say(f"checking {label}")
                planned, remark = _checked(planned, model, scenario, images["test"], role)
                checks.append(remark)
            else:
                planned = replace(models[planned.key], label=label)
                if model.stated is not None and states not in held:
                    say(f"checking {label}")
                    found = load_reference(model.reference, shape=task.shape, classes=len(task.classes), where=label)
                    checks.append(f"{label} has {_held_to(found, model, scenario, label)}")
            held.add(states)
            owner = owners.setdefault(planned.digest, (role, label))
            if owner[0] != role:
                raise InputError(
                    f"scenario {scenario.name}: {owner[0]} {owner[1]!r} and {role} {label!r} have the same weights, so "
                    "one model is in two roles; give each role models of its own (a surrogate meets itself by "
                    "`itself = true`)"
                )
        models[planned.key] = planned if own else models.get(planned.key, planned)
        if own:
            roles[planned.key, role] = label
        roles.setdefault((planned.key, role), label)
        return planned.key

    def build(spec: SurrogateSpec, asked: str | None) -> PlannedSurrogate:
        return _built(spec, asked, {v.label: k for k, v in victims}, judges, add)

    sets: dict[str, PlannedSet] = {}
    cells: list[PlannedCell] = []
    public = [(_defended(p, (), add), p) for p in scenario.pool]
    seen = [(key, p) for key, p in public if p.role == "public pool seen"]
    victims = [(_defended(v, seen, add), v) for v in scenario.victims]
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
    groups = {p.group for _, p in seen}
    attackers = [*surrogates, *(_as_attacker(key, p, groups) for key, p in public if p.attacks)]
    pool = partner_images(task).digest if any(attack.mixes for attack in scenario.attacks) else None
    for split in splits:
        judged = [(k, v) for k, v in victims if (v.role == "validation victim") == (split == "validation")]
        # each victim's best attack is chosen on validation images, so it meets there what is made without it
        meets = [key for key, v in victims if v.role == "victim"] if scenario.defended and split == "validation" else []
        crafted = _sets(scenario, images[split], attackers, judged, judges, pool)
        for planned in (*_controls(scenario, images[split]), *crafted):
            if planned.key in sets:
                twin = sets[planned.key]
                raise InputError(
                    f"scenario {scenario.name}: {twin.surrogate}, {twin.label} and {planned.surrogate}, "
                    f"{planned.label} ask for the same adversarial set; drop one"
                )
            sets[planned.key] = planned
            own_model = planned.attack is not None and planned.attack.reads == "victim"
            for victim_key, victim in judged:
                if planned.only not in (None, victim_key):
                    continue
                number = None if planned.spec is None else 0 if own_model else _case(planned.spec.base, victim.model)
                cells.append(PlannedCell(set_key=planned.key, victim_key=victim_key, case=number))
            if planned.spec is not None and not own_model and planned.asked is None and planned.only is None:
                bases = {key: v.model for key, v in victims}
                cells += [
                    PlannedCell(set_key=planned.key, victim_key=key, case=_case(planned.spec.base, bases[key]))
                    for key in meets
                ]
            if planned.spec is not None and scenario.itself and split == "test" and not own_model and not planned.asked:
                own = dict.fromkeys(planned.members)
                cells += [PlannedCell(set_key=planned.key, victim_key=member, case=0) for member in own]
    return Plan(
        scenario=scenario,
        images=images,
        models=models,
        roles=[(key, role, label) for (key, role), label in roles.items()],
        sets=sets,
        cells=cells,
        surrogates=surrogates,
        warnings=_understated(scenario),
        pool=pool,
        checks=tuple(checks),
        examined=tuple(key for key, v in victims if v.role == "victim") if scenario.defended else (),
    )


def target_classes(labels: Labels, ids: Ids, classes: int) -> Labels:
    """For targeted attacks: a class other than the true one, uniform, one for each image in all scenarios."""
    offset = 1 + Draws(TARGET_SEED, ids).integers("target class", classes - 1)
    return (labels + offset) % classes


# ------------------------------------------------------------------------------------------------------------- parts


def _training_images(scenario: Scenario, say: Callable[[str], None]) -> int | None:
    """The largest N that every balance can draw from every source; None when every model states its own."""
    open_models = [m for m in _trained_models(scenario) if m.configuration.n is None]
    if not open_models:
        return None
    available = []
    for source, samples in dict.fromkeys((m.configuration.source, m.configuration.samples) for m in open_models):
        say(f"reading {scenario.task_name}: {source}")
        labels = scenario.task.load(source, "train", samples).labels
        available.append(tuple(torch.bincount(labels, minlength=len(scenario.task.classes)).tolist()))
    balances = list(dict.fromkeys(m.configuration.balance for m in open_models))
    n = largest_n(available, balances)
    if n < len(scenario.task.classes):
        raise InputError(
            f"scenario {scenario.name}: no number of training images suits every balance and source; "
            f"the sources hold {[sum(a) for a in available]} images; drop a balance or set n"
        )
    return n


def _trained_models(scenario: Scenario) -> list[TrainedModel]:
    """Models whose data have to be read: those of victims and the pool, and all that surrogates rest on."""
    models: list[Base] = [*(v.model for v in scenario.victims), *(p.model for p in scenario.pool)]
    for spec in scenario.surrogates:
        if isinstance(spec.base, TrainedModel):
            models += [spec.base, *(_training(spec, spec.base, m) for m in spec.builder.members(spec.base.seed))]
    return [m for m in models if isinstance(m, TrainedModel)]


def _training(spec: SurrogateSpec, base: TrainedModel, member: Member, *, plain: bool = False) -> TrainedModel:
    """One of the trainings that a builder asks for; `plain` as the scenario trains networks."""
    configuration, axes = base.configuration, dict(base.axes)
    if member.architecture is not None:
        network = architecture(member.architecture, where=f"{spec.label}: architecture")
        configuration = replace(configuration, architecture=network)
        axes["architecture"] = member.architecture
    if spec.builder.first is not None and not plain:
        configuration = replace(configuration, recipe=spec.builder.first.recipe(configuration.recipe))
    return TrainedModel(configuration=configuration, seed=member.seed, axes=axes)


def _defended(spec: VictimSpec | PublicSpec, pool: Sequence[tuple[str, PublicSpec]], add: Callable[..., str]) -> str:
    """Key of a victim or public model, behind those that its defence rests on."""
    model, defense = spec.model, spec.defense

    def put(model: Model, of: Any, *, last: bool) -> tuple[str, ...]:
        """One of its models; what comes before the last is called by what made it."""
        label = spec.label if last else f"{spec.label} > {'plain' if of is None else type(of).__name__.lower()}"
        return (add(model, spec.role, label, own=last),)

    keys: tuple[str, ...] = ()
    if isinstance(model, ReferencedModel) or defense.trains_first:
        first: Model = model
        if isinstance(model, TrainedModel) and defense.first is not None:
            recipe = defense.first.recipe(model.configuration.recipe)
            first = replace(model, configuration=replace(model.configuration, recipe=recipe))
        keys = put(first, defense.first, last=not defense.then and not defense.wrappers)
    for place, stage in enumerate(defense.then):
        assert isinstance(model, TrainedModel)
        learns_from = pool if stage.pool else ()
        built = BuiltModel(
            base=model,
            stage=stage,
            chain=None,
            given=keys,
            stages=defense.then[: place + 1],
            pool=tuple(key for key, _ in learns_from),
            groups=tuple(p.group for _, p in learns_from),
            pool_labels=tuple(p.label for _, p in learns_from),
        )
        keys = put(built, stage, last=place + 1 == len(defense.then) and not defense.wrappers)
    if defense.wrappers:
        keys = put(WrappedModel(base=model, inner=keys[0], wrappers=defense.wrappers), None, last=True)
    return keys[0]


def _as_attacker(key: str, public: PublicSpec, groups: Collection[str]) -> PlannedSurrogate:
    """A public model as attackers use it; `groups` are those of models that defenders learn from."""
    seen = public.role == "public pool seen"
    part = "seen" if seen else "held out" if public.group in groups else "unseen group"
    axes = {
        **public.model.axes,
        "group": public.group,
        "pool": part,
    }
    spec = SurrogateSpec(
        label=public.label, base=replace(public.model, axes=axes), builder=SINGLE, builder_name="single"
    )
    return PlannedSurrogate(spec=spec, members=(key,), rests_on=(key,))


def _built(
    spec: SurrogateSpec,
    asked: str | None,
    victims: Mapping[str, str],
    judges: tuple[str, ...],
    add: Callable[[Model, Role, str], str],
) -> PlannedSurrogate:
    """A surrogate's models, from its trainings to its last refinement."""
    base, chain = spec.base, spec.builder
    if isinstance(base, ReferencedModel):
        key = add(base, "surrogate", spec.label)
        return PlannedSurrogate(spec=spec, members=(key,), rests_on=(key,))
    several = len(chain.then) > 0 or (chain.first is not None and len(chain.first.members(base.seed)) > 1)

    def label(model: TrainedModel) -> str:
        return f"{spec.label} > {model.axes['architecture']}/s{model.seed}" if several else spec.label

    first = [] if chain.first is None else [_training(spec, base, m) for m in chain.first.members(base.seed)]
    keys = tuple(add(model, "surrogate", label(model)) for model in first)
    rests_on = dict.fromkeys(keys)
    for place, stage in enumerate(chain.then):
        further = [_training(spec, base, member, plain=True) for member in stage.others(base.seed)]
        others = tuple(add(model, "surrogate", f"{label(model)}, another") for model in further)
        model = BuiltModel(
            base=base,
            stage=stage,
            chain=replace(chain, then=chain.then[: place + 1], per_step=1),
            given=keys,
            others=others,
            asked=asked if stage.asks else None,
            judges=judges if stage.judged else (),
        )
        last = place + 1 == len(chain.then)
        against = "" if asked is None else f" of {next(label for label, key in victims.items() if key == asked)}"
        name = f"{spec.label}{against}" if last else f"{spec.label}{against} > {type(stage).__name__.lower()}"
        keys = (add(model, "surrogate", name),)
        rests_on |= dict.fromkeys((*others, *keys))
    return PlannedSurrogate(spec=spec, members=keys, rests_on=tuple(rests_on), only=asked)


def _understated(scenario: Scenario) -> tuple[str, ...]:
    """Attacks of fewer steps than a surrogate has members, so that some are never read."""
    warnings = []
    for spec in scenario.surrogates:
        chain = spec.builder
        if chain.schedule == "full" or chain.active == chain.count:
            continue
        for attack in scenario.attacks:
            loop = loop_of(attack.attack)
            if attack.reads == "surrogate" and loop is not None and loop.steps * chain.active < chain.count:
                warnings.append(
                    f"{spec.label}: {attack.label} has {loop.steps} steps and reads {loop.steps * chain.active} of "
                    f"{chain.count} members: its transfer is understated; take more steps"
                )
    return tuple(warnings)


def _data_digests(scenario: Scenario) -> dict[tuple[str, str], dict[str, str]]:
    digests: dict[tuple[str, str], dict[str, str]] = {}
    for model in _trained_models(scenario):
        place = (model.configuration.source, model.configuration.samples)
        if place not in digests:
            digests[place] = {
                "train": scenario.task.load(place[0], "train", place[1]).digest,
                "validation": scenario.task.load(place[0], "validation", place[1]).digest,
            }
    return digests


def _planned_model(
    model: Model,
    task: Task,
    n: int | None,
    digests: Mapping[tuple[str, str], Mapping[str, str]],
    label: str,
    run_id: str,
    images: Mapping[Split, AttackedImages],
    precision: Precision,
) -> PlannedModel:
    if isinstance(model, ReferencedModel):
        asked = model.reference.key() or f"{model.name} in run {run_id}"  # without a revision: for this run only
        key = content_key("reference", asked)
        return PlannedModel(key=key, model=model, inputs={}, label=label)
    if isinstance(model, WrappedModel):
        key = content_key("wrapped", model.inner, model.wrappers)
        sized = _sized(model.base, n) if isinstance(model.base, TrainedModel) else model.base
        return PlannedModel(key=key, model=replace(model, base=sized), inputs={}, label=label)
    if isinstance(model, BuiltModel):
        base = _planned_model(model.base, task, n, digests, label, run_id, images, precision)
        assert isinstance(base.model, TrainedModel)
        judging = images["validation"].key if model.judges else None
        question: tuple[Any, ...] = ("build", model.stage, model.models, judging, task, base.model.configuration)
        in_precision = () if model.asked is None or precision == "float32" else (precision,)  # of the answers
        in_groups = (("pool", model.groups),) if model.pool else ()
        key = content_key(*question, base.model.seed, *in_precision, *in_groups)
        inputs = dict(base.inputs) | ({"judging": images["validation"].digest} if model.judges else {})
        return PlannedModel(key=key, model=replace(model, base=base.model), inputs=inputs, label=label)
    planned = _sized(model, n)
    configuration = planned.configuration
    key = content_key("train", task, configuration, model.seed)
    return PlannedModel(
        key=key, model=planned, inputs=digests[configuration.source, configuration.samples], label=label
    )


def _sized(model: TrainedModel, n: int | None) -> TrainedModel:
    """With the scenario's number of training images, where it has none of its own."""
    if model.configuration.n is not None:
        return model
    return replace(model, configuration=replace(model.configuration, n=n))


def _checked(
    planned: PlannedModel, model: ReferencedModel, scenario: Scenario, attacked: AttackedImages, role: Role
) -> tuple[PlannedModel, str]:
    """The model with its digest, and what checking it noticed.

    Raises:
        ModelError: It breaks the contract of its role, or is less accurate than stated.
    """
    task = scenario.task
    name, classes = planned.label, len(task.classes)
    found = load_reference(model.reference, shape=task.shape, classes=classes, where=name)
    # of the model as it was loaded: a job will load it again and compare
    digest = found.fingerprint() if isinstance(found, Classifier) else planned.key
    check = check_victim(
        found,
        name=name,
        shape=task.shape,
        classes=classes,
        images=attacked.images.images,
        surrogate=role not in ("victim", "validation victim"),
    )
    remark = f"{name} answers {check.answers}" + (", was in training mode" if check.was_training else "")
    if model.stated is not None:
        remark += f", {_held_to(found, model, scenario, name)}"
    return replace(planned, digest=digest, code=code_behind(model.reference)), remark


def _held_to(found: Classifier | CallableVictim, model: ReferencedModel, scenario: Scenario, name: str) -> str:
    """The clean accuracy of a model, in words.

    Raises:
        ModelError: It is below what is stated of it.
    """
    assert model.stated is not None
    some = _for_accuracy(scenario, model.axes.get("source"))
    classes = len(scenario.task.classes)
    right = check_accuracy(found, model.stated, name=name, images=some.images, labels=some.labels, classes=classes)
    return f"clean accuracy {right:.1%} on {len(some)} validation images"


_ACCURACY_ON = 500  # validation images at most: each may be a question to a service


def _for_accuracy(scenario: Scenario, source: str | None) -> ImageSet:
    """Validation images that a stated clean accuracy is held to: of the model's source, where that is declared."""
    sources = (source,) if source in scenario.task.sources else scenario.image_sources
    found = concatenate([scenario.task.load(s, "validation") for s in sources])
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0))
    return found.select(order[:_ACCURACY_ON])


def _attacked(scenario: Scenario, split: Split) -> AttackedImages:
    task, precision = scenario.task, scenario.precision
    images, source = attacked_images(task, split, scenario.per_source, 0, scenario.image_sources)
    some = () if scenario.image_sources == task.sources else (scenario.image_sources,)
    asked: tuple[Any, ...] = (task, split, scenario.per_source, *some)
    # answers are stored by victim and image set, so victims that answer in another precision get an image set of
    # their own: a cell never pairs clean answers of one precision with adversarial ones of the other
    key = content_key("attacked images", *asked, *(() if precision == "float32" else (precision,)))
    return AttackedImages(key=key, split=split, images=images, image_source=source)


def _controls(scenario: Scenario, attacked: AttackedImages) -> list[PlannedSet]:
    sets = []
    for name, control in scenario.controls.items():
        for budget in scenario.budgets:
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


def _sets(
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
            only=key,
        )
        for key, victim in judged
    ]
    here = {key for key, _ in judged}
    sets = []
    for attack, budget, seed in itertools.product(scenario.attacks, scenario.budgets, scenario.attack_seeds):
        if budget.norm not in attack.norms or (attack.decoy and attacked.split == "validation"):
            continue
        targets = own if attack.reads == "victim" else [s for s in surrogates if s.only is None or s.only in here]
        victims = [key for key, _ in judged] if attack.asks_victims else [None]
        searched_on = judges if attack.searched is not None else ()
        for target, asked in itertools.product(targets, victims):
            if asked is not None and target.only not in (None, asked):
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
                    only=target.only if asked is None else asked,
                    judges=searched_on,
                    budget=budget,
                    seed=seed,
                    split=attacked.split,
                )
            )
    return sets


def _case(attacker: Base, victim: Base) -> int | None:
    """C1..C8; None where the source, balance or architecture of a model that was not trained here was not declared."""
    names = ("source", "balance", "architecture")
    if any(name not in model.axes for model in (attacker, victim) for name in names):
        return None
    source, balance, network = (attacker.axes[name] == victim.axes[name] for name in names)
    return case(False, source, balance, network)
