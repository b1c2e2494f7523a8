"""Defences by name: "pgd-at", "trades -> jpeg"."""

from collections.abc import Mapping

from carom.errors import InputError
from carom.stages import Entry, parse_stages

from .defense import Defense, Hardening, Stage, Wrapper


def parse(value: object, known: Mapping[str, Entry], *, where: str) -> tuple[str, Defense]:
    """The name and the defence; "none" is none.

    Raises:
        InputError: Unknown name or setting, or a chain that cannot be.
    """
    if value == "none":
        return "none", Defense()
    name, stages, _ = parse_stages(value, known, what="defense", where=where, example="trades -> jpeg")
    first = stages[0] if isinstance(stages[0], Hardening) else None
    rest = stages if first is None else stages[1:]
    then = [stage for stage in rest if isinstance(stage, Stage)]
    wrappers = [stage for stage in rest if isinstance(stage, Wrapper)]
    if rest != [*then, *wrappers]:
        raise InputError(f"{where}: {name!r}: first how it is trained, then what is made of that, then wrappers")
    try:
        return name, Defense(first=first, then=tuple(then), wrappers=tuple(wrappers))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
