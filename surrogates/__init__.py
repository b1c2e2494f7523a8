"""How an attacker builds what he reads gradients from. To add one: write the file, add its entry here."""

if __name__ != "carom.surrogates":
    raise ImportError(f"import carom.surrogates, not {__name__}: one class would load twice")

from collections.abc import Mapping
from types import MappingProxyType

from .builder import Built, Chain, Ground, Member, Refinement, Training, build
from .chain import Entry, parse
from .ensemble import Ensemble
from .single import Single
from .surrogate import Surrogate

SURROGATES: Mapping[str, Entry] = MappingProxyType(
    {
        "single": Entry(
            summary="One network, as it was trained.",
            paper="Goodfellow, Shlens and Szegedy 2015, arXiv:1412.6572",
            stages=(Single(),),
        ),
        "ensemble": Entry(
            summary="Networks of other seeds or architectures, read together or in turn.",
            paper="Lakshminarayanan, Pritzel and Blundell 2017, arXiv:1612.01474; Liu et al. 2017, arXiv:1611.02770",
            stages=(Ensemble(),),
        ),
    }
)


def parse_builder(value: object, *, where: str) -> tuple[str, Chain]:
    """The name and the chain of a builder, from a name such as "sam -> lgv", or a table of a name and settings.

    Raises:
        InputError: Unknown name or setting, or a chain that cannot be.
    """
    return parse(value, SURROGATES, where=where)


__all__ = [
    "SURROGATES",
    "Built",
    "Chain",
    "Ensemble",
    "Entry",
    "Ground",
    "Member",
    "Refinement",
    "Single",
    "Surrogate",
    "Training",
    "build",
    "parse_builder",
]
