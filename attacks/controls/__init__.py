"""Changes without any model: what an attack must beat.

A control knows no surrogate, so whatever fools a victim here is the size of the change, not what was learned. To add
one: a class in a file of this folder, and its line in `CONTROLS`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from carom.errors import InputError
from carom.protocols import Control
from carom.registry import build, lookup

from .blur import BoxBlur
from .filters import (
    BlackBoxFilter,
    BlurFilter,
    GrayscaleFilter,
    InvertFilter,
    NoiseFilter,
    SaltPepperFilter,
    SwapRgbFilter,
)
from .identity import Identity
from .noise import GaussianNoise, SignNoise

__all__ = ["CONTROLS", "BoxBlur", "GaussianNoise", "Identity", "SignNoise", "parse_control"]

CONTROLS: Mapping[str, type[Control]] = MappingProxyType(
    {
        "identity": Identity,
        "sign-noise": SignNoise,
        "gaussian-noise": GaussianNoise,
        "box-blur": BoxBlur,
        "filter-noise": NoiseFilter,
        "filter-blur": BlurFilter,
        "filter-grayscale": GrayscaleFilter,
        "filter-invert": InvertFilter,
        "filter-black-box": BlackBoxFilter,
        "filter-salt-pepper": SaltPepperFilter,
        "filter-swap-rgb": SwapRgbFilter,
    }
)


def parse_control(value: object, *, where: str = "control") -> Control:
    """The control that a user wrote: "sign-noise", or a table such as {name = "box-blur", radius = 2}.

    Raises:
        InputError: Unknown name or field; names `where`.
    """
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or "name" not in table:
        raise InputError(f'{where}: expected a name such as "sign-noise", or a table with a name, got {value!r}')
    cls = lookup(table["name"], CONTROLS, where=where, what="control")
    fields = {key: v for key, v in table.items() if key != "name"}
    return cast("Control", build(cast("Any", cls), fields, where=where))
