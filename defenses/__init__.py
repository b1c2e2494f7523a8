"""How a victim is hardened. To add one: write the file, add its line here.

Training recipes that harden stand in `carom.zoo.recipes`; what is listed here wraps a trained classifier.
"""

if __name__ != "carom.defenses":
    raise ImportError(f"import carom.defenses, not {__name__}: one class would load twice")

from collections.abc import Mapping
from types import MappingProxyType

from carom.protocols import Defense

DEFENSES: Mapping[str, type[Defense]] = MappingProxyType({})
