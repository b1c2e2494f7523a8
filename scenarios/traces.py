"""Names of the snapshots of one attack's trace. Imports no torch."""

import re
from collections.abc import Iterable

_STEP = re.compile(r"^(.*) @(\d+)$")


def name_after(label: str, step: int) -> str:
    """What an attack is called after so many of its steps, such as "mi steps=10 @5"."""
    return f"{label} @{step}"


def trace_of(name: str) -> tuple[str, int] | None:
    """The attack and the step that a name of `name_after` tells; None for any other."""
    found = _STEP.match(name)
    return (found[1], int(found[2])) if found else None


def snapshots(names: Iterable[str]) -> frozenset[str]:
    """Those of the names that are earlier steps of a trace: of each trace all but the last, which is the attack."""
    traced = {name: place for name in set(names) if (place := trace_of(name)) is not None}
    last: dict[str, int] = {}
    for attack, step in traced.values():
        last[attack] = max(step, last.get(attack, 0))
    return frozenset(name for name, (attack, step) in traced.items() if step < last[attack])
