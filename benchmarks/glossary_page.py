"""The generated table of docs/glossary.md: every term.

`CAROM_WRITE_PAGES=1 pytest tests/scenarios/tables/test_glossary.py` writes it into the page; the test compares.
"""

from pathlib import Path

import marked

from carom.scenarios.tables.glossary import TERMS

PAGE = Path(__file__).parents[1] / "docs" / "glossary.md"


def filled(page: str) -> str:
    """The page with its table renewed; what is written by hand stays.

    Raises:
        ValueError: The page does not have the two markers.
    """
    rows = [f"| {_plain(t.name)} | {_plain(t.text)} | {t.source} |" for t in TERMS.values()]
    table = "\n".join(["| term | what it is, how it is computed, how to read it | behind it |", "|---|---|---|", *rows])
    return marked.filled(page, {"terms": table}, of=PAGE.name)


def _plain(text: str) -> str:
    """What markdown would read as something else, escaped; code stays."""
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        for sign in "\\*_|<>[]^":
            parts[i] = parts[i].replace(sign, f"\\{sign}")
    return "`".join(parts)
