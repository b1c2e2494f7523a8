"""Free space: what no run names, what was left half written, and, if asked, adversarial images."""

from pathlib import Path

import sqlalchemy as sa

from .artifacts import COPIES, KINDS
from .database import Store, check_there, forget_outcomes, move_counter, store_errors
from .schema import artifacts, image_sets, run_models, run_sets, run_surrogates, run_victims


def collect(folder: Path, *, dry_run: bool = False, sets: bool = False) -> str:
    """Delete files of the store and say in one line what that frees.

    Outcomes stay: a set that was freed is crafted again only when a new victim asks for it.

    Args:
        folder: The store.
        dry_run: Only say it.
        sets: Also adversarial images that runs name, and those that defences were trained on.

    Raises:
        StoreError: In use by a run, or not writable.
    """
    check_there(folder)
    with Store(folder, write=True) as store:
        with store.reading() as connection:
            named = {
                "weights": set(connection.execute(sa.select(run_models.c.artifact)).scalars()),
                "sets": set(connection.execute(sa.select(run_sets.c.artifact)).scalars()),
                "images": set(connection.execute(sa.select(run_sets.c.image_set)).scalars()),
                "measures": {
                    *connection.execute(sa.select(run_surrogates.c.measures)).scalars(),
                    *connection.execute(sa.select(run_victims.c.measures)).scalars(),
                },
            }
            rows = connection.execute(sa.select(artifacts.c.id, artifacts.c.kind, artifacts.c.key)).all()
        unnamed = [r for r in rows if r.id not in named[r.kind]]
        kept = {(r.kind, r.key) for r in rows if r.id in named[r.kind] and not (sets and r.kind == "sets")}
        doomed = [
            path
            for kind in KINDS
            for path in sorted((folder / "artifacts" / kind).iterdir())
            if path.name.startswith(".") or (kind, path.stem) not in kept
        ]
        # adversarial copies of training images: a training that is done does not need them, another one may
        doomed += [
            path for path in sorted((folder / "artifacts" / COPIES).glob("*")) if sets or path.name.startswith(".")
        ]
        kept_trainings = {key for kind, key in kept if kind == "weights"}
        doomed += [
            path
            for path in sorted((folder / "checkpoints").glob("*"))
            # a training that is done, that no run names, or that was being written
            if (key := path.stem.rpartition("-")[2]) not in kept_trainings
            or (folder / "artifacts/weights" / f"{key}.safetensors").exists()
        ]
        freed = sum(p.stat().st_size for p in doomed)
        if not dry_run:
            with store_errors(folder):
                for path in doomed:
                    path.unlink(missing_ok=True)
            with store.writing() as connection:
                move_counter(connection, "replaced")  # images that a page may show are gone
                _forget(connection, [r.id for r in unnamed])
    verb = "would free" if dry_run else "freed"
    return f"{folder}: {verb} {freed / 1e6:.1f} MB in {len(doomed)} files"


def _forget(connection: sa.Connection, ids: list[int]) -> None:
    for id_ in ids:
        forget_outcomes(connection, id_)
        connection.execute(image_sets.delete().where(image_sets.c.artifact == id_))
        connection.execute(artifacts.delete().where(artifacts.c.id == id_))
