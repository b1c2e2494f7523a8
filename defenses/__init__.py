"""How a victim is hardened. To add one: write the file, add its entry here."""

if __name__ != "carom.defenses":
    raise ImportError(f"import carom.defenses, not {__name__}: one class would load twice")

from collections.abc import Mapping
from types import MappingProxyType

from carom.stages import Entry

from .chain import parse
from .defense import Defense, Hardening, PublicModel, Stage, Wrapper

DEFENSES: Mapping[str, Entry] = MappingProxyType({})


def parse_defense(value: object, *, where: str = "defense") -> tuple[str, Defense]:
    """From "pgd-at", "trades -> jpeg", or a table of `name` and settings; "none" is no defence.

    Raises:
        InputError: Unknown name or setting, with the nearest known one, or a chain that cannot be.
    """
    return parse(value, DEFENSES, where=where)


__all__ = ["DEFENSES", "Defense", "Entry", "Hardening", "PublicModel", "Stage", "Wrapper", "parse_defense"]
