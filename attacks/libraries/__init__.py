"""Attacks of other libraries, each behind the same contract as ours.

To add a library: a file of this folder with a function from what stands behind the colon, and the settings, to an
attack; and its line in `ADAPTERS`. `contained.py` keeps what others do inside.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from carom.protocols import Attack

from .autoattack import autoattack
from .torchattacks import torchattacks

__all__ = ["ADAPTERS"]

ADAPTERS: Mapping[str, Callable[..., Attack]] = MappingProxyType(
    {"torchattacks": torchattacks, "autoattack": autoattack}
)
"""Attacks of other libraries, by the word before the colon: a call with the name behind it and the settings."""
