"""The [[sets]] of a scenario file: adversarial images that were made elsewhere."""

from collections.abc import Iterator
from typing import Any

from carom.errors import InputError
from carom.registry import check_keys
from carom.scenarios.axes import LEVELS

from .attacks import budgets_of
from .fields import as_tables, level_name, typed
from .scenario import BroughtSet

ELSEWHERE = "made elsewhere"  # the surrogate of a set that names none


def sets_of(tables: Any, seed: int, *, where: str) -> Iterator[BroughtSet]:
    """Each table; `seed` is the attack seed where it names none."""
    for place, table in as_tables(tables, where=where, empty=True):
        check_keys(table, ("name", "path", "clean", "budget", "surrogate", "targeted", "seed", *LEVELS), where=place)
        for key in ("name", "path", "budget"):
            if key not in table:
                raise InputError(f"{place}: {key!r} is missing; a set needs a name, a path and the budget it keeps to")
        budgets = list(budgets_of(table["budget"], where=f"{place}.budget"))
        if len(budgets) > 1:
            raise InputError(f"{place}.budget: {len(budgets)} budgets; expected the one that these images keep to")
        clean = table.get("clean")
        yield BroughtSet(
            label=typed(table["name"], str, where=f"{place}.name"),
            path=typed(table["path"], str, where=f"{place}.path"),
            clean=None if clean is None else typed(clean, str, where=f"{place}.clean"),
            budget=budgets[0],
            targeted=typed(table.get("targeted", False), bool, where=f"{place}.targeted"),
            seed=typed(table.get("seed", seed), int, where=f"{place}.seed"),
            surrogate=typed(table.get("surrogate", ELSEWHERE), str, where=f"{place}.surrogate"),
            axes={k: level_name(table[k]) for k in LEVELS if k in table},
        )
