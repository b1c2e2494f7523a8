"""Attacks by name: `+` fills slots."""

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NoReturn, TypedDict, cast

from carom.budget import parse_eps
from carom.errors import InputError
from carom.protocols import Attack, Passes
from carom.registry import build, check_keys, did_you_mean, lookup, plain

from .iterative import Iterative
from .slots import (
    Accumulation,
    Fitted,
    MemberRule,
    Objective,
    Path,
    Rule,
    Start,
    StepRule,
    Transformation,
)

_LOOP = ("steps", "step")


class Slots(TypedDict, total=False):
    """Slots of `Iterative` that a name fills."""

    start: Start
    objective: Objective | Fitted
    transformations: tuple[Transformation, ...]
    rule: Rule
    members: MemberRule
    momentum: Accumulation
    path: Path
    step_rule: StepRule
    steps: int
    step: Fraction | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """What one name adds to an attack; alone, an attack on the default loop, which is BIM's.

    Attributes:
        summary: One line.
        paper: Where it comes from.
        family: Its kind, for lists and for means over attacks of one kind.
        slots: Fields of `Iterative` that it fills. Transformations are appended, everything else is set.
    """

    summary: str
    paper: str
    family: str
    slots: Slots

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", MappingProxyType(dict(self.slots)))

    @property
    def attack(self) -> Iterative:
        """The part alone."""
        return compose({"": self})

    @property
    def passes(self) -> Passes:
        """What an image costs on one network."""
        return self.attack.passes()

    @property
    def defaults(self) -> Mapping[str, object]:
        """What can be set: in a table of the part's own name, and `steps` and `step` beside it."""
        attack = self.attack
        own = {
            field.name: getattr(component, field.name)
            for component in _components(self.slots)
            for field in dataclasses.fields(component)
        }
        return MappingProxyType({**own, "steps": attack.steps, "step": str(attack.step)})

    def configured(self, table: Mapping[str, object], *, where: str) -> "Part":
        """This part with some fields of its components set.

        Raises:
            InputError: Unknown field, or a value that its component refuses.
        """
        names = [field.name for component in _components(self.slots) for field in dataclasses.fields(component)]
        check_keys(table, names, where=where)
        slots = {
            slot: tuple(_with(part, table, where) for part in value)
            if isinstance(value, tuple)
            else _with(value, table, where)
            for slot, value in self.slots.items()
        }
        return dataclasses.replace(self, slots=cast("Slots", slots))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whole:
    """An attack that is no such loop: one class, one name, nothing to add to.

    Attributes:
        summary: One line.
        paper: Where it comes from.
        family: Its kind, for lists and for means over attacks of one kind.
        build: Its class: a frozen dataclass that is an `Attack`; a field that is an attack is written as attacks are.
    """

    summary: str
    paper: str
    family: str
    build: Callable[..., Attack]

    @property
    def attack(self) -> Attack:
        """With its defaults."""
        return self.build()

    @property
    def passes(self) -> Passes:
        """What an image costs at most, on one network."""
        return self.attack.passes()

    @property
    def defaults(self) -> Mapping[str, object]:
        """What can be set in a table beside the name."""
        attack: Any = self.attack
        return MappingProxyType({field.name: getattr(attack, field.name) for field in dataclasses.fields(attack)})


Entry = Part | Whole


def compose(parts: Mapping[str, Part], *, where: str = "attack", **loop: object) -> Iterative:
    """The attack that these parts make together.

    Args:
        parts: By name; transformations apply in this order.
        where: For errors.
        loop: `steps` and `step`, where they are not to be what the parts say.

    Raises:
        InputError: Two parts fill one slot with different values.
    """
    slots: dict[str, object] = {}
    filled_by: dict[str, str] = {}
    transformations: tuple[Transformation, ...] = ()
    for name, part in parts.items():
        for slot, value in part.slots.items():
            if slot == "transformations":
                transformations += cast("tuple[Transformation, ...]", value)
            elif slot in slots and slots[slot] != value:
                raise InputError(
                    f"{where}: {filled_by[slot]!r} and {name!r} both set {slot}: {_shown(slot, slots[slot])} and "
                    f"{_shown(slot, value)}; leave one out"
                )
            else:
                slots[slot] = value
                filled_by[slot] = name
    try:
        return Iterative(**cast("dict[str, Any]", {**slots, **loop, "transformations": transformations}))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def meant(name: str, known: Collection[str], literature: Mapping[str, str]) -> str | None:
    """How carom writes what another library or a paper calls `name`; None where that is not known.

    "MI-FGSM" is "mi", "C&W" is "cw", "TI-DIM" is "mi+di+ti": first by the names of the literature, then by parts that
    stand between hyphens or plus signs.

    Args:
        name: As somebody wrote it.
        known: carom's own names.
        literature: Other names, and how carom writes each.
    """
    own = {plain(each): each for each in known}
    other = {plain(each): written for each, written in literature.items()}
    whole = plain(name)
    for candidate in (whole, whole.removesuffix("attack"), whole.removesuffix("fgsm")):
        if (found := own.get(candidate) or other.get(candidate)) is not None:
            return found
    parts = [part for part in re.split(r"\+" if "+" in name else r"[\W_]+", name) if part.strip()]
    if len(parts) > 1 and plain(parts[-1]) == "fgsm":
        parts = parts[:-1]
    if len(parts) < 2:
        return None
    found_parts = [meant(part, known, literature) for part in parts]
    if any(part is None or ":" in part for part in found_parts):
        return None
    return "+".join(dict.fromkeys("+".join(filter(None, found_parts)).split("+")))


def parse(
    value: object,
    known: Mapping[str, Entry],
    adapters: Mapping[str, Callable[..., Attack]],
    literature: Mapping[str, str] = MappingProxyType({}),
    *,
    where: str,
) -> Attack:
    """The attack that a user wrote.

    Args:
        value: "mi+di+ti", or a table: `name`, `steps`, `step`, and one table for each part that has fields, such as
            {name = "mi+di", steps = 20, mi = {decay = 0.9}, di = {probability = 0.7}}.
        known: Parts and whole attacks by name.
        adapters: What reads "LIBRARY:NAME", by library; gets the name and the settings.
        literature: Other names of attacks, and how carom writes them; for errors.
        where: Where the value is, for errors: "quick.toml: attacks[1]".

    Raises:
        InputError: Unknown or repeated part, unknown key, or parts that contradict each other.
    """
    table: Mapping[str, object] = {"name": value} if isinstance(value, str) else cast("Mapping[str, object]", value)
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise InputError(f'{where}: expected a name such as "mi+di", or a table with a name, got {value!r}')
    full = str(table["name"]).strip()
    library, colon, inner = full.partition(":")
    if colon or full in adapters:
        adapter = lookup(library.strip(), adapters, where=where, what="attack library")
        settings = tuple(sorted((key, setting) for key, setting in table.items() if key != "name"))
        try:
            return adapter(inner.strip(), settings)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    entry = known.get(full)
    if isinstance(entry, Whole):
        return _whole(entry, table, known, adapters, literature, where)
    parts: dict[str, Part] = {}
    for name in map(str.strip, full.split("+")):
        part = known.get(name) or _unknown(name, full, known, adapters, literature, where)
        if isinstance(part, Whole):
            raise InputError(f"{where}: {name!r} is a whole attack and takes no '+'; write it alone")
        if name in parts:
            raise InputError(f"{where}: {name!r} stands twice in {table['name']!r}; write each part once")
        parts[name] = part
    configurable = [name for name, part in parts.items() if any(map(dataclasses.fields, _components(part.slots)))]
    check_keys(table, ("name", *_LOOP, *configurable), where=where)
    for name in configurable:
        fields = table.get(name, {})
        if not isinstance(fields, Mapping):
            raise InputError(f"{where}.{name}: expected a table of its fields, got {fields!r}")
        parts[name] = parts[name].configured(fields, where=f"{where}.{name}")
    return compose(parts, where=where, **_loop(table, where))


def _unknown(
    name: str,
    full: str,
    known: Mapping[str, Entry],
    adapters: Mapping[str, Callable[..., Attack]],
    literature: Mapping[str, str],
    where: str,
) -> NoReturn:
    """Refuse a name, with what is meant by it, or else the nearest one and the list of all.

    Raises:
        InputError: Always.
    """
    if (written := meant(full, {*known, *adapters}, literature)) is not None:
        hint = f"; did you mean {written!r}?"
    else:
        hint = did_you_mean(name, known)
    raise InputError(f"{where}: unknown attack {name!r}{hint} (known: {', '.join(sorted(known))})")


def _whole(
    entry: Whole,
    table: Mapping[str, object],
    known: Mapping[str, Entry],
    adapters: Mapping[str, Callable[..., Attack]],
    literature: Mapping[str, str],
    where: str,
) -> Attack:
    """A whole attack with some fields set; those that are attacks are parsed as such."""
    cls: Any = entry.build
    fields = {key: v for key, v in table.items() if key != "name"}
    check_keys(fields, [field.name for field in dataclasses.fields(cls)], where=where)
    nested = {
        field.name: parse(fields[field.name], known, adapters, literature, where=f"{where}.{field.name}")
        for field in dataclasses.fields(cls)
        if field.type is Attack and field.name in fields
    }
    plain = {key: v for key, v in fields.items() if key not in nested}
    attack: Attack = build(cls, plain, where=where)
    if nested:
        try:
            attack = dataclasses.replace(cast("Any", attack), **nested)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return attack


def _loop(table: Mapping[str, object], where: str) -> dict[str, object]:
    given: dict[str, object] = {}
    if "steps" in table:
        if not isinstance(table["steps"], int) or isinstance(table["steps"], bool):
            raise InputError(f"{where}.steps: expected a whole number of steps, got {table['steps']!r}")
        given["steps"] = table["steps"]
    if "step" in table:
        given["step"] = parse_eps(table["step"], where=f"{where}.step")
    return given


def _components(slots: Mapping[str, object]) -> list[Any]:
    """The dataclasses among the values, those in tuples too."""
    values = [v for value in slots.values() for v in (value if isinstance(value, tuple) else (value,))]
    return [value for value in values if dataclasses.is_dataclass(value)]


def _with(value: Any, table: Mapping[str, object], where: str) -> object:
    """`value` with those fields of the table that are its own."""
    if not dataclasses.is_dataclass(value):
        return value
    names = [field.name for field in dataclasses.fields(value)]
    own = {key: v for key, v in table.items() if key in names}
    if not own:
        return value
    now = {name: getattr(value, name) for name in names}
    return build(cast("Any", type(value)), {**now, **own}, where=where)


def _shown(slot: str, value: object) -> str:
    if slot == "step":
        return "1/steps" if value is None else str(Fraction(cast("Fraction", value)))
    return repr(value)
