"""How an attacker builds what he reads gradients from. To add one: write the file, add its line here."""

if __name__ != "carom.surrogates":
    raise ImportError(f"import carom.surrogates, not {__name__}: one class would load twice")

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from carom.registry import build, check_keys, lookup

from .ensemble import Ensemble
from .single import Single
from .surrogate import Member, Surrogate, SurrogateBuilder

SURROGATES: Mapping[str, type[SurrogateBuilder]] = MappingProxyType(
    {
        "single": Single,
        "ensemble": Ensemble,
    }
)


def parse_builder(value: Any, *, where: str) -> SurrogateBuilder:
    """A builder from its name, or from a table of `name` and fields.

    Raises:
        InputError: Unknown name or field, or a value the builder refuses.
    """
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        check_keys({"builder": value}, ["name"], where=where)
    cls = lookup(table.get("name"), SURROGATES, where=where, what="surrogate builder")
    return build(cls, {k: v for k, v in table.items() if k != "name"}, where=where)


__all__ = ["SURROGATES", "Ensemble", "Member", "Single", "Surrogate", "SurrogateBuilder", "parse_builder"]
