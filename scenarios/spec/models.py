"""The models of a scenario file: its [models], [[surrogates]], [[victims]], [[validation_victims]] and [[pool]]."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from carom.defenses import Defense, parse_defense
from carom.errors import InputError
from carom.registry import check_keys, lookup
from carom.scenarios.axes import LEVELS
from carom.surrogates import Chain, parse_builder
from carom.zoo.architectures import architecture
from carom.zoo.models.checkpoints import SUFFIXES
from carom.zoo.models.references import model_behind, stated_accuracy
from carom.zoo.models.references import reference as parse_reference
from carom.zoo.tasks import Task
from carom.zoo.tasks.balance import parse_balance
from carom.zoo.training.recipes import recipe as parse_recipe

from .fields import as_axis, as_table, as_tables, level_name, positive, typed
from .scenario import (
    SINGLE,
    Base,
    Configuration,
    PublicSpec,
    ReferencedEnsemble,
    ReferencedModel,
    Role,
    SurrogateSpec,
    TrainedModel,
    VictimSpec,
)

KEYS = (*LEVELS, "seed")  # of a table that trains models, and of [models]


def surrogates_of(tables: Any, shared: Mapping[str, Any], task: Task, *, where: str) -> Iterator[SurrogateSpec]:
    """Every combination of the builders and models of each table."""
    for place, table in as_tables(tables, where=where):
        if "models" in table:
            yield _ensemble(table, where=place)
            continue
        builders = as_axis(table.get("builder", "single"), where=f"{place}.builder")
        for value, model in itertools.product(builders, _models(table, shared, task, ("builder",), where=place)):
            own = dict(value) if isinstance(value, dict) else value
            called = own.pop("label", None) if isinstance(own, dict) else None
            builder_name, builder = parse_builder(own, where=f"{place}.builder")
            if called is not None:
                builder_name = typed(called, str, where=f"{place}.builder.label")
            elif isinstance(own, dict) and len(own) > 1:
                builder_name = level_name({**own, "name": builder_name})
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


def _ensemble(table: Mapping[str, Any], *, where: str) -> SurrogateSpec:
    """One surrogate of several models that exist already."""
    check_keys(table, ("models", "builder", "name", *LEVELS), where=where)
    place = f"{where}.models"
    if not isinstance(table["models"], list) or len(table["models"]) < 2:
        raise InputError(
            f"{place}: expected a list of at least 2 models that exist already, got {table['models']!r}; write one as "
            "'model'"
        )
    members: list[ReferencedModel] = []
    for i, entry in enumerate(table["models"]):
        own = {"model": entry} if isinstance(entry, str) else dict(as_table(entry, where=f"{place}[{i}]"))
        if not isinstance(own.get("model"), str):
            raise InputError(f"{place}[{i}]: expected a model's name, or a table with `model`, got {entry!r}")
        members.append(_referenced(own, (), where=f"{place}[{i}]"))
    behind = [model_behind(member.reference) for member in members]
    names = [member.name for member in members]
    for i, (model, name) in enumerate(zip(behind, names, strict=True)):
        if model in behind[:i] or name in names[:i]:
            first = behind.index(model) if model in behind[:i] else names.index(name)
            said = f"{names[first]!r} and {name!r} are one model" if model in behind[:i] else f"two are called {name!r}"
            raise InputError(f"{place}[{i}]: {said}; name each model of an ensemble once")
    builder_name, builder = _reading(table.get("builder", "ensemble"), len(members), where=f"{where}.builder")
    declared = {k: level_name(table[k]) for k in LEVELS if k in table}
    for axis in LEVELS:  # what each member declares holds for all of them
        said_of = [member.axes[axis] for member in members if axis in member.axes]
        if axis not in declared and len(said_of) == len(members):
            declared[axis] = "+".join(dict.fromkeys(said_of))
    base = ReferencedEnsemble(name="+".join(names), members=tuple(members), axes=declared)
    return SurrogateSpec(label=_own_name(table, where), base=base, builder=builder, builder_name=builder_name)


def _reading(value: Any, count: int, *, where: str) -> tuple[str, Chain]:
    """How an ensemble of so many models that exist already is read, and what tables call that."""
    own = dict(value) if isinstance(value, dict) else {"name": value}
    called = own.pop("label", None)
    for key in ("size", "architectures"):
        if key in own:
            raise InputError(f"{where}.{key}: the models of this ensemble are those of 'models'; leave it out")
    if own.get("name") != "ensemble":
        raise InputError(
            f'{where}: expected "ensemble", or a table of it with combination, schedule or per_step, got {value!r}: '
            "models that exist already are read as they are"
        )
    _, builder = parse_builder({**own, "size": count}, where=where)
    name = f"{level_name(own)} of {count}"
    return name if called is None else typed(called, str, where=f"{where}.label"), builder


def victims_of(tables: Any, shared: Mapping[str, Any], task: Task, role: Role, *, where: str) -> Iterator[VictimSpec]:
    """Every combination of the defences and models of each table."""
    for place, table in as_tables(tables, where=where, empty=role != "victim"):
        for name, defense, model in _defended(table, shared, task, (), where=place):
            yield VictimSpec(label=_own_name(table, place), model=model, role=role, defense=defense, defense_name=name)


def pool_of(tables: Any, shared: Mapping[str, Any], task: Task, *, where: str) -> Iterator[PublicSpec]:
    """Every combination of the defences and models of each table of the public pool."""
    for place, table in as_tables(tables, where=where, empty=True):
        if "group" not in table:
            raise InputError(
                f'{place}: group is missing; name how the model was trained, such as "normal", "linf", "l2" or '
                '"corruption"'
            )
        held_out = typed(table.get("held_out", False), bool, where=f"{place}.held_out")
        for name, defense, model in _defended(table, shared, task, ("group", "held_out", "attacks"), where=place):
            if defense.pool:
                raise InputError(f"{place}.defense: {name} learns from the pool, so it cannot be in it")
            yield PublicSpec(
                label=_own_name(table, place),
                model=model,
                role="public pool held out" if held_out else "public pool seen",
                group=typed(table["group"], str, where=f"{place}.group"),
                defense=defense,
                defense_name=name,
                attacks=typed(table.get("attacks", True), bool, where=f"{place}.attacks"),
            )


def _own_name(table: Mapping[str, Any], where: str) -> str:
    """What a table calls its model; "" where it leaves that open."""
    name = table.get("name")
    return "" if name is None else typed(name, str, where=f"{where}.name")


def _defended(
    table: Mapping[str, Any], shared: Mapping[str, Any], task: Task, extra: Sequence[str], *, where: str
) -> Iterator[tuple[str, Defense, Base]]:
    """Every combination of the defences and models of a table."""
    place = f"{where}.defense"
    for value, model in itertools.product(
        as_axis(table.get("defense", "none"), where=place),
        _models(table, shared, task, ("defense", *extra), where=where),
    ):
        own = dict(value) if isinstance(value, dict) else value
        called = own.pop("label", None) if isinstance(own, dict) else None
        name, defense = parse_defense(own, where=place)
        if called is not None:
            name = typed(called, str, where=f"{place}.label")
        elif isinstance(own, dict) and len(own) > 1:
            name = level_name({**own, "name": name})
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
        for model in as_axis(table["model"], where=f"{where}.model"):
            yield _referenced({**table, "model": model}, extra, where=where)
        return
    check_keys(table, (*KEYS, "name", "model", *extra), where=where)
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
    axes |= {k: v for k, v in table.items() if k in KEYS}
    grid = {k: [None] if v is None else as_axis(v, where=f"{where}.{k}") for k, v in axes.items()}
    for values in itertools.product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        yield _trained(point, task, where=where)


def _referenced(table: Mapping[str, Any], extra: Sequence[str], *, where: str) -> ReferencedModel:
    """A model that exists; what the table says of its source, balance and so on names its case."""
    declared = {k: level_name(table[k]) for k in LEVELS if k in table}
    ours = {"name", *extra, *declared}
    if str(table["model"]).endswith(SUFFIXES):
        ours.discard("architecture")  # a file does not always say what its weights belong to
    reference = parse_reference({k: v for k, v in table.items() if k not in ours}, where=where)
    name = typed(table.get("name", table["model"]), str, where=f"{where}.name")
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
        n=None if n is None else positive(n, where=f"{where}.n"),
    )
    seed = typed(point["seed"], int, where=f"{where}.seed")
    axes = {k: level_name(point[k]) for k in LEVELS if k != "n"}
    axes["n"] = "all" if n is None else str(n)
    if called is not None:
        axes["recipe"] = typed(called, str, where=f"{where}.recipe.label")
    return TrainedModel(configuration=configuration, seed=seed, axes=axes)
