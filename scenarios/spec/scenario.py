"""A scenario file: read, checked key by key, and expanded into what is asked.

Lists are grid axes. Every error names the place in the file, what came, what was expected and what to do.
"""

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from carom.attacks import (
    PAS,
    Admix,
    Iterative,
    Snapshot,
    TransferThenQuery,
    check_fits,
    parse_attack,
    parse_control,
)
from carom.attacks.controls.controls import BoxBlur, GaussianNoise, Identity, SignNoise
from carom.budget import NORMS, Budget, Norm
from carom.defenses import Defense, Stage, Wrapper, parse_defense
from carom.errors import InputError
from carom.identity import content_key
from carom.protocols import Attack, Control
from carom.registry import build, check_keys, lookup
from carom.scenarios.traces import name_after
from carom.surrogates import Chain, Refinement, Single, parse_builder
from carom.zoo.architectures import Architecture, architecture
from carom.zoo.models.checkpoints import SUFFIXES
from carom.zoo.models.references import Reference, StatedAccuracy, model_behind, stated_accuracy
from carom.zoo.models.references import reference as parse_reference
from carom.zoo.tasks import TASKS, Task
from carom.zoo.tasks.balance import Balance, parse_balance
from carom.zoo.training.recipes import Recipe
from carom.zoo.training.recipes import recipe as parse_recipe

from .text import read_text

T = TypeVar("T")

Role = Literal["surrogate", "victim", "validation victim", "public pool seen", "public pool held out"]
Reads = Literal["surrogate", "victim"]
READS: tuple[Reads, ...] = ("surrogate", "victim")
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

TOP = (
    "name",
    "description",
    "task",
    "precision",
    "attack_seed",
    "itself",
    "images",
    "models",
    "surrogates",
    "pool",
    "victims",
    "validation_victims",
    "attacks",
    "budgets",
    "controls",
    "geometry",
)
AXES = ("source", "samples", "balance", "architecture", "recipe", "n", "seed")
ALWAYS_SHOWN = ("source", "balance", "architecture")


SINGLE = Chain(first=Single())  # a model as it is
UNDEFENDED = Defense()

# Surrogate-free sets of every scenario, by the name in tables. The ladder of sign noise gives each adversarial set a
# control of at least its own L2.
SCENARIO_CONTROLS: Mapping[str, Control] = {
    "identity": Identity(),
    "sign-noise 1/2": SignNoise(scale=Fraction(1, 2)),
    "sign-noise 3/4": SignNoise(scale=Fraction(3, 4)),
    "sign-noise 1": SignNoise(),
    "gaussian-noise": GaussianNoise(),
    "box-blur": BoxBlur(),
}


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

    AXES: ClassVar[tuple[str, ...]] = ("source", "samples", "balance", "architecture", "recipe", "n")

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


@dataclass(frozen=True, kw_only=True)
class BuiltModel:
    """Weight sets that a scenario makes of others.

    Attributes:
        base: Whose architecture, data, recipe and seed they have.
        stage: What makes them: of a surrogate, or of a defence.
        chain: A surrogate's builder up to this stage; says which of the weight sets answer. None of a defence's.
        given: Keys of the models that it takes.
        others: Keys of further trainings that it takes, behind these.
        asked: Key of the victim that it asks; None where it asks none.
        judges: Keys of the validation victims that it chooses by.
        stages: Of a defence, those up to this one.
        pool: Keys of the public models that it learns from.
        groups: Their training styles, in the same order.
        pool_labels: Their names, in the same order.
    """

    base: TrainedModel
    stage: Refinement | Stage
    chain: Chain | None
    given: tuple[str, ...]
    others: tuple[str, ...] = ()
    asked: str | None = None
    judges: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    pool: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    pool_labels: tuple[str, ...] = ()

    @property
    def axes(self) -> Mapping[str, str]:
        """Those of the model that it was built on."""
        return self.base.axes

    @property
    def expected(self) -> int:
        """Weight sets that come before the stage, where none diverged."""
        if self.chain is None:
            return len(self.given)
        before = self.chain.then[:-1]
        return replace(self.chain, then=before).count if before or self.chain.first is not None else 0

    @property
    def passes(self) -> int:
        """Image passes that making them takes, as far as it can be told beforehand."""
        configuration = self.base.configuration
        if isinstance(self.stage, Stage):
            each = self.stage.passes(configuration.recipe)
        else:
            each = 2 * max(1, int(getattr(self.stage, "epochs", 1)))
        return round((configuration.n or 0) * each)

    @property
    def models(self) -> tuple[str, ...]:
        """Keys of all models that it rests on directly."""
        return (*self.given, *self.others, *(() if self.asked is None else (self.asked,)), *self.judges, *self.pool)


@dataclass(frozen=True, kw_only=True)
class WrappedModel:
    """A model behind a defence's wrappers.

    Attributes:
        base: What the table that it stands in describes.
        inner: Key of what is wrapped.
        wrappers: Innermost first.
    """

    base: TrainedModel | ReferencedModel
    inner: str
    wrappers: tuple[Wrapper, ...]

    @property
    def axes(self) -> Mapping[str, str]:
        """Those of the model that is wrapped."""
        return self.base.axes


Base = TrainedModel | ReferencedModel
Model = Base | BuiltModel | WrappedModel


@dataclass(frozen=True, kw_only=True)
class SurrogateSpec:
    """A surrogate: what it is built on and how."""

    label: str
    base: Base
    builder: Chain
    builder_name: str


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
    per_source: int
    itself: bool
    surrogates: tuple[SurrogateSpec, ...]
    pool: tuple[PublicSpec, ...]
    victims: tuple[VictimSpec, ...]
    attacks: tuple[AttackSpec, ...]
    budgets: tuple[Budget, ...]
    controls: Mapping[str, Control]  # surrogate-free sets, by the name in tables
    geometry: Geometry | None
    text: str = field(repr=False)

    @property
    def defended(self) -> bool:
        """Whether a victim is hardened: then each one's best attack is chosen on validation images, and each is
        looked at for masked gradients.
        """
        return any(v.defense != UNDEFENDED for v in self.victims if v.role == "victim")


def load_scenario(name_or_path: str) -> Scenario:
    """The scenario of a preset's name or a file.

    Raises:
        InputError: No such preset or file, not TOML, or a wrong content.
    """
    text, where = read_text(name_or_path)
    return parse_scenario(text, where=where)


def parse_scenario(text: str, *, where: str) -> Scenario:
    """The scenario that a TOML text describes.

    Raises:
        InputError: Not TOML, an unknown key or name, a wrong type, an empty grid, or a combination that cannot be.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not a TOML file: {error}") from None
    check_keys(table, TOP, where=where)
    for key in ("task", "surrogates", "victims", "attacks", "budgets"):
        if key not in table:
            raise InputError(
                f"{where}: {key!r} is missing; a scenario needs task, surrogates, victims, attacks, budgets"
            )
    task_name, task = _task(table["task"], where=f"{where}: task")
    shared = _table(table.get("models", {}), where=f"{where}: models")
    check_keys(shared, AXES, where=f"{where}: models")
    images = _table(table.get("images", {}), where=f"{where}: images")
    check_keys(images, ("per_source", "sources"), where=f"{where}: images")
    known = {s: s for s in task.sources}
    named = _axis(images.get("sources", list(task.sources)), where=f"{where}: images.sources")
    scenario = Scenario(
        name=_file_name(table.get("name", Path(where).stem), where=f"{where}: name"),
        description=_typed(table.get("description", ""), str, where=f"{where}: description"),
        task=task,
        task_name=task_name,
        precision=lookup(
            table.get("precision", "float32"), {p: p for p in PRECISIONS}, where=f"{where}: precision", what="precision"
        ),
        attack_seeds=tuple(
            _typed(s, int, where=f"{where}: attack_seed")
            for s in _axis(table.get("attack_seed", 0), where=f"{where}: attack_seed")
        ),
        image_sources=tuple(lookup(s, known, where=f"{where}: images.sources", what="source") for s in named),
        per_source=_positive(images.get("per_source", 250), where=f"{where}: images.per_source"),
        itself=_typed(table.get("itself", True), bool, where=f"{where}: itself"),
        surrogates=tuple(_surrogates(table["surrogates"], shared, task, where=f"{where}: surrogates")),
        pool=tuple(_pool(table.get("pool", []), shared, task, where=f"{where}: pool")),
        victims=(
            *_victims(table["victims"], shared, task, "victim", where=f"{where}: victims"),
            *_victims(
                table.get("validation_victims", []),
                shared,
                task,
                "validation victim",
                where=f"{where}: validation_victims",
            ),
        ),
        attacks=tuple(_attacks(table["attacks"], where=f"{where}: attacks")),
        budgets=tuple(_budgets(table["budgets"], where=f"{where}: budgets")),
        controls=_controls(table.get("controls", []), where=f"{where}: controls"),
        geometry=_geometry(table.get("geometry", False), where=f"{where}: geometry"),
        text=text,
    )
    scenario = _judged_as_attacked(scenario, where)
    _refuse_one_name_for_two_builders(scenario, where)
    scenario = _labelled(_one_name_each(scenario, where))
    _refuse_misfits(scenario, where)
    _refuse_twins([s.label for s in scenario.surrogates], "surrogates", where)
    _refuse_twins([v.label for v in scenario.victims], "victims", where)
    _refuse_twins([p.label for p in scenario.pool], "pool", where)
    _refuse_twins([a.label for a in scenario.attacks], "attacks", where)
    _refuse_twins([str(b) for b in scenario.budgets], "budgets", where)
    _refuse_one_name_for_two_defenses(scenario, where)
    _refuse_pools_that_cannot_serve(scenario, where)
    _refuse_what_a_defense_cannot(scenario, where)
    _refuse_two_roles(scenario, where)
    _refuse_shared_labels(scenario, where)
    return scenario


# ---------------------------------------------------------------------------------------------------- parts of a file


def _task(value: Any, *, where: str) -> tuple[str, Task]:
    table = {"name": value} if isinstance(value, str) else _table(value, where=where)
    cls = lookup(table.get("name"), TASKS, where=where, what="task")
    task = build(cls, {k: v for k, v in table.items() if k != "name"}, where=where)
    if not task.sources or len(task.classes) < 2:  # reads the user's files, so what is wrong with them is said first
        raise InputError(f"{where}: {table['name']} has {len(task.classes)} classes; expected at least 2")
    return str(table["name"]), task


def _surrogates(tables: Any, shared: Mapping[str, Any], task: Task, *, where: str) -> Iterator[SurrogateSpec]:
    for place, table in _tables(tables, where=where):
        builders = _axis(table.get("builder", "single"), where=f"{place}.builder")
        for value, model in itertools.product(builders, _models(table, shared, task, ("builder",), where=place)):
            own = dict(value) if isinstance(value, dict) else value
            called = own.pop("label", None) if isinstance(own, dict) else None
            builder_name, builder = parse_builder(own, where=f"{place}.builder")
            if called is not None:
                builder_name = _typed(called, str, where=f"{place}.builder.label")
            elif isinstance(own, dict) and len(own) > 1:
                builder_name = _name({**own, "name": builder_name})
            label = _own_name(table, place)
            if isinstance(model, ReferencedModel) and builder != SINGLE:
                raise InputError(
                    f"{place}.builder: {builder_name} trains networks of its own; a model reference is single"
                )
            if isinstance(model, TrainedModel) and builder.first is not None:
                try:
                    builder.first.recipe(model.configuration.recipe)
                except InputError as error:
                    raise InputError(f"{place}.builder: {error}") from None
            yield SurrogateSpec(label=label, base=model, builder=builder, builder_name=builder_name)


def _victims(tables: Any, shared: Mapping[str, Any], task: Task, role: Role, *, where: str) -> Iterator[VictimSpec]:
    for place, table in _tables(tables, where=where, empty=role != "victim"):
        for name, defense, model in _defended(table, shared, task, (), where=place):
            yield VictimSpec(label=_own_name(table, place), model=model, role=role, defense=defense, defense_name=name)


def _pool(tables: Any, shared: Mapping[str, Any], task: Task, *, where: str) -> Iterator[PublicSpec]:
    for place, table in _tables(tables, where=where, empty=True):
        if "group" not in table:
            raise InputError(
                f'{place}: group is missing; name how the model was trained, such as "normal", "linf", "l2" or '
                '"corruption"'
            )
        held_out = _typed(table.get("held_out", False), bool, where=f"{place}.held_out")
        for name, defense, model in _defended(table, shared, task, ("group", "held_out", "attacks"), where=place):
            if defense.pool:
                raise InputError(f"{place}.defense: {name} learns from the pool, so it cannot be in it")
            yield PublicSpec(
                label=_own_name(table, place),
                model=model,
                role="public pool held out" if held_out else "public pool seen",
                group=_typed(table["group"], str, where=f"{place}.group"),
                defense=defense,
                defense_name=name,
                attacks=_typed(table.get("attacks", True), bool, where=f"{place}.attacks"),
            )


def _own_name(table: Mapping[str, Any], where: str) -> str:
    """What a table calls its model; "" where it leaves that open."""
    name = table.get("name")
    return "" if name is None else _typed(name, str, where=f"{where}.name")


def _defended(
    table: Mapping[str, Any], shared: Mapping[str, Any], task: Task, extra: Sequence[str], *, where: str
) -> Iterator[tuple[str, Defense, Base]]:
    """Every combination of the defences and models of a table."""
    place = f"{where}.defense"
    for value, model in itertools.product(
        _axis(table.get("defense", "none"), where=place), _models(table, shared, task, ("defense", *extra), where=where)
    ):
        own = dict(value) if isinstance(value, dict) else value
        called = own.pop("label", None) if isinstance(own, dict) else None
        name, defense = parse_defense(own, where=place)
        if called is not None:
            name = _typed(called, str, where=f"{place}.label")
        elif isinstance(own, dict) and len(own) > 1:
            name = _name({**own, "name": name})
        if isinstance(model, ReferencedModel) and (defense.first is not None or defense.then):
            raise InputError(f"{place}: {name} trains networks of its own; a model reference takes wrappers only")
        if isinstance(model, TrainedModel) and defense.first is not None:
            try:
                defense.first.recipe(model.configuration.recipe)
            except InputError as error:
                raise InputError(f"{place}: {error}") from None
        yield name, defense, model


def _models(
    table: Mapping[str, Any], shared: Mapping[str, Any], task: Task, extra: Sequence[str], *, where: str
) -> Iterator[Base]:
    """Every combination of the axes of one table; or the models that it refers to."""
    if "model" in table:
        for model in _axis(table["model"], where=f"{where}.model"):
            yield _referenced({**table, "model": model}, extra, where=where)
        return
    check_keys(table, (*AXES, "name", "model", *extra), where=where)
    axes: dict[str, Any] = {
        "source": list(task.sources),
        "samples": "all",
        "balance": "uniform",
        "architecture": "lenet",
        "recipe": "standard",
        "n": None,
        "seed": 0,
    }
    axes |= shared
    axes |= {k: v for k, v in table.items() if k in AXES}
    grid = {k: [None] if v is None else _axis(v, where=f"{where}.{k}") for k, v in axes.items()}
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        yield _trained(point, task, where=where)


def _referenced(table: Mapping[str, Any], extra: Sequence[str], *, where: str) -> ReferencedModel:
    """A model that exists; what the table says of its source, balance and so on names its case."""
    declared = {k: _name(table[k]) for k in TrainedModel.AXES if k in table}
    ours = {"name", *extra, *declared}
    if str(table["model"]).endswith(SUFFIXES):
        ours.discard("architecture")  # a file does not always say what its weights belong to
    reference = parse_reference({k: v for k, v in table.items() if k not in ours}, where=where)
    name = _typed(table.get("name", table["model"]), str, where=f"{where}.name")
    return ReferencedModel(name=name, reference=reference, axes=declared, stated=stated_accuracy(table, where=where))


def _trained(point: Mapping[str, Any], task: Task, *, where: str) -> TrainedModel:
    own = dict(point["recipe"]) if isinstance(point["recipe"], dict) else point["recipe"]
    called = own.pop("label", None) if isinstance(own, dict) else None
    sources = {s: s for s in task.sources}
    samples = {s: s for s in task.samples}
    n = point["n"]
    configuration = Configuration(
        source=lookup(point["source"], sources, where=f"{where}.source", what="source"),
        samples=lookup(point["samples"], samples, where=f"{where}.samples", what="samples"),
        balance=parse_balance(point["balance"], where=f"{where}.balance"),
        architecture=architecture(point["architecture"], where=f"{where}.architecture"),
        recipe=parse_recipe(own, where=f"{where}.recipe"),
        n=None if n is None else _positive(n, where=f"{where}.n"),
    )
    seed = _typed(point["seed"], int, where=f"{where}.seed")
    axes = {k: _name(point[k]) for k in TrainedModel.AXES if k != "n"}
    axes["n"] = "all" if n is None else str(n)
    if called is not None:
        axes["recipe"] = _typed(called, str, where=f"{where}.recipe.label")
    return TrainedModel(configuration=configuration, seed=seed, axes=axes)


def _attacks(value: Any, *, where: str) -> Iterator[AttackSpec]:
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list of names or tables, got {value!r}")
    if not value:
        raise InputError(f"{where}: empty list; name at least one attack")
    for i, entry in enumerate(value):
        place = f"{where}[{i}]"
        table = {"name": entry} if isinstance(entry, str) else dict(_table(entry, where=place))
        label, targeted = table.pop("label", None), table.pop("targeted", False)
        decoy = _typed(table.pop("decoy", False), bool, where=f"{place}.decoy")
        trace, norms = table.pop("trace", None), table.pop("norms", None)
        reads = lookup(
            table.pop("reads", "surrogate"), {r: r for r in READS}, where=f"{place}.reads", what="model to read"
        )
        asked = _axis(list(NORMS) if norms is None else norms, where=f"{place}.norms")
        known: dict[str, Norm] = {n: n for n in NORMS}
        used = tuple(lookup(norm, known, where=f"{place}.norms", what="norm") for norm in asked)
        grid = {k: _axis(v, where=f"{place}.{k}") for k, v in table.items()}
        for values in itertools.product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            attack = parse_attack(point, where=place)
            varied = [f"{k}={_name(point[k])}" for k in table if k != "name"]
            name = " ".join([str(point.get("name")), *varied])
            for goal in _axis(targeted, where=f"{place}.targeted"):
                is_targeted = _typed(goal, bool, where=f"{place}.targeted")
                shown = str(label) if label is not None else name + (" targeted" if is_targeted else "")
                if decoy and (is_targeted or reads == "victim"):
                    raise InputError(
                        f"{place}.decoy: a decoy reads surrogates and is untargeted; leave the other key out"
                    )
                spec = AttackSpec(
                    label=shown + (" on victims" if reads == "victim" else "") + (" decoy" if decoy else ""),
                    attack=attack,
                    targeted=is_targeted,
                    reads=reads,
                    norms=used,
                    decoy=decoy,
                )
                if reads == "victim" and spec.asks_victims:
                    raise InputError(
                        f"{place}.reads: {name} reads a surrogate and asks every victim; leave 'reads' out"
                    )
                yield from _traced(spec, trace, where=f"{place}.trace")


def _traced(spec: AttackSpec, trace: Any, *, where: str) -> Iterator[AttackSpec]:
    """The attack, or where it stands after each of the steps of its trace."""
    if trace is None:
        yield spec
        return
    if not isinstance(spec.attack, Iterative):
        raise InputError(f"{where}: {spec.label} is no loop of steps; leave 'trace' out")
    for value in _axis(trace, where=where):
        after = _positive(value, where=where)
        if after > spec.attack.steps:
            raise InputError(f"{where}: step {after} of an attack of {spec.attack.steps} steps; raise its 'steps'")
        # the last step is the attack itself: one set, whoever asks for it
        attack = spec.attack if after == spec.attack.steps else Snapshot(attack=spec.attack, after=after)
        yield replace(spec, label=name_after(spec.label, after), attack=attack)


def _controls(value: Any, *, where: str) -> dict[str, Control]:
    """The controls of every scenario, and those that this one names."""
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list of names or tables, got {value!r}")
    controls = dict(SCENARIO_CONTROLS)
    for i, entry in enumerate(value):
        place = f"{where}[{i}]"
        control = parse_control(entry, where=place)
        table = {"name": entry} if isinstance(entry, str) else _table(entry, where=place)
        name = " ".join([str(table["name"]), *(f"{k}={_name(v)}" for k, v in table.items() if k != "name")])
        twin = next((other for other, same in controls.items() if same == control or other == name), None)
        if twin is not None:
            raise InputError(f"{place}: {name!r} is already there, as {twin!r}; leave it out, or set other fields")
        controls[name] = control
    return controls


def _geometry(value: Any, *, where: str) -> Geometry | None:
    if isinstance(value, bool):
        return Geometry() if value else None
    return build(Geometry, dict(_table(value, where=where)), where=where)


def _judged_as_attacked(scenario: Scenario, where: str) -> Scenario:
    """Surrogates that choose by attacks do so with the scenario's, where they do not say."""
    loops = [
        loop
        for spec in scenario.attacks
        if spec.reads == "surrogate" and not (spec.targeted or spec.decoy or spec.mixes or spec.searched)
        if isinstance(spec.attack, Iterative | Snapshot) and (loop := loop_of(spec.attack)) is not None
    ]
    first = loops[0] if loops else None
    try:
        surrogates = [replace(s, builder=s.builder.against(first, scenario.budgets)) for s in scenario.surrogates]
    except InputError as error:
        raise InputError(f"{where}: surrogates: {error}") from None
    return replace(scenario, surrogates=tuple(surrogates))


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
            if len({member.architecture for member in surrogate.builder.members(0)}) > 1:
                raise InputError(
                    f"{place}: {spec.label} searches coefficients for one architecture, and {surrogate.label} has "
                    "several; give coefficients, or leave that surrogate out"
                )
        if not judged:
            raise InputError(
                f"{place}: {spec.label} searches its coefficients on validation victims, and there are none; add "
                "validation_victims, or give coefficients"
            )


def _budgets(value: Any, *, where: str) -> Iterator[Budget]:
    for place, table in _tables([value] if isinstance(value, dict) else value, where=where):
        check_keys(table, ("norm", "eps"), where=place)
        if "eps" not in table:
            raise InputError(f'{place}: eps is missing; write a radius in pixel units, such as eps = "8/255"')
        norms = _axis(table.get("norm", "linf"), where=f"{place}.norm")
        for norm, eps in itertools.product(norms, _axis(table["eps"], where=f"{place}.eps")):
            yield Budget.parse(_typed(norm, str, where=f"{place}.norm"), eps, where=place)


# ------------------------------------------------------------------------------------------------------------- checks


def _refuse_twins(labels: Sequence[str], what: str, where: str) -> None:
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(
                f"{where}: {what}: two are called {label!r}; names must differ, so drop one or give each its own name"
            )


def _refuse_one_name_for_two_builders(scenario: Scenario, where: str) -> None:
    """Tables take surrogates of one builder's name for seeds of one."""
    seen: dict[str, Chain] = {}
    for surrogate in scenario.surrogates:
        if seen.setdefault(surrogate.builder_name, surrogate.builder) != surrogate.builder:
            raise InputError(
                f"{where}: surrogates: two builders are called {surrogate.builder_name!r}; give each a label of its own"
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


def _refuse_shared_labels(scenario: Scenario, where: str) -> None:
    """In tables one label is one model, and a surrogate is also the victim of its own white box."""
    kinds = {"surrogate": scenario.surrogates, "victim": scenario.victims, "public model": scenario.pool}
    seen: dict[str, str] = {}
    for kind, specs in kinds.items():
        for label in dict.fromkeys(spec.label for spec in specs):  # type: ignore[attr-defined]
            if label in seen:
                raise InputError(
                    f"{where}: a {seen[label]} and a {kind} are both called {label!r}; give each its own name"
                )
            seen[label] = kind


def _refuse_two_roles(scenario: Scenario, where: str) -> None:
    """No model, start checkpoint or training seed in two roles, or a transfer table would hold white-box cells."""
    seen: dict[tuple[str, object], tuple[Role, str]] = {}

    def claim(kind: str, value: object, role: Role, label: str) -> None:
        other = seen.setdefault((kind, value), (role, label))
        if other[0] != role:
            raise InputError(
                f"{where}: {kind} {value} is in two roles: {other[0]} {other[1]!r} and {role} {label!r}; give each "
                "role models and seeds of its own (a surrogate meets itself by `itself = true`)"
            )

    for surrogate in scenario.surrogates:
        if isinstance(surrogate.base, ReferencedModel):
            claim("model", model_behind(surrogate.base.reference), "surrogate", surrogate.label)
        else:
            members = [member.seed for member in surrogate.builder.members(surrogate.base.seed)]
            for seed in (surrogate.base.seed, *members):  # a builder may train by itself, with the table's own seed
                claim("training seed", seed, "surrogate", surrogate.label)
    others: list[VictimSpec | PublicSpec] = [*scenario.victims, *scenario.pool]
    for other in others:
        if isinstance(other.model, ReferencedModel):
            claim("model", model_behind(other.model.reference), other.role, other.label)
        else:
            claim("training seed", other.model.seed, other.role, other.label)


def _one_name_each(scenario: Scenario, where: str) -> Scenario:
    """Cases compare the names of levels, so equal levels get one name: "tv0.2" and "tv0.20", "lenet" and a table.

    An ensemble's architectures are those that its builder trains, not that of the table it stands in.
    """
    names: dict[tuple[str, str], str] = {}

    def one(axis: str, level: object, name: str) -> str:
        found = names.setdefault((axis, content_key(level)), name)
        if axis == "recipe" and any(n == found and k != (axis, content_key(level)) for k, n in names.items()):
            raise InputError(f"{where}: recipe: two are called {found!r}; give each a label of its own")
        return found

    def named(model: T, builder: Chain | None = None) -> T:
        if not isinstance(model, TrainedModel):
            return model
        axes = dict(model.axes)
        for axis in ("balance", "recipe"):
            axes[axis] = one(axis, getattr(model.configuration, axis), axes[axis])
        first = None if builder is None else builder.first
        trained = [None] if first is None else [m.architecture for m in first.members(model.seed)]
        networks = [
            one("architecture", model.configuration.architecture, axes["architecture"])
            if name is None
            else one("architecture", architecture(name, where=f"{where}: surrogates: builder.architectures"), name)
            for name in trained
        ]
        axes["architecture"] = "+".join(dict.fromkeys(networks))
        return replace(model, axes=axes)

    others: list[VictimSpec | PublicSpec] = [*scenario.victims, *scenario.pool]
    defended = any(other.defense != UNDEFENDED for other in others)

    def with_defense(model: T, defense: Defense, name: str) -> T:
        if not defended or not isinstance(model, TrainedModel | ReferencedModel):
            return model
        return replace(model, axes={**model.axes, "defense": one("defense", defense, name)})

    return replace(
        scenario,
        surrogates=tuple(
            replace(s, base=with_defense(named(s.base, s.builder), UNDEFENDED, "none")) for s in scenario.surrogates
        ),
        victims=tuple(
            replace(v, model=with_defense(named(v.model), v.defense, v.defense_name)) for v in scenario.victims
        ),
        pool=tuple(replace(p, model=with_defense(named(p.model), p.defense, p.defense_name)) for p in scenario.pool),
    )


def _labelled(scenario: Scenario) -> Scenario:
    """Names for what the file did not name: source, balance and architecture, further axes that vary, and the seed."""
    others: list[VictimSpec | PublicSpec] = [*scenario.victims, *scenario.pool]
    models = [*(s.base for s in scenario.surrogates), *(o.model for o in others)]
    trained = [m for m in models if isinstance(m, TrainedModel)]
    shown = [a for a in TrainedModel.AXES if a in ALWAYS_SHOWN or len({m.axes[a] for m in trained}) > 1]

    def label(model: Base) -> str:
        if isinstance(model, ReferencedModel):
            return model.name
        return "/".join([*(model.axes[a] for a in shown), f"s{model.seed}"])

    def defended(spec: VictimSpec | PublicSpec) -> str:
        name = label(spec.model)
        return spec.label or (name if spec.defense_name == "none" else f"{spec.defense_name}:{name}")

    def surrogate(spec: SurrogateSpec) -> SurrogateSpec:
        name = label(spec.base) if spec.builder_name == "single" else f"{spec.builder_name}:{label(spec.base)}"
        return replace(spec, label=spec.label or name)

    return replace(
        scenario,
        surrogates=tuple(surrogate(s) for s in scenario.surrogates),
        victims=tuple(replace(v, label=defended(v)) for v in scenario.victims),
        pool=tuple(replace(p, label=defended(p)) for p in scenario.pool),
    )


def _name(value: Any) -> str:
    """How tables call the value of an axis: its name, with the fields that differ from the default."""
    if isinstance(value, dict):
        extra = ",".join(f"{k}={_name(v)}" for k, v in value.items() if k != "name")
        return f"{value['name']}({extra})" if "name" in value else extra
    return str(value)


def _table(value: Any, *, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a table, got {value!r}")
    return value


def _tables(value: Any, *, where: str, empty: bool = False) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list of tables, got {value!r}; write [[{where.split(': ')[-1]}]]")
    if not value and not empty:
        raise InputError(f"{where}: empty list; write at least one")
    for i, table in enumerate(value):
        yield f"{where}[{i}]", _table(table, where=f"{where}[{i}]")


def _axis(value: Any, *, where: str) -> list[Any]:
    """The points of an axis: a list is one, anything else is a list of one."""
    if not isinstance(value, list):
        return [value]
    if not value:
        raise InputError(f"{where}: empty list, so the grid has no point; write at least one value or drop the key")
    return value


def _typed(value: Any, kind: type[T], *, where: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {str: "a string", int: "a whole number", bool: "true or false"}
        raise InputError(f"{where}: expected {names.get(kind, kind.__name__)}, got {value!r}")
    return value


def _file_name(value: Any, *, where: str) -> str:
    """A scenario's name begins the names of exported files, so it may not lead to another folder."""
    name = _typed(value, str, where=where)
    if not re.fullmatch(r"[\w][\w .,+=()-]{0,99}", name):
        raise InputError(
            f"{where}: {name!r} cannot begin a file's name; use at most 100 letters, digits and any of _ - . , + = ( ) "
            "and spaces, the first a letter or a digit"
        )
    return name


def _positive(value: Any, *, where: str) -> int:
    number = _typed(value, int, where=where)
    if number < 1:
        raise InputError(f"{where}: expected a whole number of at least 1, got {number}")
    return number
