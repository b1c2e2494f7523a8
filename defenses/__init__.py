"""How a victim is hardened. To add one: write the file, add its entry here."""

if __name__ != "carom.defenses":
    raise ImportError(f"import carom.defenses, not {__name__}: one class would load twice")

from collections.abc import Mapping
from types import MappingProxyType

from carom.stages import Entry

from .chain import Defended, build, parse
from .defense import Defense, Hardening, PublicModel, Stage, Wrapper
from .distillation import proard
from .distillation.proard import ProARD
from .distillation.search import Search
from .distillation.student import Slice, Student, Twin
from .public_models import pubdef
from .public_models.pubdef import PubDef
from .training import awp, fast_at, mart, pgd_at, trades
from .training.accelat import AccelAT
from .training.awp import AWP
from .training.corruption import Corruption
from .training.fast_at import NFGSM, FastAT
from .training.mart import MART
from .training.pgd_at import PGDAT
from .training.plain import Plain
from .training.trades import TRADES
from .wrappers.bit_depth import BitDepth
from .wrappers.blur import Blur
from .wrappers.jpeg import JPEG
from .wrappers.noise import Noise
from .wrappers.resize_pad import ResizePad
from .wrappers.wrapped import Randomised

DEFENSES: Mapping[str, Entry] = MappingProxyType(
    {
        "plain": Entry(
            summary="Trained as the scenario trains networks; what a stage goes on from.",
            paper="Sitawarin, Chang, Huang, Altoyan and Wagner 2024, arXiv:2310.17645",
            stages=(Plain(),),
        ),
        "pgd-at": Entry(
            summary="Learns from what PGD makes of each batch.",
            paper="Madry, Makelov, Schmidt, Tsipras and Vladu 2018, arXiv:1706.06083",
            stages=(PGDAT(),),
            presets=pgd_at.PRESETS,
        ),
        "trades": Entry(
            summary="Clean cross-entropy, and a like answer near each image.",
            paper="Zhang, Yu, Jiao, Xing, El Ghaoui and Jordan 2019, arXiv:1901.08573",
            stages=(TRADES(),),
            presets=trades.PRESETS,
        ),
        "mart": Entry(
            summary="Adversarial training that minds the images it gets wrong.",
            paper="Wang, Zou, Yi, Bailey, Ma and Gu 2020, ICLR",
            stages=(MART(),),
            presets=mart.PRESETS,
        ),
        "awp": Entry(
            summary="Adversarial training whose weights are moved against it as well.",
            paper="Wu, Xia and Wang 2020, arXiv:2004.05884",
            stages=(AWP(),),
            presets=awp.PRESETS,
        ),
        "fast-at": Entry(
            summary="Adversarial training with one step from a random start, and a guard against collapse.",
            paper="Wong, Rice and Kolter 2020, arXiv:2001.03994",
            stages=(FastAT(),),
            presets=fast_at.PRESETS,
        ),
        "n-fgsm": Entry(
            summary="One step from a start further out, without clipping.",
            paper="de Jorge et al. 2022, arXiv:2202.01181",
            stages=(NFGSM(),),
            presets=fast_at.PRESETS_NFGSM,
        ),
        "accelat": Entry(
            summary="PGD-AT whose learning rate falls where accuracy under attack stops rising.",
            paper="Nikfam, Marchisio, Martina and Shafique 2022, arXiv:2210.06888",
            stages=(AccelAT(),),
        ),
        "corruption": Entry(
            summary="Learns from noisy, blurred, faded, brighter or darker, and pixelated images.",
            paper="Hendrycks and Dietterich 2019, arXiv:1903.12261",
            stages=(Corruption(),),
        ),
        "pubdef": Entry(
            summary="Learns from attacks that transfer from public models, one of each training style.",
            paper="Sitawarin, Chang, Huang, Altoyan and Wagner 2024, arXiv:2310.17645",
            stages=(PubDef(),),
            presets=pubdef.PRESETS,
        ),
        "proard": Entry(
            summary="All sub-networks of a robust elastic network, distilled phase by phase; itself the largest.",
            paper="Mousavi et al. 2025, arXiv:2506.07666",
            stages=(ProARD(),),
            presets=proard.PRESETS,
        ),
        "student": Entry(
            summary="A sub-network of what came before, taken out as a plain network.",
            paper="Mousavi et al. 2025, arXiv:2506.07666",
            stages=(Student(),),
        ),
        "search": Entry(
            summary="The most robust student within limits of size and accuracy, by predictor and NSGA-II.",
            paper="Mousavi et al. 2025, arXiv:2506.07666",
            stages=(Search(),),
        ),
        "twin": Entry(
            summary="A plain network of a student's sizes, distilled on its own from what came before.",
            paper="Zi, Zhao, Ma and Jiang 2021, arXiv:2108.07969",
            stages=(Twin(),),
        ),
        "slice": Entry(
            summary="A part of the network that came before, without further training.",
            paper="Mousavi et al. 2025, arXiv:2506.07666",
            stages=(Slice(),),
        ),
        "jpeg": Entry(
            summary="The image is stored as JPEG first.",
            paper="Guo, Rana, Cisse and van der Maaten 2018, arXiv:1711.00117",
            stages=(JPEG(),),
        ),
        "bit-depth": Entry(
            summary="The image is rounded to fewer bits first.",
            paper="Xu, Evans and Qi 2018, arXiv:1704.01155",
            stages=(BitDepth(),),
        ),
        "blur": Entry(
            summary="The image is blurred first.",
            paper="Xu, Evans and Qi 2018, arXiv:1704.01155",
            stages=(Blur(),),
        ),
        "resize-pad": Entry(
            summary="The image is made smaller by a random amount and put at a random place first.",
            paper="Xie, Wang, Zhang, Ren and Yuille 2018, arXiv:1711.01991",
            stages=(ResizePad(),),
        ),
        "noise": Entry(
            summary="Gaussian noise is added first.",
            paper="Qin, Fan, Zha and Wu 2021, arXiv:2104.11470",
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
