"""How an adversarial example is made, given something that has gradients.

In the order of reading: `slots.py` says what a part is and what it sees; the parts stand in a folder for each slot
(`starts/`, `objectives/`, `transformations/`, `rules/`, `members/`, `momentum/`, `paths/`, `steps/`), one file a part;
`iterative.py` is the loop that they fill; `names.py` has the literature's names, and `composition.py` reads "mi+di+ti".
What is no such loop stands in `smallest/`, `queries/`, `controls/` and `libraries/`. `reading/` is what an attack asks,
`crafting/` makes verified images of it.
"""

if __name__ != "carom.attacks":
    raise ImportError(f"import carom.attacks, not {__name__}: one class would load twice")

from carom.protocols import Attack, Passes

from . import composition
from .composition import Entry, Part, Whole
from .controls import CONTROLS, parse_control
from .crafting.craft import craft, craft_control, craft_images
from .crafting.crafted import Crafted
from .crafting.verifying import check_fits
from .iterative import Iterative, Snapshot
from .libraries import ADAPTERS
from .members.cwa import CWA
from .members.svre import SVRE
from .momentum.momentum import Momentum
from .names import ATTACKS, LITERATURE
from .objectives.cross_entropy import CrossEntropy
from .objectives.features import BFA, FIA, ILA, NAA
from .objectives.logit import Logit
from .objectives.logit_margin import LogitMargin
from .objectives.margin import Margin
from .paths import PAS, SGM, Ghost, LinBP
from .queries.bayes import Bayes, SubspaceRandom
from .queries.oracle import Oracle
from .queries.square import Square
from .queries.transfer_then_query import TransferThenQuery
from .reading.gradients import Gradients
from .reading.partners import Partners
from .rules.emi import EMI
from .rules.gra import GRA
from .rules.look_ahead import LookAhead
from .rules.pgn import PGN
from .rules.plain import Plain
from .rules.vmi import VMI, VNI
from .slots import Accumulation, Look, Memory, Path
from .smallest.cw import CW
from .smallest.deepfool import DeepFool
from .starts.clean import Clean
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

__all__ = [
    "ADAPTERS",
    "ATTACKS",
    "BFA",
    "BSR",
    "CONTROLS",
    "CW",
    "CWA",
    "DEM",
    "DI",
    "EMI",
    "FIA",
    "GRA",
    "ILA",
    "LITERATURE",
    "NAA",
    "PAS",
    "PGN",
    "SGM",
    "SI",
    "SIA",
    "SSM",
    "SVRE",
    "TI",
    "VMI",
    "VNI",
    "Accumulation",
    "Admix",
    "Bayes",
    "Clean",
    "Crafted",
    "CrossEntropy",
    "DecayIndicator",
    "DeepFool",
    "Entry",
    "Ghost",
    "Gradients",
    "Iterative",
    "LinBP",
    "Logit",
    "LogitMargin",
    "Look",
    "LookAhead",
    "Margin",
    "Memory",
    "Momentum",
    "Oracle",
    "Part",
    "Partners",
    "Passes",
    "Path",
    "Plain",
    "RandomStep",
    "Snapshot",
    "Square",
    "SubspaceRandom",
    "TransferThenQuery",
    "Uniform",
    "Whole",
    "check_fits",
    "craft",
    "craft_control",
    "craft_images",
    "parse_attack",
    "parse_control",
]


def parse_attack(value: object, *, where: str = "attack") -> Attack:
    """The attack that a user wrote: "mi+di+ti", or a table such as {name = "mi", steps = 20, mi = {decay = 0.9}}.

    Transformations alone run on the default loop: "di" is BIM with diverse inputs, "mi+di" has momentum too. Equal
    attacks are equal whatever their spelling: "ni+mi" is "ni".

    Raises:
        InputError: Unknown part or key, or parts that contradict each other; names `where`.
    """
    return composition.parse(value, ATTACKS, ADAPTERS, LITERATURE, where=where)
