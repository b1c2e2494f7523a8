"""Help on hover, from the glossary and the catalogue that `carom describe` reads."""

import re
from collections.abc import Iterable

import pandas as pd

from carom.scenarios.tables.glossary import term_of

from .plain import plain

METHODS = ("attacks", "controls", "surrogates", "defenses")


def help_of(name: str, table: str | None = None) -> str | None:
    """Markdown that says what a column, a choice or a figure means; None where the glossary does not.

    Args:
        name: As it is written there.
        table: Where it stands, as `Table.name`.
    """
    term = term_of(name, table)
    if term is None:
        return None
    return (
        f"**{plain(term.name)}**  \n{plain(term.what)} {plain(term.how)} {plain(term.beware)}  \n{plain(term.source)}"
    )


def methods(labels: Iterable[str]) -> pd.DataFrame:
    """The attacks, builders and defences that these labels name, such as "mi+di steps=50" or "lgv -> swa on lenet".

    Returns:
        Columns method, kind, what it is, paper; a method that several labels name stands once.
    """
    from carom.scenarios.catalogue import catalogue  # here: registries bring torch, and most pages do without

    known: dict[str, tuple[str, str, str]] = {}
    for kind in METHODS:
        for entry in catalogue(kind):
            known.setdefault(entry["name"], (kind.removesuffix("s"), entry["summary"], entry["paper"]))
    named = dict.fromkeys(word for label in labels for word in re.split(r"[\s+,()]+", label) if word in known)
    return pd.DataFrame([(word, *known[word]) for word in named], columns=["method", "kind", "what it is", "paper"])
