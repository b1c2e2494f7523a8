"""Everything that a scenario can name, with its paper and defaults, and the words of tables and figures.

For `carom list` and `carom describe`.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from carom.errors import InputError
from carom.registry import did_you_mean, lookup, summary
from carom.scenarios.tables.glossary import TERMS, term_of

Entry = dict[str, Any]


def catalogue(kind: str) -> list[Entry]:
    """All entries of a kind, each with at least `name`, `summary` and `paper`.

    Raises:
        InputError: No such kind.
    """
    readers = {
        "attacks": _attacks,
        "architectures": _architectures,
        "balances": _balances,
        "controls": _controls,
        "defenses": _defenses,
        "presets": _presets,
        "recipes": _recipes,
        "suites": _suites,
        "surrogates": _surrogates,
        "tasks": _tasks,
        "terms": _terms,
    }
    return lookup(kind, readers, where="carom list", what="kind")()


KINDS = (
    "attacks",
    "controls",
    "surrogates",
    "defenses",
    "architectures",
    "recipes",
    "balances",
    "tasks",
    "presets",
    "suites",
    "terms",
)


def description(name: str) -> Entry:
    """One entry in full; a sum of attacks is described as the loop that it makes, a column of a table as its term.

    Raises:
        InputError: Nothing has this name.
    """
    known: dict[str, Entry] = {}
    for kind in KINDS:
        for entry in catalogue(kind):
            known.setdefault(entry["name"], {"name": entry["name"], "kind": kind.removesuffix("s")} | entry)
    if name in known:
        return known[name]
    if "+" in name:
        from carom.attacks import parse_attack

        attack = parse_attack(name, where="carom describe")
        return {"name": name, "kind": "attack", **_passes(attack.passes()), **_fields(attack)}
    if (term := term_of(name)) is not None:
        return {"name": term.name, "kind": "term", **known[term.name]}
    raise InputError(
        f"carom describe: nothing is called {name!r}{did_you_mean(name, known)}; `carom list KIND` lists all"
    )


def _attacks() -> list[Entry]:
    from carom.attacks import ADAPTERS, ATTACKS

    return [
        {
            "name": name,
            "summary": part.summary,
            "paper": part.paper,
            "family": part.family,
            **_passes(part.passes),
            "defaults": {key: _written(value) for key, value in part.defaults.items()},
        }
        for name, part in ATTACKS.items()
    ] + [
        {
            "name": f"{library}:NAME",
            "summary": summary(adapter),
            "paper": summary(adapter).partition("(")[2].partition(")")[0],
            "family": "of another library",
        }
        for library, adapter in ADAPTERS.items()
    ]


def _passes(passes: Any) -> Entry:
    """What an image costs, on one network."""
    return {"forward": passes.forward, "backward": passes.backward}


def _controls() -> list[Entry]:
    from carom.attacks import CONTROLS

    return _classes(CONTROLS)


def _surrogates() -> list[Entry]:
    from carom.surrogates import SURROGATES

    return _staged(SURROGATES)


def _staged(known: Mapping[str, Any]) -> list[Entry]:
    return [
        {
            "name": name,
            "summary": entry.summary,
            "paper": entry.paper,
            "defaults": {k: _plain(v) for stage in entry.stages for k, v in _own_fields(stage).items()},
            **({"presets": _plain(entry.presets)} if entry.presets else {}),
        }
        for name, entry in known.items()
    ]


def _own_fields(stage: Any) -> dict[str, Any]:
    return {field.name: getattr(stage, field.name) for field in dataclasses.fields(stage) if field.repr}


def _defenses() -> list[Entry]:
    from carom.defenses import DEFENSES

    return _staged(DEFENSES)


def _architectures() -> list[Entry]:
    from carom.zoo.architectures import ARCHITECTURES, LIBRARIES

    libraries = [
        {"name": f"{prefix}:NAME", "summary": summary(cls), "paper": cls.paper} for prefix, cls in LIBRARIES.items()
    ]
    return _classes(ARCHITECTURES) + libraries


def _recipes() -> list[Entry]:
    from carom.zoo.training.recipes import RECIPES

    return _classes(RECIPES)


def _balances() -> list[Entry]:
    from carom.zoo.tasks.balance import NAMED, Balance, parse_balance

    return [
        {
            "name": name,
            "summary": f"class shares {float(parse_balance(name).total_variation):g} in total variation from uniform",
            "paper": Balance.paper,
            "defaults": _fields(parse_balance(name)),
        }
        for name in NAMED
    ]


def _tasks() -> list[Entry]:
    from carom.zoo.tasks import TASKS

    return _classes(TASKS)


def _presets() -> list[Entry]:
    from carom.scenarios.spec.text import presets

    entries = []
    for name, text in presets().items():
        table = tomllib.loads(text)
        paper = "Alecci et al. 2023, RAID, arXiv:2306.15363"
        entries.append(
            {"name": name, "summary": table["description"], "paper": paper, "task": table["task"], "text": text}
        )
    return entries


def _suites() -> list[Entry]:
    from carom.scenarios.gates.suite import read_suite, shipped

    entries = []
    for name, path in shipped().items():
        suite = read_suite(path)
        entries.append(
            {
                "name": name,
                "summary": suite.description,
                "paper": "Alecci et al. 2023, RAID, arXiv:2306.15363",
                "task": suite.task,
                "images": len(suite),
                "sets": [made.name for made in suite.sets],
                "digest": suite.digest,
            }
        )
    return entries


def _terms() -> list[Entry]:
    return [
        {"name": t.name, "summary": t.what, "formula": t.how, "beware": t.beware, "paper": t.source}
        for t in TERMS.values()
    ]


def _classes(registry: Mapping[str, Any]) -> list[Entry]:
    return [
        {"name": name, "summary": summary(cls), "paper": cls.paper, "defaults": _defaults(cls)}
        for name, cls in registry.items()
    ]


def _defaults(cls: Any) -> Entry:
    """Fields with their defaults; a field without one has to be given."""
    shown: Entry = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            shown[field.name] = _plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            shown[field.name] = _plain(field.default_factory())
        else:
            shown[field.name] = "(required)"
    return shown


def _written(value: Any) -> Any:
    """A default; an attack by its own name, where it has one."""
    from carom.attacks import ATTACKS
    from carom.protocols import Attack

    if not isinstance(value, Attack):
        return _plain(value)
    return next((name for name, entry in ATTACKS.items() if entry.attack == value), None) or _plain(value)


def _fields(value: Any) -> Entry:
    return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = _fields(value)
        return {"kind": type(value).__name__, **fields} if fields else type(value).__name__
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return value
