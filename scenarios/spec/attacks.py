"""The attacks of a scenario file, with what varies in them, their traces and budgets, and the controls beside them."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from carom.attacks import Iterative, Snapshot, parse_attack, parse_control
from carom.attacks.controls.blur import BoxBlur
from carom.attacks.controls.identity import Identity
from carom.attacks.controls.noise import GaussianNoise, SignNoise
from carom.budget import NORMS, Budget, Norm
from carom.errors import InputError
from carom.protocols import Control
from carom.registry import check_keys, lookup
from carom.scenarios.traces import name_after

from .fields import as_axis, as_table, as_tables, level_name, positive, typed
from .scenario import READS, AttackSpec

# Surrogate-free sets of every scenario, by the name in tables. The ladder of sign noise gives each adversarial set a
# control of at least its own L2.
SCENARIO_CONTROLS: Mapping[str, Control] = {
    "identity": Identity(),
    "sign-noise 1/2": SignNoise(scale=Fraction(1, 2)),
    "sign-noise 3/4": SignNoise(scale=Fraction(3, 4)),
    "sign-noise 1": SignNoise(),
    "gaussian-noise": GaussianNoise(),
    "box-blur": BoxBlur(),
}


def attacks_of(value: Any, *, where: str) -> Iterator[AttackSpec]:
    """Every combination of what varies in each attack."""
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list of names or tables, got {value!r}")
    if not value:
        raise InputError(f"{where}: empty list; name at least one attack")
    for i, entry in enumerate(value):
        place = f"{where}[{i}]"
        table = {"name": entry} if isinstance(entry, str) else dict(as_table(entry, where=place))
        label, targeted = table.pop("label", None), table.pop("targeted", False)
        decoy = typed(table.pop("decoy", False), bool, where=f"{place}.decoy")
        trace, norms = table.pop("trace", None), table.pop("norms", None)
        reads = lookup(
            table.pop("reads", "surrogate"), {r: r for r in READS}, where=f"{place}.reads", what="model to read"
        )
        asked = as_axis(list(NORMS) if norms is None else norms, where=f"{place}.norms")
        known: dict[str, Norm] = {n: n for n in NORMS}
        used = tuple(lookup(norm, known, where=f"{place}.norms", what="norm") for norm in asked)
        grid = {k: as_axis(v, where=f"{place}.{k}") for k, v in table.items()}
        for values in itertools.product(*grid.values()):
            point = dict(zip(grid, values, strict=True))
            attack = parse_attack(point, where=place)
            varied = [f"{k}={level_name(point[k])}" for k in table if k != "name"]
            name = " ".join([str(point.get("name")), *varied])
            for goal in as_axis(targeted, where=f"{place}.targeted"):
                is_targeted = typed(goal, bool, where=f"{place}.targeted")
                shown = str(label) if label is not None else name + (" targeted" if is_targeted else "")
                if decoy and (is_targeted or reads == "victim"):
                    raise InputError(
                        f"{place}.decoy: a decoy reads surrogates and is untargeted; leave the other key out"
                    )
                spec = AttackSpec(
                    label=shown + (" on victims" if reads == "victim" else "") + (" decoy" if decoy else ""),
                    attack=attack,
                    targeted=is_targeted,
                    reads=reads,
                    norms=used,
                    decoy=decoy,
                )
                if reads == "victim" and spec.asks_victims:
                    raise InputError(
                        f"{place}.reads: {name} reads a surrogate and asks every victim; leave 'reads' out"
                    )
                yield from _traced(spec, trace, where=f"{place}.trace")


def _traced(spec: AttackSpec, trace: Any, *, where: str) -> Iterator[AttackSpec]:
    """The attack, or where it stands after each of the steps of its trace."""
    if trace is None:
        yield spec
        return
    if not isinstance(spec.attack, Iterative):
        raise InputError(f"{where}: {spec.label} is no loop of steps; leave 'trace' out")
    for value in as_axis(trace, where=where):
        after = positive(value, where=where)
        if after > spec.attack.steps:
            raise InputError(f"{where}: step {after} of an attack of {spec.attack.steps} steps; raise its 'steps'")
        # the last step is the attack itself: one set, whoever asks for it
        attack = spec.attack if after == spec.attack.steps else Snapshot(attack=spec.attack, after=after)
        yield replace(spec, label=name_after(spec.label, after), attack=attack)


def controls_of(value: Any, *, where: str) -> dict[str, Control]:
    """The controls of every scenario, and those that this one names."""
    if not isinstance(value, list):
        raise InputError(f"{where}: expected a list of names or tables, got {value!r}")
    controls = dict(SCENARIO_CONTROLS)
    for i, entry in enumerate(value):
        place = f"{where}[{i}]"
        control = parse_control(entry, where=place)
        table = {"name": entry} if isinstance(entry, str) else as_table(entry, where=place)
        name = " ".join([str(table["name"]), *(f"{k}={level_name(v)}" for k, v in table.items() if k != "name")])
        twin = next((other for other, same in controls.items() if same == control or other == name), None)
        if twin is not None:
            raise InputError(f"{place}: {name!r} is already there, as {twin!r}; leave it out, or set other fields")
        controls[name] = control
    return controls


def budgets_of(value: Any, *, where: str) -> Iterator[Budget]:
    """Every combination of a table's norms and radii."""
    for place, table in as_tables([value] if isinstance(value, dict) else value, where=where):
        check_keys(table, ("norm", "eps"), where=place)
        if "eps" not in table:
            raise InputError(f'{place}: eps is missing; write a radius in pixel units, such as eps = "8/255"')
        norms = as_axis(table.get("norm", "linf"), where=f"{place}.norm")
        for norm, eps in itertools.product(norms, as_axis(table["eps"], where=f"{place}.eps")):
            yield Budget.parse(typed(norm, str, where=f"{place}.norm"), eps, where=place)
