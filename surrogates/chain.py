"""Builders by name: "lgv", "sam -> lgv", "lgv -> swa -> rd"."""

from collections.abc import Mapping
from typing import Any

from carom.errors import InputError
from carom.protocols import Combination
from carom.registry import lookup
from carom.stages import Entry, parse_stages

from .builder import Chain, Refinement, Training
from .networks.single import Single
from .surrogate import Schedule

_READING = ("combination", "schedule", "per_step")
_COMBINATIONS: Mapping[str, Combination] = {"logits": "logits", "probabilities": "probabilities", "loss": "loss"}
_SCHEDULES: Mapping[str, Schedule] = {"light": "light", "full": "full"}


def parse(value: object, known: Mapping[str, Entry], *, where: str) -> tuple[str, Chain]:
    """The name and the chain.

    A table holds a name; "combination", "schedule" and "per_step" of how the weight sets are read; settings (of one
    builder as they are, of each builder in a chain in a table under its name); and "preset", which fills settings that
    are left out.

    Raises:
        InputError: Unknown name or setting, or a chain that cannot be.
    """
    name, stages, table = parse_stages(
        value, known, what="surrogate builder", where=where, example="sam -> lgv", reserved=_READING
    )
    first = stages[0] if isinstance(stages[0], Training) else None
    then = stages if first is None else stages[1:]
    refinements = [stage for stage in then if isinstance(stage, Refinement)]
    if len(refinements) < len(then):
        raise InputError(
            f"{where}: {name!r}: a training from scratch stands behind another builder; begin with it, or leave it out"
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
        return name, Chain(first=first, then=tuple(refinements), **reading)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
