"""What this machine has, and whether a store is whole."""

import importlib.metadata
import json
import os
import shutil
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from carom.errors import CaromError, MissingData
from carom.scenarios.store.artifacts import verify
from carom.scenarios.store.database import Store
from carom.scenarios.store.schema import artifacts

Level = Literal["ok", "note", "bad"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the examination."""

    level: Level
    name: str
    text: str

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def examine(folder: Path) -> list[Finding]:
    """All findings, in the order in which to read them."""
    return [*_machine(), *_libraries(), *_data(), *_store(folder)]


def _machine() -> list[Finding]:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [Finding(level="ok", name="cpu", text=f"{cores} cores, torch {torch.__version__}")]
    found += [
        Finding(level="ok", name=f"cuda:{i}", text=torch.cuda.get_device_name(i))
        for i in range(torch.cuda.device_count())
    ]
    if not torch.cuda.is_available():
        found.append(Finding(level="note", name="gpu", text="none that torch can use; everything runs on the CPU"))
    free = shutil.disk_usage(".").free / 1e9
    found.append(Finding(level="ok" if free > 1 else "note", name="disk", text=f"{free:.1f} GB free here"))
    return found


def _libraries() -> list[Finding]:
    found = []
    for name, purpose in (
        ("streamlit", "the explorer; pip install 'carom[app]'"),
        (
            "torchattacks",
            "oracle of the tests and peer of the benchmarks; it pins an old requests that streamlit refuses, so "
            "outside a checkout install it with: pip install --no-deps torchattacks",
        ),
    ):
        try:
            version = importlib.metadata.version(name)
            found.append(Finding(level="ok", name=name, text=version))
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding(level="note", name=name, text=f"not installed; for {purpose}"))
    return found


def _data() -> list[Finding]:
    from carom.zoo.tasks import TASKS

    found = []
    for name, cls in TASKS.items():
        try:
            task = cls()
        except (CaromError, TypeError):
            continue  # a task of the user's own files, which has no default place
        try:
            sizes = [f"{s} {len(task.load(s, 'test'))} test images" for s in task.sources]
            found.append(Finding(level="ok", name=f"data {name}", text=", ".join(sizes)))
        except MissingData as error:
            found.append(Finding(level="note", name=f"data {name}", text=str(error).removeprefix(f"{name}: ")))
        except CaromError as error:
            found.append(Finding(level="bad", name=f"data {name}", text=str(error).removeprefix(f"{name}: ")))
    return found


def _store(folder: Path) -> list[Finding]:
    if not (folder / "carom.db").is_file():
        return [Finding(level="note", name="store", text=f"none at {folder} yet")]
    try:
        with Store(folder) as store, store.reading() as connection:
            check = connection.exec_driver_sql("PRAGMA quick_check").scalar()
            rows = connection.execute(sa.select(artifacts).where(artifacts.c.digest.is_not(None))).all()
            found = [
                Finding(
                    level="ok" if check == "ok" else "bad",
                    name="store",
                    text=f"{folder}: database {check}, {len(rows)} artefacts, SQLite {sqlite3.sqlite_version}",
                )
            ]
            for row in rows:
                if json.loads(row.record).get("kind") == "referenced":
                    continue
                path = store.path(row.kind, row.key)
                if not path.exists():
                    text = f"{path} is missing; it is rebuilt when a run needs it"
                    found.append(Finding(level="note", name=row.kind, text=text))
                elif (why := verify(path, row.digest)) is not None:
                    found.append(Finding(level="bad", name=row.kind, text=f"{path} {why}; delete it and run again"))
            return found
    except CaromError as error:
        return [Finding(level="bad", name="store", text=str(error))]
