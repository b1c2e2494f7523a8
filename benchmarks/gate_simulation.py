"""How often a gate errs, on what real trainings answered: fills docs/science/gates.md.

    python benchmarks/gate_simulation.py [--folder .carom/gate-simulation] [--quick --page FILE]

Networks of two recipes are trained on the embedded digits, each several times with nothing but another seed, and asked
about adversarial sets crafted on three further networks. Which images each gets right is kept in the folder, so that
an interrupted run goes on. All tables are drawn from these answers: images with replacement, trainings by lot.
"""

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import marked
import numpy as np
import pandas as pd
import torch
from measure import Progress
from numpy.typing import NDArray
from scipy.stats import binom, norm  # type: ignore[attr-defined]

from carom.files import replacing
from carom.identity import content_key
from carom.scenarios.api import attack
from carom.scenarios.gates.ask import Answers
from carom.scenarios.gates.calibrate import LEAST, calibrate
from carom.scenarios.gates.judge import Limits, Sums, drop_bounds, judge, share_bounds
from carom.scenarios.statistics import paired_wald, wilson
from carom.scenarios.statistics.pooled import Pool, rate_intervals
from carom.scenarios.statistics.seeds import Counts, Trained
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier
from carom.zoo.tasks.digits import Digits
from carom.zoo.tasks.images import ImageSet, concatenate
from carom.zoo.training.loop import train
from carom.zoo.training.recipes import recipe

PAGE = Path(__file__).parents[1] / "docs" / "science" / "gates.md"
VERSION = 1  # raise it when an answer means something else
SEED = 20240817
RECIPES: Mapping[str, int] = {"lenet": 6, "mlp": 6}  # architecture: epochs
SURROGATES: Mapping[str, int] = {"resnet-small": 3, "lenet": 6, "mlp": 6}
ATTACKS = ("pgd", "mi+di")
EPS = "32/255"
SHARES = (0.05, 0.0125, 0.002)
MARGINS = (0.01, 0.02, 0.05)  # beyond the allowance, where power is asked for
NOMINAL = 0.95
OFFERED = 0.93  # mean coverage below which an interval of nominal 95% is not offered

Right = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is done.

    Attributes:
        trainings: Of each recipe.
        epochs: Most of a training.
        pairs: Pairs of trainings that the drop is simulated from.
        draws: Samples of each pair.
        splits: Times that a recipe's trainings are split into calibration, baseline and new model.
        sizes: Images of a suite.
        learned: Images of a training, at most 2,400.
        asked: Images that the trainings answer, at most 1,240.
    """

    trainings: int = 25
    epochs: int = 100
    pairs: int = 60
    draws: int = 2000
    splits: int = 4000
    sizes: tuple[int, ...] = (50, 200, 1000, 5000)
    learned: int = 2400
    asked: int = 1240


FULL = Scale()
QUICK = Scale(trainings=7, epochs=1, pairs=2, draws=20, splits=6, sizes=(50, 2000), learned=300, asked=100)


# ------------------------------------------------------------------------------------------------------- real answers


@functools.cache
def _training_images(count: int) -> ImageSet:
    task = Digits()
    every = concatenate([task.load(source, "train") for source in task.sources])
    return every.select(torch.linspace(0, len(every) - 1, count).long())


@functools.cache
def _asked_images(count: int) -> ImageSet:
    """Test and validation images, evenly thinned: no weights are chosen on the latter here."""
    task = Digits()
    every = concatenate([task.load(source, split) for split in ("test", "validation") for source in task.sources])
    return every.select(torch.linspace(0, len(every) - 1, count).long())


def trained(name: str, epochs: int, seed: int, learned: int) -> Classifier:
    """One training on the handwritten and the typed digits."""
    return train(
        recipe({"name": "standard", "epochs": epochs, "batch_size": 64, "select": "last"}),
        architecture(name),
        train=_training_images(learned),
        validation=_asked_images(100),
        classes=10,
        seed=seed,
    ).classifier()


def _kept(folder: Path, key: str, make: Callable[[], NDArray[np.generic]]) -> NDArray[np.generic]:
    """An array, made once."""
    path = folder / f"{key}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = make()
        with replacing(path) as part, part.open("wb") as file:
            np.save(file, made)
    found: NDArray[np.generic] = np.load(path)
    return found


def answers_of(folder: Path, scale: Scale) -> dict[str, list[Answers]]:
    """What every training of each recipe gets right, clean and in each adversarial set."""
    images = _asked_images(scale.asked)
    told = Progress(len(SURROGATES) + scale.trainings * len(RECIPES))

    def crafted(name: str, epochs: int, seed: int) -> NDArray[np.generic]:
        network = trained(name, epochs, seed, scale.learned)
        made = [attack(kind, network, images.pixels, images.labels, eps=EPS) for kind in ATTACKS]
        return (torch.stack(made) * 255).round().to(torch.uint8).numpy()

    sets: list[NDArray[np.generic]] = []
    surrogates = [(name, min(most, scale.epochs), 1000 + i) for i, (name, most) in enumerate(SURROGATES.items())]
    for of in surrogates:
        key = content_key(VERSION, of, ATTACKS, EPS, scale.learned, len(images))
        sets.extend(_kept(folder, key, functools.partial(crafted, *of)))
        told.step(f"adversarial sets of {of[0]}")

    def asked(name: str, epochs: int, seed: int) -> NDArray[np.generic]:
        network = trained(name, epochs, seed, scale.learned)
        with torch.inference_mode():
            answered = [network(torch.from_numpy(x).float() / 255).argmax(1) for x in (images.images.numpy(), *sets)]
        return np.stack([(answer == images.labels).numpy() for answer in answered])

    found: dict[str, list[Answers]] = {name: [] for name in RECIPES}
    for name, epochs in RECIPES.items():
        for seed in range(1, scale.trainings + 1):
            of = (name, min(epochs, scale.epochs), seed)
            key = content_key(VERSION, of, surrogates, ATTACKS, EPS, scale.learned, len(images))
            right = _kept(folder, key, functools.partial(asked, *of)).astype(np.bool_)
            found[name].append(Answers(clean=right[0], adversarial=right[1:]))
            told.step(f"{name}, seed {seed}")
    return found


# ------------------------------------------------------------------------------------------------------ exact drops


class Population(NamedTuple):
    """Drops of images, of which samples are drawn: values in [-1, 1] with their probabilities."""

    values: Floats
    odds: Floats

    @property
    def mean(self) -> float:
        return float(self.values @ self.odds)

    def sums(self, rng: np.random.Generator, n: int, draws: int) -> Floats:
        """Sums of the first three powers over n images, `3 draws`."""
        counts = rng.multinomial(n, self.odds, size=draws)
        return np.stack([counts @ self.values**power for power in (1, 2, 3)])


def pairs_of(
    found: Mapping[str, Sequence[Answers]], sets: int, count: int, rng: np.random.Generator, *, least: float
) -> list[tuple[Right, Right]]:
    """Two trainings of one recipe on some of the sets, the better first, where both get more than `least` right."""
    recipes = list(found)
    pairs: list[tuple[Right, Right]] = []
    while len(pairs) < count:
        of = found[recipes[len(pairs) % len(recipes)]]
        a, b = rng.choice(len(of), 2, replace=False)
        chosen = rng.choice(len(of[0].adversarial), sets, replace=False)
        pair = sorted((of[a].adversarial[chosen], of[b].adversarial[chosen]), key=lambda right: -right.sum())
        if pair[1].mean() > least:
            pairs.append((pair[0], pair[1]))
    return pairs


def population(then: Right, now: Right) -> Population:
    """The drops of all images of two trainings."""
    sets = len(then)
    lost = then.sum(0, dtype=np.int64) - now.sum(0, dtype=np.int64)
    return Population(np.arange(-sets, sets + 1) / sets, np.bincount(lost + sets, minlength=2 * sets + 1) / len(lost))


def weakened(then: Right, now: Right, drop: float, *, whole: bool) -> Population:
    """The drops if `now` also lost right answers by lot until the mean drop is exactly this.

    Args:
        then: Before.
        now: After.
        drop: At least the drop there is.
        whole: An image loses all of its answers at once, or each answer falls apart from the others.
    """
    sets = len(then)
    before, kept = then.sum(0, dtype=np.int64), now.sum(0, dtype=np.int64)
    odds = np.zeros(2 * sets + 1)
    lose = 1 - (before.mean() - drop * sets) / kept.mean()
    for b, k in zip(before, kept, strict=True):
        if whole:
            odds[b - k + sets] += 1 - lose
            odds[b + sets] += lose
        else:
            left = np.arange(k + 1)
            odds[b - left + sets] += binom.pmf(left, k, 1 - lose)
    return Population(np.arange(-sets, sets + 1) / sets, odds / len(before))


def _bounds(sums: Floats, n: int, share: float, sets: int) -> Floats:
    """Lower and upper bound of each sample, `draws 2`."""
    kinds, of = np.unique(sums, axis=1, return_inverse=True)
    bounds = [drop_bounds(Sums(float(n), *map(float, kind)), share, 1 / sets) for kind in kinds.T]
    return np.array(bounds)[of.ravel()]


def _wald_low(sums: Floats, n: int, share: float) -> Floats:
    """Lower bound by Bonett and Price's interval, carried over to values between -1 and 1."""
    mean, square = sums[0] / (n + 2), (sums[1] + 2) / (n + 2)
    return np.asarray(mean - norm.isf(share) * np.sqrt((square - mean**2) / (n + 2)))


def false_alarms(found: Mapping[str, Sequence[Answers]], scale: Scale) -> list[str]:
    """Red at a true drop that equals the allowance."""
    heads = [f"{bound} {share:.2%}" for bound in ("gate", "Wald") for share in SHARES]
    lines = ["| drop | sets | n | " + " | ".join(heads) + " |", "|---" * (3 + len(heads)) + "|"]
    for sets in (1, 6):
        drop = Limits().allowance
        pairs = pairs_of(found, sets, scale.pairs, np.random.default_rng([SEED, 1, sets]), least=drop)
        situations = {
            "of the pair": [population(*pair) for pair in pairs],
            "2 points, one by one": [weakened(then, then, drop, whole=False) for then, _ in pairs],
            "2 points, image by image": [weakened(then, then, drop, whole=True) for then, _ in pairs],
        }
        for i, (situation, populations) in enumerate(situations.items()):
            for n in scale.sizes:
                rng = np.random.default_rng([SEED, 2, sets, i, n])
                red: dict[str, list[float]] = {head: [] for head in heads}
                for people in populations:
                    sums, truth = people.sums(rng, n, scale.draws), people.mean + 1e-12
                    for share in SHARES:
                        red[f"gate {share:.2%}"].append(float((_bounds(sums, n, share, sets)[:, 0] > truth).mean()))
                        red[f"Wald {share:.2%}"].append(float((_wald_low(sums, n, share) > truth).mean()))
                cells = [f"{np.mean(values):.2%} ({max(values):.2%})" for values in red.values()]
                lines.append(f"| {situation} | {sets} | {n:,} | " + " | ".join(cells) + " |")
    return lines


def power(found: Mapping[str, Sequence[Answers]], scale: Scale, n: int = 2000) -> list[str]:
    """Red at a true drop that is larger than the allowance."""
    heads = " | ".join(f"{share:.2%}" for share in SHARES)
    lines = [f"| sets | answers fall | points beyond the allowance | {heads} |", "|---" * (3 + len(SHARES)) + "|"]
    allowance = Limits().allowance
    for sets in (1, 6):
        least = allowance + max(MARGINS)
        pairs = pairs_of(found, sets, scale.pairs, np.random.default_rng([SEED, 3, sets]), least=least)
        for whole in (False, True):
            for margin in MARGINS:
                rng, drop = np.random.default_rng([SEED, 4, sets, whole, int(1000 * margin)]), allowance + margin
                red: dict[float, list[float]] = {share: [] for share in SHARES}
                for then, now in pairs:
                    start = now if population(then, now).mean <= drop else then
                    sums = weakened(then, start, drop, whole=whole).sums(rng, n, scale.draws)
                    for share in SHARES:
                        red[share].append(float((_bounds(sums, n, share, sets)[:, 0] > allowance).mean()))
                cells = " | ".join(f"{np.mean(red[share]):.1%} ({min(red[share]):.1%})" for share in SHARES)
                how = "image by image" if whole else "one by one"
                lines.append(f"| {sets} | {how} | {100 * margin:g} | {cells} |")
    return lines


# -------------------------------------------------------------------------------------------------------- re-trainings


def retrainings(found: Mapping[str, Sequence[Answers]], scale: Scale) -> list[str]:
    """Equal re-trainings that go red: with a calibrated allowance, with the default one, by McNemar's test."""
    lines = [
        "| recipe | n | sd between trainings | allowance, mean | calibrated: red | cannot tell | red at 2 points "
        "| McNemar, one set: red | McNemar, all answers: red |",
        "|---" * 9 + "|",
    ]
    labels, classes = _asked_images(scale.asked).labels.numpy(), Digits().classes
    for i, (name, of) in enumerate(found.items()):
        for n in sorted({min(300, len(labels)), len(labels)}):
            rng = np.random.default_rng([SEED, 5, i, n])
            spread = 100 * float(np.std([one.robust_accuracy for one in of], ddof=1))
            allowances, came, default, one_set, all_sets = [], [], [], [], []
            for _ in range(scale.splits):
                order = rng.permutation(len(of))
                images = np.sort(rng.choice(len(labels), n, replace=False))
                some = [
                    Answers(clean=of[j].clean[images], adversarial=of[j].adversarial[:, images])
                    for j in order[: LEAST + 2]
                ]
                then, now = some[LEAST:]
                allowance = calibrate(some[:LEAST]).allowance
                allowances.append(allowance)
                sides = then, now, labels[images], classes
                came.append(judge(*sides, Limits(allowance=allowance)).verdict)
                default.append(judge(*sides, Limits()).verdict)
                chosen = int(rng.integers(len(now.adversarial)))
                one_set.append(_mcnemar(then.adversarial[chosen], now.adversarial[chosen]))
                all_sets.append(_mcnemar(then.adversarial, now.adversarial))
            red, default_red = (np.mean([verdict == "weaker" for verdict in all_]) for all_ in (came, default))
            tests = [f"{np.mean([p < 0.05 for p in values]):.1%}" for values in (one_set, all_sets)]
            lines.append(
                f"| {name} | {n:,} | {spread:.2f} points | {100 * np.mean(allowances):.1f} points | {red:.2%} | "
                f"{np.mean([verdict == 'cannot tell' for verdict in came]):.1%} | {default_red:.1%} | "
                f"{tests[0]} | {tests[1]} |"
            )
    return lines


def _mcnemar(then: Right, now: Right) -> float:
    """Exact one-sided p of as many lost answers."""
    lost, won = int((then & ~now).sum()), int((now & ~then).sum())
    return float(binom.sf(lost - 1, lost + won, 0.5))


# ------------------------------------------------------------------------------------------------------------ coverage

RATES = (0.01, 0.05, 0.1, 0.3, 0.5)


def _near(p: float) -> Floats:
    """Rates about p: one rate alone shows the teeth of whole numbers, not an interval's habit."""
    return np.linspace(0.8 * p, 1.2 * p, 41)


def rate_coverage(n: int, p: float, limits: Callable[[Ints, int], tuple[Floats, Floats]]) -> float:
    """Mean coverage of an interval of k of n over rates about p, exactly."""
    k = np.arange(n + 1)
    low, high = limits(k, n)
    return float(np.mean([binom.pmf(k, n, rate)[(low <= rate) & (rate <= high)].sum() for rate in _near(p)]))


def _wilson(k: Ints, n: int) -> tuple[Floats, Floats]:
    return wilson(k, np.full(len(k), n))


def _share(k: Ints, n: int) -> tuple[Floats, Floats]:
    both = np.array([share_bounds(float(one), n, (1 - NOMINAL) / 2) for one in k])
    return both[:, 0], both[:, 1]


def rates_table(scale: Scale) -> list[str]:
    """Intervals of a share: Wilson's, and the floor's."""
    lines = [
        "| interval | n | " + " | ".join(f"p near {p:g}" for p in RATES) + " | mean |",
        "|---" * (3 + len(RATES)) + "|",
    ]
    for name, limits in (("Wilson", _wilson), ("of a floor", _share)):
        for n in (10, 20, 50, 200, 1000) if scale is FULL else (20, 50):
            cover = [rate_coverage(n, p, limits) for p in RATES]
            lines.append(f"| {name} | {n:,} | " + " | ".join(map(_shown, cover)) + f" | {_shown(np.mean(cover))} |")
    return lines


def _shown(coverage: float | np.floating) -> str:
    """A coverage; bold where it is too low to be offered."""
    return f"**{coverage:.1%}**" if coverage < OFFERED else f"{coverage:.1%}"


DIFFERING = (0.01, 0.05, 0.1, 0.2, 0.4)


def differences_table(scale: Scale) -> list[str]:
    """Intervals of a paired difference of two shares, over how many images differ and which way they lean."""
    lines = [
        "| interval | n | " + " | ".join(f"{d:.0%} differ" for d in DIFFERING) + " | mean |",
        "|---" * (3 + len(DIFFERING)) + "|",
    ]
    rows: dict[str, list[str]] = {}
    for n in (20, 50, 200, 1000, 5000) if scale is FULL else (50,):
        cover: dict[str, list[float]] = {"Bonett and Price": [], "of the gate": []}
        for differing in DIFFERING:
            rng = np.random.default_rng([SEED, 6, n, int(1000 * differing)])
            inside: dict[str, list[float]] = {name: [] for name in cover}
            for lean in (0.5, 0.6, 0.75, 0.9, 1.0):  # the part of differing images that is lost
                people = Population(
                    np.array([-1.0, 0.0, 1.0]), np.array([(1 - lean) * differing, 1 - differing, lean * differing])
                )
                sums, truth = people.sums(rng, n, scale.draws * 10), people.mean
                lost, won = (np.rint((sums[1] + sign * sums[0]) / 2).astype(np.int64) for sign in (1, -1))
                low, high = paired_wald(lost, won, np.full(sums.shape[1], n))
                inside["Bonett and Price"].append(float(((low <= truth) & (truth <= high)).mean()))
                bounds = _bounds(sums, n, (1 - NOMINAL) / 2, 1)
                inside["of the gate"].append(float(((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean()))
            for name, values in inside.items():
                cover[name].append(float(np.mean(values)))
        for name, values in cover.items():
            row = f"| {name} | {n:,} | " + " | ".join(map(_shown, values)) + f" | {_shown(np.mean(values))} |"
            rows.setdefault(name, []).append(row)
    return [*lines, *(row for of in rows.values() for row in of)]


def seeds_table(found: Mapping[str, Sequence[Answers]], scale: Scale) -> list[str]:
    """The interval over images and seeds: does it hold what all trainings of a recipe, on all images, come to?"""
    sizes = (100, 300, 1000) if scale is FULL else (100,)
    lines = [
        "| recipe | seeds | " + " | ".join(f"n = {n:,}" for n in sizes) + " | mean |",
        "|---" * (3 + len(sizes)) + "|",
    ]
    for i, (name, of) in enumerate(found.items()):
        right, sets = np.stack([one.adversarial.sum(0) for one in of]), len(of[0].adversarial)
        for seeds in (2, 3, 5, 10):
            cover = []
            for n in sizes:
                rng = np.random.default_rng([SEED, 7, i, seeds, n])
                drawn = [
                    right[rng.integers(len(right), size=seeds)][:, rng.integers(right.shape[1], size=n)]
                    for _ in range(scale.draws)
                ]
                table = _over_seeds(np.stack(drawn), sets)
                truth = float(right.mean()) / sets
                cover.append(float(((table["low"] <= truth) & (truth <= table["high"])).mean()))
            lines.append(f"| {name} | {seeds} | " + " | ".join(map(_shown, cover)) + f" | {_shown(np.mean(cover))} |")
    return lines


def _over_seeds(right: Ints, sets: int) -> pd.DataFrame:
    """Intervals of right answers of `sets` sets, `draws seeds images`: each draw is a pooled row."""
    draws, seeds, n = right.shape
    row = np.repeat(np.arange(draws), seeds)
    same = np.zeros(draws * seeds, dtype=np.int64)
    made_by = Trained(
        stratum=row, surrogate=same, surrogate_seed=same, victim=same, victim_seed=np.tile(np.arange(seeds), draws)
    )
    pooled = Pool(
        keys=pd.DataFrame(index=range(draws)),
        rows=np.arange(draws * seeds),
        group=row,
        made_by=made_by,
        itself=np.zeros(draws, dtype=bool),
    )
    counts = Counts(k=right.reshape(-1, n), n=np.full((1, n), sets), row=same)
    return rate_intervals(pooled, counts, np.zeros(n, dtype=np.int64))


# ------------------------------------------------------------------------------------------------------------ the page


def standing(found: Mapping[str, Sequence[Answers]], scale: Scale) -> list[str]:
    """What the tables are drawn from."""
    lines = ["| recipe | trainings | clean accuracy | robust accuracy | lowest and highest |", "|---|---|---|---|---|"]
    for name, of in found.items():
        robust = [one.robust_accuracy for one in of]
        epochs = min(RECIPES[name], scale.epochs)
        lines.append(
            f"| {name}, {epochs} epochs | {len(of)} | {np.mean([one.clean_accuracy for one in of]):.1%} | "
            f"{np.mean(robust):.1%} | {min(robust):.1%} to {max(robust):.1%} |"
        )
    every = next(iter(found.values()))[0].adversarial.shape
    surrogates = ", ".join(SURROGATES)
    lines += [
        "",
        f"{every[0]} adversarial sets of {every[1]:,} images: {' and '.join(ATTACKS)}, linf {EPS}, on {surrogates}. "
        f"{scale.pairs} pairs of trainings, {scale.draws:,} samples of each; {scale.splits:,} splits; seed {SEED}.",
    ]
    return lines


def generated(folder: Path, scale: Scale) -> dict[str, str]:
    """Each generated part of the page."""
    found = answers_of(folder, scale)
    tables: Mapping[str, Callable[[], list[str]]] = {
        "answers": lambda: standing(found, scale),
        "false-alarms": lambda: false_alarms(found, scale),
        "power": lambda: power(found, scale),
        "retrainings": lambda: retrainings(found, scale),
        "rates": lambda: rates_table(scale),
        "differences": lambda: differences_table(scale),
        "seeds": lambda: seeds_table(found, scale),
    }
    parts, told = {}, Progress(len(tables))
    for name, make in tables.items():
        parts[name] = "\n".join(make())
        told.step(name)
    return parts


def main(arguments: Sequence[str] | None = None) -> None:
    """Fills the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path(".carom/gate-simulation"), help="where answers are kept")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--quick", action="store_true", help="a few small trainings, to see that it runs")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    parts = generated(options.folder, QUICK if options.quick else FULL)
    options.page.write_text(marked.filled(options.page.read_text(), parts, of=options.page.name))


if __name__ == "__main__":
    main()
