"""What a scenario would cost, before anything is computed."""

import os
import time
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from carom.scenarios.spec.scenario import ReferencedModel, Scenario, TrainedModel
from carom.scenarios.store.database import Store
from carom.scenarios.store.runs import spent
from carom.zoo.models.classifier import Classifier
from carom.zoo.models.references import load_reference

from .lacking import Lacking
from .measures import measured_surrogates
from .models import BuiltModel
from .plan import Plan, plan
from .sets import PlannedSet

# Seconds for one image pass of the zoo's small networks on one core, until the store has measured its own.
FIRST_GUESS = {"train": 1.5e-4, "build": 1.5e-4, "measure": 1.5e-4, "craft": 1.0e-4, "evaluate": 8.0e-5}
_TIMED = 16  # images at most that a model which exists is timed on


def estimate(scenario: Scenario, folder: Path, workers: int | None) -> dict[str, Any]:
    """Counts, image passes, time and disk of a scenario over a store, of which nothing is changed.

    The time rests on what image passes have cost in this store, or else, where all models exist already, on what they
    take here; `time rests on` says so, or that it is a guess.

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
        models, sets, cells, passes = set(lacking.models), lacking.sets, lacking.cells, lacking.passes
        looks = len(lacking.measures) + len(lacking.examinations)
        rates = {} if store is None else {kind: seconds / count for kind, seconds, count in spent(store)}
    timed = {} if rates else _rates_of_existing(planned, sets)
    trainings = [m.model for m in planned.models.values() if isinstance(m.model, TrainedModel)]
    builds = [key for key, m in planned.models.items() if isinstance(m.model, BuiltModel)]
    all_looks = len(measured_surrogates(planned)) + len(planned.examined_victims)
    n = {split: len(i.images) for split, i in planned.images.items()}
    seconds = sum(count * (rates | timed).get(kind, FIRST_GUESS[kind]) for kind, count in passes.items()) / workers
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
        "time expected": f"about {seconds / 60:.1f} min with {workers} workers",
        "time rests on": "what passes cost in this store"
        if rates
        else "what these models take here"
        if timed
        else "a guess for small networks",
        "disk expected": f"{sum(n[s.split] for s in sets) * image / 1e6:.1f} MB of adversarial images",
        **({"beware": "; ".join(planned.warnings)} if planned.warnings else {}),
        "your models": "; ".join(planned.checks) or "none to check",
    }


def _rates_of_existing(planned: Plan, sets: Collection[PlannedSet]) -> dict[str, float]:
    """Seconds of one core for an image pass, crafting and evaluating; empty where a model is trained, or only asked.

    A way back takes about twice as long as one forward, and half of the passes of an attack are ways back.
    """
    task, pixels = planned.scenario.task, planned.images["test"].images.pixels[:_TIMED]
    forward: dict[str, float] = {}
    for key, model in planned.models.items():
        if not isinstance(model.model, ReferencedModel):
            return {}
        found = load_reference(model.model.reference, shape=task.shape, classes=len(task.classes), where=model.label)
        if not isinstance(found, Classifier):  # each question may cost
            return {}
        with torch.no_grad():
            found(pixels)
            began = time.perf_counter()
            found(pixels)
        forward[key] = (time.perf_counter() - began) * torch.get_num_threads() / len(pixels)
    passes = {one.key: one.passes * len(planned.images[one.split].images) for one in sets}
    whole = sum(passes.values())
    reads = {s.key: sum(forward[m] for m in s.members) / max(1, len(s.members)) for s in sets}
    mean = sum(forward.values()) / max(1, len(forward))
    craft = {"craft": 1.5 * sum(passes[key] * reads[key] for key in passes) / whole} if whole else {}
    return {"evaluate": mean} | craft
