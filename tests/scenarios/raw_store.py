"""A store read with sqlite3, zlib and safetensors alone: nothing of carom, so that it can disagree with carom."""

import hashlib
import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Predictions = NDArray[np.int64]  # 255 stands for no answer


class Cell(NamedTuple):
    """One adversarial set on one victim."""

    n: int
    k: int
    predictions: bytes


def query(store: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the database."""
    with closing(sqlite3.connect(f"file:{store / 'carom.db'}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def tensors(store: Path, kind: str, key: str) -> dict[str, NDArray[Any]]:
    """The arrays of an artefact."""
    found: dict[str, NDArray[Any]] = load_file(store / "artifacts" / kind / f"{key}.safetensors")
    return found


def clean_answers(store: Path) -> dict[tuple[str, str], bytes]:
    """Packed predictions by keys of victim and image set."""
    rows = query(
        store,
        "select v.key, i.key, predictions from clean "
        "join artifacts v on v.id = clean.victim join artifacts i on i.id = clean.image_set",
    )
    return {(victim, images): predictions for victim, images, predictions in rows}


def cells(store: Path) -> dict[tuple[str, str], Cell]:
    """Every outcome by keys of set and victim, its predictions as the victim gave them."""
    rows = query(
        store,
        "select distinct s.key, v.key, i.key, n, k, changes, c.predictions from cells "
        "join artifacts s on s.id = cells.adversarial_set join artifacts v on v.id = cells.victim "
        "join run_sets on run_sets.artifact = s.id join artifacts i on i.id = run_sets.image_set "
        # every cell has its answers, and no other
        "left join clean c on c.id = cells.clean and c.victim = v.id and c.image_set = i.id",
    )
    found = {}
    for made, victim, _, n, k, changes, before in rows:
        xor = zlib.decompress(changes)
        assert len(before) == len(xor)
        found[made, victim] = Cell(n, k, bytes(a ^ b for a, b in zip(before, xor, strict=True)))
    return found


def contents(store: Path) -> dict[str, Any]:
    """All that a store says, times, hosts and names of runs apart."""
    files = {
        f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (store / "artifacts").rglob("*.safetensors")
    }
    recorded = {
        (kind, key): (digest, json.loads(inputs))
        for kind, key, digest, inputs in query(store, "select kind, key, digest, inputs from artifacts")
    }
    planned = query(
        store,
        'select s.key, v.key, "case", failure from run_cells '
        "join artifacts s on s.id = run_cells.adversarial_set join artifacts v on v.id = run_cells.victim",
    )
    sources = query(store, "select key, labels, image_source, ids from image_sets join artifacts on id = artifact")
    return {
        "files": files,
        "recorded": recorded,
        "clean": clean_answers(store),
        "cells": cells(store),
        "planned": sorted(planned),
        "images": sorted(sources),
    }
