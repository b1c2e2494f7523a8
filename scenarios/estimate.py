"""What a scenario would cost, before anything is computed."""

import os
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from .jobs import EXAMINED_PASSES
from .plan import plan
from .run import EXAMINED_IMAGES, FIRST_GUESS
from .spec import BuiltModel, Scenario, TrainedModel
from .store import Store, artifacts, attempts, cells


def estimate(scenario: Scenario, folder: Path, workers: int | None) -> dict[str, Any]:
    """Counts, image passes, time and disk of a scenario over a store, of which nothing is changed.

    The time rests on what image passes have cost in this store; `time rests on` says so, or that it is a guess.

    Raises:
        InputError: As planning does.
    """
    workers = workers or len(os.sched_getaffinity(0))
    planned = plan(scenario)
    have, pairs, rates = _known(folder)
    models = [m for m in planned.models.values() if isinstance(m.model, TrainedModel)]
    builds = [m for m in planned.models.values() if isinstance(m.model, BuiltModel)]
    training = [m.model for m in models if ("weights", m.key) not in have and isinstance(m.model, TrainedModel)]
    sets = [s for key, s in planned.sets.items() if ("sets", key) not in have]
    lacking = [
        c for c in planned.cells if (have.get(("sets", c.set_key)), have.get(("weights", c.victim_key))) not in pairs
    ]
    n = {split: len(i.images) for split, i in planned.images.items()}
    passes = {
        "train": round(sum((m.configuration.n or 0) * m.configuration.recipe.passes for m in training)),
        "build": sum(
            m.model.passes for m in builds if isinstance(m.model, BuiltModel) and ("weights", m.key) not in have
        ),
        "measure": EXAMINED_PASSES * EXAMINED_IMAGES * len(planned.examined),
        "craft": sum(s.passes * n[s.split] for s in sets),
        "evaluate": sum(n[planned.sets[c.set_key].split] for c in lacking),
    }
    seconds = sum(count * rates.get(kind, FIRST_GUESS[kind]) for kind, count in passes.items()) / workers
    image = int(planned.images["test"].images.images[0].numel())
    sizes = {m.model.configuration.n for m in models if isinstance(m.model, TrainedModel)}
    return {
        "scenario": scenario.name,
        "trainings": f"{len(training)} to do of {len(models)}",
        **(
            {"builds": f"{sum(('weights', m.key) not in have for m in builds)} to do of {len(builds)}"}
            if builds
            else {}
        ),
        "training images": ", ".join(sorted(str(size) for size in sizes)) or "none: no model is trained here",
        "adversarial sets": f"{len(sets)} to do of {len(planned.sets)}",
        "cells": f"{len(lacking)} to do of {len(planned.cells)}",
        "images per set": ", ".join(f"{split} {count}" for split, count in n.items()),
        "image passes": f"{sum(passes.values()):,} (" + ", ".join(f"{k} {v:,}" for k, v in passes.items()) + ")",
        "time expected": f"about {seconds / 60:.1f} min with {workers} workers",
        "time rests on": "what passes cost in this store" if rates else "a guess for small networks",
        "disk expected": f"{sum(n[s.split] for s in sets) * image / 1e6:.1f} MB of adversarial images",
        **({"beware": "; ".join(planned.warnings)} if planned.warnings else {}),
        "your models": "; ".join(planned.checks) or "none to check",
    }


def _known(folder: Path) -> tuple[dict[tuple[str, str], int], set[tuple[int | None, int | None]], dict[str, float]]:
    """Artefacts that are there (row by kind and key), pairs with an outcome, and seconds a pass by kind of job."""
    if not (folder / "carom.db").is_file():
        return {}, set(), {}
    with Store(folder) as store, store.reading() as connection:
        there = sa.select(artifacts.c.kind, artifacts.c.key, artifacts.c.id).where(artifacts.c.digest.is_not(None))
        spent = (
            sa.select(attempts.c.job, sa.func.sum(attempts.c.seconds) / sa.func.sum(attempts.c.passes))
            .where(attempts.c.passes > 0, attempts.c.failure.is_(None))
            .group_by(attempts.c.job)
        )
        return (
            {(kind, key): id_ for kind, key, id_ in connection.execute(there)},
            {(s, v) for s, v in connection.execute(sa.select(cells.c.adversarial_set, cells.c.victim))},
            {kind: rate for kind, rate in connection.execute(spent)},
        )
