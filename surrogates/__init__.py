"""How an attacker builds what he reads gradients from. To add one: write the file, add its entry here."""

if __name__ != "carom.surrogates":
    raise ImportError(f"import carom.surrogates, not {__name__}: one class would load twice")

from collections.abc import Mapping
from types import MappingProxyType

from carom.stages import Entry
from carom.zoo.training.ground import Built, Ground

from .builder import Chain, Member, Refinement, Training, build
from .chain import parse
from .flatness import asam, gam, looksam, sam
from .flatness.agsam import AGSAM
from .flatness.asam import ASAM
from .flatness.early_stopping import EarlyStopping
from .flatness.gam import GAM
from .flatness.gsam import GSAM
from .flatness.looksam import LookSAM
from .flatness.sam import SAM
from .flatness.wasam import SAMTail
from .networks.ensemble import Ensemble
from .networks.single import Single
from .posterior import csgld as cyclical
from .posterior import mba as morebayesian
from .posterior import swag, variational
from .posterior.csgld import Cyclical
from .posterior.dropout import Dropout, DropoutDraws
from .posterior.hmc import HMC
from .posterior.laplace import Laplace
from .posterior.mba import MoreBayesian
from .posterior.sgld import PSGLD, SGLD
from .posterior.swag import SWAG
from .posterior.variational import Variational
from .queries.extraction import Extraction
from .smoothness import input_gradient, jacobian, slightly_adversarial
from .smoothness.input_gradient import InputGradient
from .smoothness.jacobian import Jacobian
from .smoothness.slightly_adversarial import SlightlyAdversarial
from .surrogate import Surrogate
from .trajectory import directions, fge, lgv, snapshots, subspace
from .trajectory.checkpoints import Checkpoints
from .trajectory.directions import RandomDirections
from .trajectory.fge import FGE
from .trajectory.lgv import LGV
from .trajectory.snapshots import Snapshots
from .trajectory.subspace import PCA, Shift, Subspace
from .trajectory.swa import SWA

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
        "sgld": Entry(
            summary="Samples along Langevin dynamics at a constant or slowly falling step.",
            paper="Welling and Teh 2011, ICML pp. 681-688; temperature as in Wenzel et al. 2020, arXiv:2002.02405",
            stages=(SGLD(),),
        ),
        "psgld": Entry(
            summary="SGLD with steps as large as the gradients are small.",
            paper="Li et al. 2016, arXiv:1512.07666",
            stages=(PSGLD(),),
        ),
        "hmc": Entry(
            summary="Hamiltonian Monte Carlo over all weights of a small network.",
            paper="Neal 1996; Neal 2011, arXiv:1206.1901",
            stages=(HMC(),),
        ),
        "vi": Entry(
            summary="Draws from a Gaussian for each weight, fitted by mean-field variational inference.",
            paper="Blundell et al. 2015, arXiv:1505.05424",
            stages=(Variational(),),
            presets=variational.PRESETS,
        ),
        "laplace": Entry(
            summary="Draws of the last layer from the Gaussian that fits the loss around a trained network.",
            paper="Daxberger et al. 2021, arXiv:2106.14806",
            stages=(Laplace(),),
        ),
        "swag": Entry(
            summary="Draws from a Gaussian fitted to the path of SGD.",
            paper="Maddox et al. 2019, arXiv:1902.02476",
            stages=(SWAG(),),
            presets=swag.PRESETS,
        ),
        "mc-dropout": Entry(
            summary="Networks thinned at random, of one that was trained with dropout.",
            paper="Gal and Ghahramani 2016, arXiv:1506.02142",
            stages=(Dropout(), DropoutDraws()),
        ),
        "snapshots": Entry(
            summary="A network at the end of each of several cycles of one training.",
            paper="Huang et al. 2017, arXiv:1704.00109",
            stages=(Snapshots(),),
            presets=snapshots.PRESETS,
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
        "subspace": Entry(
            summary="Random draws around the mean of weight sets, in the subspace of their deviations.",
            paper="Gubri et al. 2022, arXiv:2207.13129",
            stages=(Subspace(),),
            presets=subspace.PRESETS,
        ),
        "pca": Entry(
            summary="Weight sets projected on the first directions of their deviations.",
            paper="Gubri et al. 2022, arXiv:2207.13129",
            stages=(PCA(),),
        ),
        "shift": Entry(
            summary="The deviations of weight sets, moved onto another network.",
            paper="Gubri et al. 2022, arXiv:2207.13129",
            stages=(Shift(),),
            presets=subspace.PRESETS_SHIFT,
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
        "agsam": Entry(
            summary="GSAM with neighbourhoods as large as the weights.",
            paper="Zhuang et al. 2022, arXiv:2203.08065",
            stages=(AGSAM(),),
        ),
        "gam": Entry(
            summary="Trained towards small gradients all around.",
            paper="Zhang et al. 2023, arXiv:2303.03108",
            stages=(GAM(),),
            presets=gam.PRESETS,
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
        "input-gradient": Entry(
            summary="Trained with a penalty on the loss's gradient in the image; with rho, at SAM's weights.",
            paper="Ross and Doshi-Velez 2018, arXiv:1711.09404; Zhang et al. 2024, arXiv:2307.07873",
            stages=(InputGradient(),),
            presets=input_gradient.PRESETS,
        ),
        "jacobian": Entry(
            summary="Trained with a penalty on the logits' Jacobian in the image.",
            paper="Hoffman, Roberts and Yaida 2019, arXiv:1908.02729; Zhang et al. 2024, arXiv:2307.07873",
            stages=(Jacobian(),),
            presets=jacobian.PRESETS,
        ),
        "slightly-adversarial": Entry(
            summary="Trained on adversarial images of a small radius.",
            paper="Springer, Mitchell and Kenyon 2021, arXiv:2106.02105; Zhang et al. 2024, arXiv:2307.07873",
            stages=(SlightlyAdversarial(),),
            presets=slightly_adversarial.PRESETS,
        ),
        "mba": Entry(
            summary="MoreBayesian: fine-tuned towards flat regions, and drawn anew at each step of an attack.",
            paper="Li et al. 2023, arXiv:2302.05086",
            stages=(MoreBayesian(),),
            presets=morebayesian.PRESETS,
        ),
        "extraction": Entry(
            summary="Learnt from the answers of a black box, within a number of questions.",
            paper="Papernot et al. 2017, arXiv:1602.02697",
            stages=(Extraction(),),
        ),
        "early-stopping": Entry(
            summary="The epoch of a plain training that transfers best to validation victims.",
            paper="Gubri et al. 2023, arXiv:2304.02688",
            stages=(Checkpoints(), EarlyStopping()),
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
