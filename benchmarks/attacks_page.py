"""The generated tables of docs/attacks.md: the registries, and what `attack_table.py` measured.

`CAROM_WRITE_PAGES=1 pytest tests/test_attacks_page.py` writes them into the page; the test compares.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import marked

from carom.attacks import ATTACKS, CONTROLS
from carom.attacks.composition import Entry, Part, Whole

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "attacks.md"
RESULTS = ROOT / "docs" / "science" / "attacks.json"
LIMITS = (10, 50, 200)
NOT_MEASURED = "not measured"
FAMILIES = {
    "gradient": "The loop, its momentum, and where it reads gradients",
    "transformation": "What the model sees instead of the image",
    "objective": "What is raised",
    "ensemble": "How several networks make one gradient",
    "path": "How the gradient flows inside a network",
    "smallest": "Smallest perturbations",
    "query": "Queries",
}

Row = dict[str, Any]


def results() -> dict[str, Any]:
    """What was recorded; nothing where there is no file."""
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {}


def generated(recorded: Mapping[str, Any]) -> dict[str, str]:
    """Each generated part of the page, by the name in its marker."""
    return {
        "attacks": "\n".join(_registry()),
        "controls": "\n".join(_controls()),
        "measured": "\n".join(_measured(recorded)),
    }


def filled(page: str, recorded: Mapping[str, Any]) -> str:
    """The page with its generated parts renewed; what is written by hand stays.

    Raises:
        ValueError: A part does not have its two markers.
    """
    return marked.filled(page, generated(recorded), of=PAGE.name)


def families() -> dict[str, dict[str, Entry]]:
    """The registry by family: those of the list above first, in its order."""
    found = dict.fromkeys([*FAMILIES, *(entry.family for entry in ATTACKS.values())])
    by_family = {f: {name: entry for name, entry in ATTACKS.items() if entry.family == f} for f in found}
    return {family: entries for family, entries in by_family.items() if entries}


# ----------------------------------------------------------------------------------------------------------- registry


def _registry() -> Iterator[str]:
    for number, (family, entries) in enumerate(families().items()):
        yield ("\n" if number else "") + f"**{FAMILIES.get(family, family.capitalize())}** (family `{family}`)\n"
        yield from table(
            ["name", "what it is", "fills", "settings", "passes", "norms", "aims", "paper"],
            [
                [
                    f"`{name}`",
                    entry.summary,
                    ", ".join(entry.slots) if isinstance(entry, Part) else "a whole attack",
                    _settings(entry),
                    f"{entry.passes.forward:,} + {entry.passes.backward:,}",
                    ", ".join(entry.attack.norms),
                    "yes" if entry.attack.targeted else "no",
                    entry.paper,
                ]
                for name, entry in entries.items()
            ],
        )


def _settings(entry: Entry) -> str:
    """Defaults; of the loop only what is not the default loop's."""
    given = dict(entry.defaults)
    if isinstance(entry, Part):
        steps, step = given.pop("steps"), given.pop("step")
        given |= {} if (steps, step) == (10, "1/10") else {"steps": steps, "step": step}
    return ", ".join(f"`{name} = {shown(value)}`" for name, value in given.items()) or "–"


def shown(value: object) -> str:
    """A setting as a scenario writes it, as far as it can."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {shown(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(shown(v) for v in value) + "]"
    if dataclasses.is_dataclass(value):
        for name, entry in ATTACKS.items():
            known: object = entry.attack if isinstance(entry, Part) or not _nests(entry) else None
            if known == value:
                return name
        return type(value).__name__
    return str(value)


def _nests(entry: Whole) -> bool:
    """Whether its settings hold attacks, so that looking for one among them would not end."""
    attack: Any = entry.attack
    return any(hasattr(getattr(attack, field.name), "passes") for field in dataclasses.fields(attack))


def _controls() -> Iterator[str]:
    rows = []
    for name, cls in CONTROLS.items():
        fields = dataclasses.fields(cls)  # type: ignore[arg-type]
        settings = ", ".join(f"`{field.name} = {shown(field.default)}`" for field in fields)
        first = (cls.__doc__ or "").strip().split("\n\n")[0]
        rows.append([f"`{name}`", " ".join(first.split()), settings or "–", str(getattr(cls, "paper", "–"))])
    yield from table(["name", "what it is", "settings", "paper"], rows)


# ----------------------------------------------------------------------------------------------------------- measured


def _measured(recorded: Mapping[str, Any]) -> Iterator[str]:
    rows: list[Row] = list(recorded.get("rows", ()))
    if not rows:
        yield "Nothing has been measured yet: run `python benchmarks/attack_table.py`.\n"
    else:
        yield recorded["protocol"]["text"] + "\n"
    known = {row["entry"] for row in rows}
    missing = [{"entry": name, "label": name, "family": entry.family} for name, entry in ATTACKS.items()]
    rows += [row for row in missing if row["entry"] not in known]
    order = list(families())
    rows.sort(key=lambda row: order.index(row["family"]) if row["family"] in order else len(order))
    surrogates = [row for row in rows if row["family"] != "query"]
    queries = [row for row in rows if row["family"] == "query"]
    if surrogates:
        yield "**Success at the defaults, and transferred success of the best setting within 10, 50 and 200 passes**\n"
        yield from table(
            ["attack", "default: passes", "own", "transferred", *(f"within {limit}" for limit in LIMITS)],
            [
                [
                    _label(row),
                    _passes(row),
                    _rate(row, "default", "own"),
                    _rate(row, "default", "transferred"),
                    *(_rate(row, str(limit), "transferred") for limit in LIMITS),
                ]
                for row in surrogates
            ],
        )
    if queries:
        yield "\n**Success on the network that is asked, within 10, 50 and 200 queries an image**\n"
        yield from table(
            ["attack", "default: asked", "other networks", *(f"within {limit}" for limit in LIMITS), "mean queries"],
            [
                [
                    _label(row),
                    _rate(row, "default", "own"),
                    _rate(row, "default", "transferred"),
                    *(_rate(row, str(limit), "own") for limit in LIMITS),
                    f"{row['settings']['default']['queries']:.1f}" if _queries(row) else NOT_MEASURED,
                ]
                for row in queries
            ],
        )
    chosen = [row for row in rows if row.get("settings")]
    if chosen:
        yield "\n**The chosen settings**, with their passes, images and own success\n"
        yield from table(
            ["attack", *(f"within {limit}" for limit in LIMITS)],
            [[_label(row), *(_choice(row, str(limit)) for limit in LIMITS)] for row in chosen],
        )
    if recorded.get("orderings"):
        yield "\n**Orderings that the literature expects**, in points of transferred success, paired by image\n"
        yield from table(
            ["expected", "at", "difference", "images", "seen"],
            [
                [o["expected"], o["at"], _points(o), str(o["images"]), _seen(o["low"], o["high"])]
                for o in recorded["orderings"]
            ],
        )
    failed = [row for row in rows if row.get("failed")]
    if failed:
        yield "\nNot measured, and why:\n"
        yield from (f"- `{row['label']}`: {row['failed']}" for row in failed)


def _label(row: Row) -> str:
    return f"`{row['label']}`" + (f" ({row['note']})" if row.get("note") else "")


def _setting(row: Row, at: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = row.get("settings", {}).get(at)
    return found


def _passes(row: Row) -> str:
    setting = _setting(row, "default")
    return NOT_MEASURED if setting is None else f"{setting['passes']:,}"


def _queries(row: Row) -> bool:
    setting = _setting(row, "default")
    return setting is not None and setting.get("queries") is not None


def _rate(row: Row, at: str, what: str) -> str:
    """An ASR in per cent, with its interval; a dash where no setting is cheap enough."""
    setting = _setting(row, at)
    if setting is None:
        return "–" if row.get("settings") else NOT_MEASURED
    rate = setting[what]
    return f"{100 * rate['asr']:.1f} ({100 * rate['low']:.1f}–{100 * rate['high']:.1f})"


def _choice(row: Row, at: str) -> str:
    setting = _setting(row, at)
    if setting is None:
        return "–"
    written = ", ".join(f"{k} = {shown(v)}" for k, v in setting["table"].items() if k != "name") or "default"
    own = f"{100 * setting['own']['asr']:.0f} %"
    return f"`{written}`; {setting['passes']:,} passes, n = {setting['images']:,}, own {own}"


def _points(ordering: Mapping[str, Any]) -> str:
    difference, low, high = (100 * ordering[key] for key in ("difference", "low", "high"))
    return f"{difference:+.1f} ({low:+.1f} to {high:+.1f})"


def _seen(low: float, high: float) -> str:
    return "yes" if low > 0 else "the opposite" if high < 0 else "undecided"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        cells = (re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row)  # a bar inside a cell would end it
        yield f"| {' | '.join(cells)} |"
