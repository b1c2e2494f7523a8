"""Tables of image files: a CSV file with columns of files, labels and, optionally, targets."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from carom.errors import InputError

# What columns are called, without letter case, spaces and underscores; the first that is there is taken.
_COLUMNS: Mapping[str, Sequence[str]] = {
    "file": ("file", "filename", "image", "imageid", "imagename", "path", "filepath"),
    "label": ("label", "class", "truelabel", "trueclass", "classid", "classname", "synset", "category", "y"),
    "target": ("target", "targetclass", "targetlabel", "targetedlabel", "targetedclass"),
}


class Row(NamedTuple):
    """One line of a table, as it is written."""

    line: int
    file: str
    label: str
    target: str | None


def _columns(table: Path) -> tuple[list[list[str]], dict[str, int]]:
    """The lines of a table, and which columns have what."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{table}: cannot be read as text ({error}); save it as CSV in UTF-8") from None
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=separator, strict=True))
    except csv.Error as error:
        raise InputError(f"{table}: not a CSV file: {error}") from None
    names = ["".join(c for c in name.casefold() if c.isalnum()) for name in (lines or [[]])[0]]
    found = {}
    for what, known in _COLUMNS.items():
        place = next((names.index(name) for name in known if name in names), None)
        if place is not None:
            found[what] = place
        elif what != "target":
            shown = ", ".join(name.strip() for name in (lines or [[]])[0]) or "nothing"
            raise InputError(
                f"{table}: its first line is {shown[:80]}; expected the columns file and label, and target if there "
                "are targets"
            )
    return lines, found


def rows_of(table: Path) -> list[Row]:
    """The lines of a table that name an image.

    Raises:
        InputError: It is no table of files and labels, or a line lacks one of them.
    """
    lines, columns = _columns(table)
    width, rows = len(lines[0]), []
    for number, line in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in line):
            continue
        if len(line) < width and max(columns.values()) >= len(line):
            raise InputError(f"{table}:{number}: {len(line)} columns; expected {width}")
        cells = {what: line[place].strip() for what, place in columns.items()}
        for what in ("file", "label"):
            if not cells[what]:
                raise InputError(f"{table}:{number}: no {what}; give each image one")
        rows.append(Row(number, cells["file"], cells["label"], cells.get("target") or None))
    if not rows:
        raise InputError(f"{table}: no images; expected a line for each, below the names of the columns")
    return rows


def first_class(table: Path) -> int:
    """The number of the first class in a table."""
    lines, columns = _columns(table)
    names = [lines[0][columns[what]].strip().casefold() for what in ("file", "label")]
    if names != ["imageid", "truelabel"]:
        return 0
    return 0 if any("0" in (row.label, row.target) for row in rows_of(table)) else 1


def from_zero(said: str, first: int) -> str:
    """A label of a table, counted from 0."""
    return str(int(said) - first) if first and said.isascii() and said.isdigit() else said
