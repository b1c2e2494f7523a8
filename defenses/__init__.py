"""How a victim is hardened. To add one: write the file where its kind is, add its line here.

`defense.py` says what a defence is, `chain.py` reads its name. `training/` are ways of training, `public_models/` learn
from models that everybody may have, `distillation/` makes networks of networks, `wrappers/` change the image on its
way in. `masking.py` looks whether the gradients of what came out tell the truth.
"""

if __name__ != "carom.defenses":
    raise ImportError(f"import carom.defenses, not {__name__}: one class would load twice")

from collections.abc import Mapping
from types import MappingProxyType

from carom.stages import Entry

from .chain import Defended, build, parse
from .defense import Defense, Hardening, PublicModel, Stage, Wrapper
from .distillation import proard, search, student
from .public_models import pubdef
from .training import accelat, awp, corruption, fast_at, mart, pgd_at, plain, trades
from .wrappers import bit_depth, blur, jpeg, noise, resize_pad
from .wrappers.wrapped import Randomised

DEFENSES: Mapping[str, Entry] = MappingProxyType(
    {
        "plain": plain.ENTRY,
        "pgd-at": pgd_at.ENTRY,
        "trades": trades.ENTRY,
        "mart": mart.ENTRY,
        "awp": awp.ENTRY,
        "fast-at": fast_at.ENTRY,
        "n-fgsm": fast_at.ENTRY_N_FGSM,
        "accelat": accelat.ENTRY,
        "corruption": corruption.ENTRY,
        "pubdef": pubdef.ENTRY,
        "proard": proard.ENTRY,
        "student": student.ENTRY,
        "search": search.ENTRY,
        "twin": student.ENTRY_TWIN,
        "slice": student.ENTRY_SLICE,
        "jpeg": jpeg.ENTRY,
        "bit-depth": bit_depth.ENTRY,
        "blur": blur.ENTRY,
        "resize-pad": resize_pad.ENTRY,
        "noise": noise.ENTRY,
    }
)


def parse_defense(value: object, *, where: str = "defense") -> tuple[str, Defense]:
    """From "pgd-at", "trades -> jpeg", or a table of `name` and settings; "none" is no defence.

    Raises:
        InputError: Unknown name or setting, with the nearest known one, or a chain that cannot be.
    """
    return parse(value, DEFENSES, where=where)


__all__ = [
    "DEFENSES",
    "Defended",
    "Defense",
    "Entry",
    "Hardening",
    "PublicModel",
    "Randomised",
    "Stage",
    "Wrapper",
    "build",
    "parse_defense",
]
