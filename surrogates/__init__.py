"""How an attacker builds what he reads gradients from. To add one: write the file, add its entry here."""

if __name__ != "carom.surrogates":
    raise ImportError(f"import carom.surrogates, not {__name__}: one class would load twice")

from collections.abc import Mapping
from types import MappingProxyType

from . import asam, cyclical, directions, early_stopping, fge, lgv, looksam, sam
from .asam import ASAM
from .builder import Built, Chain, Ground, Member, Refinement, Training, build
from .chain import Entry, parse
from .cyclical import Cyclical, Snapshots
from .directions import RandomDirections
from .early_stopping import Checkpoints, EarlyStopping
from .ensemble import Ensemble
from .fge import FGE
from .gsam import GSAM
from .lgv import LGV
from .looksam import LookSAM
from .sam import SAM
from .single import Single
from .surrogate import Surrogate
from .swa import SWA
from .wasam import SAMTail

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
        "csgld": Entry(
            summary="Samples at the ends of cycles of Langevin dynamics, without momentum.",
            paper="Zhang et al. 2020, arXiv:1902.03932; Gubri et al. 2022, arXiv:2011.05074",
            stages=(Cyclical(alpha=1.0, learning_rate=0.5),),
            presets=cyclical.PRESETS,
        ),
        "csghmc": Entry(
            summary="Samples at the ends of cycles of Langevin dynamics with momentum.",
            paper="Zhang et al. 2020, arXiv:1902.03932; Gubri et al. 2022, arXiv:2011.05074",
            stages=(Cyclical(),),
            presets=cyclical.PRESETS,
        ),
        "snapshots": Entry(
            summary="A network at the end of each of several cycles of one training.",
            paper="Huang et al. 2017, arXiv:1704.00109",
            stages=(Snapshots(),),
            presets=cyclical.SNAPSHOT_PRESETS,
        ),
        "fge": Entry(
            summary="Networks where a cyclic learning rate is lowest, from a trained network on.",
            paper="Garipov et al. 2018, arXiv:1802.10026",
            stages=(FGE(),),
            presets=fge.PRESETS,
        ),
        "swa": Entry(
            summary="The mean of weights along SGD, or of the weight sets that came before.",
            paper="Izmailov et al. 2018, arXiv:1803.05407",
            stages=(SWA(),),
        ),
        "lgv": Entry(
            summary="Weights along SGD at a high constant learning rate, from a trained network on.",
            paper="Gubri et al. 2022, arXiv:2207.13129",
            stages=(LGV(),),
            presets=lgv.PRESETS,
        ),
        "rd": Entry(
            summary="Random directions around a network.",
            paper="Gubri et al. 2022, arXiv:2207.13129",
            stages=(RandomDirections(),),
            presets=directions.PRESETS,
        ),
        "sam": Entry(
            summary="Trained along the gradient at the worst weights nearby.",
            paper="Foret et al. 2021, arXiv:2010.01412",
            stages=(SAM(),),
            presets=sam.PRESETS,
        ),
        "l-sam": Entry(
            summary="SAM with an unusually large neighbourhood.",
            paper="Gubri et al. 2023, arXiv:2304.02688",
            stages=(SAM(rho=0.4),),
            presets=sam.PRESETS_LARGE,
        ),
        "asam": Entry(
            summary="SAM with neighbourhoods as large as the weights.",
            paper="Kwon et al. 2021, arXiv:2102.11600",
            stages=(ASAM(),),
            presets=asam.PRESETS,
        ),
        "gsam": Entry(
            summary="SAM that also narrows the gap between the loss nearby and here.",
            paper="Zhuang et al. 2022, arXiv:2203.08065",
            stages=(GSAM(),),
        ),
        "looksam": Entry(
            summary="SAM that reads nearby every few steps.",
            paper="Liu et al. 2022, arXiv:2203.02714",
            stages=(LookSAM(),),
            presets=looksam.PRESETS,
        ),
        "wasam": Entry(
            summary="The mean of the last epochs of SAM.",
            paper="Kaddour et al. 2022, arXiv:2202.00661",
            stages=(SAMTail(), SWA()),
        ),
        "early-stopping": Entry(
            summary="The epoch of a plain training that transfers best to validation victims.",
            paper="Gubri et al. 2023, arXiv:2304.02688",
            stages=(Checkpoints(), EarlyStopping()),
            presets=early_stopping.PRESETS,
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
