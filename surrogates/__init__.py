"""How an attacker builds what he reads gradients from. To add one: write the file in its family, add its line here.

`builder.py` says what a builder is, `chain.py` reads its name, `surrogate.py` is what an attack reads in the end.
`networks/` are networks trained apart; `posterior/` are draws of weights, `trajectory/` weights along a training;
`flatness/` and `smoothness/` train in another way; `queries/` learn from a victim's answers. `stack.py`, `onward.py`,
`probe.py` and `untrained.py` are what several of them share; `geometry/` measures what came out.
"""

if __name__ != "carom.surrogates":
    raise ImportError(f"import carom.surrogates, not {__name__}: one class would load twice")

from collections.abc import Mapping
from types import MappingProxyType

from carom.stages import Entry
from carom.zoo.training.ground import Built, Ground

from .builder import Chain, Member, Refinement, Training, build
from .chain import parse
from .flatness import agsam, asam, early_stopping, gam, gsam, looksam, sam, wasam
from .networks import ensemble, single
from .networks.ensemble import Ensemble
from .networks.single import Single
from .posterior import csgld, dropout, hmc, laplace, mba, sgld, swag, variational
from .queries import extraction
from .smoothness import input_gradient, jacobian, slightly_adversarial
from .surrogate import Surrogate
from .trajectory import directions, fge, lgv, snapshots, subspace, swa

SURROGATES: Mapping[str, Entry] = MappingProxyType(
    {
        "single": single.ENTRY,
        "ensemble": ensemble.ENTRY,
        "csgld": csgld.ENTRY,
        "csghmc": csgld.ENTRY_CSGHMC,
        "sgld": sgld.ENTRY,
        "psgld": sgld.ENTRY_PSGLD,
        "hmc": hmc.ENTRY,
        "vi": variational.ENTRY,
        "laplace": laplace.ENTRY,
        "swag": swag.ENTRY,
        "mc-dropout": dropout.ENTRY,
        "snapshots": snapshots.ENTRY,
        "fge": fge.ENTRY,
        "swa": swa.ENTRY,
        "lgv": lgv.ENTRY,
        "rd": directions.ENTRY,
        "subspace": subspace.ENTRY,
        "pca": subspace.ENTRY_PCA,
        "shift": subspace.ENTRY_SHIFT,
        "sam": sam.ENTRY,
        "l-sam": sam.ENTRY_L_SAM,
        "asam": asam.ENTRY,
        "gsam": gsam.ENTRY,
        "agsam": agsam.ENTRY,
        "gam": gam.ENTRY,
        "looksam": looksam.ENTRY,
        "wasam": wasam.ENTRY,
        "input-gradient": input_gradient.ENTRY,
        "jacobian": jacobian.ENTRY,
        "slightly-adversarial": slightly_adversarial.ENTRY,
        "mba": mba.ENTRY,
        "extraction": extraction.ENTRY,
        "early-stopping": early_stopping.ENTRY,
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
