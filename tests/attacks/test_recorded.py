"""carom's attacks against what other projects' code made on the same networks with the same numbers.

Each class that was run is translated, from the arguments of its run, to the attack that carom has in its place; runs of
classes that carom lacks are passed over.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from carom.attacks import (
    BSR,
    DI,
    TI,
    VNI,
    Admix,
    Iterative,
    Look,
    Memory,
    Momentum,
    Partners,
    Uniform,
    parse_attack,
)
from carom.attacks.rules.vmi import variance
from carom.attacks.slots import View
from carom.attacks.transformations.sia import OPERATIONS
from carom.budget import Budget, Norm
from carom.protocols import Attack

from .recorded import Asked, Entry, assert_equal, differ, names, needs_recording, recording
from .test_contributing import entry_of_the_page

pytestmark = needs_recording


def loop(name: str, entry: Entry, **own: Any) -> Iterative:
    """The attack of this name with the steps of the run; with TI where every reading of its gradient was smoothed."""
    attack = parse_attack({"name": name, "steps": entry.steps, "step": entry.step, **own})
    assert isinstance(attack, Iterative)
    if isinstance(attack.momentum, Momentum):
        attack = replace(attack, momentum=replace(attack.momentum, decay=entry.decay))
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


def along_a_line(entry: Entry) -> Iterative:
    own = {"samples": int(entry.number("num_sample", 11)), "radius": float(entry.number("radius", 7))}
    return loop("emi", entry, emi=own)


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


def enlarging(entry: Entry) -> Iterative:
    rate, probability = float(entry.number("resize_rate", 1.1)), float(entry.number("diversity_prob", 0.5))
    return loop("mi+di", entry, di={"rate": rate, "probability": probability})


def canvases(entry: Entry) -> list[int]:
    """Sides of the canvases of DEM: enlarged, and cut to whole pixels."""
    return [int(rate * recording().x.shape[3]) for rate in entry.arguments["resize_rates"]]


def ensemble_of_sizes(entry: Entry) -> Iterative:
    return loop("mi+dem", entry, dem={"ratios": [canvas / recording().x.shape[3] for canvas in canvases(entry)]})


def spectra(entry: Entry) -> Iterative:
    own = {"copies": int(entry.arguments["num_spectrum"]), "rho": float(entry.number("rho"))}
    return loop("mi+ssm", entry, ssm=own)


def structure(entry: Entry) -> Iterative:
    """With the seven operations that were run, in their order."""
    own = {"copies": int(entry.arguments["num_scale"]), "blocks": int(entry.arguments["num_block"])}
    return loop("mi+sia", entry, sia=own | {"operations": SIA_OPERATIONS})


def shuffled_blocks(entry: Entry) -> Iterative:
    own = {"copies": int(entry.arguments["num_scale"]), "blocks": int(entry.arguments["num_block"])}
    return loop("mi+bsr", entry, bsr=own | {"rotated": "strips"})


def random_search(entry: Entry) -> Attack:
    """The start and each iteration are a query; the schedule is not scaled."""
    schedule = None if entry.arguments["resc_schedule"] else 10_000
    queries = 1 + int(entry.arguments["n_queries"])
    own = {"queries": queries, "fraction": float(entry.number("p_init")), "schedule": schedule}
    return parse_attack({"name": "square", **own})


SIA_OPERATIONS = [
    "vertical-shift", "horizontal-shift", "vertical-flip", "horizontal-flip", "rotate-180", "scale", "noise",
]  # fmt: skip

ATTACKS: Mapping[str, Callable[[Entry], Attack]] = {
    "FGSM": lambda entry: loop("fgsm", entry),
    "IFGSM": lambda entry: loop("bim", entry),
    "MIFGSM": momentum,
    "NIFGSM": lambda entry: loop("ni", entry),
    "EMIFGSM": along_a_line,
    "VMIFGSM": near("vmi", 1.5),
    "GRA": near("gra", 3.5, {"rate": "eta"}),
    "PGN": near("pgn", 3.0, {"balance": "gamma"}),
    "IEFGSM": enhanced_euler,
    "TIM": lambda entry: loop("mi", entry),
    "SIM": lambda entry: loop("mi+si", entry, si={"copies": int(entry.arguments["num_scale"])}),
    "DIM": enlarging,
    "DEM": ensemble_of_sizes,
    "SSM": spectra,
    "SIA": structure,
    "LOGIT": lambda entry: loop("mi+logit", entry, mi={"normalised": False}),
    "Logit_Margin": lambda entry: loop("mi+logit-margin", entry),
    "ENS": lambda entry: loop("mi", entry),
    "SVRE": svre,
    "CWA": lambda entry: cwa(entry, summed=False),
    "MI_CommonWeakness": lambda entry: cwa(entry, summed=True),
    "SquareAttack.attack_single_run": random_search,
}


# the recorded draws, as what an attack of carom asks for


class Drawn(dict[tuple[str, int, int], Any]):
    """Answers by (purpose, step, copy), made before the attack runs."""

    def __call__(self, asked: Asked) -> Tensor | None:
        value = self.get((asked.purpose, asked.step, asked.copy))
        return None if value is None else torch.as_tensor(value, dtype=torch.float64)


class Sequence:
    """Small draws, taken one after the other."""

    def __init__(self, draws: list[list[Any]]) -> None:
        self.draws = iter(draws)

    def take(self, function: str) -> Any:
        """The value of the next draw, which must be of this function."""
        name, *values = next(self.draws)
        assert name == function, (name, function)
        return values[0] if len(values) == 1 else values


def place(value: int, first: int, many: int) -> float:
    """The draw in [0, 1) that picks `value` of the `many` whole numbers from `first` on."""
    assert first <= value < first + many
    return (value - first + 0.5) / many


def resizing(taken: Sequence, made: Drawn, name: str, step: int, copy: int, canvas: int) -> None:
    """Size and offsets on a canvas."""
    side = recording().x.shape[3]
    (size,), (top,), (left,) = (taken.take("torch.randint") for _ in range(3))
    made[f"{name} size", step, copy] = place(size, side, canvas - side + 1)
    made[f"{name} top", step, copy] = place(top, 0, canvas - size + 1)
    made[f"{name} left", step, copy] = place(left, 0, canvas - size + 1)


def draws_of_di(entry: Entry, rows: slice) -> Drawn:
    taken, made = Sequence(entry.small_draws(rows)), Drawn()
    canvas = int(float(entry.number("resize_rate", 1.1)) * recording().x.shape[3])
    for step in range(entry.steps):
        (made["di apply", step, 0],) = taken.take("torch.rand")
        if made["di apply", step, 0] > float(entry.number("diversity_prob", 0.5)):
            made.update({(f"di {name}", step, 0): 0.0 for name in ("size", "top", "left")})  # of no matter
        else:
            resizing(taken, made, "di", step, 0, canvas)
    return made


def draws_of_dem(entry: Entry, rows: slice) -> Drawn:
    taken, made = Sequence(entry.small_draws(rows)), Drawn()
    for step in range(entry.steps):
        for copy, canvas in enumerate(canvases(entry)):
            resizing(taken, made, "dem", step, copy, canvas)
    return made


def draws_of_sia(entry: Entry, rows: slice) -> Drawn:
    """Cuts of columns, then of rows, then block by block in rows: the operation, and what it draws itself."""
    taken, made, bank = Sequence(entry.small_draws(rows)), Drawn(), recording().bank()
    n, c, h, w = recording().x.shape
    b = int(entry.arguments["num_block"])
    for step in range(entry.steps):
        for copy in range(int(entry.arguments["num_scale"])):
            edges = {}
            for name, side in (("columns", w), ("rows", h)):
                cuts = sorted(taken.take("numpy.random.choice"))
                edges[name] = list(pairwise([0, *cuts, side]))
                made[f"sia {name}", step, copy] = [float(at + 1 not in cuts) for at in range(side - 1)]
            operation, amount = torch.zeros(b, b), torch.zeros(b, b)
            noise = torch.full((n, c, h, w), 0.5)
            for i, (top, bottom) in enumerate(edges["rows"]):
                for j, (left, right) in enumerate(edges["columns"]):
                    operation[i, j] = taken.take("numpy.random.randint")
                    name = SIA_OPERATIONS[int(operation[i, j])]
                    if name.endswith("shift"):
                        size = bottom - top if name == "vertical-shift" else right - left
                        amount[i, j] = place(taken.take("numpy.random.randint"), 0, size)
                    elif name == "scale":
                        (amount[i, j],) = taken.take("torch.rand")
                    elif name == "noise":
                        number, shape = taken.take("uniform bank")
                        assert shape == [n, c, bottom - top, right - left]
                        noise[:, :, top:bottom, left:right] = bank.at("uniform", number, shape)
            made |= {("sia operation", step, copy): operation, ("sia amount", step, copy): amount}
            made["sia noise", step, copy] = noise[rows]
    return made


def lengths(drawn: list[float], side: int) -> list[int]:
    """Shares of a side rounded to whole pixels, the largest of them with what is left over."""
    sizes = [round(side * value / sum(drawn)) for value in drawn]
    sizes[sizes.index(max(sizes))] += side - sum(sizes)
    return sizes


def draws_of_bsr(entry: Entry, rows: slice) -> Drawn:
    """Which side is cut first, the strips and their order, then of each in this order its angle, pieces and order.

    Sizes are handed over as such: what carom makes of draws in proportion to them are they themselves.
    """
    taken, made, bank = Sequence(entry.small_draws(rows)), Drawn(), recording().bank()
    side = recording().x.shape[3]
    b = int(entry.arguments["num_block"])
    for step in range(entry.steps):
        for copy in range(int(entry.arguments["num_scale"])):
            first, _ = taken.take("random.shuffle (places)")
            made["bsr axis", step, copy] = float(-first)
            strips = lengths(taken.take("numpy.random.uniform"), side)
            order = taken.take("random.shuffle (places)")
            made["bsr strips", step, copy] = [size - 1 for size in strips]
            made["bsr strip order", step, copy] = [order.index(strip) for strip in range(b)]
            angles, pieces, orders = torch.zeros(b), torch.zeros(b, b), torch.zeros(b, b)
            for strip in order:
                number, shape = taken.take("uniform bank")
                angles[strip] = 1 - bank.at("uniform", number, shape)  # the other way round
                pieces[strip] = torch.tensor(lengths(taken.take("numpy.random.uniform"), side)) - 1
                places = taken.take("random.shuffle (places)")
                orders[strip] = torch.tensor([places.index(piece) for piece in range(b)])
            made |= {("bsr angle", step, copy): angles, ("bsr pieces", step, copy): pieces}
            made["bsr piece order", step, copy] = orders
    return made


def draws_of_square(entry: Entry, rows: slice) -> Callable[[Asked], Tensor | None]:
    """Signs of the stripes; then for each query the first row, the first column, and a sign for each channel."""
    taken, made = Sequence(entry.small_draws(rows)), Drawn()
    number, shape = taken.take("uniform bank")
    made["square stripes", 0, 0] = -(recording().bank().at("uniform", number, shape) > 0.5).double()
    for query in range(1, 1 + int(entry.arguments["n_queries"])):
        for name in ("top", "left"):
            (made[f"square {name}", query, 0],) = taken.take("torch.rand")
        made["square signs", query, 0] = -(torch.tensor(taken.take("torch.rand")) < 0.5).double()

    def answer(asked: Asked) -> Tensor | None:
        given = made(asked)  # there a place of the last one is never drawn
        return given if given is None or asked.kind != "integers" else (given * (asked.high - 1)).floor()

    return answer


def draws_of_svre(entry: Entry, rows: slice) -> Drawn:
    members = entry.array("members")
    return Drawn({("svre member", step, at): one for step, row in enumerate(members) for at, one in enumerate(row)})


Drawing = Callable[[slice], Callable[[Asked], Tensor | None]]

DRAWS: Mapping[str, Callable[[Entry, slice], Callable[[Asked], Tensor | None]]] = {
    "DIM": draws_of_di,
    "DEM": draws_of_dem,
    "SIA": draws_of_sia,
    "BSR": draws_of_bsr,
    "SVRE": draws_of_svre,
    "SquareAttack.attack_single_run": draws_of_square,
}


def answer(entry: Entry) -> Drawing:
    """What answers the draws of each call: small draws where the class made them, else the bank's noise."""
    return lambda rows: DRAWS[entry.cls](entry, rows) if entry.cls in DRAWS else recording().bank()


def foolbox_cw(entry: Entry) -> Attack:
    own = {"searches": "binary_search_steps", "steps": "steps"}
    numbers = {"rate": "stepsize", "constant": "initial_const", "confidence": "confidence"}
    table: dict[str, Any] = {ours: int(entry.arguments[theirs]) for ours, theirs in own.items()}
    return parse_attack({"name": "cw"} | table | {k: float(entry.number(v)) for k, v in numbers.items()})


def foolbox_deepfool(entry: Entry) -> Attack:
    counts = {name: int(entry.arguments[name]) for name in ("steps", "candidates")}
    return parse_attack({"name": "deepfool", "overshoot": float(entry.number("overshoot")), **counts})


SMALLEST: Mapping[str, tuple[Callable[[Entry], Attack], Norm]] = {
    "L2CarliniWagnerAttack": (foolbox_cw, "l2"),
    "L2DeepFoolAttack": (foolbox_deepfool, "l2"),
    "LinfDeepFoolAttack": (foolbox_deepfool, "linf"),
}

ELSEWHERE = ("VNIFGSM", "Admix", "BSR")


@pytest.mark.parametrize("name", names(*ATTACKS))
def test_the_attack_makes_what_was_recorded(name: str) -> None:
    entry = recording().entry(name)
    made = recording().run(entry, ATTACKS[entry.cls](entry), answer=answer(entry))
    if "Ties" in entry.note:  # smoothed steps leave flat areas, where rounding chooses the largest of a max-pool
        shares = differ(made, entry, 1e-9)
        assert all(share == 0 for stage, share in shares.items() if stage != "adv"), shares
        assert shares["adv"] <= 1e-3, shares
    else:
        assert_equal(made, entry)


@pytest.mark.parametrize("name", names(*SMALLEST))
def test_the_smallest_change_is_what_was_recorded(name: str) -> None:
    """Where something was found: foolbox returns a black image elsewhere. The comparisons of floats allow no more."""
    entry = recording().entry(name)
    attack, norm = SMALLEST[entry.cls]
    made = recording().run(entry, attack(entry), Budget.parse(norm, "1" if norm == "linf" else "100"))["adv"]
    found = entry.array("adv").flatten(1).any(1)
    assert bool(found.any())
    assert float((made - entry.array("adv"))[found].abs().max()) <= 1e-8


IN_OTHER_FILES = {"BFA", "FIA", "GhostBottleneck under MIFGSM", "ILA", "LinBP", "NAA", "SGM"}
NOT_IN_CAROM = {
    "AIFGTM", "ANDA", "APGDAttack.attack_single_run", "APGDAttack_targeted.attack_single_run", "ATT", "AdaEA", "BPA",
    "CFM", "DDNAttack", "DHF_MIFGSM", "DTA", "DeCowA", "EADAttack", "EverywhereAttack",
    "FABAttack_PT.attack_single_run", "GIFGSM", "GNP", "ILPD", "L2T", "MEF", "MUMODIG", "MUP", "MaskBlock", "OPS",
    "P2FA", "PIFGSM", "PNA_PatchOut", "RAP", "SMER", "SU", "TGR", "USMM",
}  # fmt: skip


def test_every_recorded_class_is_held_to_its_record_or_not_in_carom() -> None:
    recorded = {said["cls"] for said in recording().index.values()}
    assert recorded == {*ATTACKS, *SMALLEST, *ELSEWHERE} | IN_OTHER_FILES | NOT_IN_CAROM


# settings without which the images are others


def needed(entry: Entry) -> Attack:
    """The attack with the settings that its record needs."""
    return shuffled_blocks(entry) if entry.cls == "BSR" else ATTACKS[entry.cls](entry)


def own(entry: Entry, name: str) -> tuple[Attack, Drawing | None]:
    """The attack as it comes, where its record needs a setting; and its draws, None for carom's own."""
    attack: Any = needed(entry)
    part: Any = attack.transformations[0] if name == "transformations" else getattr(attack, name, None)
    plain: dict[str, Callable[[], tuple[Attack, Drawing | None]]] = {
        "LOGIT": lambda: (replace(attack, momentum=Momentum(decay=entry.decay)), answer(entry)),
        "SVRE": lambda: (replace(attack, members=replace(part, smooth_answer=True)), answer(entry)),
        "CWA": lambda: (replace(attack, members=replace(part, summed=True)), answer(entry)),
        "DIM": lambda: (replace(attack, transformations=(DI(),)), None),
        "SIA": lambda: (replace(attack, transformations=(replace(part, operations=OPERATIONS),)), None),
        "BSR": lambda: (replace(attack, transformations=(replace(part, rotated="blocks"),)), None),
        "SquareAttack.attack_single_run": lambda: (replace(attack, schedule=None), answer(entry)),
    }
    return plain[entry.cls]()


SETTINGS = {
    "LOGIT": "momentum", "SVRE": "members", "CWA": "members", "DIM": "transformations", "SIA": "transformations",
    "BSR": "transformations", "SquareAttack.attack_single_run": "schedule",
}  # fmt: skip


@pytest.mark.parametrize("name", names(*SETTINGS))
def test_as_it_comes_the_attack_makes_other_images(name: str) -> None:
    entry = recording().entry(name)
    attack, drawing = own(entry, SETTINGS[entry.cls])
    if attack == needed(entry) or (entry.cls == "SVRE" and entry.kernel is None):  # nothing is smoothed then
        return  # this run needs no setting
    shown = "adv"
    if len(entry.networks) > 1 and isinstance(attack, Iterative):  # a walk over members takes its time
        attack, shown = replace(attack, steps=2), "adv_2"
    made = recording().run(entry, attack, answer=drawing or (lambda rows: lambda asked: None))
    assert differ(made, entry, 1e-9)[shown] > 1e-3


# what carom does otherwise on purpose: how much it matters, and that nothing else is different


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoMomenta(VNI):
    """VNI as TransferAttack has it: the gradient is read ahead by the old momentum, its neighbours by the new one."""

    def __call__(self, look: Look, memory: Memory) -> Tensor:
        gradient = look.read(look.x_adv if look.ahead is None else look.x_adv + look.ahead)
        tuned = gradient + memory.get("variance", torch.zeros_like(gradient))
        new = Momentum(decay=look.decay).accumulate(look.momentum, tuned)
        ahead = look.x_adv + new * (look.size * look.unit * look.decay)
        memory["variance"] = variance(look, ahead, gradient, self.neighbours, self.radius)
        return tuned


@pytest.mark.parametrize("name", names("VNIFGSM"))
def test_vni_looks_ahead_by_one_momentum(name: str) -> None:
    entry = recording().entry(name)
    attack = near("vni", 1.5)(entry)
    assert isinstance(attack.rule, VNI)
    assert differ(recording().run(entry, attack), entry, 1e-9)["adv"] > 1e-3
    two = TwoMomenta(neighbours=attack.rule.neighbours, radius=attack.rule.radius)
    assert_equal(recording().run(entry, replace(attack, rule=two)), entry)


@dataclass(frozen=True, kw_only=True, slots=True)
class OfTheBatch(Admix):
    """Admix as TransferAttack has it: partners are the adversarial images of the batch, as constants."""

    orders: tuple[tuple[int, ...], ...] = ()

    def image(self, x: Tensor, view: View) -> Tensor:
        partner, scale = divmod(view.index, self.scales)
        order = list(self.orders[view.step * self.partners + partner])
        return (x + self.strength * x.detach()[order]) * 2.0**-scale


@pytest.mark.parametrize("name", names("Admix"))
def test_admix_takes_partners_from_a_clean_pool(name: str) -> None:
    """At the first step the batch is clean, and it is the same attack."""
    entry = recording().entry(name)
    scales, partners = int(entry.arguments["num_scale"]), int(entry.arguments["num_admix"])
    strength = float(entry.number("admix_strength", 0.2))
    attack = loop("mi+admix", entry, admix={"scales": scales, "partners": partners, "strength": strength})
    n = len(recording().x)
    orders = tuple(tuple(order) for _, order in entry.small_draws(slice(0, n)))
    drawn = Drawn()
    for at, order in enumerate(orders):
        drawn["admix partner", at // partners, at % partners] = [place(one, 0, n) for one in order]
    pool = Partners(recording().x, torch.arange(n) + 1000)  # all of them of other classes
    made = recording().run(entry, attack, answer=lambda rows: drawn, partners=pool)
    shares = differ(made, entry, 1e-9)
    assert shares["adv_1"] == 0
    assert shares["adv"] > 1e-3
    batch = OfTheBatch(scales=scales, partners=partners, strength=strength, orders=orders)
    assert_equal(recording().run(entry, replace(attack, transformations=(batch,))), entry)


@dataclass(frozen=True, kw_only=True, slots=True)
class FilledTwice(BSR):
    """BSR with torchvision's rotation: what lies partly outside of the strip is weighed by its share inside twice."""

    def image(self, x: Tensor, view: View) -> Tensor:
        turned, cut = self._moves(x, view)
        return cut.moved(turned.moved(x) * turned.moved(torch.ones_like(x)))


@pytest.mark.parametrize("name", names("BSR"))
def test_bsr_counts_what_lies_outside_of_a_strip_once(name: str) -> None:
    entry = recording().entry(name)
    attack = shuffled_blocks(entry)
    assert differ(recording().run(entry, attack, answer=answer(entry)), entry, 1e-9)["adv"] > 1e-3
    (bsr,) = attack.transformations
    assert isinstance(bsr, BSR)
    twice = FilledTwice(copies=bsr.copies, blocks=bsr.blocks, angle=bsr.angle, rotated=bsr.rotated)
    assert_equal(recording().run(entry, replace(attack, transformations=(twice,)), answer=answer(entry)), entry)
