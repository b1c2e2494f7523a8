"""A scenario file, read: every key checked, every name looked up, every list expanded as a grid axis.

Every error names the place in the file, what came, what was expected and what to do.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from carom.attacks import Iterative, Snapshot
from carom.errors import InputError
from carom.registry import build, check_keys, lookup
from carom.zoo.tasks import TASKS, Task

from .attacks import attacks_of, budgets_of, controls_of
from .fields import as_axis, as_table, file_name, positive, typed
from .labels import labelled, one_name_each
from .models import KEYS, pool_of, surrogates_of, victims_of
from .refuse import refuse, refuse_one_name_for_two_builders
from .scenario import PRECISIONS, Geometry, Scenario, loop_of
from .sets import sets_of
from .text import read_text

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
    "sets",
    "controls",
    "geometry",
)

# What a scenario is run with that does not say: the two attacks that every paper has, at the budget that most have.
ATTACKS = ("fgsm", "mi")
BUDGET: Mapping[str, str] = MappingProxyType({"norm": "linf", "eps": "8/255"})
PER_SOURCE = 250  # images, of a task that has training images too


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
    crafts = not table.get("sets") or any(key in table for key in ("surrogates", "attacks", "budgets"))
    for key in ("task", "victims", *(("surrogates",) if crafts else ())):
        if key not in table:
            raise InputError(
                f"{where}: {key!r} is missing; a scenario needs task, surrogates and victims (or task, victims and "
                "sets, where nothing is crafted)"
            )
    task_name, task = _task(table["task"], where=f"{where}: task")
    shared = as_table(table.get("models", {}), where=f"{where}: models")
    check_keys(shared, KEYS, where=f"{where}: models")
    images = as_table(table.get("images", {}), where=f"{where}: images")
    check_keys(images, ("per_source", "sources"), where=f"{where}: images")
    known = {s: s for s in task.sources}
    named = as_axis(images.get("sources", list(task.sources)), where=f"{where}: images.sources")
    seeds = tuple(
        typed(s, int, where=f"{where}: attack_seed")
        for s in as_axis(table.get("attack_seed", 0), where=f"{where}: attack_seed")
    )
    scenario = Scenario(
        name=file_name(table.get("name", Path(where).stem), where=f"{where}: name"),
        description=typed(table.get("description", ""), str, where=f"{where}: description"),
        task=task,
        task_name=task_name,
        precision=lookup(
            table.get("precision", "float32"), {p: p for p in PRECISIONS}, where=f"{where}: precision", what="precision"
        ),
        attack_seeds=seeds,
        image_sources=tuple(lookup(s, known, where=f"{where}: images.sources", what="source") for s in named),
        per_source=_per_source(images.get("per_source"), task, where=f"{where}: images.per_source"),
        itself=typed(table.get("itself", True), bool, where=f"{where}: itself"),
        surrogates=tuple(surrogates_of(table.get("surrogates"), shared, task, where=f"{where}: surrogates"))
        if crafts
        else (),
        pool=tuple(pool_of(table.get("pool", []), shared, task, where=f"{where}: pool")),
        victims=(
            *victims_of(table["victims"], shared, task, "victim", where=f"{where}: victims"),
            *victims_of(
                table.get("validation_victims", []),
                shared,
                task,
                "validation victim",
                where=f"{where}: validation_victims",
            ),
        ),
        attacks=tuple(attacks_of(table.get("attacks", list(ATTACKS)), where=f"{where}: attacks")) if crafts else (),
        budgets=tuple(budgets_of(table.get("budgets", dict(BUDGET)), where=f"{where}: budgets")) if crafts else (),
        sets=tuple(sets_of(table.get("sets", []), seeds[0], where=f"{where}: sets")),
        controls=controls_of(table.get("controls", []), where=f"{where}: controls"),
        geometry=_geometry(table.get("geometry", False), where=f"{where}: geometry"),
        text=text,
    )
    scenario = _judged_as_attacked(scenario, where)
    refuse_one_name_for_two_builders(scenario, where)
    scenario = labelled(one_name_each(scenario, where))
    refuse(scenario, where)
    return scenario


def _per_source(value: Any, task: Task, *, where: str) -> int | None:
    """How many images are attacked; None for all, which images that are never trained on may be."""
    if value is None:
        return PER_SOURCE if "train" in task.splits else None
    return positive(value, where=where)


def _task(value: Any, *, where: str) -> tuple[str, Task]:
    table = {"name": value} if isinstance(value, str) else as_table(value, where=where)
    cls = lookup(table.get("name"), TASKS, where=where, what="task")
    task = build(cls, {k: v for k, v in table.items() if k != "name"}, where=where)
    # reads the user's files, so what is wrong with them is said first
    if not (task.sources and task.shape) or len(task.classes) < 2:
        raise InputError(f"{where}: {table['name']} has {len(task.classes)} classes; expected at least 2")
    return str(table["name"]), task


def _geometry(value: Any, *, where: str) -> Geometry | None:
    if isinstance(value, bool):
        return Geometry() if value else None
    return build(Geometry, dict(as_table(value, where=where)), where=where)


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
