"""What a scenario would cost, before anything is computed."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from carom.scenarios.spec.scenario import Scenario, TrainedModel
from carom.scenarios.store.database import Store
from carom.scenarios.store.runs import spent

from .lacking import Lacking
from .measures import measured_surrogates
from .models import BuiltModel
from .plan import plan
from .prices import FIRST_GUESS, prices_of


def estimate(scenario: Scenario, folder: Path, workers: int | None) -> dict[str, Any]:
    """Counts, image passes, time and disk of a scenario over a store, of which nothing is changed.

    Where all models exist already the time rests on what passes of each take here, else on what passes have cost in
    this store; `time rests on` says so, or that it is a guess.

    Raises:
        InputError: As planning does.
        StoreError: The store cannot be read.
    """
    workers = workers or len(os.sched_getaffinity(0))
    planned = plan(scenario)
    with ExitStack() as stack:
        there = (folder / "carom.db").is_file()
        store = stack.enter_context(Store(folder)) if there else None
        lacking = Lacking(plan=planned, store=store)
        models, sets, cells, work = set(lacking.models), lacking.sets, lacking.cells, lacking.work
        looks = len(lacking.measures) + len(lacking.examinations)
        rates = {} if store is None else {kind: seconds / count for kind, seconds, count in spent(store)}
    prices = prices_of(planned, workers, "cpu")
    trainings = [m.model for m in planned.models.values() if isinstance(m.model, TrainedModel)]
    builds = [key for key, m in planned.models.items() if isinstance(m.model, BuiltModel)]
    all_looks = len(measured_surrogates(planned)) + len(planned.examined_victims)
    n = {split: len(i.images) for split, i in planned.images.items()}
    passes = {kind: sum(labelled.values()) for kind, labelled in work.items()}
    seconds = sum(
        count * (rates.get(kind, FIRST_GUESS[kind]) if prices is None else prices(kind, label))
        for kind, labelled in work.items()
        for label, count in labelled.items()
    )
    image = int(planned.images["test"].images.images[0].numel())
    to_train = sum(isinstance(planned.models[key].model, TrainedModel) for key in models)
    return {
        "scenario": scenario.name,
        "trainings": f"{to_train} to do of {len(trainings)}",
        **({"builds": f"{sum(key in models for key in builds)} to do of {len(builds)}"} if builds else {}),
        **({"models to look at": f"{looks} to do of {all_looks}"} if all_looks else {}),
        "training images": ", ".join(sorted({str(model.configuration.n) for model in trainings}))
        or "none: no model is trained here",
        "adversarial sets": f"{len(sets)} to do of {len(planned.sets)}",
        "cells": f"{len(cells)} to do of {len(planned.cells)}",
        "images per set": ", ".join(f"{split} {count}" for split, count in n.items()),
        "image passes": f"{sum(passes.values()):,} (" + ", ".join(f"{k} {v:,}" for k, v in passes.items()) + ")",
        "time expected": f"about {seconds / workers / 60:.1f} min with {workers} workers",
        "time rests on": "what these models take here"
        if prices is not None
        else "what passes cost in this store"
        if rates
        else "a guess for small networks",
        "disk expected": f"{sum(n[s.split] for s in sets) * image / 1e6:.1f} MB of adversarial images",
        **({"beware": "; ".join(planned.warnings)} if planned.warnings else {}),
        "your models": "; ".join(planned.checks) or "none to check",
    }
