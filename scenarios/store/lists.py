"""What a run names, as tables: sets, models, surrogates, victims, failures; and single pictures. Imports no torch."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from carom.errors import StoreError

from .artifacts import Kind, artifact_path
from .called import case_of, configuration_of
from .database import Store
from .outcomes import ATTACKERS
from .schema import (
    PLANNED_MODELS,
    PLANNED_SETS,
    artifacts,
    attempts,
    cells,
    image_sets,
    planned_cells,
    run_cells,
    run_models,
    run_sets,
    run_surrogates,
    run_victims,
)

Pictures = NDArray[np.float32]


def list_sets(store: Store, run: str, *, split: str = "test") -> pd.DataFrame:
    """The adversarial sets of a run on one split, one row each, those of controls too.

    Columns: set_id and image_set (rows of the store), surrogate ("" for a control), asked (label of the one victim
    whose answers it was made from, or ""), attack, norm, eps, targeted, attack_seed, made (whether it was crafted).
    """
    query = (
        sa.select(run_sets, artifacts.c.digest)
        .join(artifacts, artifacts.c.id == run_sets.c.artifact)
        .join(image_sets, image_sets.c.artifact == run_sets.c.image_set)
        .where(run_sets.c.run == run, image_sets.c.split == split, ~run_sets.c.decoy)
        .order_by(PLANNED_SETS)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
    columns = ["set_id", "image_set", "surrogate", "asked", "attack", "norm", "eps", "targeted", "attack_seed", "made"]
    table = []
    for row in rows:
        named = (row.attack, row.norm, row.eps, row.targeted, row.attack_seed, row.digest is not None)
        table.append((row.artifact, row.image_set, row.surrogate or "", row.asked or "", *named))
    return pd.DataFrame(table, columns=columns)


def list_answering(store: Store, run: str, adversarial_set: int) -> pd.DataFrame:
    """The models that answered an adversarial set in a run: victim_id (row of the store), victim (label), case, n, k.

    The surrogate's own model, case 0, comes last.
    """
    query = (
        sa.select(run_cells, cells.c.n, cells.c.k, run_models.c.role, run_models.c.label, run_sets.c.surrogate)
        .select_from(planned_cells)
        .join(run_models, (run_models.c.run == run_cells.c.run) & (run_models.c.artifact == run_cells.c.victim))
        .join(run_sets, (run_sets.c.run == run_cells.c.run) & (run_sets.c.artifact == run_cells.c.adversarial_set))
        .where(run_cells.c.run == run, run_cells.c.adversarial_set == adversarial_set, cells.c.n.is_not(None))
        .order_by(run_cells.c.case == 0, PLANNED_MODELS)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
    table = {
        row.victim: (row.victim, row.label, case_of(row.case, row.surrogate), row.n, row.k)
        for row in rows
        if row.role == "victim" or (row.case == 0 and row.role in ATTACKERS)
    }
    return pd.DataFrame(table.values(), columns=["victim_id", "victim", "case", "n", "k"])


def read_pictures(
    store: Store, adversarial_set: int, image_set: int, places: Sequence[int]
) -> tuple[Pictures, Pictures]:
    """Clean and adversarial images at these places of an adversarial set, `n c h w`, float32 in [0, 1].

    Only these images are read, so their file is not checked against its digest.

    Raises:
        StoreError: A file is missing, as after `carom gc --sets`, damaged, or too short.
    """
    from safetensors import SafetensorError, safe_open

    with store.reading() as connection:
        query = sa.select(artifacts.c.id, artifacts.c.key).where(artifacts.c.id.in_([adversarial_set, image_set]))
        keys: dict[int, str] = {row.id: row.key for row in connection.execute(query)}
    kinds: tuple[tuple[Kind, int], ...] = (("images", image_set), ("sets", adversarial_set))
    found = []
    for kind, id_ in kinds:
        path = artifact_path(store.folder, kind, keys[id_])
        if not path.is_file():
            raise StoreError(
                f"{path}: these images are not in the store, as after `carom gc --sets`; the numbers that rest on them "
                "stay; to make them again run the scenario into another folder with --store"
            )
        try:
            with safe_open(path, framework="numpy") as file:
                images = file.get_slice("images")
                some = np.concatenate([images[place : place + 1] for place in places])
        except (OSError, SafetensorError, ValueError, IndexError) as error:
            raise StoreError(f"{path}: cannot be read: {error}; run the scenario again to rebuild it") from None
        if len(some) != len(places):
            raise StoreError(f"{path}: holds too few images; run the scenario again to rebuild it")
        found.append(some.astype(np.float32) / np.float32(255))
    return found[0], found[1]


def list_models(store: Store, run: str) -> pd.DataFrame:
    """The models of a run: role, label, axes, how they were trained and how long it took."""
    query = (
        sa.select(run_models.c.role, run_models.c.label, run_models.c.axes, artifacts.c.record, artifacts.c.digest)
        .join(artifacts, artifacts.c.id == run_models.c.artifact)
        .where(run_models.c.run == run)
        .order_by(PLANNED_MODELS)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
    table = []
    for row in rows:
        record = json.loads(row.record)
        table.append(
            {
                "role": row.role,
                "model": row.label,
                **json.loads(row.axes),
                "trained": row.digest is not None,
                "passes": record.get("forward", 0) + record.get("backward", 0),
                "seconds": record.get("seconds", np.nan),
            }
        )
    return pd.DataFrame(table)


def list_surrogates(store: Store, run: str) -> pd.DataFrame:
    """The surrogates of a run, one row each: how they were built, what that cost and stored, and what was measured.

    Columns: surrogate (label), asked (label of the one victim that it was built from, or ""), surrogate_config (without
    the seed), surrogate_seed, builder, base (the configuration that it was built on), networks (of an ensemble as
    trained, or 1; else NaN), schedule, models (that were made for it), members (weight sets that are read), active (of
    them at a step), parameters (numbers stored), forward, backward (image passes of all trainings it rests on),
    seconds; `measures`, a mapping of what was measured.
    Costs are NaN while a model is missing.
    """
    with store.reading() as connection:
        of_run = sa.select(run_surrogates).where(run_surrogates.c.run == run)
        rows = connection.execute(of_run.order_by(sa.literal_column("run_surrogates.rowid"))).all()
        wanted = {id_ for r in rows for id_ in (*json.loads(r.rests_on), r.measures) if id_ is not None}
        found = {
            row.id: row for row in connection.execute(sa.select(artifacts).where(artifacts.c.id.in_(sorted(wanted))))
        }
    table = []
    for row in rows:
        members, rests_on, axes = json.loads(row.members), json.loads(row.rests_on), json.loads(row.axes)
        there = all(m in found and found[m].digest is not None for m in rests_on)
        records = {m: json.loads(found[m].record) for m in rests_on} if there else {}
        measures = found.get(row.measures) if row.measures is not None else None
        made: dict[str, Any] = {
            "surrogate": row.label,
            "asked": row.victim,
            "surrogate_config": configuration_of(axes, row.label),
            "surrogate_seed": int(axes.get("seed", -1)),
            "builder": row.builder,
            "base": configuration_of({**axes, "builder": "single"}, row.label),
            "networks": np.nan if row.networks is None else row.networks,
            "schedule": row.schedule,
            "models": len(rests_on),
            "active": row.active,
            "members": np.nan,
            "parameters": np.nan,
            "forward": np.nan,
            "backward": np.nan,
            "seconds": np.nan,
            "measures": {} if measures is None or measures.digest is None else _numbers(measures.record),
        }
        if there:
            made["members"] = sum(records[m].get("members", 1) for m in members)
            # a record without the count is of an earlier version, or of a model that was not trained here
            made["parameters"] = sum(records[m].get("parameters") or (found[m].bytes or 0) // 4 for m in members)
            if all(record.get("kind") != "referenced" for record in records.values()):  # nobody knows what those cost
                for column in ("forward", "backward", "seconds"):
                    made[column] = sum(record.get(column, 0) for record in records.values())
        table.append(made)
    return pd.DataFrame(table)


def list_victims(store: Store, run: str) -> pd.DataFrame:
    """The victims of a run that were looked at for masked gradients, one row each.

    Columns: victim (label), defense, victim_config (without the seed), victim_seed, forward, backward (image passes of
    all trainings that it rests on, public models not counted; NaN where nobody knows), seconds, parameters, budget (of
    the attacks behind the numbers), `numbers`, a mapping of what was found, empty while it is missing, and `records`,
    what was noted of each training that it rests on.
    """
    query = (
        sa.select(run_models.c.label, run_models.c.axes, run_victims)
        .join(run_victims, (run_victims.c.run == run_models.c.run) & (run_victims.c.victim == run_models.c.artifact))
        .where(run_models.c.run == run, run_models.c.role == "victim")
        .order_by(PLANNED_MODELS)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
        wanted = {id_ for row in rows for id_ in (*json.loads(row.rests_on), row.measures)}
        found = {
            row.id: row for row in connection.execute(sa.select(artifacts).where(artifacts.c.id.in_(sorted(wanted))))
        }
    table = []
    for row in rows:
        axes, measures, rests_on = json.loads(row.axes), found[row.measures], json.loads(row.rests_on)
        records = [json.loads(found[id_].record) for id_ in rests_on]
        known = all(record and record.get("kind") != "referenced" for record in records)
        costs = {c: sum(r.get(c, 0) for r in records) if known else np.nan for c in ("forward", "backward", "seconds")}
        numbers = {} if measures.digest is None else _numbers(measures.record)
        table.append(
            {
                "victim": row.label,
                "defense": axes.get("defense", ""),
                "victim_config": configuration_of(axes, row.label),
                "victim_seed": int(axes.get("seed", -1)),
                **costs,
                "parameters": numbers.get("parameters", np.nan),
                "budget": row.budget,
                "numbers": numbers,
                "records": records,
            }
        )
    return pd.DataFrame(table)


def _numbers(record: str) -> dict[str, Any]:
    """What was measured, without what was noted of the measuring."""
    return {k: v for k, v in json.loads(record).items() if k not in ("seconds", "label", "environment")}


def list_failures(store: Store, run: str) -> pd.DataFrame:
    """Why cells of a run have no outcome, and how many for each reason."""
    query = (
        sa.select(run_cells.c.failure.label("reason"), sa.func.count().label("cells"))
        .where(run_cells.c.run == run, run_cells.c.failure.is_not(None))
        .group_by(run_cells.c.failure)
        .order_by(sa.func.count().desc())
    )
    with store.reading() as connection:
        return pd.DataFrame(connection.execute(query).all(), columns=["reason", "cells"])


def list_attempts(store: Store, run: str) -> pd.DataFrame:
    """The jobs of a run as they were tried, the latest first."""
    with store.reading() as connection:
        rows = connection.execute(sa.select(attempts).where(attempts.c.run == run).order_by(attempts.c.id.desc())).all()
    return pd.DataFrame([row._asdict() for row in rows])
