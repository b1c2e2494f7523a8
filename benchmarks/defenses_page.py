"""The generated table of docs/defenses.md: every defence by name.

`CAROM_WRITE_PAGES=1 pytest tests/test_defenses_page.py` writes it into the page; the test compares.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import marked

from carom.defenses import DEFENSES, Entry, Hardening, Stage, Wrapper

PAGE = Path(__file__).parents[1] / "docs" / "defenses.md"
BEGIN, END = marked.marks("defences")
KINDS = {
    "Ways of training": "| name | what it is | settings | presets | paper |",
    "Stages": "| name | what it is | takes | public models | settings | presets | paper |",
    "Wrappers": "| name | what it is | same answer each time | gradient | settings | presets | paper |",
}


def filled(page: str) -> str:
    """The page with its tables renewed; what is written by hand stays.

    Raises:
        ValueError: The page does not have the two markers.
    """
    return marked.filled(page, {"defences": "\n".join(_tables())}, of=PAGE.name)


def _tables() -> Iterator[str]:
    for place, (kind, head) in enumerate(KINDS.items()):
        rows = [_row(kind, name, entry) for name, entry in DEFENSES.items() if _kind(entry) == kind]
        if rows:
            yield from ([""] if place else [])
            yield f"**{kind}**"
            yield ""
            yield head
            yield "|" + "---|" * (head.count("|") - 1)
            yield from rows


def _kind(entry: Entry) -> str:
    """By its last stage: what comes out of a name decides where it can stand in a chain."""
    last = entry.stages[-1]
    if isinstance(last, Wrapper):
        return "Wrappers"
    return "Stages" if isinstance(last, Stage) else "Ways of training"


def _row(kind: str, name: str, entry: Entry) -> str:
    first, last = entry.stages[0], entry.stages[-1]
    own: tuple[str, ...] = ()
    if kind == "Stages":
        takes = "none" if isinstance(first, Hardening) else first.takes
        own = (takes, "yes" if any(isinstance(s, Stage) and s.pool for s in entry.stages) else "no")
    elif kind == "Wrappers":
        own = (
            "yes" if last.deterministic else "no, drawn by image",
            "exact" if last.differentiable else "identity (BPDA)",
        )
    settings = ", ".join(dict.fromkeys(_settings(entry))) or "–"
    presets = ", ".join(f"`{preset}`" for preset in entry.presets) or "–"
    return f"| {' | '.join((f'`{name}`', entry.summary, *own, settings, presets, entry.paper))} |"


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
