"""The numbers of an audit, from the outcomes of its run; all of them are those of the tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from carom.scenarios.statistics import Outcomes, cell_rates, group_table, wilson
from carom.scenarios.statistics.outcomes import Bools, eps_value

from .scenario import NOISE

ENOUGH = 5  # images of a class that the model gets right, to say anything of the class
SHOWN = 5  # of the most exposed classes


@dataclass(frozen=True, kw_only=True)
class Rate:
    """So many of the images that the model gets right are turned.

    Attributes:
        of: What turns them.
        k: Over all cells.
        n: Over all cells.
        cells: Adversarial sets.
        rate: k / n.
        low: 95% interval.
        high: 95% interval.
    """

    of: str
    k: int
    n: int
    cells: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class AtRadius:
    """What one radius does.

    Attributes:
        eps: Such as "4/255".
        transfer: Mean over all attacks made on public models.
        strongest: The one of them that turns most, known afterwards only.
        any: Images that at least one of them turns.
        noise: Of that size, made on nothing.
        white_box: Made with the model's own weights; None where it has no gradients.
    """

    eps: str
    transfer: Rate
    strongest: Rate
    any: Rate
    noise: Rate
    white_box: Rate | None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The answer in numbers.

    Attributes:
        model: Label.
        surrogates: Labels.
        images: How many were attacked.
        right: How many of them the model gets right.
        radii: From the smallest.
        headline: The radius of the class rates: the middle one.
        classes: The most exposed classes there, of those with enough images.
        eligible: How many classes have enough.
        largest: Most images of one class that the model gets right.
    """

    model: str
    surrogates: tuple[str, ...]
    images: int
    right: int
    radii: tuple[AtRadius, ...]
    headline: str
    classes: tuple[Rate, ...]
    eligible: int
    largest: int
    failed: tuple[str, ...] = field(default=())


def find(outcomes: Outcomes, model: str) -> Findings:
    """What the outcomes say of this victim.

    Args:
        outcomes: Of the audit's run.
        model: Its label.
    """
    mine = outcomes.where((outcomes.cells["victim"] == model).to_numpy(dtype=bool))
    transfer = made_on_public_models(outcomes, model)
    sizes = sorted({str(eps) for eps in transfer.cells["eps"]}, key=eps_value)
    headline = sizes[len(sizes) // 2]
    right = mine.right[mine.victim_index[0]]
    by_class = np.bincount(mine.labels[right], minlength=len(mine.classes))
    exposed = _classes(_at(transfer, headline), by_class)
    return Findings(
        model=model,
        surrogates=tuple(dict.fromkeys(str(s) for s in transfer.cells["surrogate"])),
        images=len(mine.labels),
        right=int(right.sum()),
        radii=tuple(_at_radius(mine, transfer, eps) for eps in sizes),
        headline=headline,
        classes=tuple(exposed[:SHOWN]),
        eligible=int((by_class >= ENOUGH).sum()),
        largest=int(by_class.max(initial=0)),
    )


def made_on_public_models(outcomes: Outcomes, model: str, eps: str | None = None) -> Outcomes:
    """The cells of attacks on this model that were made on surrogates alone, of one radius or of all.

    What asked the model is more than an attacker with public models alone can do.
    """
    mine = outcomes.where((outcomes.cells["victim"] == model).to_numpy(dtype=bool))
    found = mine.where(mine.transfer & (mine.cells["reads"] == "surrogate").to_numpy(dtype=bool))
    return found if eps is None else _at(found, eps)


def _at(outcomes: Outcomes, eps: str) -> Outcomes:
    return outcomes.where((outcomes.cells["eps"] == eps).to_numpy(dtype=bool))


def _at_radius(mine: Outcomes, transfer: Outcomes, eps: str) -> AtRadius:
    here = _at(mine, eps)
    made = _at(transfer, eps)
    control = (here.cells["attack"] == NOISE).to_numpy(dtype=bool) & here.control
    own = (here.cells["case"] == 0).to_numpy(dtype=bool)
    rates = _cells(made)
    return AtRadius(
        eps=eps,
        transfer=_pooled(made, "all"),
        strongest=max(rates, key=lambda rate: rate.rate),
        any=_any(made),
        noise=_cells(here.where(control))[0],
        white_box=max(_cells(here.where(own)), key=lambda rate: rate.rate) if own.any() else None,
    )


def _pooled(outcomes: Outcomes, of: str) -> Rate:
    row = group_table(outcomes, by=("victim",)).iloc[0]
    return Rate(
        of=of,
        k=int(row["k"]),
        n=int(row["n"]),
        cells=int(row["cells"]),
        rate=float(row["asr"]),
        low=float(row["low"]),
        high=float(row["high"]),
    )


def _cells(outcomes: Outcomes) -> list[Rate]:
    table = cell_rates(outcomes)
    return [
        Rate(
            of=f"{attack} on {surrogate}" if surrogate else str(attack),
            k=int(k),
            n=int(n),
            cells=1,
            rate=float(asr),
            low=float(low),
            high=float(high),
        )
        for attack, surrogate, k, n, asr, low, high in zip(
            *(table[c] for c in ("attack", "surrogate", "k", "n", "asr", "low", "high")), strict=True
        )
    ]


def _any(outcomes: Outcomes) -> Rate:
    """Images that some set turns: one share of the images that are right, so its interval is Wilson's."""
    k, n = int(outcomes.success.any(0).sum()), int(outcomes.n[0])
    low, high = wilson(np.array([k]), np.array([n]))
    return Rate(
        of="at least one",
        k=k,
        n=n,
        cells=len(outcomes.cells),
        rate=k / n if n else float("nan"),
        low=float(low[0]),
        high=float(high[0]),
    )


def _classes(outcomes: Outcomes, by_class: Sequence[int] | np.ndarray) -> list[Rate]:
    """Classes with enough images, the most exposed first."""
    enough: Bools = np.asarray(by_class) >= ENOUGH
    found = [
        _pooled(outcomes.on(outcomes.labels == number), outcomes.classes[int(number)])
        for number in np.flatnonzero(enough)
    ]
    return sorted(found, key=lambda rate: -rate.rate)
