"""One model of a run: attackers with one attack, exposed classes, how it is loaded, the set that fools it most."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from carom.errors import InputError
from carom.scenarios.statistics import Outcomes, group_table
from carom.scenarios.statistics.knowledge import NOISE
from carom.scenarios.store.artifacts import artifact_path
from carom.scenarios.store.database import Store
from carom.scenarios.store.outcomes import read_outcomes
from carom.scenarios.store.schema import artifacts, run_models
from carom.scenarios.tables.knowledge import show_knowledge
from carom.scenarios.tables.table import Table, with_intervals

from .cells import MOST_READ

ENOUGH = 5  # images of a class that the model gets right, to say anything of the class
MOST_CLASSES = 200  # a class takes some milliseconds
SHOWN = 10  # of the most exposed classes
ROLES = ("victim", "surrogate", "validation")  # a model stands in the first of these that it has


def models_alike(cells: pd.DataFrame) -> dict[str, str]:
    """The configuration, without the seed, of each model that was attacked, by its label."""
    known = cells[["victim", "victim_config"]].drop_duplicates().astype(str)
    return {v: c for v, c in known.itertuples(index=False, name=None) if c}


def known_of(folder: Path, run: str, cells: pd.DataFrame, victims: Sequence[str], attack: str) -> Table:
    """The table "by-knowledge" of some models under one attack, and under noise, read from their answers.

    Raises:
        CaromError: More than `MOST_READ` cells, none, or a store that cannot be read.
    """
    mine = cells["victim"].isin(victims) & cells["attack"].isin([attack, NOISE])
    outcomes = _outcomes(folder, run, cells[mine])
    # what was asked for by name stands alone, be it a snapshot
    return show_knowledge(replace(outcomes, cells=outcomes.cells.assign(snapshot=False)))


def _outcomes(folder: Path, run: str, cells: pd.DataFrame) -> Outcomes:
    if len(cells) > MOST_READ:
        raise InputError(
            f"run {run}: {len(cells):,} cells are to be read; expected at most {MOST_READ:,}; choose an attack, or "
            "fewer models"
        )
    ids = [[int(i) for i in cells[column].unique()] for column in ("set_id", "victim_id")]
    with Store(folder) as store:
        outcomes = read_outcomes(store, run, only_sets=ids[0], only_victims=ids[1])
    return outcomes.where(outcomes.cells["attack"].isin(cells["attack"].unique()).to_numpy(dtype=bool))


def transferred(cells: pd.DataFrame, victim: str, budget: str, attack: str | None) -> pd.DataFrame:
    """The cells of untargeted attacks on a model that were made on others alone; no snapshots where all are pooled.

    Args:
        cells: As `View.cells`.
        victim: The model.
        budget: As in the column `budget`.
        attack: One of theirs; None for all.
    """
    found = cells[(cells["victim"] == victim) & (cells["budget"] == budget) & (cells["case"] > 0) & (cells["n"] > 0)]
    found = found[(found["reads"] == "surrogate") & ~found["decoy"].astype(bool)] if "decoy" in found else found
    return found[~found["snapshot"].astype(bool)] if attack is None else found[found["attack"] == attack]


def exposed_classes(folder: Path, run: str, cells: pd.DataFrame) -> pd.DataFrame:
    """ASR of these cells class by class, the most exposed first: class, cells, n, k, asr, low, high, "95% interval".

    Of at most `MOST_CLASSES` classes with at least `ENOUGH` images that the model gets right.

    Args:
        folder: Of the store.
        run: Its id.
        cells: Of one victim, as from `transferred`.

    Raises:
        CaromError: More than `MOST_READ` cells, none, or a store that cannot be read.
    """
    outcomes = _outcomes(folder, run, cells)
    right = outcomes.right[outcomes.victim_index[0]]
    count = np.bincount(outcomes.labels[right], minlength=len(outcomes.classes))
    rows = []
    for number in np.flatnonzero(count >= ENOUGH)[:MOST_CLASSES]:
        row = group_table(outcomes.on(outcomes.labels == number), by=("victim",))
        rows.append(row.assign(images=int(count[number])).assign(**{"class": outcomes.classes[int(number)]}))
    if not rows:
        return pd.DataFrame()
    table = pd.concat(rows, ignore_index=True).sort_values("asr", ascending=False, kind="stable", ignore_index=True)
    return with_intervals(table)


def strongest_set(cells: pd.DataFrame) -> Mapping[str, Any] | None:
    """The cell of these with the highest ASR: surrogate, attack, budget, set_id, victim_id, ...; None of none."""
    if cells.empty:
        return None
    asr = (cells["k"] / cells["n"]).to_numpy()
    row = cells.iloc[int(asr.argmax())]
    return {str(k): v for k, v in row.to_dict().items()}


def kept_under_transfer(cells: pd.DataFrame) -> float | None:
    """The mean over cells of the share of all images that stay right; None where the answers were not read."""
    if "robust_accuracy" not in cells or cells.empty:
        return None
    return float(cells["robust_accuracy"].mean())


def loaded_by(folder: Path, run: str, text: str, label: str) -> dict[str, Any] | None:
    """The table of a scenario that names this model; None where no file is the model.

    Args:
        folder: Of the store.
        run: Its id.
        text: Of its scenario.
        label: Of the model.
    """
    named = _in_scenario(text, label)
    if named is not None:
        return named
    query = (
        sa.select(run_models.c.role, run_models.c.axes, artifacts.c.key, artifacts.c.record)
        .join(artifacts, artifacts.c.id == run_models.c.artifact)
        .where(run_models.c.run == run, run_models.c.label == label)
    )
    with Store(folder) as store, store.reading() as connection:
        rows = connection.execute(query).all()
    for row in sorted(rows, key=lambda row: ROLES.index(row.role) if row.role in ROLES else len(ROLES)):
        record, axes = json.loads(row.record), json.loads(row.axes)
        path = artifact_path(folder, "weights", row.key)
        if record.get("kind") == "trained" and path.exists() and axes.get("architecture"):
            return {"model": str(path), "architecture": _architecture(str(axes["architecture"]))}
    return None


def _in_scenario(text: str, label: str) -> dict[str, Any] | None:
    """The table of a model that exists, as the scenario has it."""
    try:
        scenario = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    for role in ("victims", "surrogates"):
        tables = scenario.get(role, [])
        for table in tables if isinstance(tables, list) else []:
            if isinstance(table, dict) and "model" in table and label in (table.get("name"), table["model"]):
                return {k: v for k, v in table.items() if k not in ("revision", "name")}
    return None


def _architecture(label: str) -> str | dict[str, Any]:
    """How a scenario writes what a label such as "resnet-small(width=12)" says."""
    found = re.fullmatch(r"([^()]+)\((.*)\)", label)
    if found is None:
        return label
    settings = (part.partition("=") for part in found[2].split(","))
    values = {name.strip(): value.strip() for name, _, value in settings}
    return {"name": found[1], **{k: int(v) if v.lstrip("-").isdigit() else v for k, v in values.items()}}


def written(of: Any) -> str:
    """A value as TOML, tables on one line."""
    if isinstance(of, Mapping):
        return "{" + ", ".join(f"{k} = {written(v)}" for k, v in of.items()) + "}"
    if isinstance(of, list):
        return f"[{', '.join(map(written, of))}]"
    return json.dumps(of)
