"""carom's attacks against what other projects' code made on the same networks with the same numbers.

Each class that was run is translated, from the arguments of its run, to the attack that carom has in its place; runs of
classes that carom lacks are passed over.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from carom.attacks import TI, Iterative, Uniform, parse_attack
from carom.protocols import Attack

from .recorded import Asked, Entry, assert_equal, differ, names, needs_recording, recording
from .test_contributing import entry_of_the_page

pytestmark = needs_recording


def loop(name: str, entry: Entry, **own: Any) -> Iterative:
    """The attack of this name with the steps of the run; with TI where every reading of its gradient was smoothed."""
    attack = parse_attack({"name": name, "steps": entry.steps, "step": entry.step, **own})
    assert isinstance(attack, Iterative)
    smoothing = () if entry.kernel is None else (TI(size=entry.kernel),)
    return replace(attack, transformations=(*attack.transformations, *smoothing))


def momentum(entry: Entry) -> Iterative:
    attack = loop("mi", entry)
    return replace(attack, start=Uniform()) if entry.arguments.get("random_start") else attack


def near(name: str, radius: float, weights: Mapping[str, str] | None = None) -> Callable[[Entry], Iterative]:
    """A rule that reads neighbours within `beta` (else this radius) times eps; `weights` are its further arguments."""

    def attack(entry: Entry) -> Iterative:
        own = {"neighbours": int(entry.arguments["num_neighbor"]), "radius": float(entry.number("beta", radius))}
        for ours, theirs in (weights or {}).items():
            own |= {ours: float(entry.number(theirs))} if theirs in entry.arguments else {}
        return loop(name, entry, **{name: own})

    return attack


def enhanced_euler(entry: Entry) -> Iterative:
    """The attack that CONTRIBUTING adds."""
    return replace(entry_of_the_page().attack, steps=entry.steps, step=entry.step)


def svre(entry: Entry) -> Iterative:
    updates = int(entry.arguments["inner"]) // len(entry.networks)
    inner = float(entry.number("beta") / entry.number("alpha"))
    return loop("svre", entry, svre={"updates": updates, "inner": inner, "smooth_answer": False})


def cwa(entry: Entry, *, summed: bool) -> Iterative:
    """The step of the walk is a length over all pixels there, a root mean square over them here."""
    pixels = recording().x[0].numel()
    inner = float(entry.number("inner_step_size") / entry.eps) / pixels**0.5
    reverse = entry.number("r_size" if "r_size" in entry.arguments else "reverse_step_size") / entry.eps
    return loop("cwa", entry, cwa={"inner": inner, "reverse": reverse, "summed": summed})


ATTACKS: Mapping[str, Callable[[Entry], Attack]] = {
    "FGSM": lambda entry: loop("fgsm", entry),
    "IFGSM": lambda entry: loop("bim", entry),
    "MIFGSM": momentum,
    "NIFGSM": lambda entry: loop("ni", entry),
    "EMIFGSM": lambda entry: loop("emi", entry),
    "VMIFGSM": near("vmi", 1.5),
    "GRA": near("gra", 3.5, {"rate": "eta"}),
    "PGN": near("pgn", 3.0, {"balance": "gamma"}),
    "TIM": lambda entry: loop("mi", entry),
    "SIM": lambda entry: loop("mi+si", entry, si={"copies": int(entry.arguments["num_scale"])}),
    "LOGIT": lambda entry: loop("mi+logit", entry, mi={"normalised": False}),
    "Logit_Margin": lambda entry: loop("mi+logit-margin", entry),
    "ENS": lambda entry: loop("mi", entry),
    "IEFGSM": enhanced_euler,
    "SVRE": svre,
    "CWA": lambda entry: cwa(entry, summed=False),
    "MI_CommonWeakness": lambda entry: cwa(entry, summed=True),
}


def answer(entry: Entry) -> Callable[[slice], Callable[[Asked], Tensor | None]]:
    """The recorded draws: members that were drawn, and the bank's noise for all that is asked in tensors."""

    def of(rows: slice) -> Callable[[Asked], Tensor | None]:
        bank = recording().bank()

        def drawn(asked: Asked) -> Tensor | None:
            if asked.purpose == "svre member":
                return entry.array("members")[asked.step, asked.copy]
            return bank(asked)

        return drawn

    return of


@pytest.mark.parametrize("name", names(*ATTACKS))
def test_the_attack_makes_what_was_recorded(name: str) -> None:
    entry = recording().entry(name)
    made = recording().run(entry, ATTACKS[entry.cls](entry), answer=answer(entry))
    if "Ties" in entry.note:  # smoothed steps leave flat areas, where rounding chooses the largest of a max-pool
        shares = differ(made, entry, 1e-9)
        assert shares["adv_1"] == shares["adv_2"] == 0, shares
        assert shares["adv"] <= 1e-3, shares
    else:
        assert_equal(made, entry)
