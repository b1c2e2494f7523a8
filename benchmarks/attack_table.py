"""How well every attack of the registry transfers on Fashion-MNIST: measures it and writes docs/science/attacks.json.

    python benchmarks/attack_table.py                 what is not measured yet; resumable, with an estimate first
    python benchmarks/attack_table.py --estimate      the estimate alone
    python benchmarks/attack_table.py --only mi sia   some entries; the others stay as recorded
    python benchmarks/attack_table.py --quick         tiny networks and few images, to see that it runs; records nothing

An attack is measured by being in the registry. What it is tried with is in `GRIDS`; without a line there it is tried
with other numbers of steps. Settings are chosen on validation images and validation victims, and only what was chosen
sees the test images and test victims. `CAROM_WRITE_PAGES=1 pytest tests/test_attacks_page.py` puts the results into
docs/attacks.md.
"""

import argparse
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attack_jobs import (
    BUDGETS,
    ENSEMBLE,
    FULL,
    MODELS,
    QUICK,
    SEED,
    SLOW,
    SURROGATES,
    VERSION,
    VICTIMS,
    Job,
    Outcome,
    Row,
    Scale,
    attacked,
    network,
    perform,
    ready,
    train_model,
    trained,
    wrong,
)
from attacks_page import LIMITS, RESULTS

from carom.attacks import ATTACKS, craft, parse_attack
from carom.attacks.composition import Part, Whole
from carom.errors import InputError
from carom.identity import content_key
from carom.protocols import Attack
from carom.scenarios.statistics import difference_of_rates
from carom.scenarios.statistics.intervals import quantiles, resampled_ratios, widened_where_rare, wilson
from carom.scenarios.statistics.seeds import Counts, Trained
from carom.surrogates import Surrogate
from carom.zoo.models.prepare import prepare


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What an attack is tried with within a number of passes.

    Attributes:
        own: The entry's own fields in every setting, the default too: what these surrogates need.
        copies: Field that counts gradients of one step; it is set so that about ten and five steps fit.
        variants: Other values of the entry's own fields.
        loops: Other values of `step`.
        fixed: Nothing can be traded for passes: the default alone.
    """

    own: Mapping[str, Any] = field(default_factory=dict)
    copies: str | None = None
    variants: Sequence[Mapping[str, Any]] = ({},)
    loops: Sequence[Mapping[str, Any]] = ({},)
    fixed: bool = False


GRIDS: Mapping[str, Grid] = {
    "fgsm": Grid(fixed=True),
    "rfgsm": Grid(fixed=True),
    "autoattack": Grid(fixed=True),
    "pgd": Grid(loops=({"step": "1/4"}, {"step": "1/10"})),
    "mi": Grid(variants=({}, {"decay": 0.9})),
    "vmi": Grid(copies="neighbours"),
    "vni": Grid(copies="neighbours"),
    "emi": Grid(copies="samples"),
    "pgn": Grid(copies="neighbours"),
    "gra": Grid(copies="neighbours"),
    "di": Grid(variants=({}, {"probability": 0.7, "rate": 0.8})),
    "ti": Grid(variants=({}, {"size": 3})),
    "si": Grid(copies="copies"),
    "admix": Grid(copies="partners", variants=({}, {"scales": 2})),
    "ssm": Grid(copies="copies"),
    "sia": Grid(copies="copies"),
    "bsr": Grid(copies="copies"),
    "fia": Grid(copies="samples"),
    "naa": Grid(copies="samples"),
    "bfa": Grid(copies="samples"),
    # each of their blocks begins a stage
    "sgm": Grid(own={"first_blocks": True}, variants=({}, {"gamma": 0.5}, {"gamma": 0.8})),
    "cw": Grid(variants=({"searches": 1, "rate": 0.1}, {"searches": 3, "rate": 0.05}, {})),
}


def rows() -> list[Row]:
    """Every entry of the registry, and what some of them have to be compared with."""
    made = []
    for name, entry in ATTACKS.items():
        label = name
        if isinstance(entry, Part) and entry.family != "gradient" and "momentum" not in entry.slots:
            label = f"mi+{name}"
        norm = "linf" if "linf" in entry.attack.norms else "l2"
        source = "ensemble" if entry.family == "ensemble" else "residual"
        notes = ["three networks"] if source == "ensemble" else []
        notes += [str(BUDGETS["l2"])] if norm == "l2" else []
        notes += ["first blocks too"] if GRIDS.get(name, Grid()).own.get("first_blocks") else []
        made.append(Row(entry=name, label=label, family=entry.family, source=source, norm=norm, note=", ".join(notes)))
    made.append(Row(entry="mi", label="mi", family="ensemble", source="ensemble", note="three networks"))
    made.append(Row(entry="mi", label="mi", family="smallest", norm="l2", note=str(BUDGETS["l2"])))
    made += [Row(entry=label.split("+")[-1], label=label, family="transformation") for label in ("mi+di+ti", "ni+si")]
    return made


def cost(row: Row, attack: Attack) -> int:
    """Passes an image: the larger of forward and backward; queries, where an attack asks."""
    if row.family == "query":
        return _queries(attack)
    passes = attack.passes(row.members)
    return max(passes.forward, passes.backward)


def _queries(attack: Any) -> int:
    """How often an image may be asked about; what begins with a transferred image asks once about that."""
    return 1 + _queries(attack.query) if hasattr(attack, "query") else int(attack.queries)


def default(row: Row) -> dict[str, Any]:
    """What is run where nothing is chosen."""
    own = GRIDS.get(row.entry, Grid()).own
    return {"name": row.label, **({row.entry: dict(own)} if own else {})}


def candidates(row: Row, limit: int) -> list[dict[str, Any]]:
    """Settings to try that cost at most `limit`, cheapest description first; none where nothing fits."""
    grid = GRIDS.get(row.entry, Grid())
    entry = ATTACKS[row.entry]
    tried: list[dict[str, Any]] = [default(row)]
    if grid.fixed:
        pass
    elif isinstance(entry, Whole):
        for variant in grid.variants:
            if "query" in entry.defaults:
                tried.append({"name": row.label, **variant, "query": {"name": "square", "queries": limit - 1}})
            elif "queries" in entry.defaults:
                tried.append({"name": row.label, **variant, "queries": limit})
            elif "steps" in entry.defaults:
                tried.append(_largest(row, {"name": row.label, **variant}, "steps", limit))
    else:
        for variant in grid.variants:
            for loop in grid.loops:
                for copies in [max(1, limit // 10), max(1, limit // 5)] if grid.copies else [None]:
                    own = {**grid.own, **variant, **({grid.copies: copies} if grid.copies and copies else {})}
                    base = {"name": row.label, **({row.entry: own} if own else {}), **loop}
                    most = _largest(row, base, "steps", limit)
                    tried.append(most)
                    if copies is None and limit <= 50 and most.get("steps", 1) > 1:
                        tried.append({**most, "steps": most["steps"] // 2})
    found: dict[str, dict[str, Any]] = {}  # two spellings of one attack are tried once
    for table in tried:
        if "unfit" not in table and _cost_of(row, table) <= limit:
            found.setdefault(content_key(parse_attack(table)), table)
    return list(found.values())


def _largest(row: Row, base: Mapping[str, Any], count: str, limit: int) -> dict[str, Any]:
    """`base` with the largest value of `count` that costs at most `limit`."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _cost_of(row, {**base, count: middle}) <= limit else (low, middle - 1)
    return {**base, count: low} if low else {"name": row.label, "unfit": True}


def _cost_of(row: Row, table: Mapping[str, Any]) -> float:
    try:
        return cost(row, parse_attack(dict(table)))
    except InputError:  # a value that the part refuses, such as a single copy where two are needed
        return float("inf")


# ------------------------------------------------------------------------------------------------------------- running


class Runner:
    """Jobs on some processes, with the time left."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(os.getpid(),))
        self.failed: dict[str, str] = {}  # by line of the table

    def train(self, scale: Scale) -> tuple[str, ...]:
        """The names of all models' files, which are there when this returns."""
        (scale.folder / "outcomes").mkdir(parents=True, exist_ok=True)
        missing = [model for model in MODELS if trained(model, scale) is None]
        futures = {self.pool.submit(train_model, model, scale): model for model in missing}
        for number, future in enumerate(as_completed(futures), start=1):
            future.result()
            say(f"trained {futures[future].architecture} {futures[future].seed} ({number} of {len(missing)})")
        return tuple(key for model in MODELS if (key := trained(model, scale)) is not None)

    def run(self, jobs: Sequence[Job]) -> None:
        """All jobs that have no outcome yet, the dearest first."""
        missing = {job.path: job for job in jobs if not job.path.exists()}
        todo = sorted(missing.values(), key=lambda job: -job.passes)
        total, done, began = sum(job.passes for job in todo), 0, time.perf_counter()
        futures: dict[Future[str | None], Job] = {self.pool.submit(perform, job): job for job in todo}
        for number, future in enumerate(as_completed(futures), start=1):
            job, problem = futures[future], future.result()
            done += job.passes
            if problem is not None:
                self.failed[job.row.slug] = problem
            spent = time.perf_counter() - began
            left = spent * (total - done) / max(1, done)
            say(
                f"{number} of {len(todo)}, {left / 60:.1f} min left: {job.split} {job.row.slug} {_written(job.table)}"
                + (f": FAILED: {problem}" if problem else "")
            )


def _begin(driver: int) -> None:
    """One thread for a worker, which ends with the driver, however that ends."""
    torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _written(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v}" for k, v in table.items() if k != "name") or "default"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


Table = Mapping[str, Any]


def jobs_of(row: Row, tables: Sequence[Table], split: str, scale: Scale, keys: tuple[str, ...]) -> list[Job]:
    """One job a setting."""
    return [
        Job(
            row=row,
            table=table,
            split=split,
            n=scale.images(row.entry, cost(row, parse_attack(dict(table))), split),
            scale=scale,
            keys=keys,
        )
        for table in tables
    ]


@lru_cache(maxsize=256)
def tables_of(row: Row) -> dict[int, list[dict[str, Any]]]:
    """The settings to choose among within each limit: what fits a smaller one fits a larger one too."""
    found: dict[int, list[dict[str, Any]]] = {}
    seen: list[dict[str, Any]] = []
    for limit in LIMITS:
        seen = [*seen, *(t for t in candidates(row, limit) if t not in seen)]
        found[limit] = seen
    return found


def estimate(chosen: Sequence[Row], scale: Scale, keys: tuple[str, ...], workers: int) -> str:
    """What there is to do at most, in passes and minutes."""
    validation: dict[Path, int] = {}
    test: dict[Path, int] = {}
    for row in chosen:
        for tables in tables_of(row).values():
            for job in jobs_of(row, tables, "validation", scale, keys):
                validation[job.path] = job.passes
            for job in sorted(jobs_of(row, tables, "test", scale, keys), key=lambda job: -job.passes)[:1]:
                test[job.path] = job.passes
        for job in jobs_of(row, [default(row)], "test", scale, keys):
            test[job.path] = job.passes
    probe = _probe(scale, keys)
    minutes = [sum(part.values()) * probe / workers / 60 for part in (validation, test)]
    return (
        f"{len(chosen)} lines: at most {sum(validation.values()) / 1e6:.1f} million passes to choose settings and "
        f"{sum(test.values()) / 1e6:.1f} million to measure them; at {probe * 1e6:.0f} us a pass on each of {workers} "
        f"processes {minutes[0]:.0f} + {minutes[1]:.0f} minutes, of which finished jobs cost nothing"
    )


def _probe(scale: Scale, keys: tuple[str, ...]) -> float:
    """Seconds of one forward or backward pass of the residual network, now."""
    torch.set_num_threads(1)
    images = attacked("validation").select(torch.arange(128))
    source = Surrogate((network(scale.folder, keys[0]),))
    job = [(parse_attack("mi"), BUDGETS["linf"])]
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        craft(job, source, images.images, images.labels, seed=SEED, ids=images.ids, prepare=prepare)
        seconds.append(time.perf_counter() - began)
    return min(seconds) / (2 * 10 * 128)


# -------------------------------------------------------------------------------------------------------------- results


def score(row: Row, outcome: Outcome) -> float:
    """By what a setting is chosen: transferred success; of attacks that ask, success on what they ask."""
    if row.family == "query":
        return float((outcome.own & outcome.own_right).sum() / max(1, outcome.own_right.sum()))
    return float((outcome.wrong & outcome.right).sum() / max(1, outcome.right.sum()))


def choose(row: Row, tables: Sequence[Table], scale: Scale, keys: tuple[str, ...]) -> Table | None:
    """The setting that is best on the validation victims; of equals the first, of attacks that ask the longest.

    Few images decide there, and one that asks more can only win more.
    """
    done = [job for job in jobs_of(row, tables, "validation", scale, keys) if job.path.exists()]
    if row.family == "query":
        done.reverse()
    return max(done, key=lambda job: score(row, Outcome.load(job.path))).table if done else None


def transferred(outcome: Outcome, victims: Sequence[int] | None = None) -> dict[str, float]:
    """Success over victims and images; the interval is a bootstrap over images, each with all of its victims."""
    chosen = slice(None) if victims is None else list(victims)
    k = (outcome.wrong & outcome.right)[chosen].sum(0, keepdims=True).astype(float)
    n = outcome.right[chosen].sum(0, keepdims=True).astype(float)
    low, high = quantiles(resampled_ratios(k, n, _strata(outcome)))
    low, high = widened_where_rare(low, high, k, n, difference=False)
    return _rounded(asr=k.sum() / n.sum(), low=low[0], high=high[0])


def own(outcome: Outcome) -> dict[str, float]:
    """White-box success, or success on the network that was asked; Wilson over images."""
    k, n = (outcome.own & outcome.own_right).sum(keepdims=True), outcome.own_right.sum(keepdims=True)
    low, high = wilson(k, n)
    return _rounded(asr=k[0] / n[0], low=low[0], high=high[0])


def _strata(outcome: Outcome) -> Any:
    """Of each image the surrogate that it was attacked with; how many each has is fixed."""
    return np.arange(outcome.own.shape[0], dtype=np.int64) % len(SURROGATES)


def _rounded(**values: Any) -> dict[str, float]:
    return {name: round(float(value), 5) for name, value in values.items()}


def measured(job: Job) -> dict[str, Any]:
    """What the record says of one setting."""
    outcome = Outcome.load(job.path)
    names = [m.architecture for m in VICTIMS[job.split]]
    names = names[1:] if job.row.family == "query" else names
    return {
        "table": dict(job.table),
        "passes": cost(job.row, job.attack),
        "images": job.n,
        "own": own(outcome),
        "transferred": transferred(outcome),
        "victims": {name: transferred(outcome, [i])["asr"] for i, name in enumerate(names)},
        "surrogates": [transferred(outcome.of(slice(i, None, len(SURROGATES))))["asr"] for i in range(len(SURROGATES))]
        if job.row.source == "residual"
        else [],
        "l2": round(outcome.l2, 4),
        "queries": outcome.queries,
        "seconds": round(outcome.seconds, 2),
    }


def record(row: Row, scale: Scale, keys: tuple[str, ...], failed: Mapping[str, str]) -> dict[str, Any]:
    """One line of the table."""
    made: dict[str, Any] = {
        "entry": row.entry,
        "label": row.label,
        "family": row.family,
        "source": row.source,
        "norm": row.norm,
        "note": row.note,
    }
    settings = {}
    for at, table in finalists(row, scale, keys).items():
        (job,) = jobs_of(row, [table], "test", scale, keys)
        if job.path.exists():
            settings[at] = measured(job)
    if settings:
        made["settings"] = settings
    elif row.slug in failed:
        made["failed"] = failed[row.slug]
    return made


def finalists(row: Row, scale: Scale, keys: tuple[str, ...]) -> dict[str, Mapping[str, Any]]:
    """What goes to the test images: the default, and the choice within each limit."""
    chosen: dict[str, Mapping[str, Any]] = {"default": default(row)}
    for limit, tables in tables_of(row).items():
        best = choose(row, tables, scale, keys)
        if best is not None:
            chosen[str(limit)] = best
    return chosen


EXPECTED = (
    ("mi", "bim"),
    ("mi+di", "mi"),
    ("mi+sia", "mi+di"),
    ("mi+bsr", "mi+di"),
    ("sgm", "mi"),
    ("linbp", "mi"),
    ("bayes", "subspace-random"),
)


def orderings(chosen: Sequence[Row], scale: Scale, keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Paired differences of what the literature orders, at the best setting within each limit."""
    by_name: dict[str, Row] = {}
    for row in chosen:
        by_name.setdefault(row.label, row)
        by_name.setdefault(row.entry, row)
    settled = {row: finalists(row, scale, keys) for row in chosen}

    def at(row: Row, limit: str) -> Outcome | None:
        table = settled[row].get(limit)
        found = jobs_of(row, [table], "test", scale, keys) if table else []
        return Outcome.load(found[0].path) if found and found[0].path.exists() else None

    for better, worse in EXPECTED:
        if better not in by_name or worse not in by_name:
            continue
        for limit in map(str, LIMITS):
            one, two = at(by_name[better], limit), at(by_name[worse], limit)
            if one is None or two is None:
                continue
            n = min(len(one.own), len(two.own))
            asks = by_name[better].family == "query"
            first, second = one.of(slice(n)), two.of(slice(n))
            difference = _difference(_counts(first, asks), _counts(second, asks), first)
            unit = "queries" if asks else "passes"
            yield {"expected": f"{better} > {worse}", "at": f"{limit} {unit}", "images": n, **difference}
    plain = at(by_name["mi"], "10") if "mi" in by_name else None
    if plain is not None:
        same = [i for i, m in enumerate(VICTIMS["test"]) if m.architecture == SURROGATES[0].architecture]
        rest = [i for i in range(len(VICTIMS["test"])) if i not in same]
        won, right = plain.wrong & plain.right, plain.right
        near, far = ((won[i].sum(0) * 1.0, right[i].sum(0) * 1.0) for i in (same, rest))
        expected = "mi: victims of the surrogate's architecture > others"
        yield {"expected": expected, "at": "10 passes", "images": len(plain.own), **_difference(near, far, plain)}


def _counts(outcome: Outcome, asks: bool) -> tuple[Any, Any]:
    """Successes and chances of each image."""
    if asks:
        return (outcome.own & outcome.own_right) * 1.0, outcome.own_right * 1.0
    return (outcome.wrong & outcome.right).sum(0) * 1.0, outcome.right.sum(0) * 1.0


def _difference(one: tuple[Any, Any], two: tuple[Any, Any], outcome: Outcome) -> dict[str, float]:
    k, n = (np.array([one[part], two[part]], dtype=np.int64) for part in (0, 1))
    sides, same = np.arange(2), np.zeros(2, dtype=np.int64)
    these = Trained(stratum=sides, surrogate=same, surrogate_seed=same, victim=same, victim_seed=same)
    found = difference_of_rates(Counts(k=k, n=n, row=sides), these, sides, np.array([1.0, -1.0]), _strata(outcome))
    return _rounded(difference=found.value, low=found.low, high=found.high)


def protocol(scale: Scale, keys: tuple[str, ...]) -> dict[str, Any]:
    """What the numbers are, for the page."""
    images = attacked("test")
    accuracy = {
        f"{model.architecture} {model.seed}": round(
            float(1 - wrong(ready(scale.folder, key), images.images, images).mean()), 4
        )
        for model, key in zip(MODELS, keys, strict=True)
    }
    test = ", ".join(f"{n:,} up to {most} passes" for most, n in scale.test.items())
    ensemble = ", ".join(model.architecture for model in ENSEMBLE)
    judges, victims = (", ".join(m.architecture for m in VICTIMS[split]) for split in ("validation", "test"))
    text = (
        f"Success in per cent with 95 % intervals, at {BUDGETS['linf']}, where noted at {BUDGETS['l2']}. Images: "
        f"{test}, {scale.beyond} above, {scale.slow} for {', '.join(SLOW)}. Surrogates: three trainings of "
        f"{SURROGATES[0].architecture} on samples a, each attacking a third of the images; where noted, three networks "
        f"at once ({ensemble}). `own` is the network that the images were made on. `transferred` is over victims "
        f"trained on samples b ({victims}). Settings were chosen by transferred success on {scale.validation} "
        f"validation images and other victims ({judges}); within P passes means at most P forward and P backward "
        "passes an image, over all members, the search for a model path not counted. Attacks that ask are given one "
        f"victim ({VICTIMS['test'][0].architecture}); what they are chosen by is success there. Intervals range over "
        "images, for these models: `own` by Wilson, `transferred` by a bootstrap over images, each with its victims."
    )
    return {"version": VERSION, "text": text, "clean_accuracy": accuracy}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, choose, measure, record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="entries of the registry, or sums in the table")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs; records nothing")
    parser.add_argument("--estimate", action="store_true", help="train the models, say what there is to do, and stop")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args(arguments)
    scale = QUICK if options.quick else FULL
    every = rows()
    chosen = [row for row in every if not options.only or {row.entry, row.label} & set(options.only)]
    if not chosen:
        say(f"nothing is called {', '.join(options.only)}; known: {', '.join(ATTACKS)}")
        return 2
    runner = Runner(options.workers)
    try:
        keys = runner.train(scale)
        say(estimate(chosen, scale, keys, options.workers))
        if options.estimate:
            return 0
        tried = [(row, table) for row in chosen for table in tables_of(row)[LIMITS[-1]]]
        runner.run([job for row, table in tried for job in jobs_of(row, [table], "validation", scale, keys)])
        last = [(row, table) for row in chosen for table in finalists(row, scale, keys).values()]
        runner.run([job for row, table in last for job in jobs_of(row, [table], "test", scale, keys)])
    finally:
        runner.pool.shutdown(cancel_futures=True)
    made = [record(row, scale, keys, runner.failed) for row in chosen]
    found = list(orderings(every, scale, keys))
    for o in found:
        points = ", ".join(f"{100 * o[name]:+.1f}" for name in ("difference", "low", "high"))
        print(f"{o['expected']} at {o['at']}: {points} points, {o['images']} images")
    for row in made:
        for at, one in row.get("settings", {}).items():
            rates = f"own {one['own']['asr']:.1%}, transferred {one['transferred']['asr']:.1%}"
            print(f"{slug(row)}, {at} ({_written(one['table'])}): {rates}")
    if not options.quick:
        write(made, found, protocol(scale, keys), {row.slug for row in every})
    return 1 if runner.failed else 0


def slug(row: Table) -> str:
    """What a recorded line is called."""
    return f"{row['label']}, {row['source']}, {row['norm']}"


def write(made: Sequence[Table], found: Sequence[Table], said: Table, known: set[str]) -> None:
    """The record; lines that were not measured now stay as they were, and those of gone entries go."""
    old = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else []
    by_slug = {slug(row): row for row in (*old, *made) if slug(row) in known}
    text = json.dumps({"protocol": said, "orderings": list(found), "rows": list(by_slug.values())}, indent=1)
    RESULTS.write_text(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
