"""What the words of tables and figures mean, for `carom describe`, `carom list terms` and help in the explorer.

A term is three sentences: what it is, how it is computed, and how to read it or what to beware of. All of them stand in
`glossary.toml`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term, a measure or a method.

    Attributes:
        name: As people say it.
        what: One sentence: what it is.
        how: One sentence: how it is computed, with the formula in plain text.
        beware: One sentence: how to read it, or what to beware of.
        source: The paper behind it; else the page that derives it.
        columns: Columns and choices that show it, where they have another name; "TABLE/COLUMN" in one table only, "*"
            for any letters.
    """

    name: str
    what: str
    how: str
    beware: str
    source: str
    columns: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The three sentences."""
        return f"{self.what} {self.how} {self.beware}"


def term_of(name: str, table: str | None = None) -> Term | None:
    """What a name means: of a term, or of a column or a choice; None where nobody says.

    Args:
        name: Case does not matter.
        table: Where the name stands, as `Table.name`; its own meaning there wins.
    """
    asked = name.casefold()
    if table is not None and (found := _NAMES.get(f"{table}/{asked}")) is not None:
        return found
    if (found := _NAMES.get(asked)) is not None:
        return found
    places = [asked, f"{table}/{asked}"]
    return next((term for pattern, term in _PATTERNS if any(fnmatchcase(p, pattern) for p in places)), None)


def _read() -> list[Term]:
    text = resources.files("carom.scenarios.tables").joinpath("glossary.toml").read_text(encoding="utf-8")
    return [
        Term(name=name, **{**term, "columns": tuple(term.get("columns", ()))})
        for name, term in tomllib.loads(text).items()
    ]


_ALL = _read()
TERMS: Mapping[str, Term] = MappingProxyType({term.name: term for term in _ALL})
"""By name."""

_NAMES: Mapping[str, Term] = {
    **{column.casefold(): term for term in reversed(_ALL) for column in term.columns if "*" not in column},
    **{term.name.casefold(): term for term in _ALL},
}
_PATTERNS = [(column.casefold(), term) for term in _ALL for column in term.columns if "*" in column]
