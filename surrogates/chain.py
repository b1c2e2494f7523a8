"""Builders by name: "lgv", "sam -> lgv", "lgv -> swa -> rd"."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from carom.errors import InputError
from carom.protocols import Combination
from carom.registry import build, check_keys, lookup

from .builder import Chain, Refinement, Training
from .single import Single
from .surrogate import Schedule

_READING = ("combination", "schedule", "per_step")
_COMBINATIONS: Mapping[str, Combination] = {"logits": "logits", "probabilities": "probabilities", "loss": "loss"}
_SCHEDULES: Mapping[str, Schedule] = {"light": "light", "full": "full"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a name stands for.

    Attributes:
        summary: One line.
        paper: The reference.
        stages: One or more, in their order; settings go to the stage that has them.
        presets: Settings as in a paper's experiments, by name.
    """

    summary: str
    paper: str
    stages: tuple[Training | Refinement, ...]
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of what can be set."""
        return tuple(dict.fromkeys(f.name for stage in self.stages for f in fields(stage)))  # type: ignore[arg-type]


def parse(value: object, known: Mapping[str, Entry], *, where: str) -> tuple[str, Chain]:
    """The name and the chain.

    A table holds a name; "combination", "schedule" and "per_step" of how the weight sets are read; settings (of one
    builder as they are, of each builder in a chain in a table under its name); and "preset", which fills settings that
    are left out.

    Raises:
        InputError: Unknown name or setting, or a chain that cannot be.
    """
    table: Mapping[str, Any] = {"name": value} if isinstance(value, str) else value  # type: ignore[assignment]
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise InputError(f'{where}: expected a name such as "sam -> lgv", or a table with a name, got {value!r}')
    names = [name.strip() for name in table["name"].split("->")]
    entries = [lookup(name, known, where=where, what="surrogate builder") for name in names]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{where}: {name!r} stands twice in {table['name']!r}; write each builder once")
    alone = len(entries) == 1
    settings = (*entries[0].settings, "preset") if alone else names
    check_keys(table, ("name", *_READING, *settings), where=where)
    stages: list[Training | Refinement] = []
    for name, entry in zip(names, entries, strict=True):
        place = where if alone else f"{where}.{name}"
        own = {k: v for k, v in table.items() if k not in ("name", *_READING)} if alone else table.get(name, {})
        stages += _stages(entry, own, where=place)
    first = stages[0] if isinstance(stages[0], Training) else None
    then = stages if first is None else stages[1:]
    refinements = [stage for stage in then if isinstance(stage, Refinement)]
    if len(refinements) < len(then):
        raise InputError(
            f"{where}: {table['name']!r}: a training from scratch stands behind another builder; begin with it, or "
            "leave it out"
        )
    if first is None and refinements[0].takes != "none":
        first = Single()
    usual = refinements[-1].schedule if refinements else first.schedule if first is not None else "full"
    per_step = table.get("per_step", 1)
    if not isinstance(per_step, int) or isinstance(per_step, bool):
        raise InputError(f"{where}.per_step: expected a whole number, got {per_step!r}")
    combination = table.get("combination", "logits")
    schedule = table.get("schedule", usual)
    reading: dict[str, Any] = {
        "combination": lookup(combination, _COMBINATIONS, where=f"{where}.combination", what="combination"),
        "schedule": lookup(schedule, _SCHEDULES, where=f"{where}.schedule", what="schedule"),
        "per_step": per_step,
    }
    try:
        return " -> ".join(names), Chain(first=first, then=tuple(refinements), **reading)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _stages(entry: Entry, table: object, *, where: str) -> list[Training | Refinement]:
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: expected a table of settings, got {table!r}")
    check_keys(table, (*entry.settings, "preset"), where=where)
    preset = table.get("preset")
    filled = {} if preset is None else lookup(preset, entry.presets, where=f"{where}.preset", what="preset")
    asked = {**filled, **{k: v for k, v in table.items() if k != "preset"}}
    stages = []
    for stage in entry.stages:
        own = {k: v for k, v in asked.items() if k in {f.name for f in fields(stage)}}  # type: ignore[arg-type]
        made = build(type(stage), own, where=where)
        stages.append(replace(stage, **{name: getattr(made, name) for name in own}))  # type: ignore[type-var]
    return stages
