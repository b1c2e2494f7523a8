"""Names to classes, tables to objects, and errors that say where and what was meant."""

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from carom.errors import InputError

T = TypeVar("T")


def plain(name: object) -> str:
    """A name without what people write differently: letter case, hyphens, spaces, other signs."""
    return "".join(letter for letter in str(name).casefold() if letter.isalnum())


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The ending of an error: the nearest known name as a question, or nothing. Letter case and signs count least."""
    names = list(known)
    same = [each for each in names if plain(each) == plain(name)]
    written = {each.casefold(): each for each in reversed(names)}
    near = same or [written[each] for each in difflib.get_close_matches(str(name).casefold(), written, n=1, cutoff=0.5)]
    return f"; did you mean {near[0]!r}?" if near else ""


def lookup(name: object, known: Mapping[str, T], *, where: str, what: str) -> T:
    """`known[name]`.

    Raises:
        InputError: No such name; with the nearest one and the list of all.
    """
    if isinstance(name, str) and name in known:
        return known[name]
    names = ", ".join(sorted(known))
    raise InputError(f"{where}: unknown {what} {name!r}{did_you_mean(name, known)} (known: {names})")


def check_keys(table: Mapping[str, object], known: Iterable[str], *, where: str) -> None:
    """Refuse keys that nobody reads.

    Raises:
        InputError: The first unknown key, with the nearest known one.
    """
    names = list(known)
    for key in table:
        if key not in names:
            has = ", ".join(names)
            raise InputError(f"{where}: unknown key {key!r}{did_you_mean(key, names)} (known: {has})")


def build(cls: Callable[..., T], table: Mapping[str, Any], *, where: str) -> T:
    """An instance of the frozen dataclass `cls` from a table of its fields.

    Values are checked strictly: a string where a number is due is an error, not a conversion.

    Raises:
        InputError: Unknown field, wrong type, missing field, or what the class itself refuses.
    """
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    check_keys(table, fields, where=where)
    for name, field in fields.items():
        if name not in table and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"{where}.{name}: field required")
    values: dict[str, Any] = {}
    for key, value in table.items():
        place = f"{where}.{key}"
        try:
            # field by field: strict pydantic takes no mapping for a dataclass
            annotation: Any = fields[key].type
            values[key] = TypeAdapter(annotation).validate_python(_as_written(value, annotation, place), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join([place, *(str(part) for part in first["loc"])])
            message = first["msg"][0].lower() + first["msg"][1:]
            raise InputError(f"{place}: {message}, got {first['input']!r}") from None
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def checked(settings: object, where: str, **ranges: tuple[int | float, int | float]) -> None:
    """In a frozen dataclass, make floats of whole numbers, as 1 and 1.0 are one key, and hold fields to their ranges.

    Raises:
        InputError: A number out of its range; ends are in it.
    """
    for each in dataclasses.fields(settings):  # type: ignore[arg-type]
        if each.type is float:
            object.__setattr__(settings, each.name, float(getattr(settings, each.name)))
    for name, (low, high) in ranges.items():
        value = getattr(settings, name)
        if not low <= value <= high:  # written so that NaN fails
            raise InputError(f"{where}: {name} must be in [{low:g}, {high:g}], got {value:g}")


def _as_written(value: object, annotation: object, where: str) -> object:
    """TOML has lists where dataclasses have tuples, and strings where they have exact fractions."""
    from carom.budget import parse_eps  # here, because it brings torch, and readers of a store do without

    if value is not None and annotation in (Fraction, Fraction | None):
        return parse_eps(value, where=where)
    if isinstance(value, list):
        return tuple(_as_written(v, None, where) for v in value)
    return value


def summary(cls: object) -> str:
    """The first line of a docstring, for lists."""
    return (getattr(cls, "__doc__", None) or "").strip().split("\n")[0]
