"""A table as Markdown."""

import re
from collections.abc import Iterable

from carom.scenarios.tables.table import Table


def escape_markdown(text: object) -> str:
    """Words as Markdown prints them, in a table too: on one line, nothing of them read as markup."""
    words = "".join(c if c.isprintable() else " " for c in str(text))
    words = re.sub(r"[\\|`*<>\[\]~&]", r"\\\g<0>", words)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\_", words)  # inside a word it is no markup


def markdown(table: Table) -> str:
    """A table under its title, its notes below."""
    frame = table.formatted()

    def row(values: Iterable[object]) -> str:
        return "| " + " | ".join(map(str, values)) + " |"

    rule = ["---" if table.is_text(c) else "---:" for c in frame.columns]
    rows = [row(map(escape_markdown, values)) for values in frame.itertuples(index=False, name=None)]
    lines = [f"## {escape_markdown(table.title)}", "", row(map(escape_markdown, frame.columns)), row(rule), *rows]
    return "\n\n".join(["\n".join(lines), *map(escape_markdown, table.notes)]) + "\n"
