"""The generated table of docs/surrogates.md: every builder by name.

`CAROM_WRITE_PAGES=1 pytest tests/test_surrogates_page.py` writes it into the page; the test compares.
"""

import dataclasses
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import marked

from carom.stages import Entry
from carom.surrogates import SURROGATES, Training

PAGE = Path(__file__).parents[1] / "docs" / "surrogates.md"
SEVERAL = 40  # weight sets that come before, for rows whose number rests on it
FAMILIES = {  # the folders of `surrogates/` that hold builders, and what they are called
    "networks": "Networks trained apart",
    "posterior": "Posterior",
    "trajectory": "Trajectory",
    "flatness": "Flatness",
    "smoothness": "Smoothness",
    "queries": "By query",
}


def filled(page: str) -> str:
    """The page with its table renewed; what is written by hand stays.

    Raises:
        ValueError: The page does not have the two markers, or a builder stands in no family's folder.
    """
    return marked.filled(page, {"builders": "\n".join(_tables())}, of=PAGE.name)


def _tables() -> Iterator[str]:
    families = _families()
    for place, (folder, family) in enumerate(FAMILIES.items()):
        yield from ([""] if place else [])
        yield f"**{family}**"
        yield ""
        yield "| name | what it is | takes | weight sets | read | settings | presets | paper |"
        yield "|---|---|---|---|---|---|---|---|"
        yield from (_row(name, entry) for name, entry in SURROGATES.items() if families[name] == folder)


def _families() -> dict[str, str]:
    """For each builder the folder in which the file with its entry stands."""
    found: dict[str, str] = {}
    for folder in FAMILIES:
        package = importlib.import_module(f"carom.surrogates.{folder}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for value in vars(importlib.import_module(module.name)).values():
                found |= {name: folder for name, entry in SURROGATES.items() if entry is value}
    if lost := set(SURROGATES) - set(found):
        raise ValueError(
            f"surrogates/: {', '.join(sorted(lost))}: expected the entry in a file of {', '.join(FAMILIES)}"
        )
    return found


def _row(name: str, entry: Entry) -> str:
    first = entry.stages[0]
    takes = "none" if isinstance(first, Training) else first.takes
    count = {"none": 0, "one": 1, "several": SEVERAL}[takes]
    for stage in entry.stages:
        count = stage.count() * len(stage.members(0)) if isinstance(stage, Training) else stage.count(count)
    shown = "as many" if count == SEVERAL and takes == "several" else str(count)
    settings = ", ".join(dict.fromkeys(_settings(entry))) or "–"
    presets = ", ".join(f"`{preset}`" for preset in entry.presets) or "–"
    read = entry.stages[-1].schedule
    return f"| `{name}` | {entry.summary} | {takes} | {shown} | {read} | {settings} | {presets} | {entry.paper} |"


def _settings(entry: Entry) -> Iterator[str]:
    for stage in entry.stages:
        for field in dataclasses.fields(stage):
            if field.repr:
                yield f"`{field.name} = {_written(getattr(stage, field.name))}`"


def _written(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    return f"[{', '.join(map(_written, value))}]" if isinstance(value, tuple) else str(value)
