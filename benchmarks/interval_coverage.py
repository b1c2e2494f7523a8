"""How often each interval holds the truth, and how often each p-value is small where nothing is there.

    python benchmarks/interval_coverage.py [--most N] [--only WORD] [--folder DIR] [--page docs/statistics.md]

For every interval and p-value that a table prints: a study, which draws outcomes with a known truth over designs with
few and unequal numbers of models, seeds and images, and asks the statistics about them. What was drawn is kept in the
folder, so that an interrupted run goes on; a change of the statistics or of this file draws anew. The table goes
into docs/statistics.md. All of it takes about half an hour of one core; `--most 50` is a first look.

A further study is a function in `STUDIES`: from a generator a sample and a design to columns, one number a sample. A
column whose name starts with "p" or "yes" is a p-value or a verdict; any other is 1 where its interval holds the truth,
else 0. Samples are drawn together where a table takes them as its rows, as a table costs more than its numbers do.
"""

import argparse
import concurrent.futures
import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import marked
import numpy as np
import pandas as pd
from measure import Progress
from numpy.typing import NDArray
from scipy.stats import binom, norm  # type: ignore[attr-defined]

from carom.files import replacing
from carom.scenarios import statistics
from carom.scenarios.axes import TRAINING
from carom.scenarios.cases import case
from carom.scenarios.statistics import Outcomes, contrast, counted_table, marginal_effects, paired_wald, wilson
from carom.scenarios.statistics.intervals import IMAGES

PAGE = Path(__file__).parents[1] / "docs" / "statistics.md"
PART = "coverage"
SEED = 20251103
LOW, HIGH = 0.93, 0.975  # coverage that a nominal 95% may have
EXACT = 1  # samples of a study whose one answer is the coverage itself
SLAB = 50  # samples between two writes

Floats = NDArray[np.float64]
Generator = np.random.Generator
Answers = Mapping[str, float]
Columns = Mapping[str, Any]  # of each sample


# --------------------------------------------------------------------------------------------------------- the world


@dataclass(frozen=True, kw_only=True)
class World:
    """Models and images whose answers are thresholds of normal sums, so that every true rate has a closed form.

    An attack succeeds where base + mismatch + surrogate + victim + ... + image + noise is above 0. All parts but base
    and mismatch are normal with mean 0, of the standard deviations below; noise has 1.

    Attributes:
        surrogates: Level of the condition of each configuration, and its number of seeds.
        victims: The same.
        images: How many, half from each of two sources.
        attacks: How many; an attack adds nothing of its own.
        base: Of a matching cell, on the scale of the noise.
        cost: What a mismatch adds.
        adds: What levels add, to surrogates and victims alike, by name of the level.
        configuration: Of each configuration of surrogates and victims, about its level.
        seed: Of each training.
        slope: Of what a mismatch costs a surrogate, or gains on a victim.
        pair: Of each pair of trainings.
        image: Of each image.
        image_model: Of each image for each training.
        right: Share of the clean images that a victim gets right.
        each_other: The victims are the surrogates, each on all others; what a mismatch costs a model it costs others.
    """

    surrogates: tuple[tuple[str, int], ...]
    victims: tuple[tuple[str, int], ...]
    images: int = 200
    attacks: int = 1
    base: float = 0.0
    cost: float = 0.0
    adds: tuple[tuple[str, float], ...] = ()
    configuration: float = 0.0
    seed: float = 0.2
    slope: float = 0.0
    pair: float = 0.1
    image: float = 0.7
    image_model: float = 0.3
    right: float = 0.9
    each_other: bool = False

    def scale(self) -> float:
        """Standard deviation of the whole sum of a mismatching cell."""
        models = 2 * (self.configuration**2 + self.seed**2 + self.image_model**2) + self.pair**2
        return float(np.sqrt(1 + models + self.image**2))

    def rate(self, s: str, v: str) -> float:
        """True ASR of surrogates of one level on victims of another, over all models and images like these."""
        levels = dict(self.adds)
        mean = self.base + self.cost * (s != v) + levels.get(s, 0.0) + levels.get(v, 0.0)
        scale = np.sqrt(self.scale() ** 2 + 2 * self.slope**2 / 4)  # a slope moves matches by half of it, one way
        return float(norm.cdf(mean / scale))

    def effect(self) -> float:
        """True effect of a mismatch: the difference of marginal means, each pair of configurations once."""
        pairs = [(self.rate(s, v), s != v) for s, _ in self.surrogates for v, _ in self.victims]
        means = [np.mean([rate for rate, differs in pairs if differs is side]) for side in (True, False)]
        return float(means[0] - means[1])

    def draw(self, rng: Generator) -> Outcomes:
        """Outcomes of one sample of models and images; the column `truth` is the rate of each cell over all images."""
        sides, (s, v), every = _grid_of(self)
        levels = dict(self.adds)
        mains, slopes = [], []
        for side in sides:
            own = rng.normal(0, self.configuration, side["place"].max() + 1)[side["place"]]
            mains.append(own + rng.normal(0, self.seed, len(side)) + side["level"].map(levels).fillna(0.0).to_numpy())
            slopes.append(rng.normal(0, self.slope, len(side)))
        if self.each_other:
            slopes[1] = slopes[0]
        differs = (every["architecture_s"] != every["architecture_v"]).to_numpy(dtype=float)[: len(s)]
        mean = self.base + self.cost * differs + mains[0][s] + mains[1][v]
        mean += (differs - 0.5) * (slopes[0][s] + slopes[1][v]) + rng.normal(0, self.pair, len(s))
        of_image = rng.normal(0, self.image, self.images)
        by_model = [rng.normal(0, self.image_model, (len(side), self.images)) for side in sides]
        fixed = mean[:, None] + of_image + by_model[0][s] + by_model[1][v]
        hits = np.concatenate([rng.normal(0, 1, fixed.shape) + fixed > 0 for _ in range(self.attacks)])
        clean = (rng.random((len(sides[1]), self.images)) >= self.right).astype(np.int16)
        truth = norm.cdf(mean / np.sqrt(1 + self.image**2 + 2 * self.image_model**2))
        return Outcomes(
            cells=every.assign(truth=np.tile(truth, self.attacks)),
            adversarial=hits.astype(np.int16),
            clean_predictions=clean,
            labels=np.zeros(self.images, dtype=np.int64),
            image_source=np.arange(self.images) % 2,
            image_sources=("one", "other"),
            classes=("no", "yes"),
        )


@functools.cache
def _grid_of(world: World) -> tuple[Sequence[pd.DataFrame], Any, pd.DataFrame]:
    """The models of each side, the places of each cell's surrogate and victim among them, and all cells."""
    sides = []
    for name, configurations in (("s", world.surrogates), ("v", world.victims)):
        models = [
            {"config": f"{name}{i}-{level}", "level": level, "seed": seed, "place": i}
            for i, (level, seeds) in enumerate(configurations)
            for seed in range(seeds)
        ]
        sides.append(pd.DataFrame(models))
    s, v = (np.asarray(x.ravel()) for x in np.meshgrid(*(np.arange(len(x)) for x in sides), indexing="ij"))
    if world.each_other:
        sides[1], (s, v) = sides[0], (x[s != v] for x in (s, v))
    told: dict[str, Any] = {"victim_index": v, "norm": "linf", "eps": "8/255", "attack_seed": 0, "control": False}
    for name, of, side, at in (("surrogate", "s", sides[0], s), ("victim", "v", sides[1], v)):
        told[name] = (side["config"] + "/" + side["seed"].astype(str)).to_numpy()[at]
        told[f"{name}_config"], told[f"{name}_seed"] = side["config"].to_numpy()[at], side["seed"].to_numpy()[at]
        told |= {f"{axis}_{of}": "" for axis in TRAINING}
        told[f"architecture_{of}"] = side["level"].to_numpy()[at]
    differs = told["architecture_s"] != told["architecture_v"]
    told["case"] = [case(False, True, True, not one) for one in differs]
    cells = pd.DataFrame(told)
    return (
        sides,
        (s, v),
        pd.concat([cells.assign(attack=f"attack {i}") for i in range(world.attacks)], ignore_index=True),
    )


def grid(levels: str, seeds: int | Sequence[int]) -> tuple[tuple[str, int], ...]:
    """Configurations: one for each letter, with so many seeds each."""
    counts = [seeds] * len(levels) if isinstance(seeds, int) else seeds
    return tuple(zip(levels, counts, strict=True))


def both(levels: str, seeds: int | Sequence[int], **also: Any) -> World:
    """The same configurations on both sides."""
    return World(surrogates=grid(levels, seeds), victims=grid(levels, seeds), **also)


# ------------------------------------------------------------------------------------------------------- the studies


@dataclass(frozen=True, kw_only=True)
class Study:
    """One table whose intervals or p-values are looked at.

    Attributes:
        name: Of the table, and of what is looked at.
        draw: Samples: from a generator of each and a design to columns.
        designs: By their words in the table.
        samples: Of each design; `EXACT` where one answer is the coverage.
    """

    name: str
    draw: Callable[[Sequence[Generator], Any], Columns]
    designs: Mapping[str, Any]
    samples: int = 1000


def one_by_one(of: Callable[[Generator, Any], Answers]) -> Callable[[Sequence[Generator], Any], Columns]:
    """Samples of which each needs a table of its own."""

    def draw(rngs: Sequence[Generator], design: Any) -> Columns:
        drawn = [of(rng, design) for rng in rngs]
        return {column: [one[column] for one in drawn] for column in drawn[0]}

    return draw


def held(table: pd.DataFrame, truth: float, low: str = "low", high: str = "high") -> Any:
    """Which rows hold the truth."""
    return ((table[low] <= truth) & (truth <= table[high])).to_numpy(dtype=float)


@one_by_one
def effect_of(rng: Generator, world: World) -> Answers:
    """The interval and p of a marginal effect."""
    outcomes = world.draw(rng)
    row: Any = marginal_effects(outcomes).set_index("axis").loc["architecture"]
    truth = world.effect()
    if row["ranges_over"] == IMAGES:  # then the claim is about these models
        found = contrast(outcomes.cells, "architecture")
        assert found is not None
        truth = found.effect(outcomes.cells["truth"].to_numpy())
    answers = {"95% interval": float(row["low"] <= truth <= row["high"])}
    if truth == 0:
        answers |= {"p": float(row["p"])}
    return answers


@one_by_one
def equivalence_of(rng: Generator, world: World) -> Answers:
    """How often an effect is said to be within 2 points."""
    row: Any = marginal_effects(world.draw(rng)).set_index("axis").loc["architecture"]
    return {"yes within ±2": float(row["equivalent"])}


def at_the_edge(world: World, margin: float = 0.02) -> float:
    """The cost of a mismatch that moves the ASR by just so much from 1/2."""
    scale = np.sqrt(world.scale() ** 2 + world.slope**2 / 2)
    return float(norm.ppf(0.5 + margin) * scale)


def counted_of(rngs: Sequence[Generator], world: World) -> Columns:
    """A pooled row that was counted from n and k, without predictions; images are taken as given."""
    drawn = [world.draw(rng) for rng in rngs]
    cells = [one.cells.assign(n=one.n, k=one.success.sum(1), sample=i) for i, one in enumerate(drawn)]
    table = counted_table(pd.concat(cells, ignore_index=True), ("sample",), images=world.images)
    pairs = [world.rate(s, v) for s, many in world.surrogates for v, more in world.victims for _ in range(many * more)]
    return {"95% interval": held(table, float(np.mean(pairs)))}


@one_by_one
def rate_of(_: Generator, design: tuple[int, float, float]) -> Answers:
    """Wilson's interval of one cell, or of one class of it, over all counts, and rates spread evenly over a range.

    At a single rate the coverage jumps up and down with n, as counts are whole.
    """
    n, least, most = design
    k, p = np.arange(n + 1), np.linspace(least, most, 401)[1:-1, None]
    low, high = wilson(k, np.full(n + 1, n))
    return {"95% interval": float((binom.pmf(k, n, p) * ((low <= p) & (p <= high))).sum(1).mean())}


@one_by_one
def lift_of(_: Generator, design: tuple[int, float, float]) -> Answers:
    """The interval of the lift of one cell, over all counts of images that the attack or the noise alone moves."""
    n, attacked, noise = design
    up, down = attacked * (1 - noise), noise * (1 - attacked)
    gained, lost = (counts.ravel() for counts in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    gained, lost = (counts[gained + lost <= n] for counts in (gained, lost))
    odds = binom.pmf(gained, n, up) * binom.pmf(lost, n - gained, down / (1 - up))
    low, high = paired_wald(gained, lost, np.full(len(gained), n))
    return {"95% interval": float(odds @ ((low <= attacked - noise) & (attacked - noise <= high)))}


# What follows is about rows that range over seeds of one side or of both, and over images.


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Configurations whose answers are thresholds of normal sums, as in `World`; truth is over seeds and images.

    Attributes:
        surrogates: Level of each configuration, and its number of seeds.
        victims: The same.
        surrogate: Standard deviation of each training of a surrogate.
        victim: Of a victim.
        pair: Of each pair of trainings.
        image: Of each image.
        images: How many.
        shared: Surrogates of one seed have one deviation, as ensembles of the same networks do.
    """

    surrogates: tuple[tuple[float, int], ...] = ((-0.3, 1),)
    victims: tuple[tuple[float, int], ...] = ((0.0, 1),)
    surrogate: float = 0.0
    victim: float = 0.0
    pair: float = 0.0
    image: float = 0.7
    images: int = 200
    shared: bool = False

    def rate(self, level: float) -> float:
        """True ASR of a configuration on victims of level 0."""
        return float(norm.cdf(level / np.sqrt(1 + self.image**2 + self.surrogate**2 + self.victim**2 + self.pair**2)))

    def kept(self, pairs: int) -> float:
        """Share of the images on which that many surrogates of level 0, whose trainings do not vary, all fail."""
        moved = norm.ppf((np.arange(2000) + 0.5) / 2000) * np.sqrt(self.victim**2 + self.image**2)
        return float((norm.cdf(-moved) ** pairs).mean())

    def draw(self, rngs: Sequence[Generator]) -> Outcomes:
        """Outcomes of a sample for each generator, with victims, an attack and a defence of its own.

        `sample` is its number, `truth` the rate of each cell's configurations.
        """
        cells, seeds = _cells_of(self)
        hits = np.concatenate([self._hits(rng, seeds) for rng in rngs])
        victims = 1 + int(cells["victim_index"].max())
        sample = np.repeat(np.arange(len(rngs)), len(cells))
        every = cells.iloc[np.tile(np.arange(len(cells)), len(rngs))].reset_index(drop=True)
        named = sample.astype(str).astype(object)
        return Outcomes(
            cells=every.assign(
                sample=sample,
                attack=named,
                defense_v=named,
                victim=every["victim"] + " of " + named,
                victim_index=every["victim_index"] + victims * sample,
            ),
            adversarial=hits.astype(np.int16),
            clean_predictions=np.concatenate([rng.random((victims, self.images)) < 0.1 for rng in rngs]).astype(
                np.int16
            ),
            labels=np.zeros(self.images, dtype=np.int64),
            image_source=np.arange(self.images) % 2,
            image_sources=("one", "other"),
            classes=("no", "yes"),
        )

    def _hits(self, rng: Generator, seeds: Sequence[tuple[int, ...]]) -> Any:
        """Successes of one sample, `cells images`; seeds are those of `_cells_of`."""
        s, v, seed, level = (np.array(of) for of in zip(*seeds, strict=True))
        by_seed = rng.normal(0, self.surrogate, int(seed.max()) + 1)
        own = rng.normal(0, self.surrogate, int(s.max()) + 1)
        fixed = level + (by_seed[seed] if self.shared else own[s]) + rng.normal(0, self.victim, int(v.max()) + 1)[v]
        fixed += rng.normal(0, self.pair, len(s))
        return fixed[:, None] + rng.normal(0, self.image, self.images) + rng.normal(size=(len(s), self.images)) > 0


@functools.cache
def _cells_of(design: Trained) -> tuple[pd.DataFrame, Sequence[tuple[Any, ...]]]:
    """The cells of one sample, and of each its surrogate's and its victim's number, the surrogate's seed, the level."""
    sides = [[(c, level, i) for c, (level, many) in enumerate(of) for i in range(many)] for of in
             (design.surrogates, design.victims)]  # fmt: skip
    rows, seeds = [], []
    for a, (s, up, i) in enumerate(sides[0]):
        for b, (v, more, j) in enumerate(sides[1]):
            row = {"surrogate": f"s{s}/{i}", "surrogate_config": f"s{s}", "surrogate_seed": i}
            row |= {"victim": f"v{v}/{j}", "victim_config": f"v{v}", "victim_seed": 100 + j, "victim_index": b}
            rows.append({**row, "truth": design.rate(up + more)})
            seeds.append((a, b, i, up + more))
    constant: dict[str, Any] = dict(norm="linf", eps="8/255", attack_seed=0, case=3, control=False, reads="surrogate")
    constant |= {f"{axis}_{of}": "" for axis in TRAINING for of in "sv"}
    return pd.DataFrame(rows).assign(**constant), seeds


def row_of(rngs: Sequence[Generator], design: Trained) -> Columns:
    """A pooled row."""
    outcomes = design.draw(rngs)
    table = statistics.group_table(outcomes, ("sample",))
    return {"95% interval": held(table, outcomes.cells["truth"].mean())}


def white_box_of(rngs: Sequence[Generator], design: Trained) -> Columns:
    """A row of C0: each surrogate is its own victim."""
    outcomes = design.draw(rngs)
    cells = outcomes.cells.assign(case=0)
    for name in ("", "_config", "_seed"):
        cells[f"victim{name}"] = cells[f"surrogate{name}"]
    table = statistics.case_table(replace(outcomes, cells=cells), ("sample",))
    return {"95% interval": held(table, cells["truth"].mean())}


def lifted_of(rngs: Sequence[Generator], design: Trained) -> Columns:
    """The lift of a pooled row, whose noise is the last surrogate of the design."""
    outcomes = design.draw(rngs)
    cells = outcomes.cells.copy()
    noise = (cells["surrogate_config"] == f"s{len(design.surrogates) - 1}").to_numpy()
    truth = cells.loc[~noise, "truth"].mean() - cells.loc[noise, "truth"].mean()
    told: Mapping[str, Any] = dict(surrogate="", surrogate_config="", attack="sign-noise 1", surrogate_seed=-1, case=-1)
    cells.loc[noise, list(told)] = list(told.values())
    table = statistics.group_table(replace(outcomes, cells=cells.assign(control=noise)), ("sample",))
    return {"95% interval": held(table, truth, "lift_low", "lift_high")}


def tdee_of(rngs: Sequence[Generator], design: Trained) -> Columns:
    """The equivalent of the first configuration on the ladder of the others, for 1, 2 and 4 networks."""
    asr = [design.rate(level) for level, _ in design.surrogates]
    truth = float(np.interp(asr[0], asr[1:], [1, 2, 4]))
    table = statistics.tdee(design.draw(rngs), {1: "s1", 2: "s2", 4: "s3"}, ("sample",))
    return {"95% interval": held(table, truth)}


@one_by_one
def between_of(rng: Generator, design: Trained) -> Answers:
    """The difference of the first two configurations."""
    found = statistics.surrogate_difference(design.draw([rng]), "s0", "s1")
    truth = design.rate(design.surrogates[0][0]) - design.rate(design.surrogates[1][0])
    return {"95% interval": float(found.low <= truth <= found.high)}


def compared_of(rngs: Sequence[Generator], design: tuple[int, int, float, float]) -> Columns:
    """Two runs of some cells on the same images: images that differ do so in some of the cells."""
    images, cells, gain, loss = design
    answers = []
    for rng in rngs:
        way = rng.choice([1, -1, 0], images, p=[gain, loss, 1 - gain - loss])
        some = rng.random((cells, images)) < (rng.beta(2, 1, images) if cells > 1 else 1.0)
        before = np.where(way == 1, 1, np.where(way == -1, 0, rng.integers(0, 2, images))) * np.ones((cells, 1))
        answers.append((before, np.where(some & (way != 0), 1 - before, before)))
    blank = Trained(surrogates=((0.0, cells),), images=images).draw(rngs)
    then, now = (replace(blank, adversarial=np.concatenate(of).astype(np.int16)) for of in zip(*answers, strict=True))
    table = statistics.compare_pooled(then, now, ("attack",)).astype({"attack": int}).sort_values("attack")
    truth = (gain - loss) * (2 / 3 if cells > 1 else 1.0)  # of robust accuracy: what was wrong before and is right now
    found = {"95% interval": held(table, truth, "robust_low", "robust_high")}
    return {**found, "p": table["robust_p"].to_numpy()} if gain == loss else found


def defended_of(rngs: Sequence[Generator], design: Trained) -> Columns:
    """What a defence keeps over its seeds; its sources are equally strong, so the best pair is as good as any other."""
    outcomes, validation = (design.draw(rngs) for _ in range(2))
    table = statistics.defended(outcomes, validation).astype({"defense": int}).sort_values("defense")
    asr = outcomes.cells["truth"].mean()
    truths = {"clean": 0.9, "average": 1 - asr, "best": 1 - asr, "asr": asr, "corrected": 1 - asr}
    truths["worst"] = design.kept(len(design.surrogates))
    return {name: held(table, truth, f"{name}_low", f"{name}_high") for name, truth in truths.items()}


def alarm_of(rngs: Sequence[Generator], design: tuple[int, bool]) -> Columns:
    """A victim whom some pairs and two attacks on itself leave equally much."""
    pairs, validated = design
    world = Trained(surrogates=((0.0, 1),) * (pairs + 2), image=3.0, images=300)
    outcomes, validation = (world.draw(rngs) for _ in range(2))
    reads = np.where(np.arange(pairs + 2) < pairs, "surrogate", "victim")
    outcomes, validation = (
        replace(o, cells=o.cells.assign(reads=np.tile(reads, len(rngs)))) for o in (outcomes, validation)
    )
    found = statistics.transfer_below_white_box(outcomes, validation if validated else None)
    warned = set(found.loc[found["alarm"], "defense"]) if len(found) else set()
    return {"p": [0.0 if str(i) in warned else 1.0 for i in range(len(rngs))]}


def chosen_of(rngs: Sequence[Generator], design: Trained) -> Columns:
    """Of surrogates that cost and transfer alike, the one that validation victims choose, on test victims."""
    (level, seeds), *_ = design.victims
    every = replace(design, victims=((level, 2 * seeds),), images=2 * design.images).draw(rngs)
    of_test, first = (every.cells["victim_seed"] < 100 + seeds).to_numpy(), np.arange(2 * design.images) < design.images
    test, validation = every.where(of_test).on(first), every.where(~of_test).on(~first)
    costs = [
        statistics.SurrogateCost(surrogate=name, passes=100, seconds=1.0, parameters=1)
        for name in test.cells["surrogate"].unique()
    ]
    table = statistics.equal_training_cost(test, validation, costs, "s0", budgets=(1,), by=("sample",)).frame
    return {"95% interval": held(table.sort_values("sample"), test.cells["truth"].mean())}


def one(seeds: int, more: int = 1, level: float = -0.3, **also: Any) -> Trained:
    """One configuration a side, of so many seeds; a side of one seed is taken as it is."""
    return Trained(surrogates=((level, seeds),), victims=((0.0, more),), **also)


def several(*counts: int, **also: Any) -> Trained:
    """Configurations of surrogates that are far apart, with so many seeds each."""
    levels = (-1.0, 0.5, 0.0, -0.5, 0.3, 0.8, -0.2, 0.1)
    return Trained(surrogates=tuple(zip(levels, counts, strict=False)), **{"surrogate": 0.3, **also})


ROWS: Mapping[str, Trained] = {
    "1 x 1 seeds": one(1),
    "1 x 1 seeds, 20 images": one(1, images=20),
    "1 x 1 seeds, ASR 3%": one(1, level=-2.3),
    **{f"{s} x 1 seeds": one(s, surrogate=0.3) for s in (2, 3, 5, 10)},
    **{f"{s} x 1 seeds that change nothing": one(s) for s in (2, 3, 5)},
    **{f"{s} x {s} seeds": one(s, s, surrogate=0.3, victim=0.3, pair=0.1) for s in (2, 3, 5, 10)},
    "5 x 5 seeds that change nothing": one(5, 5),
    "5 x 5 seeds, pairs differ": one(5, 5, surrogate=0.2, victim=0.2, pair=0.3),
    "5 x 5 seeds, ASR 95%": one(5, 5, level=2.0, surrogate=0.4, victim=0.4),
    "3 x 1 seeds, ASR 5%": one(3, level=-2.3, surrogate=0.6),
    "3, 2 seeds of 2 configurations": several(3, 2),
    "3, 2 seeds of 2, networks shared": several(3, 2, shared=True),
    "3, 1 seeds of 2 configurations": several(3, 1),
    "3, 1 seeds of 2, networks shared": several(3, 1, shared=True),
    "6, 2 seeds of 2 configurations": several(6, 2),
    "3 seeds of 7, 2 of 1": several(*[3] * 7, 2),
    "3 seeds of 8, networks shared": several(*[3] * 8, shared=True),
    "3, 3, 3, 2 x 3, 2 seeds": several(3, 3, 3, 2, victims=((0.2, 3), (-0.2, 2)), victim=0.3),
}


def ladder(seeds: int, level: float = 0.35, **also: Any) -> Trained:
    """A surrogate, and ensembles of 1, 2 and 4."""
    levels = (level, -0.2, 0.2, 0.5)
    return Trained(surrogates=tuple((of, seeds) for of in levels), shared=True, **also)


_FLAT: Mapping[str, Any] = dict(image=0.0, image_model=0.0)
EFFECTS: Mapping[str, World] = {
    "2 levels x 1 seed": both("ab", 1),
    "2 levels x 2 seeds": both("ab", 2),
    "2 levels x 2 seeds, costs differ": both("ab", 2, slope=0.4),
    "3 levels x 1 seed": both("abc", 1),
    "3 levels x 1 seed, costs differ": both("abc", 1, slope=0.4),
    "3 levels x 2 seeds": both("abc", 2),
    "3 levels x 2 seeds, 20 images": both("abc", 2, images=20),
    "3 levels x 2 seeds, levels far apart": both("abc", 2, adds=(("b", 0.8), ("c", -0.8))),
    "3 levels x 2 seeds, costs differ": both("abc", 2, slope=0.4),
    "2 levels x 5 seeds": both("ab", 5),
    "2 levels x 5 seeds, costs differ": both("ab", 5, slope=0.4),
    "2 levels, 3 and 2 seeds on 2 and 2": World(surrogates=grid("ab", (3, 2)), victims=grid("ab", 2)),
    "2 levels, 5 and 1 seeds": both("ab", (5, 1)),
    "2 surrogates on 20 victims": World(surrogates=grid("ab", 1), victims=grid("ab", 10)),
    "1 surrogate on 10 victims": World(surrogates=grid("a", 1), victims=grid("ab", 5)),
    "6 of one level on 6 of two": World(surrogates=grid("a", 6), victims=grid("ab", 3)),
    "2 levels x 3 seeds, each other": both("ab", 3, each_other=True),
    "3 levels x 2 seeds, each other": both("abc", 2, each_other=True),
    "3 levels x 2 seeds, each other, costs differ": both("abc", 2, each_other=True, slope=0.4),
    "8 configurations of 2 levels, cost -20": both("aaaabbbb", 1, configuration=0.3, cost=-0.7),
}
DUMB = both("abcabcabcabcabcabcabcabc", 1, images=500, attacks=6, configuration=0.2, adds=(("b", 0.3), ("c", -0.3)))
DEMO = both("abcabcabcabc", 1, images=200, attacks=2, configuration=0.2, adds=(("b", 0.3), ("c", -0.3)))


def edged(world: World) -> World:
    """The same, with a mismatch that costs just what is called none."""
    level = replace(world, adds=())
    return replace(level, cost=at_the_edge(level))


STUDIES: Sequence[Study] = (
    Study(name="marginal effect", draw=effect_of, designs=EFFECTS),
    Study(name="marginal effect", draw=effect_of, designs={"24 x 24 models, 6 attacks": DUMB}, samples=400),
    Study(
        name="marginal effect, no effect",
        draw=equivalence_of,
        designs={"24 x 24 models, 6 attacks": DUMB, "12 x 12 models, 2 attacks": DEMO},
        samples=200,
    ),
    Study(
        name="marginal effect of 2 points",
        draw=equivalence_of,
        designs={"24 x 24 models, 6 attacks": edged(DUMB), "12 x 12 models, 2 attacks": edged(DEMO)},
        samples=200,
    ),
    Study(
        name="counted rows",
        draw=counted_of,
        designs={
            "2 x 2 models": both("a", 2, **_FLAT),
            "3 x 3 models": both("a", 3, **_FLAT),
            "5 x 5 models": both("a", 5, **_FLAT),
            "2 x 20 models": World(surrogates=grid("a", 2), victims=grid("a", 20), **_FLAT),
            "10 x 10 models": both("a", 10, **_FLAT),
            "30 x 30 models": both("a", 30, **_FLAT),
        },
    ),
    Study(name="pooled row", draw=row_of, designs=ROWS),
    Study(
        name="white box row",
        draw=white_box_of,
        designs={f"{s} seeds": one(s, level=1.0, surrogate=0.3) for s in (2, 3, 5)},
    ),
    Study(
        name="lift of a pooled row",
        draw=lifted_of,
        designs={
            "1 seed": Trained(surrogates=((-0.3, 1), (-2.0, 1))),
            "1 seed, ASR 3%, noise 2%": Trained(surrogates=((-2.3, 1), (-2.5, 1))),
            **{
                f"3 x {s} seeds, victims alone differ": Trained(
                    surrogates=((-0.3, 3), (-2.0, 1)), victims=((0.0, s),), victim=0.3
                )
                for s in (2, 3, 5)
            },
        },
    ),
    Study(
        name="T-DEE",
        draw=tdee_of,
        designs={
            "1 seed": ladder(1),
            "1 seed, at a rung": ladder(1, 0.2),
            **{f"{s} seeds": ladder(s, surrogate=0.2) for s in (2, 3, 5)},
            "3 x 3 seeds": replace(ladder(3, surrogate=0.2), victims=((0.0, 3),), victim=0.2),
        },
    ),
    Study(
        name="difference of surrogates",
        draw=between_of,
        designs={
            "1 seed": several(1, 1, surrogate=0.0),
            "1 seed, no difference, 30 images": Trained(surrogates=((0.0, 1), (0.0, 1)), images=30),
            **{f"{s} seeds": several(s, s) for s in (2, 3, 5)},
            "3 x 3 seeds": several(3, 3, victims=((0.0, 3),), victim=0.2),
        },
    ),
    Study(
        name="comparison of runs",
        draw=compared_of,
        designs={
            f"{n} images, {c} cells, {g:.0%} gained, {lost:.0%} lost": (n, c, g, lost)
            for n, c in ((100, 1), (500, 1), (100, 12), (500, 12))
            for g, lost in ((0.01, 0.01), (0.1, 0.1), (0.1, 0.02))
        },
        samples=4000,
    ),
    Study(
        name="defended row",
        draw=defended_of,
        designs={
            "1 seed, 1 pair": one(1, level=0.0),
            "1 seed, 8 pairs": Trained(surrogates=((0.0, 1),) * 8),
            **{
                f"{s} seeds, 4 pairs": Trained(surrogates=((0.0, 1),) * 4, victims=((0.0, s),), victim=0.3)
                for s in (2, 3, 5)
            },
        },
    ),
    Study(
        name="alarm of transfer below the white box",
        draw=alarm_of,
        designs={
            f"{m} pairs, {'by validation' if v else 'by all pairs'}": (m, v) for m in (5, 60) for v in (True, False)
        },
    ),
    Study(
        name="best surrogate at equal cost",
        draw=chosen_of,
        designs={
            "8 surrogates": Trained(surrogates=((-0.3, 1),) * 8),
            "4 surrogates, 3 seeds, 3 victim seeds": Trained(
                surrogates=((-0.3, 3),) * 4, victims=((0.0, 3),), surrogate=0.2, victim=0.2
            ),
        },
    ),
    Study(
        name="cell, or class of a cell",
        draw=rate_of,
        designs={
            f"{n} images, ASR {low:.0%} to {high:.0%}": (n, low, high)
            for n in (10, 50, 500)
            for low, high in ((0.0, 0.05), (0.05, 0.2), (0.2, 0.8))
        },
        samples=EXACT,
    ),
    Study(
        name="lift of a cell",
        draw=lift_of,
        designs={
            f"{n} images, ASR {a:.0%}, noise {b:.0%}": (n, a, b)
            for n in (20, 100, 500)
            for a, b in ((0.5, 0.05), (0.05, 0.02), (0.9, 0.5))
        },
        samples=EXACT,
    ),
)


# ---------------------------------------------------------------------------------------------------------- the frame


def fingerprint() -> str:
    """Of everything that the numbers come from."""
    files = [Path(__file__), *sorted(Path(statistics.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"\n".join(file.read_bytes() for file in files)).hexdigest()[:16]


def key_of(study: Study, design: str) -> str:
    """Names what was drawn."""
    return f"{study.name}: {design}"


def sampled(place: tuple[int, str], begin: int, end: int) -> list[dict[str, float]]:
    """Samples of one design; each has a generator of its own, so that any slab can be drawn alone."""
    number, design = place
    study = STUDIES[number]
    words = int.from_bytes(hashlib.sha256(key_of(study, design).encode()).digest()[:4], "big")
    drawn = study.draw([np.random.default_rng([SEED, words, i]) for i in range(begin, end)], study.designs[design])
    return [{column: float(of[i]) for column, of in drawn.items()} for i in range(end - begin)]


def _answered(job: tuple[tuple[int, str], int, int]) -> list[dict[str, float]]:
    return sampled(*job)


def run(folder: Path, *, most: int, only: str, workers: int) -> dict[str, list[dict[str, float]]]:
    """All samples of all designs, by `key_of`; those that the folder holds are not drawn again."""
    kept = folder / f"{fingerprint()}.json"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, float]]] = json.loads(kept.read_text()) if kept.exists() else {}
    jobs = []
    for number, study in enumerate(STUDIES):
        for design in study.designs:
            if only and only not in key_of(study, design):
                continue
            have, want = len(found.get(key_of(study, design), [])), min(study.samples, most)
            slab = max(SLAB, want // 20)
            jobs += [((number, design), a, min(a + slab, want)) for a in range(have, want, slab)]
    told = Progress(len(jobs))
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as held:
        each: Any = map
        if workers and jobs:
            each = held.enter_context(concurrent.futures.ProcessPoolExecutor(workers, mp_context=context)).map
        for (place, _, _), answers in zip(jobs, each(_answered, jobs), strict=True):
            key = key_of(STUDIES[place[0]], place[1])
            found.setdefault(key, []).extend(answers)  # in order, as each slab follows the one before
            with replacing(kept) as part:
                part.write_text(json.dumps(found), encoding="utf-8")
            told.step(key)
    return found


def rows_of(found: Mapping[str, Sequence[Answers]]) -> pd.DataFrame:
    """One row a study, design and column: share, its simulation error (one standard error), samples, and verdict."""
    rows = []
    for study in STUDIES:
        for design in study.designs:
            drawn = found.get(key_of(study, design), [])
            for column in drawn[0] if drawn else ():
                values = np.array([one[column] for one in drawn])
                of_p = column.startswith("p")
                share = float(np.mean(values <= 0.05 if of_p else values))
                error = 0.0 if study.samples == EXACT else float(np.sqrt(share * (1 - share) / len(values)))
                row = {"table": study.name, "design": design, "column": column, "share": share, "error": error}
                rows.append(
                    {
                        **row,
                        "samples": 0 if study.samples == EXACT else len(values),
                        "verdict": verdict(column, share, error),
                    }
                )
    return pd.DataFrame(rows)


def verdict(column: str, share: float, error: float) -> str:
    """Whether a share is what it must be, beyond two standard errors of the simulation."""
    if column.startswith("yes"):
        return ""
    if column.startswith("p"):
        return "too small" if share - 2 * error > 0.05 else ""
    if share + 2 * error < LOW:
        return "low"
    return "high" if share - 2 * error > HIGH else ""


def page_part(rows: pd.DataFrame) -> str:
    """The table of the page."""
    lines = ["| table | design | of | came | ± | samples | |", "|---|---|---|---:|---:|---:|---|"]
    for row in rows.to_dict("records"):
        what = {"p": "p ≤ 0.05"}.get(str(row["column"]), str(row["column"]).removeprefix("yes "))
        came, error = f"{100 * row['share']:.1f}%", f"{100 * row['error']:.1f}"
        n, said = f"{row['samples']:,}" if row["samples"] else "exact", row["verdict"]
        lines.append(f"| {row['table']} | {row['design']} | {what} | {came} | {error} | {n} | {said} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".carom/coverage"), help="where samples are kept")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page whose table is written")
    parser.add_argument("--only", default="", help="studies and designs whose name holds this; then no page is written")
    parser.add_argument("--most", type=int, default=10**9, help="samples of a design, at most")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; 0 for this one alone")
    given = parser.parse_args(arguments)
    rows = rows_of(run(given.folder, most=given.most, only=given.only, workers=given.workers))
    sys.stdout.write(rows.to_string(index=False, float_format="{:.3f}".format) + "\n")
    if not given.only:
        text = marked.filled(given.page.read_text(encoding="utf-8"), {PART: page_part(rows)}, of=str(given.page))
        given.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
