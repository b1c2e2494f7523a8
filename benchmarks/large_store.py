"""A store of made-up outcomes, as large as the explorer must bear: by default a run of 1,000,000 cells of 100 images.

    python benchmarks/large_store.py FOLDER [--cells 1000000] [--victims 1000] [--images 100] [--seed 0]

No network is trained: a victim answers wrong with a chance that grows with eps, falls with each mismatch of source,
architecture and balance, and differs between images, surrogates and victims; seeded, so the store is the same each
time. Beside the large run there are three small ones. There are no files of images or weights, as after
`carom gc --sets`.
"""

import argparse
import itertools
import json
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from carom.scenarios.axes import CONDITIONS, OF_SURROGATE
from carom.scenarios.cases import case
from carom.scenarios.store.database import Store
from carom.scenarios.store.predictions import pack_predictions
from carom.scenarios.store.schema import artifacts, cells, clean, image_sets, run_cells, run_models, run_sets, runs

CLASSES = ("cat", "dog", "bird", "frog", "deer", "ship", "truck", "plane", "horse", "lorry")
SOURCES = ("bing", "google")
ARCHITECTURES = ("lenet", "resnet-18", "vgg-11", "densenet", "mobilenet")
BALANCES = ("uniform", "tv0.2")
ATTACKS = {"fgsm": 0.7, "pgd": 0.85, "mi": 1.0, "mi+di": 1.15, "mi+di+ti": 1.1}
EPS = ("4/255", "8/255", "16/255", "32/255")
STARTED = "2026-01-{day:02d}T08:00:00.000000+00:00"
RECORDS: dict[str, dict[str, float]] = {
    "weights": {"forward": 50_000, "backward": 50_000, "seconds": 60.0},
    "images": {},
    "sets": {"forward": 1_000, "backward": 1_000, "size_over_eps": 0.95, "zero_gradient_fraction": 0.0, "ssim": 0.9},
}
Axes = dict[str, str]


@dataclass(frozen=True)
class Model:
    """A trained model: its row in the store, label, axes and how strong it is as attacker or as victim."""

    row: int
    label: str
    axes: Axes
    strength: float
    key: int  # what its seeded draws start from


def make(folder: Path, *, cell_count: int = 1_000_000, victims: int = 1_000, images: int = 100, seed: int = 0) -> str:
    """Write the store; the id of the large run.

    Args:
        folder: Where it is made; expected to hold no store.
        cell_count: Planned cells of the large run, each with an outcome; the surrogates' own models come on top.
        victims: Of the large run; the sets are as many as give that many cells.
        images: Of each set.
        seed: Of all draws.
    """
    planned = [("small-one", 60, 6), ("small-two", 60, 6), ("small-three", 200, 20), ("large", cell_count, victims)]
    ids = [f"{name}-{seed:06x}" for name, _, _ in planned]
    with Store(folder, write=True) as store:
        for day, (id_, (name, count, met)) in enumerate(zip(ids, planned, strict=True), 1):
            _make_run(store, id_, name, day, max(1, count // met), met, images, np.random.default_rng([seed, day]))
    return ids[-1]


def _make_run(
    store: Store, id_: str, name: str, day: int, sets: int, victims: int, images: int, rng: np.random.Generator
) -> None:
    day_key = 1_000_000 * day
    with store.writing() as connection:
        row = _last_row(connection) + 1
        connection.execute(
            runs.insert().values(
                id=id_,
                scenario=name,
                description=f"Made up: {sets:,} adversarial sets on {victims:,} victims",
                text=f'name = "{name}"\n',
                task="made-up",
                status="done",
                started=STARTED.format(day=day),
                finished=STARTED.format(day=day).replace("T08", "T12"),
                environment=json.dumps({"host": "nowhere", "device": "cpu", "versions": {}}),
            )
        )
        labels = np.arange(images) % len(CLASSES)
        image_source = np.arange(images) // len(CLASSES) % len(SOURCES)
        hardness = rng.normal(0, 0.8, images)
        image_row = row
        _add_artifacts(connection, "images", range(row, row + 1), id_)
        connection.execute(
            image_sets.insert().values(
                artifact=image_row,
                task="made-up",
                split="test",
                classes=json.dumps(CLASSES),
                sources=json.dumps(SOURCES),
                labels=labels.astype("<i4").tobytes(),
                image_source=image_source.astype("<i4").tobytes(),
                ids=np.arange(images, dtype="<i8").tobytes(),
            )
        )
        attacked = list(itertools.product(ATTACKS, EPS))
        attackers = _models(row + 1, -(-sets // len(attacked)), 1, rng, day_key)
        judged = _models(row + 1 + len(attackers), victims, 2, rng, day_key)
        first_set = judged[-1].row + 1
        models = [*attackers, *judged]
        _add_artifacts(connection, "weights", [m.row for m in models], id_)
        _add_artifacts(connection, "sets", range(first_set, first_set + sets), id_)
        connection.execute(
            run_models.insert(),
            [
                {"run": id_, "artifact": m.row, "role": role, "label": m.label, "axes": json.dumps(m.axes)}
                for role, group in (("surrogate", attackers), ("victim", judged))
                for m in group
            ],
        )
        answers = {}
        rows: list[Any] = []
        for m in models:
            right = rng.random(images) > 0.04 + 0.04 * (m.strength < 0)
            answers[m.row] = np.where(right, labels, (labels + 1) % len(CLASSES)).astype(np.uint8)
            packed = pack_predictions(answers[m.row].astype(np.int16), len(CLASSES))
            rows.append({"victim": m.row, "image_set": image_row, "correct": int(right.sum()), "predictions": packed})
        connection.execute(clean.insert(), rows)
        of_these = sa.select(clean.c.victim, clean.c.id).where(clean.c.image_set == image_row)
        against = {victim: row for victim, row in connection.execute(of_these)}
        asked = np.stack([answers[m.row] for m in models])
        made = []
        for i in range(sets):
            attacker = attackers[i // len(attacked)]
            attack, eps = attacked[i % len(attacked)]
            control = i % len(attacked) == 0 and i // len(attacked) == 0
            made.append((first_set + i, attacker, "noise" if control else attack, eps, control))
        connection.execute(
            run_sets.insert(),
            [
                {
                    "run": id_,
                    "artifact": row,
                    "image_set": image_row,
                    "surrogate": None if control else attacker.label,
                    **{f"{axis}_s": None if control else attacker.axes.get(axis) for axis in OF_SURROGATE},
                    "decoy": False,
                    "attack": attack,
                    "norm": "linf",
                    "eps": eps,
                    "attack_seed": 0,
                    "targeted": False,
                }
                for row, attacker, attack, eps, control in made
            ],
        )
        driver: Any = connection.connection.driver_connection
        start = time.monotonic()
        for i, (row, attacker, attack, eps, control) in enumerate(made):
            met = judged if control else [*judged, attacker]
            place = [models.index(attacker)] if not control else []
            mine = np.concatenate([np.arange(len(attackers), len(models)), np.array(place, dtype=np.int64)])
            chance, numbers = _chances(attacker, met, attack, eps, control)
            score = chance[:, None] + hardness + rng.normal(0, 0.6, (len(met), images))
            right = asked[mine] == labels
            wrong = ~right | (score > 0)
            adversarial = np.where(wrong, (labels + 1 + (score > 1.5)) % len(CLASSES), labels).astype(np.uint8)
            changes = adversarial ^ asked[mine]
            n, k = right.sum(1).tolist(), (right & wrong).sum(1).tolist()
            driver.executemany(
                f"INSERT INTO {run_cells.name} VALUES (?, ?, ?, ?, NULL)",
                [(id_, row, m.row, number) for m, number in zip(met, numbers, strict=True)],
            )
            driver.executemany(
                f"INSERT INTO {cells.name} (adversarial_set, victim, n, k, clean, changes) VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (row, m.row, n[j], k[j], against[m.row], zlib.compress(changes[j].tobytes(), 1))
                    for j, m in enumerate(met)
                ],
            )
            if sets >= 100 and (i + 1) % (sets // 20) == 0:
                left = (time.monotonic() - start) / (i + 1) * (sets - i - 1)
                print(f"{name}: {100 * (i + 1) // sets}%, {left:.0f} s left", file=sys.stderr, flush=True)


def _last_row(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.max(artifacts.c.id))).scalar() or 0)


def _add_artifacts(connection: sa.Connection, kind: str, rows: Any, run: str) -> None:
    connection.execute(
        artifacts.insert(),
        [
            {
                "id": row,
                "kind": kind,
                "key": f"{run}-{row}",
                "digest": f"{row:064x}",
                "record": json.dumps(RECORDS[kind]),
            }
            for row in rows
        ],
    )


def _models(first: int, count: int, seed: int, rng: np.random.Generator, key: int) -> list[Model]:
    grid = list(itertools.product(SOURCES, BALANCES, ARCHITECTURES))
    found = []
    for i in range(count):
        source, balance, architecture = grid[i % len(grid)]
        number = f"{seed}{i // len(grid):03d}"
        axes = {"source": source, "balance": balance, "architecture": architecture, "samples": "all", "seed": number}
        axes |= {"recipe": "standard", "defense": "none", "n": "all"}
        label = f"{source}/{balance}/{architecture}/s{number}"
        found.append(
            Model(row=first + i, label=label, axes=axes, strength=float(rng.normal(0, 0.3)), key=key + first + i)
        )
    return found


def _chances(
    attacker: Model, met: list[Model], attack: str, eps: str, control: bool
) -> tuple[NDArray[np.float64], list[int | None]]:
    """Log-odds of success on each victim, and the case of each."""
    size = int(eps.split("/")[0]) / 16
    odds: list[float] = []
    numbers: list[int | None] = []
    for m in met:
        if control:
            odds.append(-4.0)
            numbers.append(None)
            continue
        same = m.row == attacker.row
        matches = {axis: m.axes[axis] == attacker.axes[axis] for axis in CONDITIONS}
        number = case(same, *matches.values())
        loss = 0.7 * (not matches["source"]) + 0.9 * (not matches["architecture"]) + 0.2 * (not matches["balance"])
        odds.append(3.5 if same else ATTACKS[attack] * 1.6 * size**0.5 - 0.8 - loss + attacker.strength - m.strength)
        numbers.append(number)
    return np.array(odds), numbers


def main() -> None:
    """Make the store that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--victims", type=int, default=1_000)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    start = time.monotonic()
    made = make(given.folder, cell_count=given.cells, victims=given.victims, images=given.images, seed=given.seed)
    size = sum(path.stat().st_size for path in given.folder.rglob("*") if path.is_file())
    print(f"{given.folder}: run {made} and three small ones, {size / 1e6:.0f} MB, {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
