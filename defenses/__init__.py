"""How a victim is hardened. To add one: write the file, add its entry here."""

if __name__ != "carom.defenses":
    raise ImportError(f"import carom.defenses, not {__name__}: one class would load twice")

from collections.abc import Mapping
from types import MappingProxyType

from carom.stages import Entry

from .bit_depth import BitDepth
from .blur import Blur
from .chain import parse
from .defense import Defense, Hardening, PublicModel, Stage, Wrapper
from .jpeg import JPEG
from .noise import Noise
from .resize_pad import ResizePad
from .wrapped import Randomised

DEFENSES: Mapping[str, Entry] = MappingProxyType(
    {
        "jpeg": Entry(
            summary="The image is stored as JPEG first",
            paper="Guo, Rana, Cisse and van der Maaten 2018, arXiv:1711.00117",
            stages=(JPEG(),),
        ),
        "bit-depth": Entry(
            summary="The image is rounded to fewer bits first",
            paper="Xu, Evans and Qi 2018, arXiv:1704.01155",
            stages=(BitDepth(),),
        ),
        "blur": Entry(
            summary="The image is blurred first",
            paper="Xu, Evans and Qi 2018, arXiv:1704.01155",
            stages=(Blur(),),
        ),
        "resize-pad": Entry(
            summary="The image is made smaller by a random amount and put at a random place first",
            paper="Xie, Wang, Zhang, Ren and Yuille 2018, arXiv:1711.01991",
            stages=(ResizePad(),),
        ),
        "noise": Entry(
            summary="Gaussian noise is added first",
            paper="Cohen, Rosenfeld and Kolter 2019, arXiv:1902.02918",
            stages=(Noise(),),
        ),
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
    "Defense",
    "Entry",
    "Hardening",
    "PublicModel",
    "Randomised",
    "Stage",
    "Wrapper",
    "parse_defense",
]
