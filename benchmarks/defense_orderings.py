"""What the literature expects of defences, and what came: fills docs/science/defenses.md.

    carom run fashion-defenses-tuning fashion-defenses fashion-defenses-ablations
    python benchmarks/defense_orderings.py [--store .carom]

Reads the store alone. A row is a difference of two rates on the same images with its 95% interval; it holds if all of
the interval lies where it is expected, does not if none of it does, and is undecided otherwise. "Alone" is added where
Holm's correction for all tests of the page takes that back. What a run has not measured (yet) says "not run".
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import marked
import numpy as np
import pandas as pd
import sqlalchemy as sa
from family import Comparison, Row, compared, corrected, equivalence_p, p_value
from surrogate_orderings import markdown

from carom.errors import InputError
from carom.scenarios.statistics import (
    ATTACKERS,
    NOT_RUN,
    Difference,
    Outcomes,
    defended,
    defended_by_attacker,
    difference_of_rates,
    transfer_below_white_box,
    white_box_accuracy,
)
from carom.scenarios.statistics.attackers import attackers, own_cells, transfer_cells
from carom.scenarios.statistics.outcomes import Ints
from carom.scenarios.statistics.pairs import PAIR_MARK
from carom.scenarios.statistics.seeds import Counts, Trained
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import list_victims
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import Run, find_run
from carom.scenarios.store.schema import cells, planned_cells, run_cells, run_models
from carom.scenarios.tables.defenses import defense_tables

PAGE = Path(__file__).parents[1] / "docs" / "science" / "defenses.md"
RUN, ABLATIONS, TUNING = "fashion-defenses", "fashion-defenses-ablations", "fashion-defenses-tuning"
TABLES = (
    "defenses",
    "defenses-intervals",
    "defenses-by-victim",
    "defenses-by-attacker",
    "white-box-attacks",
    "label-leaking",
    "public-sources",
    "masking",
    "game",
)
MEASURES: Mapping[str, str] = {
    "clean": "clean",
    "average": "average over pairs",
    "best": "best pair",
    "white box": "white box",
    "pgd-20": "PGD-20 on itself",
    "weak": "BIM from the single surrogate",
    "corrected": "clean errors that the best pair puts right",
    "corrected average": "clean errors that pairs put right",
}


class MissingError(Exception):
    """A run, or a victim of it, is not there."""


class Rate(NamedTuple):
    """One of `MEASURES` of a defence, or only against some of `ATTACKERS`."""

    defense: str
    measure: str
    attackers: str = ""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """That one rate is above another, or near it.

    Attributes:
        name: Of the claim.
        run: Where it is measured.
        first: One rate.
        second: The other.
        above: By how many points, at least; below 0, the first may be lower by so much.
        within: Where given, that the two differ by no more than so many points, either way.
        than: Where given, a defence whose own difference of the same two rates is taken off: one that learned from
            nobody falls from one group of attackers to another as well, where the groups differ in strength.
    """

    name: str
    run: str
    first: Rate
    second: Rate
    above: float = 0.0
    within: float | None = None
    than: str = ""

    def __str__(self) -> str:
        a, b = self.first, self.second
        margin = "" if not self.above else f" {'+' if self.above > 0 else '-'} {abs(self.above):g}"
        sides = [self._side(rate, other) for rate, other in ((a, b), (b, a))]
        shared = MEASURES[a.measure] if a.measure == b.measure else a.defense
        if a.measure == b.measure and a.defense == b.defense:
            shared = f"{a.defense}, {shared}"
        if self.than:
            return f"{shared}: {sides[0]} - {sides[1]} > the same of {self.than}"
        if self.within is not None:
            return f"{shared}: {sides[0]} within ±{self.within:g} of {sides[1]}"
        return f"{shared}: {sides[0]} > {sides[1]}{margin}"

    @staticmethod
    def _side(rate: Rate, other: Rate) -> str:
        """What the two do not share."""
        if rate.defense != other.defense:
            return rate.defense
        return rate.attackers or MEASURES[rate.measure] if rate.measure == other.measure else MEASURES[rate.measure]

    def verdict(self, found: Difference) -> str:
        """Holds, does not hold, or undecided."""
        low, high = 100 * found.low, 100 * found.high
        if self.within is None:
            return "holds" if low > self.above else "does not hold" if high < self.above else "undecided"
        outside = low > self.within or high < -self.within
        inside = low > -self.within and high < self.within
        return "holds" if inside else "does not hold" if outside else "undecided"


def _expected() -> Iterator[Expected]:
    def two(
        name: str, measure: str, first: str, second: str, *, run: str = RUN, above: float = 0.0,
        within: float | None = None,
    ) -> Expected:  # fmt: skip
        sides = (Rate(first, measure), Rate(second, measure))
        return Expected(name=name, run=run, first=sides[0], second=sides[1], above=above, within=within)

    yield two("PubDef keeps clean accuracy", "clean", "pubdef", "none", above=-3)
    yield two("PubDef keeps clean accuracy", "clean", "pubdef", "pgd-at")
    yield two("PubDef against transfer", "best", "pubdef", "pgd-at")
    yield two("PubDef against transfer", "best", "pubdef", "none")
    yield two("PubDef against transfer", "best", "pgd-at", "none")
    for measure, part in (("average", "held out"), ("average", "unseen group"), ("best", "unseen group")):
        sides = (Rate("pubdef", measure, "seen"), Rate("pubdef", measure, part))
        yield Expected(name="PubDef falls with whom it knows", run=RUN, first=sides[0], second=sides[1], than="none")
    sides = (Rate("pubdef", "best"), Rate("pubdef", "white box"))
    yield Expected(name="Negative control", run=RUN, first=sides[0], second=sides[1], above=20)
    yield two("Negative control", "white box", "pgd-at", "pubdef")
    for name in ("pgd-at", "trades"):
        yield two("A1, adversarial training", "white box", name, "none")
    yield two("A1, adversarial training", "white box", "trades", "pgd-at", above=-2)
    yield two("A1, adversarial training", "clean", "none", "pgd-at")
    for run, wrappers in ((RUN, ("jpeg", "bit-depth")), (ABLATIONS, ("noise", "blur", "resize-pad"))):
        for name in wrappers:
            yield two(f"H1, {name}", "weak", name, "none", run=run)
            yield two(f"H1, {name}", "pgd-20", name, "none", run=run, within=5)
            yield two(f"H1, {name}", "clean", name, "none", run=run, above=-3)
    for measure in ("corrected", "corrected average"):
        yield two("PubDef reads labels", measure, "pubdef", "pgd-at")
    sides = (Rate("pubdef", "clean"), Rate("pubdef", "best"))
    yield Expected(name="PubDef is not better attacked", run=RUN, first=sides[0], second=sides[1])
    for measure in ("clean", "best", "white box"):
        yield two("ProARD grows with MACs", measure, "proard, largest", "proard, smallest")

    for fewer in ("pubdef, normal", "pubdef, linf"):
        yield two("1 < 2 groups", "best", "pubdef, normal and linf", fewer, run=ABLATIONS)
    yield two("2 < 3 groups", "best", "pubdef", "pubdef, normal and linf", run=ABLATIONS)
    for loss in ("all", "top-k", "dynamic-loss", "dynamic-accuracy"):
        yield two("Losses of PubDef, random against", "best", f"pubdef, {loss}", "pubdef", run=ABLATIONS, within=3)
    predicted = "pubdef, predicted labels"
    yield two("Predicted labels tell less", "corrected", "pubdef", predicted, run=ABLATIONS)
    yield two("Predicted labels tell less", "corrected average", "pubdef", predicted, run=ABLATIONS)
    yield two("Predicted labels protect as well", "best", predicted, "pubdef", run=ABLATIONS, above=-2)
    small = "proard, smallest"
    for measure in ("clean", "best", "pgd-20"):
        yield two("R2, progressive", measure, small, "proard at once, smallest", run=ABLATIONS)
    for measure in ("clean", "best", "pgd-20"):
        yield two("R3, student and twin", measure, small, "twin, smallest", run=ABLATIONS, above=-2)
    for measure in ("clean", "pgd-20"):
        yield two("R3, student and slice", measure, small, "slice, smallest", run=ABLATIONS)
    for measure in ("clean", "pgd-20"):
        yield two("AccelAT against one cycle", measure, "accelat", "pgd-at", run=ABLATIONS)
    for name in ("mart", "awp"):
        yield two("MART, AWP", "pgd-20", name, "pgd-at", run=ABLATIONS, above=-2)
    yield two("A1, best epoch against last", "pgd-20", "pgd-at", "pgd-at, last", run=ABLATIONS)
    for name in ("n-fgsm", "pgd-at, last"):
        yield two("A2, collapse", "pgd-20", name, "fast-at, zero start", run=ABLATIONS)
    for measure in ("clean", "pgd-20"):
        yield two("D1, distillation by RSLAD", measure, "twin, smallest", "pgd-at, smallest", run=ABLATIONS)


EXPECTED: Sequence[Expected] = tuple(_expected())


class Count(NamedTuple):
    """Of one victim: what each image adds above and below a rate."""

    k: Ints
    n: Ints


class Found:
    """Rates of a run's victims, image by image.

    Args:
        outcomes: Of test victims and images.
        validation: The same victims on validation images, where each one's best pair is chosen.
        missing: Victims (labels) of which outcomes are missing still.
    """

    def __init__(self, outcomes: Outcomes, validation: Outcomes | None, missing: frozenset[str] = frozenset()) -> None:
        self.outcomes, self.validation = outcomes, validation
        self._transfer, self._own = transfer_cells(outcomes), own_cells(outcomes)
        self._parts = attackers(outcomes)
        self.by_victim = defended(outcomes, validation, by="victim")
        self.by_victim = self.by_victim[~self.by_victim["victim"].isin(missing)]
        apart = defended_by_attacker(outcomes, validation, by="victim")
        self._tables = {part: apart[apart["attackers"] == part].set_index("victim") for part in ATTACKERS}
        self._tables[""] = self.by_victim.set_index("victim")
        self._victims: dict[str, dict[int, str]] = {}
        seeds = dict(zip(outcomes.cells["victim"], outcomes.cells["victim_seed"], strict=True))
        for defense, victim in zip(self.by_victim["defense"], self.by_victim["victim"], strict=True):
            of = self._victims.setdefault(str(defense), {})
            if of.setdefault(int(seeds[victim]), str(victim)) != victim:
                raise InputError(
                    f"{defense}: {of[int(seeds[victim])]!r} and {victim!r} are both called so; one name, one row"
                )

    def counts(self, rate: Rate) -> dict[int, Count]:
        """By seed.

        Raises:
            MissingError: No such victim, or none that met such sets.
        """
        if rate.defense not in self._victims:
            raise MissingError(rate.defense)
        return {seed: self._count(victim, rate) for seed, victim in self._victims[rate.defense].items()}

    def _count(self, victim: str, rate: Rate) -> Count:
        cells = self.outcomes.cells
        mine = (cells["victim"] == victim).to_numpy()
        clean = self.outcomes.right[self.outcomes.victim_index[np.flatnonzero(mine)[0]]]
        if rate.measure == "clean":
            return Count(clean.astype(np.int64), np.ones(len(clean), dtype=np.int64))
        chosen = mine & (self._own if rate.measure in ("white box", "pgd-20") else self._transfer)
        if rate.attackers:
            chosen &= self._parts == rate.attackers
        table = self._tables[rate.attackers]
        if victim not in table.index:
            raise MissingError(f"{rate.defense} against {rate.attackers}")
        match rate.measure:
            case "white box":
                chosen &= (cells["attack"] == str(table.loc[victim, "white_box_attack"])).to_numpy()
            case "pgd-20":
                chosen &= cells["attack"].str.startswith("pgd-20").to_numpy()
            case "weak":
                single = (self._parts == "strangers") & ~cells["surrogate_config"].str.contains(":").to_numpy()
                chosen &= single & cells["attack"].str.startswith("bim").to_numpy()
            case "best" | "corrected":
                pairs = cells["surrogate"].astype(str) + f" {PAIR_MARK} " + cells["attack"].astype(str)
                chosen &= (pairs == str(table.loc[victim, "best_pair"])).to_numpy()
            case _:
                pass
        right = ~self.outcomes.wrong[chosen]
        if not len(right):
            raise MissingError(victim)
        if rate.measure.startswith("corrected"):
            return Count((right & ~clean).sum(0), len(right) * (~clean).astype(np.int64))
        return Count(right.sum(0), np.full(len(clean), len(right), dtype=np.int64))

    def difference(self, first: Rate, second: Rate, than: str = "") -> Difference:
        """First minus second, on the same images, over the seeds that both have; less that of the defence `than`.

        Rates over seeds are pooled, and the interval is that of `difference_of_rates`. Attackers are taken as they are.

        Raises:
            MissingError: One of them is not there, or they share no seed.
        """
        sides = [first, second, *(rate._replace(defense=than) for rate in (first, second) if than)]
        of = [self.counts(rate) for rate in sides]
        seeds = sorted(set.intersection(*(set(side) for side in of)))
        if not seeds:
            raise MissingError(f"{first.defense} and {second.defense}")
        side = np.repeat(np.arange(len(sides)), len(seeds))
        fixed = np.zeros_like(side)
        return difference_of_rates(
            Counts(
                k=np.stack([counts[seed].k for counts in of for seed in seeds]),
                n=np.stack([counts[seed].n for counts in of for seed in seeds]),
                row=np.arange(len(side)),
            ),
            Trained(
                stratum=side,
                surrogate=fixed,
                surrogate_seed=fixed,
                victim=side,
                victim_seed=np.tile(np.array(seeds, dtype=np.int64), len(sides)),
            ),
            side,
            np.array([1.0, -1.0, -1.0, 1.0])[: len(sides)],
            self.outcomes.image_source,
        )


# ---------------------------------------------------------------------------------------------------------------- rows


def row(expected: Expected, found: Mapping[str, Found]) -> Row:
    """What came of an expectation."""
    if expected.run not in found:
        return Row(expected.name, str(expected), NOT_RUN, "–")
    try:
        came = found[expected.run].difference(expected.first, expected.second, expected.than)
    except MissingError as missing:
        return Row(expected.name, str(expected), f"{NOT_RUN}: {missing}", "–")
    told = (
        f"{_percent(came.first)} against {_percent(came.second)}: {100 * came.value:+.1f} "
        f"({100 * came.low:+.1f} to {100 * came.high:+.1f}); {_seeds(came.victim_seeds)}"
    )
    points = [100 * value for value in (came.value, came.low, came.high)]
    p = (
        p_value(*points, df=came.df, at=expected.above)
        if expected.within is None
        else equivalence_p(*points, df=came.df, within=expected.within)
    )
    return compared(expected.name, str(expected), told, [Comparison("", expected.verdict(came), p)])


def _percent(rate: float) -> str:
    """A rate that is a difference may be a rounding below 0, and is not shown as that."""
    return f"{round(100 * rate, 1) + 0.0:.1f}%"


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def invariants(run: str, found: Mapping[str, Found]) -> Iterator[Row]:
    """X1 and X1b: what has to be so of every victim."""
    first = "every victim: average >= best pair >= right under all pairs"
    second = "every victim: white box <= accuracy under each pair"
    names = f"X1, {run}", f"X1b, {run}"
    if run not in found or found[run].by_victim[["best", "white_box"]].isna().all(axis=None):
        yield from (Row(name, said, NOT_RUN, "–") for name, said in zip(names, (first, second), strict=True))
        return

    table = found[run].by_victim.dropna(subset=["best"])
    kept = (table["average"] >= table["best"]) & (table["best"] >= table["worst"])
    rates = zip(*(table.loc[~kept, c] for c in ("defense", "average", "best", "worst")), strict=True)
    named = [f"{defense} ({a:.1%}, {b:.1%}, {c:.1%})" for defense, a, b, c in rates]
    broken = f"; not {', '.join(named)}" if named else ""
    yield Row(names[0], first, f"{kept.sum()} of {len(table)}{broken}", "holds" if kept.all() else "does not hold")

    table = found[run].by_victim.dropna(subset=["average", "white_box"])
    below = transfer_below_white_box(found[run].outcomes, found[run].validation)
    below = below[below["victim"].isin(table["victim"])] if len(below) else below
    columns = (below.get(c, ()) for c in ("defense", "difference", "low", "high"))
    told = [
        f"{defense} {100 * value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
        for defense, value, low, high in zip(*columns, strict=True)
    ]
    came = f"{len(table) - len(below)} of {len(table)}" + (f"; not {', '.join(told)}" if told else "")
    surely = len(below) and below["alarm"].any()
    yield Row(names[1], second, came, "does not hold" if surely else "undecided" if len(below) else "holds")


def break_even(known: pd.DataFrame) -> Row:
    """From how many students on the elastic network costs less than students distilled one by one."""
    name, said = "ProARD pays", "passes of the supernet < of N students distilled one by one, from a moderate N on"
    costs = {}
    if len(known):
        passes = known["forward"].astype(float) + known["backward"].astype(float)
        costs = passes.groupby(known["defense"]).mean().dropna().to_dict()
    needed = ("proard, smallest", "twin, smallest", "slice, smallest")
    missing = [n for n in needed if n not in costs]
    if missing:
        return Row(name, said, f"{NOT_RUN}: {', '.join(missing)}", "–")
    elastic, student = (costs[n] - costs["slice, smallest"] for n in needed[:2])
    came = (
        f"beyond the teacher's (taken from its slice): {elastic / 1e6:.2f} million image passes against "
        f"{student / 1e6:.2f} million a student: cheaper from N = {int(elastic // student) + 1} on, equal at "
        f"{elastic / student:.2f}"
    )
    return Row(name, said, came, "reported")


def rows(found: Mapping[str, Found], known: pd.DataFrame) -> Iterator[Row]:
    """All of the table.

    Args:
        found: By the scenario's name; runs that are not there are left out.
        known: Costs of the victims of the ablations, as `list_victims` has them.
    """
    for run in (RUN, ABLATIONS):
        yield from (row(expected, found) for expected in EXPECTED if expected.run == run)
        yield from invariants(run, found)
    yield break_even(known)


# --------------------------------------------------------------------------------------------------------------- store


def unfinished(store: Store, run: str) -> frozenset[str]:
    """Labels of the victims that have planned cells without an outcome."""
    query = (
        sa.select(run_models.c.label)
        .select_from(
            planned_cells.join(
                run_models, (run_models.c.run == run_cells.c.run) & (run_models.c.artifact == run_cells.c.victim)
            )
        )
        .where(run_cells.c.run == run, run_models.c.role == "victim", cells.c.n.is_(None))
        .distinct()
    )
    with store.reading() as connection:
        return frozenset(connection.execute(query).scalars())


def latest(store: Store, name: str) -> Run | None:
    """The latest run of a scenario; None where there is none."""
    try:
        run = find_run(store, name)
    except InputError:
        return None
    return run if run.scenario == name else None


def found_in(store: Store, run: Run) -> Found | None:
    """What the run has; None where it has nothing yet."""
    try:
        outcomes = read_outcomes(store, run.id)
    except InputError:
        return None
    try:
        validation = read_outcomes(store, run.id, split="validation", role="victim")
    except InputError:
        validation = None
    return Found(outcomes, validation, unfinished(store, run.id))


def standing(runs: Mapping[str, Run | None], found: Mapping[str, Found]) -> Iterator[str]:
    """How much of each run is there."""
    for name, run in runs.items():
        if run is None or name not in found:
            yield f"- `{name}`: {NOT_RUN}"
            continue
        outcomes = found[name].outcomes
        seeds = sorted({int(seed) for seed in outcomes.cells.loc[~outcomes.cells["control"], "victim_seed"]})
        part = "" if run.done == run.cells else f"; {run.done:,} of {run.cells:,} cells are done"
        yield f"- `{name}`: n = {len(outcomes.labels):,} test images; victim seeds {', '.join(map(str, seeds))}{part}"


def tuned(store: Store, run: Run | None) -> Iterator[str]:
    """The tuning run: accuracy of validation victims on validation images."""
    try:
        outcomes = None if run is None else read_outcomes(store, run.id, split="validation", role="validation victim")
    except InputError:
        outcomes = None
    if run is None or outcomes is None:
        yield NOT_RUN
        return

    table, clean = white_box_accuracy(outcomes), defended(outcomes).set_index(["defense", "eps"])["clean"]
    yield "| defence | eps of the attack | clean | under PGD-20 | 95% |"
    yield "|---|---|---|---|---|"
    for defense, eps, rate, low, high in zip(
        *(table[c] for c in ("defense", "eps", "white_box", "white_box_low", "white_box_high")), strict=True
    ):
        limits = f"{100 * low:.1f}–{100 * high:.1f}%"
        yield f"| {defense} | {eps} | {clean[defense, eps]:.1%} | {rate:.1%} | {limits} |"
    yield ""
    part = "" if run.done == run.cells else f" {run.done} of {run.cells} cells are done."
    yield f"n = {len(outcomes.labels):,} validation images, over which the intervals range.{part}"


def expectations(found: Mapping[str, Found], known: pd.DataFrame) -> Iterator[str]:
    """The table of what was expected and what came."""
    yield "| | expected | came | |"
    yield "|---|---|---|---|"
    yield from map(str, corrected(rows(found, known)))


def generated(store: Store) -> dict[str, str]:
    """Each generated part of the page."""
    runs = {name: latest(store, name) for name in (RUN, ABLATIONS)}
    read = {name: found_in(store, run) for name, run in runs.items() if run is not None}
    found = {name: one for name, one in read.items() if one is not None}
    shown = {
        name: {table.name: table for table in defense_tables(store, runs[name].id, found[name].outcomes)}  # type: ignore[union-attr]
        for name in found
    }
    ablated = runs[ABLATIONS]
    known = list_victims(store, ablated.id) if ablated is not None else pd.DataFrame()
    parts = {
        "runs": standing(runs, found),
        "predictions": expectations(found, known),
        "tuning": tuned(store, latest(store, TUNING)),
    }
    for name in TABLES:
        table = shown.get(RUN, {}).get(name)
        none = "One victim a defence: as in the table of defences." if RUN in shown else NOT_RUN
        parts[name] = markdown(table) if table is not None else iter([none])
    for name in ("defenses", "label-leaking"):
        table = shown.get(ABLATIONS, {}).get(name)
        parts[f"ablations-{name}"] = markdown(table) if table is not None else iter([NOT_RUN])
    return {name: "\n".join(lines) for name, lines in parts.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Fills the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path(".carom"))
    options = parser.parse_args(arguments)
    with Store(options.store) as store:
        PAGE.write_text(marked.filled(PAGE.read_text(), generated(store), of=PAGE.name))


if __name__ == "__main__":
    main()
