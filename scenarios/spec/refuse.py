"""What a scenario cannot be, though each of its fields is right: refused before anything is read or computed."""

from collections.abc import Sequence

from carom.attacks import check_fits
from carom.defenses import Defense
from carom.errors import InputError
from carom.scenarios.traces import trace_of
from carom.surrogates import Chain
from carom.zoo.architectures import Architecture
from carom.zoo.models.references import model_behind

from .scenario import (
    UNDEFENDED,
    PublicSpec,
    ReferencedModel,
    Role,
    Scenario,
    SurrogateSpec,
    TrainedModel,
    VictimSpec,
)


def refuse_one_name_for_two_builders(scenario: Scenario, where: str) -> None:
    """Tables take surrogates of one builder's name for seeds of one."""
    seen: dict[str, Chain] = {}
    for surrogate in scenario.surrogates:
        if seen.setdefault(surrogate.builder_name, surrogate.builder) != surrogate.builder:
            raise InputError(
                f"{where}: surrogates: two builders are called {surrogate.builder_name!r}; give each a label of its own"
            )


def refuse(scenario: Scenario, where: str) -> None:
    """Everything that cannot be, of a scenario whose models have their labels.

    Raises:
        InputError: The first that is found, with its place in the file.
    """
    _refuse_what_needs_more_images(scenario, where)
    _refuse_misfits(scenario, where)
    _refuse_twins([s.label for s in scenario.surrogates], "surrogates", where)
    _refuse_twins([v.label for v in scenario.victims], "victims", where)
    _refuse_twins([p.label for p in scenario.pool], "pool", where)
    _refuse_twins([a.label for a in scenario.attacks], "attacks", where)
    _refuse_twins([str(b) for b in scenario.budgets], "budgets", where)
    _refuse_misnamed_sets(scenario, where)
    _refuse_one_name_for_two_defenses(scenario, where)
    _refuse_pools_that_cannot_serve(scenario, where)
    _refuse_what_a_defense_cannot(scenario, where)
    _refuse_two_roles(scenario, where)
    _refuse_shared_labels(scenario, where)


def _refuse_what_needs_more_images(scenario: Scenario, where: str) -> None:
    """What trains, tunes or chooses has images of its own, and a task whose images are only attacked has none."""
    task, splits = scenario.task_name, scenario.task.splits
    if "train" not in splits:
        others: list[SurrogateSpec | VictimSpec | PublicSpec] = [
            *scenario.surrogates,
            *scenario.victims,
            *scenario.pool,
        ]
        for spec in others:
            if isinstance(spec.base if isinstance(spec, SurrogateSpec) else spec.model, TrainedModel):
                raise InputError(
                    f"{where}: {spec.label} is to be trained, and {task} has images that are only attacked; give it "
                    'a `model`, such as "timm:NAME" or a file, or take a task with training images'
                )
        if scenario.geometry is not None:
            raise InputError(
                f"{where}: geometry is measured on training images, and {task} has images that are only attacked; "
                "leave it out"
            )
    if "validation" in splits:
        return
    for victim in scenario.victims:
        if victim.role == "validation victim":
            raise InputError(
                f"{where}: validation_victims: {victim.label} answers validation images, and {task} has images that "
                "are only attacked; leave it out, or take a task with validation images"
            )
        if victim.defense != UNDEFENDED:
            raise InputError(
                f"{where}: {victim.label}: the attack on {victim.defense_name} is chosen on validation images, and "
                f"{task} has images that are only attacked; leave the defense out, put it into the model, or take a "
                "task with validation images"
            )


def _refuse_misfits(scenario: Scenario, where: str) -> None:
    """An attack that none of the budgets suits, or one of them does not; a search without validation victims."""
    judged = any(v.role == "validation victim" for v in scenario.victims)
    for surrogate in scenario.surrogates:
        if surrogate.builder.judged and not judged:
            raise InputError(
                f"{where}: surrogates: {surrogate.builder_name} chooses by transfer to validation victims, and there "
                "are none; add validation_victims"
            )
    for i, spec in enumerate(scenario.attacks):
        place = f"{where}: attacks[{i}]"
        norms = [b.norm for b in scenario.budgets if b.norm in spec.norms]
        if not norms:
            raise InputError(f"{place}.norms: no budget of the scenario is {' or '.join(spec.norms)}; add one")
        for norm in norms:
            check_fits(spec.attack, norm, targeted=spec.targeted, name=spec.label, where=place)
        if spec.searched is None:
            continue
        if spec.targeted:
            raise InputError(f"{place}: {spec.label}: a path is searched for untargeted attacks; give coefficients")
        for surrogate in scenario.surrogates:
            networks = {member.architecture for member in surrogate.builder.members(0)}
            if len(networks) > 1 or len(surrogate.existing) > 1:
                raise InputError(
                    f"{place}: {spec.label} searches coefficients for one architecture, and {surrogate.label} has "
                    "several; give coefficients, or leave that surrogate out"
                )
        if not judged:
            raise InputError(
                f"{place}: {spec.label} searches its coefficients on validation victims, and there are none; add "
                "validation_victims, or give coefficients"
            )


def _refuse_twins(labels: Sequence[str], what: str, where: str) -> None:
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(
                f"{where}: {what}: two are called {label!r}; names must differ, so drop one or give each its own name"
            )


def _refuse_misnamed_sets(scenario: Scenario, where: str) -> None:
    """In tables one attack's name is one attack, and what a set was made on is one model."""
    attacks, controls = {a.label for a in scenario.attacks}, set(scenario.controls)
    others = {v.label: v.role for v in scenario.victims} | {p.label: p.role for p in scenario.pool}
    own = {s.label for s in scenario.surrogates} | {p.label for p in scenario.pool if p.attacks}
    seen: set[tuple[object, ...]] = set()
    for i, brought in enumerate(scenario.sets):
        place = f"{where}: sets[{i}]"
        if brought.label in attacks | controls or trace_of(brought.label) is not None:
            what = "a control" if brought.label in controls else "an attack"
            raise InputError(f"{place}.name: {brought.label!r} is {what} of this scenario; give it a name of its own")
        role = others.get(brought.surrogate)
        if role not in (None, "victim") and brought.surrogate not in own:
            raise InputError(
                f"{place}.surrogate: {brought.surrogate!r} is a {role} here; name a surrogate, a victim, or "
                "another model"
            )
        if brought.axes and (brought.surrogate in own or role is not None):
            raise InputError(
                f"{place}.{next(iter(brought.axes))}: {brought.surrogate!r} is a model of this scenario, which says "
                "how it was trained; leave it out"
            )
        one = (brought.label, brought.surrogate, brought.budget, brought.seed)
        if one in seen:
            raise InputError(
                f"{place}: two sets are called {brought.label!r}, from {brought.surrogate}, {brought.budget}; give "
                "each its own name, or its own seed"
            )
        seen.add(one)


def _refuse_one_name_for_two_defenses(scenario: Scenario, where: str) -> None:
    """Tables take victims of one defence's name for seeds of one."""
    seen: dict[str, Defense] = {}
    others: list[VictimSpec | PublicSpec] = [*scenario.victims, *scenario.pool]
    for spec in others:
        if seen.setdefault(spec.defense_name, spec.defense) != spec.defense:
            raise InputError(f"{where}: two defences are called {spec.defense_name!r}; give each a label of its own")


def _refuse_pools_that_cannot_serve(scenario: Scenario, where: str) -> None:
    """Who learns from the pool needs one, and what attackers call a model is one model."""
    for victim in scenario.victims:
        if victim.defense.pool and not any(p.role == "public pool seen" for p in scenario.pool):
            raise InputError(
                f"{where}: {victim.label}: {victim.defense_name} learns from public models, and the pool has none that "
                "is not held out; add [[pool]] tables"
            )


def _refuse_what_a_defense_cannot(scenario: Scenario, where: str) -> None:
    """What would be found out after the trainings."""
    others: list[VictimSpec | PublicSpec] = [*scenario.victims, *scenario.pool]
    for spec in others:
        draws = any(not wrapper.deterministic for wrapper in spec.defense.wrappers)
        if draws and scenario.precision != "float32":
            raise InputError(
                f"{where}: precision: {spec.label} draws, and a model that draws answers in float32; leave "
                "'precision' out"
            )
        if isinstance(spec.model, ReferencedModel):
            continue
        groups = [p.group for p in scenario.pool if p.role == "public pool seen"]
        network: Architecture | None = spec.model.configuration.architecture
        for stage in spec.defense.then:
            if network is None:
                break
            try:
                network = stage.planned(network, groups)
            except InputError as error:
                raise InputError(f"{where}: {spec.label}: {error}") from None


def _refuse_two_roles(scenario: Scenario, where: str) -> None:
    """No start checkpoint or training seed in two roles, or a transfer table would hold white-box cells.

    A model that exists already may be a surrogate and a victim: what was made on it is no transfer to it, but C0.
    """
    seen: dict[tuple[str, object], tuple[Role, str]] = {}

    def claim(kind: str, value: object, role: Role, label: str) -> None:
        other = seen.setdefault((kind, value), (role, label))
        if other[0] != role:
            raise InputError(
                f"{where}: {kind} {value} is in two roles: {other[0]} {other[1]!r} and {role} {label!r}; give each "
                "role models and seeds of its own (a surrogate meets itself by `itself = true`)"
            )

    named = _existing_surrogates(scenario)
    for surrogate in scenario.surrogates:
        if isinstance(surrogate.base, TrainedModel):
            members = [member.seed for member in surrogate.builder.members(surrogate.base.seed)]
            for seed in (surrogate.base.seed, *members):  # a builder may train by itself, with the table's own seed
                claim("training seed", seed, "surrogate", surrogate.label)
    for label, model in named:
        claim("model", model_behind(model.reference), "surrogate", label)
    others: list[VictimSpec | PublicSpec] = [*scenario.victims, *scenario.pool]
    for other in others:
        if isinstance(other.model, TrainedModel):
            claim("training seed", other.model.seed, other.role, other.label)
            continue
        behind = model_behind(other.model.reference)
        twins = [(label, model) for label, model in named if model_behind(model.reference) == behind]
        if other.role != "victim" or other.defense != UNDEFENDED or not twins:
            claim("model", behind, other.role, other.label)
            continue
        for label, model in twins:
            alike = _read_alike(model, other.model)
            if not alike or label != other.label:
                raise InputError(
                    f"{where}: model {behind} is in two roles: surrogate {label!r} and victim {other.label!r}; a model "
                    "that exists already may be both, "
                    + ("under one name: call both alike" if alike else "read in one way: give both the same settings")
                )


def _existing_surrogates(scenario: Scenario) -> list[tuple[str, ReferencedModel]]:
    """The models that exist already and are surrogates, or members of one, each with its name in tables."""
    return [
        (spec.label if len(spec.existing) == 1 else model.name, model)
        for spec in scenario.surrogates
        for model in spec.existing
    ]


def _read_alike(one: ReferencedModel, other: ReferencedModel) -> bool:
    """Whether two references to one model ask for the same function of pixels."""
    asked = one.reference.key()
    return asked == other.reference.key() if asked is not None else one.reference == other.reference


def _refuse_shared_labels(scenario: Scenario, where: str) -> None:
    """In tables one label is one model, and a surrogate is also the victim of its own white box."""
    named = _existing_surrogates(scenario)
    both = {
        victim.label
        for victim in scenario.victims
        for label, model in named
        if isinstance(victim.model, ReferencedModel) and label == victim.label
        if model_behind(model.reference) == model_behind(victim.model.reference)
    }
    kinds = {
        "surrogate": [*(spec.label for spec in scenario.surrogates), *(label for label, _ in named)],
        "victim": [spec.label for spec in scenario.victims if spec.label not in both],
        "public model": [spec.label for spec in scenario.pool],
    }
    seen: dict[str, str] = {}
    for kind, labels in kinds.items():
        for label in dict.fromkeys(labels):
            if label in seen:
                raise InputError(
                    f"{where}: a {seen[label]} and a {kind} are both called {label!r}; give each its own name"
                )
            seen[label] = kind
