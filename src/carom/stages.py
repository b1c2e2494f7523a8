"""Names of stages, one behind another: "sam -> lgv", "trades -> jpeg"."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from carom.errors import InputError
from carom.registry import build, check_keys, lookup


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a name stands for.

    Attributes:
        summary: One line.
        paper: The reference.
        stages: One or more frozen dataclasses, in their order; settings go to the stage that has them.
        presets: Settings of the stages as in a paper's experiments, by name. "paper-...": they hold all that the paper
            sets, learning rate, batch, decay and schedule too. One that is named after a data set alone leaves these to
            the scenario's recipe.
    """

    summary: str
    paper: str
    stages: tuple[Any, ...]
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of what can be set; fields that are filled in later have no repr."""
        return tuple(dict.fromkeys(f.name for stage in self.stages for f in fields(stage) if f.repr))


def parse_stages(
    value: object, known: Mapping[str, Entry], *, what: str, where: str, example: str, reserved: tuple[str, ...] = ()
) -> tuple[str, list[Any], Mapping[str, Any]]:
    """The name, the stages, and the table that they came from.

    A table holds a name; settings (of one entry as they are, of each in a chain in a table under its name); "preset",
    which fills settings that are left out; and keys that the caller reads himself.

    Args:
        value: A name or a table.
        known: What names stand for.
        what: Of the entries, for errors.
        where: For errors.
        example: A name, for errors.
        reserved: Keys that the caller reads.

    Raises:
        InputError: Unknown name or setting, or a name that stands twice.
    """
    table: Mapping[str, Any] = {"name": value} if isinstance(value, str) else value  # type: ignore[assignment]
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise InputError(f'{where}: expected a name such as "{example}", or a table with a name, got {value!r}')
    names = [name.strip() for name in table["name"].split("->")]
    entries = [lookup(name, known, where=where, what=what) for name in names]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{where}: {name!r} stands twice in {table['name']!r}; write each once")
    alone = len(entries) == 1
    check_keys(table, ("name", *reserved, *((*entries[0].settings, "preset") if alone else names)), where=where)
    stages: list[Any] = []
    for name, entry in zip(names, entries, strict=True):
        own = {k: v for k, v in table.items() if k not in ("name", *reserved)} if alone else table.get(name, {})
        stages += _set(entry, own, where=where if alone else f"{where}.{name}")
    return " -> ".join(names), stages, table


def _set(entry: Entry, table: object, *, where: str) -> list[Any]:
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: expected a table of settings, got {table!r}")
    check_keys(table, (*entry.settings, "preset"), where=where)
    preset = table.get("preset")
    filled = {} if preset is None else lookup(preset, entry.presets, where=f"{where}.preset", what="preset")
    asked = {**filled, **{k: v for k, v in table.items() if k != "preset"}}
    stages = []
    for stage in entry.stages:
        own = {k: v for k, v in asked.items() if k in {f.name for f in fields(stage)}}
        cls: Callable[..., Any] = type(stage)
        made = build(cls, own, where=where)
        stages.append(replace(stage, **{name: getattr(made, name) for name in own}))
    return stages
