"""The typed readers of a scenario's fields. Every error names the place in the file, what came, what was expected."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from carom.errors import InputError

T = TypeVar("T")


def as_table(value: Any, *, where: str) -> Mapping[str, Any]:
    """The value, if it is a table."""
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected a table, got {value!r}")
    return value


def as_tables(value: Any, *, where: str, empty: bool = False) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each table of a list with its place; `empty` lets the list have none."""
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list of tables, got {value!r}; write [[{where.split(': ')[-1]}]]")
    if not value and not empty:
        raise InputError(f"{where}: empty list; write at least one")
    for i, table in enumerate(value):
        yield f"{where}[{i}]", as_table(table, where=f"{where}[{i}]")


def as_axis(value: Any, *, where: str) -> list[Any]:
    """The points of an axis: a list is one, anything else is a list of one."""
    if not isinstance(value, list):
        return [value]
    if not value:
        raise InputError(f"{where}: empty list, so the grid has no point; write at least one value or drop the key")
    return value


def typed(value: Any, kind: type[T], *, where: str) -> T:
    """The value, if it is a string, a whole number or a boolean, as `kind` says."""
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {str: "a string", int: "a whole number", bool: "true or false"}
        raise InputError(f"{where}: expected {names.get(kind, kind.__name__)}, got {value!r}")
    return value


def positive(value: Any, *, where: str) -> int:
    """The value, if it is a whole number of at least 1."""
    number = typed(value, int, where=where)
    if number < 1:
        raise InputError(f"{where}: expected a whole number of at least 1, got {number}")
    return number


def file_name(value: Any, *, where: str) -> str:
    """A scenario's name begins the names of exported files, so it may not lead to another folder."""
    name = typed(value, str, where=where)
    if not re.fullmatch(r"[\w][\w .,+=()-]{0,99}", name):
        raise InputError(
            f"{where}: {name!r} cannot begin a file's name; use at most 100 letters, digits and any of _ - . , + = ( ) "
            "and spaces, the first a letter or a digit"
        )
    return name


def level_name(value: Any) -> str:
    """How tables call the value of an axis: its name, with the fields that differ from the default."""
    if isinstance(value, dict):
        extra = ",".join(f"{k}={level_name(v)}" for k, v in value.items() if k != "name")
        return f"{value['name']}({extra})" if "name" in value else extra
    return str(value)
