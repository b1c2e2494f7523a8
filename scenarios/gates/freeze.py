"""From a scenario to a suite: what the store lacks of it is made, then its adversarial sets are frozen."""

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

import carom
from carom.errors import InputError, StoreError
from carom.scenarios.run.progress import Progress
from carom.scenarios.run.run import run_id_of, run_scenario
from carom.scenarios.spec.read import load_scenario
from carom.scenarios.spec.scenario import Scenario
from carom.scenarios.statistics import SET, cell_rates
from carom.scenarios.store.artifacts import read_artifact
from carom.scenarios.store.called import surrogate_axes
from carom.scenarios.store.database import Store, store_errors
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.runs import find_run
from carom.scenarios.store.schema import artifacts, image_sets, run_sets, runs
from carom.scenarios.traces import snapshots

from .suite import AdversarialSet, Strength, Suite


def suite_of(
    scenario: str, folder: Path, *, workers: int | None = None, device: str = "auto", progress: Progress | None = None
) -> Suite:
    """The suite of a scenario, from the store or made now: the same command goes on where one was interrupted.

    Several processes may ask at once; one makes it, the others wait.

    Args:
        scenario: A file, or the name of a preset.
        folder: The store.
        workers: As in `run_scenario`.
        device: As in `run_scenario`.
        progress: Told what happens.

    Raises:
        InputError: The scenario is wrong, or has no adversarial set made on a surrogate.
        StoreError: Something of it failed, or the store cannot be written.
    """
    planned = load_scenario(scenario)
    with _turn(folder):
        run = _done(folder, planned)
        if run is None:
            report = run_scenario(planned, folder, workers=workers, device=device, progress=progress)
            if report.failures:
                why = report.failures[0]
                raise StoreError(f"suite of {planned.name}: {len(report.failures)} jobs failed, such as {why}")
            run = report.run
    return freeze(folder, run)


def freeze(folder: Path, run: str) -> Suite:
    """The suite of a run that is in the store: every set that was made on a surrogate, on the test images.

    Sets that were made from a victim's own answers or gradients, decoys and surrogate-free controls are left out:
    against another model they are no attack. So are snapshots of a trace, which is one attack.

    Raises:
        InputError: No such set.
        StoreError: A set was freed or is damaged.
    """
    with Store(folder) as store:
        found = find_run(store, run)
        with store.reading() as connection:
            images = connection.execute(
                sa.select(image_sets, artifacts.c.key, artifacts.c.digest)
                .join(artifacts, artifacts.c.id == image_sets.c.artifact)
                .join(run_sets, run_sets.c.image_set == image_sets.c.artifact)
                .where(run_sets.c.run == found.id, image_sets.c.split == "test")
                .limit(1)
            ).first()
            if images is None:
                raise InputError(f"{folder}: run {found.id} has no test images; expected a run with adversarial sets")
            rows = connection.execute(
                sa.select(run_sets, artifacts.c.key, artifacts.c.digest, artifacts.c.inputs)
                .join(artifacts, artifacts.c.id == run_sets.c.artifact)
                .where(
                    run_sets.c.run == found.id,
                    run_sets.c.image_set == images.artifact,
                    run_sets.c.surrogate.is_not(None),
                    run_sets.c.reads == "surrogate",
                    run_sets.c.asked.is_(None),
                    ~run_sets.c.decoy,
                )
                .order_by(run_sets.c.surrogate, run_sets.c.attack, run_sets.c.norm, run_sets.c.artifact)
            ).all()
            text = connection.execute(sa.select(runs.c.text).where(runs.c.id == found.id)).scalar_one()
        earlier = snapshots(row.attack for row in rows)
        kept = [r for r in rows if r.attack not in earlier]
        if not kept:
            raise InputError(
                f"{folder}: run {found.id} has no adversarial set made on a surrogate; name [[surrogates]] and attacks"
            )
        missing = [row for row in kept if row.digest is None]
        if missing:
            raise StoreError(f"{folder}: {len(missing)} of {len(kept)} sets of {found.id} are missing; run it again")
        clean = read_artifact(folder, "images", images.key, images.digest)
        tensors = [read_artifact(folder, "sets", row.key, row.digest) for row in kept]
        strengths = _strengths(store, found.id)
    targets = next((t["target"].numpy().astype(np.int64) for t in tensors if "target" in t), None)
    return Suite(
        name=found.scenario,
        description=found.description,
        task=found.task,
        classes=tuple(json.loads(images.classes)),
        sources=tuple(json.loads(images.sources)),
        scenario=text,
        made_by={"carom": carom.__version__, "torch": version("torch"), "run": found.id},
        clean=clean["images"].numpy(),
        labels=clean["labels"].numpy().astype(np.int64),
        image_source=np.frombuffer(images.image_source, "<i4").astype(np.int64),
        ids=clean["ids"].numpy().astype(np.int64),
        targets=targets,
        sets=tuple(_described(row, strengths) for row in kept),
        adversarial=tuple(t["images"].numpy() for t in tensors),
    )


def _done(folder: Path, planned: Scenario) -> str | None:
    """The run of this scenario, if nothing of it is missing and nothing changed since."""
    from carom.scenarios.store.stamps import find_unchanged, stamp

    found = find_unchanged(folder, stamp(planned.name, planned.text))
    return None if found is None or found[0] != run_id_of(planned) else found[0]


def _described(row: Any, strengths: Mapping[tuple[Any, ...], Strength]) -> AdversarialSet:
    seed = f" seed {row.attack_seed}" if row.attack_seed else ""
    inputs = json.loads(row.inputs)
    return AdversarialSet(
        name=f"{row.attack} {row.norm} {row.eps}{seed} from {row.surrogate}",
        surrogate=row.surrogate,
        axes={**surrogate_axes(row), "reads": row.reads},
        fingerprints=tuple(sorted(digest for name, digest in inputs.items() if name != "images")),
        attack=row.attack,
        norm=row.norm,
        eps=row.eps,
        seed=row.attack_seed,
        targeted=bool(row.targeted),
        strength=strengths.get((row.surrogate, row.attack, row.norm, row.eps, row.attack_seed)),
    )


def _strengths(store: Store, run: str) -> dict[tuple[Any, ...], Strength]:
    """How each set fared on the victims that are other models; of sets that met one."""
    try:
        outcomes = read_outcomes(store, run)
    except InputError:
        return {}
    cells = cell_rates(outcomes.where(outcomes.transfer))
    return {
        key if isinstance(key, tuple) else (key,): Strength(
            victims=len(some), asr=float(some["asr"].mean()), robust_accuracy=float(some["robust_accuracy"].mean())
        )
        for key, some in cells.groupby([*SET], sort=False)
    }


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Wait until no other process makes a suite in this store."""
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "suites.lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
