"""The literature's names, each with its paper and the slots that it fills.

To add an attack made of parts that exist: one entry. One with a part of its own: the part's file in its slot's folder,
and one entry here, with the import. Type checkers hold each entry to the slots' protocols.
"""

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

from .composition import Entry, Part, Whole
from .members.cwa import CWA
from .members.svre import SVRE
from .momentum.momentum import Momentum
from .objectives.features import BFA, FIA, ILA, NAA
from .objectives.logit import Logit
from .objectives.logit_margin import LogitMargin
from .objectives.margin import Margin
from .paths.ghost import Ghost
from .paths.linbp import LinBP
from .paths.pas import PAS
from .paths.sgm import SGM
from .queries.bayes import Bayes, SubspaceRandom
from .queries.square import Square
from .queries.transfer_then_query import TransferThenQuery
from .rules.emi import EMI
from .rules.gra import GRA
from .rules.look_ahead import LookAhead
from .rules.pgn import PGN
from .rules.vmi import VMI, VNI
from .smallest.cw import CW
from .smallest.deepfool import DeepFool
from .starts.random_step import RandomStep
from .starts.uniform import Uniform
from .steps.decay_indicator import DecayIndicator
from .transformations.admix import Admix
from .transformations.bsr import BSR
from .transformations.dem import DEM
from .transformations.di import DI
from .transformations.si import SI
from .transformations.sia import SIA
from .transformations.ssm import SSM
from .transformations.ti import TI

ATTACKS: Mapping[str, Entry] = MappingProxyType(
    {
        "fgsm": Part(
            summary="One step of full size along the gradient.",
            paper="Goodfellow et al. 2015, arXiv:1412.6572",
            family="gradient",
            slots={"steps": 1, "step": Fraction(1)},
        ),
        "bim": Part(
            summary="Ten steps of eps/10 (I-FGSM); the default loop.",
            paper="Kurakin et al. 2017, arXiv:1607.02533",
            family="gradient",
            slots={"steps": 10, "step": None},
        ),
        "pgd": Part(
            summary="Ten steps of eps/4 from a uniform random start.",
            paper="Madry et al. 2018, arXiv:1706.06083",
            family="gradient",
            slots={"start": Uniform(), "steps": 10, "step": Fraction(1, 4)},
        ),
        "mi": Part(
            summary="Momentum over the steps.",
            paper="Dong et al. 2018, arXiv:1710.06081",
            family="gradient",
            slots={"momentum": Momentum()},
        ),
        "ni": Part(
            summary="Momentum, and the gradient read where it leads (Nesterov).",
            paper="Lin et al. 2020, arXiv:1908.06281",
            family="gradient",
            slots={"momentum": Momentum(), "rule": LookAhead()},
        ),
        "rfgsm": Part(
            summary="Half the radius in a random direction, then one step of the other half along the gradient.",
            paper="Tramèr et al. 2018, arXiv:1705.07204",
            family="gradient",
            slots={"start": RandomStep(), "steps": 1, "step": Fraction(1, 2)},
        ),
        "vmi": Part(
            summary="Momentum, and gradients tuned by how they vary nearby.",
            paper="Wang and He 2021, arXiv:2103.15571",
            family="gradient",
            slots={"momentum": Momentum(), "rule": VMI()},
        ),
        "vni": Part(
            summary="Momentum, and gradients where it leads, tuned by how they vary there.",
            paper="Wang and He 2021, arXiv:2103.15571",
            family="gradient",
            slots={"momentum": Momentum(), "rule": VNI()},
        ),
        "emi": Part(
            summary="Momentum, and gradients averaged along the last direction.",
            paper="Wang et al. 2021, arXiv:2103.10609",
            family="gradient",
            slots={"momentum": Momentum(), "rule": EMI()},
        ),
        "pgn": Part(
            summary="Momentum, and gradients of flat places: at random neighbours and one step down from them.",
            paper="Ge et al. 2023, arXiv:2306.05225",
            family="gradient",
            slots={"momentum": Momentum(), "rule": PGN()},
        ),
        "gra": Part(
            summary="Momentum, gradients corrected by their neighbours, and shorter steps where the sign turns.",
            paper="Zhu et al. 2023, ICCV pp. 4741-4750, proceedings doi:10.1109/ICCV51070.2023",
            family="gradient",
            slots={"momentum": Momentum(), "rule": GRA(), "step_rule": DecayIndicator()},
        ),
        "svre": Part(
            summary="Momentum, and a walk over the members that reduces the variance between their gradients.",
            paper="Xiong et al. 2022, arXiv:2111.10752",
            family="ensemble",
            slots={"momentum": Momentum(), "members": SVRE()},
        ),
        "cwa": Part(
            summary="Momentum, and a round over the members towards where all of them are weak.",
            paper="Chen et al. 2024, arXiv:2303.09105",
            family="ensemble",
            slots={"momentum": Momentum(), "members": CWA(), "step": Fraction(1, 5)},
        ),
        "di": Part(
            summary="Random resizing and padding of each image before each reading.",
            paper="Xie et al. 2019, arXiv:1803.06978",
            family="transformation",
            slots={"transformations": (DI(),)},
        ),
        "ti": Part(
            summary="The gradient smoothed by a Gaussian kernel.",
            paper="Dong et al. 2019, arXiv:1904.02884",
            family="transformation",
            slots={"transformations": (TI(),)},
        ),
        "si": Part(
            summary="The gradient averaged over five darker and darker copies.",
            paper="Lin et al. 2020, arXiv:1908.06281",
            family="transformation",
            slots={"transformations": (SI(),)},
        ),
        "admix": Part(
            summary="Images of other classes mixed in, at five darker and darker scales.",
            paper="Wang et al. 2021, arXiv:2102.00436",
            family="transformation",
            slots={"transformations": (Admix(),)},
        ),
        "ssm": Part(
            summary="Noise, and every frequency scaled at random: twenty simulated spectra.",
            paper="Long et al. 2022, arXiv:2207.05382",
            family="transformation",
            slots={"transformations": (SSM(),)},
        ),
        "dem": Part(
            summary="Random enlarging, padding and shrinking back at five ratios.",
            paper="Zou et al. 2020, arXiv:2112.06011",
            family="transformation",
            slots={"transformations": (DEM(),)},
        ),
        "sia": Part(
            summary="Each block of an image changed by an operation of its own.",
            paper="Wang et al. 2023, arXiv:2309.14700",
            family="transformation",
            slots={"transformations": (SIA(),)},
        ),
        "bsr": Part(
            summary="The blocks of an image shuffled and rotated.",
            paper="Wang et al. 2024, arXiv:2308.10299",
            family="transformation",
            slots={"transformations": (BSR(),)},
        ),
        "cw": Whole(
            summary="The nearest image that fools, by optimisation; a search for the weight of success.",
            paper="Carlini and Wagner 2017, arXiv:1608.04644",
            family="smallest",
            build=CW,
        ),
        "deepfool": Whole(
            summary="The smallest change that crosses a boundary, to first order.",
            paper="Moosavi-Dezfooli et al. 2016, arXiv:1511.04599",
            family="smallest",
            build=DeepFool,
        ),
        "margin": Part(
            summary="Raises the margin of the other logits over the label's; it never saturates.",
            paper="Carlini and Wagner 2017, arXiv:1608.04644",
            family="objective",
            slots={"objective": Margin()},
        ),
        "logit": Part(
            summary="Raises the target's logit, or lowers the true one.",
            paper="Zhao et al. 2021, arXiv:2012.11207",
            family="objective",
            slots={"objective": Logit()},
        ),
        "logit-margin": Part(
            summary="Cross-entropy of logits scaled by the gap between the largest two.",
            paper="Weng et al. 2023, arXiv:2303.03680",
            family="objective",
            slots={"objective": LogitMargin()},
        ),
        "ila": Part(
            summary="Moves inner features further along the way that momentum on cross-entropy moved them.",
            paper="Huang et al. 2019, arXiv:1907.10823",
            family="objective",
            slots={"objective": ILA(), "momentum": Momentum()},
        ),
        "fia": Part(
            summary="Weakens inner features by their gradients averaged over randomly masked copies.",
            paper="Wang et al. 2021, arXiv:2107.14185",
            family="objective",
            slots={"objective": FIA(), "momentum": Momentum()},
        ),
        "naa": Part(
            summary="Lowers what inner features contribute to the class on the path from black to the image.",
            paper="Zhang et al. 2022, arXiv:2204.00008",
            family="objective",
            slots={"objective": NAA(), "momentum": Momentum()},
        ),
        "bfa": Part(
            summary="Weakens inner features by their gradients over copies moved along the gradient.",
            paper="Wang et al. 2024, doi:10.1016/j.neucom.2024.127863",
            family="objective",
            slots={"objective": BFA(), "momentum": Momentum()},
        ),
        "sgm": Part(
            summary="Momentum, with less gradient through residual branches.",
            paper="Wu et al. 2020, arXiv:2002.05990",
            family="path",
            slots={"momentum": Momentum(), "path": SGM()},
        ),
        "linbp": Part(
            summary="Momentum, with late activations the identity on the way back.",
            paper="Guo et al. 2020, arXiv:2012.03528",
            family="path",
            slots={"momentum": Momentum(), "path": LinBP()},
        ),
        "ghost": Part(
            summary="Momentum, each reading on a network with skips scaled at random.",
            paper="Li et al. 2020, arXiv:1812.03413",
            family="path",
            slots={"momentum": Momentum(), "path": Ghost()},
        ),
        "pas": Part(
            summary="Momentum along a way back that was searched.",
            paper="Xu et al. 2023, arXiv:2308.07625",
            family="path",
            slots={"momentum": Momentum(), "path": PAS()},
        ),
        "square": Whole(
            summary="Random search over square patches, by the target's scores.",
            paper="Andriushchenko et al. 2020, arXiv:1912.00049",
            family="query",
            build=Square,
        ),
        "bayes": Whole(
            summary="Bayesian optimisation over low frequencies, by the target's labels.",
            paper="Shukla et al. 2021, arXiv:2007.07210",
            family="query",
            build=Bayes,
        ),
        "subspace-random": Whole(
            summary="Random search over low frequencies, by the target's labels: the baseline of bayes.",
            paper="the baseline of Shukla et al. 2021, arXiv:2007.07210",
            family="query",
            build=SubspaceRandom,
        ),
        "transfer-then-query": Whole(
            summary="A transferred image first, and queries from there where it failed.",
            paper="Suya et al. 2020, arXiv:1908.07000",
            family="query",
            build=TransferThenQuery,
        ),
    }
)

LITERATURE: Mapping[str, str] = MappingProxyType(
    {
        # of papers
        "I-FGSM": "bim",
        "Iterative FGSM": "bim",
        "MIM": "mi",
        "Momentum": "mi",
        "Nesterov": "ni",
        "R+FGSM": "rfgsm",
        "RAND+FGSM": "rfgsm",
        "VT-MI-FGSM": "vmi",
        "VT-NI-FGSM": "vni",
        "DI2": "di",
        "M-DI2-FGSM": "mi+di",
        "DIM": "mi+di",
        "TIM": "mi+ti",
        "TI-BIM": "ti",
        "TI-MI-FGSM": "mi+ti",
        "TI-DIM": "mi+di+ti",
        "SIM": "mi+si",
        "SI-NI-FGSM": "ni+si",
        "SI-NI-DIM": "ni+si+di",
        "SI-NI-TIM": "ni+si+ti",
        "SI-NI-TI-DIM": "ni+si+di+ti",
        "S2I-FGSM": "ssm",
        "SSA": "ssm",
        "S2I-TI-DIM": "ssm+di+ti",
        "MI-CWA": "cwa",
        "C&W": "cw",
        "Carlini-Wagner": "cw",
        "Carlini and Wagner": "cw",
        "Square Attack": "square",
        "Intermediate Level Attack": "ila",
        "Skip Gradient Method": "sgm",
        "Ghost Networks": "ghost",
        "Linear backpropagation": "linbp",
        "BayesOpt": "bayes",
        "Bayes Attack": "bayes",
        "AA": "autoattack",
        "APGD": "autoattack:apgd-ce",
        "APGD-CE": "autoattack:apgd-ce",
        "APGD-DLR": "autoattack:apgd-dlr",
        "APGD-T": "autoattack:apgd-t",
        "FAB": "autoattack:fab-t",
        "FAB-T": "autoattack:fab-t",
        # of other libraries' classes
        "SINIFGSM": "ni+si",
        "PGDL2": "pgd",
        "CWL2": "cw",
        "FGM": "fgsm",
        "FastGradientMethod": "fgsm",
        "BasicIterativeMethod": "bim",
        "ProjectedGradientDescent": "pgd",
        "LinfPGD": "pgd",
        "L2PGD": "pgd",
        "CarliniL2Method": "cw",
        "L2CarliniWagner": "cw",
        "L2DeepFool": "deepfool",
    }
)
"""What papers and other libraries call an attack, and how it is written here; for hints."""
