"""How often each interval holds the truth, and how often each p-value is small where nothing is there.

    python benchmarks/interval_coverage.py [--most N] [--only WORD] [--folder DIR] [--page docs/statistics.md]

For every interval and p-value that a table prints: a study, which draws outcomes with a known truth over designs with
few and unequal numbers of models, seeds and images, and asks the statistics about them. What was drawn is kept in the
folder, so that an interrupted run goes on; a change of the statistics or of this file draws anew. The table goes
into docs/statistics.md. All of it takes about an hour of one core; `--most 50` is a first look.

A further study is a function in `STUDIES`: from a generator and a design to one number a column. A column whose name
starts with "p" or "yes" is a p-value or a verdict; any other is 1 where its interval holds the truth, else 0.
"""

import argparse
import concurrent.futures
import contextlib
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
        sides = []
        for name, configurations in (("s", self.surrogates), ("v", self.victims)):
            models = [
                {"config": f"{name}{i}-{level}", "level": level, "seed": seed, "place": i}
                for i, (level, seeds) in enumerate(configurations)
                for seed in range(seeds)
            ]
            sides.append(pd.DataFrame(models))
        levels = dict(self.adds)
        mains, slopes = [], []
        for side in sides:
            own = rng.normal(0, self.configuration, side["place"].max() + 1)[side["place"]]
            mains.append(own + rng.normal(0, self.seed, len(side)) + side["level"].map(levels).fillna(0.0).to_numpy())
            slopes.append(rng.normal(0, self.slope, len(side)))
        s, v = (np.asarray(x.ravel()) for x in np.meshgrid(*(np.arange(len(x)) for x in sides), indexing="ij"))
        differs = (sides[0]["level"].to_numpy()[s] != sides[1]["level"].to_numpy()[v]).astype(float)
        mean = self.base + self.cost * differs + mains[0][s] + mains[1][v]
        mean += (differs - 0.5) * (slopes[0][s] + slopes[1][v]) + rng.normal(0, self.pair, len(s))
        of_image = rng.normal(0, self.image, self.images)
        by_model = [rng.normal(0, self.image_model, (len(side), self.images)) for side in sides]
        fixed = mean[:, None] + of_image + by_model[0][s] + by_model[1][v]
        hits = np.concatenate([rng.normal(0, 1, fixed.shape) + fixed > 0 for _ in range(self.attacks)])
        clean = (rng.random((len(sides[1]), self.images)) >= self.right).astype(np.int16)
        cells = pd.DataFrame(
            {
                "surrogate": (sides[0]["config"] + "/" + sides[0]["seed"].astype(str)).to_numpy()[s],
                "norm": "linf",
                "eps": "8/255",
                "attack_seed": 0,
                "victim": (sides[1]["config"] + "/" + sides[1]["seed"].astype(str)).to_numpy()[v],
                "victim_index": v,
                "case": [case(False, True, True, not one) for one in differs],
                "control": False,
                "surrogate_config": sides[0]["config"].to_numpy()[s],
                "victim_config": sides[1]["config"].to_numpy()[v],
                "surrogate_seed": sides[0]["seed"].to_numpy()[s],
                "victim_seed": sides[1]["seed"].to_numpy()[v],
                **{f"{axis}_{of}": "" for axis in ("source", "samples", "balance", "recipe") for of in "sv"},
                "architecture_s": sides[0]["level"].to_numpy()[s],
                "architecture_v": sides[1]["level"].to_numpy()[v],
            }
        )
        cells["truth"] = norm.cdf(mean / np.sqrt(1 + self.image**2 + 2 * self.image_model**2))
        every = pd.concat([cells.assign(attack=f"attack {i}") for i in range(self.attacks)], ignore_index=True)
        return Outcomes(
            cells=every,
            adversarial=hits.astype(np.int16),
            clean_predictions=clean,
            labels=np.zeros(self.images, dtype=np.int64),
            image_source=np.arange(self.images) % 2,
            image_sources=("one", "other"),
            classes=("no", "yes"),
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
        draw: One sample: from a generator and a design to one number a column.
        designs: By their words in the table.
        samples: Of each design; `EXACT` where one answer is the coverage.
    """

    name: str
    draw: Callable[[Generator, Any], Answers]
    designs: Mapping[str, Any]
    samples: int = 1000


def effect_of(rng: Generator, world: World) -> Answers:
    """The interval and p of a marginal effect."""
    outcomes = world.draw(rng)
    row = marginal_effects(outcomes).set_index("axis").loc["architecture"]
    truth = world.effect()
    if row["ranges_over"] == IMAGES:  # then the claim is about these models
        found = contrast(outcomes.cells, "architecture")
        assert found is not None
        truth = found.effect(outcomes.cells["truth"].to_numpy())
    answers = {"95% interval": float(row["low"] <= truth <= row["high"])}
    if truth == 0:
        answers |= {"p": float(row["p"])}
    return answers


def equivalence_of(rng: Generator, world: World) -> Answers:
    """How often an effect is said to be within 2 points."""
    row = marginal_effects(world.draw(rng)).set_index("axis").loc["architecture"]
    return {"yes within ±2": float(row["equivalent"])}


def at_the_edge(world: World, margin: float = 0.02) -> float:
    """The cost of a mismatch that moves the ASR by just so much from 1/2."""
    scale = np.sqrt(world.scale() ** 2 + world.slope**2 / 2)
    return float(norm.ppf(0.5 + margin) * scale)


def counted_of(rng: Generator, world: World) -> Answers:
    """A pooled row that was counted from n and k, without predictions; images are taken as given."""
    outcomes = world.draw(rng)
    cells = outcomes.cells.assign(n=outcomes.n, k=outcomes.success.sum(1), all=0)
    row = counted_table(cells, ("all",), images=world.images).iloc[0]
    pairs = [world.rate(s, v) for s, many in world.surrogates for v, more in world.victims for _ in range(many * more)]
    return {"95% interval": float(row["low"] <= np.mean(pairs) <= row["high"])}


def rate_of(_: Generator, design: tuple[int, float, float]) -> Answers:
    """Wilson's interval of one cell, or of one class of it, over all counts, and rates spread evenly over a range.

    At a single rate the coverage jumps up and down with n, as counts are whole.
    """
    n, least, most = design
    k, p = np.arange(n + 1), np.linspace(least, most, 401)[1:-1, None]
    low, high = wilson(k, np.full(n + 1, n))
    return {"95% interval": float((binom.pmf(k, n, p) * ((low <= p) & (p <= high))).sum(1).mean())}


def lift_of(_: Generator, design: tuple[int, float, float]) -> Answers:
    """The interval of the lift of one cell, over all counts of images that the attack or the noise alone moves."""
    n, attacked, noise = design
    up, down = attacked * (1 - noise), noise * (1 - attacked)
    gained, lost = (counts.ravel() for counts in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    gained, lost = (counts[gained + lost <= n] for counts in (gained, lost))
    odds = binom.pmf(gained, n, up) * binom.pmf(lost, n - gained, down / (1 - up))
    low, high = paired_wald(gained, lost, np.full(len(gained), n))
    return {"95% interval": float(odds @ ((low <= attacked - noise) & (attacked - noise <= high)))}


_FLAT = dict(image=0.0, image_model=0.0)
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
            "1 x 4 models": World(surrogates=grid("a", 1), victims=grid("a", 4), seed=0.2, pair=0.0, **_FLAT),
            "10 x 10 models": both("a", 10, **_FLAT),
            "30 x 30 models": both("a", 30, **_FLAT),
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
    return [dict(study.draw(np.random.default_rng([SEED, words, i]), study.designs[design])) for i in range(begin, end)]


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
