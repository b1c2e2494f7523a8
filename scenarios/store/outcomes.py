"""What a store holds, for tables, the explorer and exports. Imports no torch, writes nothing.

`carom show`, `carom export`, `carom compare` and the app all read through these functions.
"""

import json
from collections.abc import Sequence, Set
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from carom.errors import InputError, StoreError
from carom.registry import did_you_mean
from carom.scenarios.axes import AXES
from carom.scenarios.cases import CONTROL, UNDECLARED
from carom.scenarios.statistics import Outcomes
from carom.scenarios.traces import snapshots

from .database import (
    Kind,
    Store,
    artifact_path,
    artifacts,
    attempts,
    cells,
    clean,
    image_sets,
    meta,
    planned_cells,
    run_cells,
    run_models,
    run_sets,
    run_surrogates,
    run_victims,
    runs,
    unpack_changes,
    unpack_predictions,
)

Pictures = NDArray[np.float32]

USUAL = {("samples", "all"), ("recipe", "standard"), ("defense", "none")}
ATTACKERS = ("surrogate", "public pool seen", "public pool held out")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a store.

    Attributes:
        id: Name of the scenario and a piece of its content key.
        status: running, done, failed or interrupted; or published, for rates of others, which have no cells.
        cells: Planned cells.
        done: Cells that have an outcome.
        failed: Cells that have none because something failed.
    """

    id: str
    scenario: str
    description: str
    task: str
    status: str
    started: str
    finished: str | None
    environment: dict[str, Any]
    text: str
    cells: int
    done: int
    failed: int


def changes(store: Store) -> int:
    """A counter that moves with every write: what was read at one count need not be read again at the same."""
    with store.reading() as connection:
        value = connection.execute(sa.select(meta.c.value).where(meta.c.name == "changes")).scalar()
    return int(value or 0)


def list_runs(store: Store) -> list[Run]:
    """All runs, the latest first; published ones after one's own."""
    counts = (
        sa.select(
            run_cells.c.run,
            sa.func.count().label("cells"),
            sa.func.count(cells.c.n).label("done"),
            sa.func.count(run_cells.c.failure).label("failed"),
        )
        .select_from(planned_cells)
        .group_by(run_cells.c.run)
        .subquery()
    )
    query = sa.select(runs, counts.c.cells, counts.c.done, counts.c.failed).outerjoin(counts, counts.c.run == runs.c.id)
    with store.reading() as connection:
        order = (runs.c.status == "published", runs.c.started.desc(), runs.c.id)
        rows = connection.execute(query.order_by(*order)).all()
    return [
        Run(
            id=row.id,
            scenario=row.scenario,
            description=row.description,
            task=row.task,
            status=row.status,
            started=row.started,
            finished=row.finished,
            environment=json.loads(row.environment),
            text=row.text,
            cells=row.cells or 0,
            done=row.done or 0,
            failed=row.failed or 0,
        )
        for row in rows
    ]


def run_size(store: Store, run: str) -> tuple[str, int]:
    """Status of a run and its planned cells: what of `Run` is there at once in a run of a million cells.

    Raises:
        InputError: No such run.
    """
    with store.reading() as connection:
        status = connection.execute(sa.select(runs.c.status).where(runs.c.id == run)).scalar()
        count = sa.select(sa.func.count()).select_from(run_cells).where(run_cells.c.run == run)
        planned = connection.execute(count).scalar_one()
    if status is None:
        raise InputError(f"{store.folder}: no run {run!r}; `carom show` lists them")
    return str(status), int(planned)


def find_run(store: Store, name: str | None = None) -> Run:
    """A run by its id, the start of its id, or its scenario's name (the latest); without a name the latest of all.

    Raises:
        InputError: No run, or none of this name.
    """
    known = list_runs(store)
    if not known:
        raise InputError(f"{store.folder}: no run yet; run a scenario first, such as `carom demo`")
    if name is None:
        return known[0]
    for match in (
        [r for r in known if r.id == name],
        [r for r in known if r.scenario == name],
        [r for r in known if r.id.startswith(name)],
    ):
        if match:
            return match[0]
    names = [r.id for r in known]
    raise InputError(f"{store.folder}: no run {name!r}{did_you_mean(name, names)} (runs: {', '.join(names[:10])})")


def read_outcomes(
    store: Store,
    run: str,
    *,
    split: str = "test",
    role: str | None = None,
    decoys: bool = False,
    only_sets: Sequence[int] | None = None,
    only_victims: Sequence[int] | None = None,
) -> Outcomes:
    """Every prediction of a run's cells on the images of one split.

    Args:
        store: Where it is.
        run: Its id.
        split: "test" or "validation".
        role: Whose: "victim" or "validation victim"; None for those whom the split is there to judge. Victims meet
            validation images only so that each one's best attack can be chosen there.
        decoys: Sets crafted against wrong classes too, which are no attacks.
        only_sets: Only the cells of these adversarial sets, by row of the store, at most 30,000.
        only_victims: Only the cells of these victims, by row of the store, at most 30,000.

    Raises:
        InputError: The run has no outcome yet on this split.
    """
    with store.reading() as connection:
        images = _images(store, connection, run, split)
        query = (
            sa.select(
                run_cells.c.adversarial_set,
                run_cells.c.victim,
                run_cells.c.case,
                cells.c.changes,
                clean.c.predictions,
            )
            .join(
                cells,
                (cells.c.adversarial_set == run_cells.c.adversarial_set) & (cells.c.victim == run_cells.c.victim),
            )
            .join(run_sets, (run_sets.c.run == run_cells.c.run) & (run_sets.c.artifact == run_cells.c.adversarial_set))
            # a cell says which answers it was packed against, and is never read against others
            .join(clean, (clean.c.id == cells.c.clean) & (clean.c.image_set == run_sets.c.image_set))
            .where(run_cells.c.run == run, run_sets.c.image_set == images.artifact)
            .order_by(run_cells.c.adversarial_set, run_cells.c.victim)
        )
        if only_sets is not None:
            query = query.where(run_cells.c.adversarial_set.in_(only_sets))
        if only_victims is not None:
            query = query.where(run_cells.c.victim.in_(only_victims))
        rows = connection.execute(query).all()
        sets = {r.artifact: r for r in connection.execute(sa.select(run_sets).where(run_sets.c.run == run)).all()}
        models = {
            (r.artifact, r.role): r
            for r in connection.execute(sa.select(run_models).where(run_models.c.run == run)).all()
        }
        records = {
            r.id: (r.key, json.loads(r.record))
            for r in connection.execute(
                sa.select(artifacts.c.id, artifacts.c.key, artifacts.c.record)
                .join(run_sets, run_sets.c.artifact == artifacts.c.id)
                .where(run_sets.c.run == run)
            ).all()
        }
    if not rows:
        raise InputError(
            f"{store.folder}: run {run} has no outcome yet; wait for it, or run it again to see what fails"
        )
    classes = tuple(json.loads(images.classes))
    victim_role = role or ("validation victim" if split == "validation" else "victim")
    # a model's own sets are shown on it as surrogate, or as the victim that it is where victims were read
    own = (*ATTACKERS, victim_role)
    drawn_off = {id_ for id_, made in sets.items() if not decoys and "decoy" in json.loads(made.surrogate_axes)}
    sets = {id_: made for id_, made in sets.items() if id_ not in drawn_off}
    rows = [r for r in rows if r.adversarial_set not in drawn_off]
    rows = [r for r in rows if any((r.victim, role) in models for role in (own if r.case == 0 else own[-1:]))]
    if not rows:
        raise InputError(f"{store.folder}: run {run} has no outcome of a {victim_role} on {split} images yet")
    earlier = snapshots(made.attack for made in sets.values())
    victims = list(dict.fromkeys(r.victim for r in rows))
    place = {v: i for i, v in enumerate(victims)}
    unattacked = {r.victim: r.predictions for r in rows}
    table = []
    for row in rows:
        roles = own if row.case == 0 else own[-1:]
        victim = next(models[row.victim, role] for role in roles if (row.victim, role) in models)
        table.append(_cell(row, sets[row.adversarial_set], victim, place[row.victim], earlier))
    adversarial = np.stack([unpack_predictions(unpack_changes(r.changes, r.predictions), len(classes)) for r in rows])
    return Outcomes(
        cells=pd.DataFrame(table),
        adversarial=adversarial,
        clean_predictions=np.stack([unpack_predictions(unattacked[v], len(classes)) for v in victims]),
        labels=np.frombuffer(images.labels, "<i4").astype(np.int64),
        image_source=np.frombuffer(images.image_source, "<i4").astype(np.int64),
        image_sources=tuple(json.loads(images.sources)),
        classes=classes,
        target=_target(store, images, {i: s for i, s in sets.items() if s.image_set == images.artifact}, records),
        image_ids=np.frombuffer(images.ids, "<i8").astype(np.int64),
        sets=pd.DataFrame(
            [_set(made, records[id_][1]) for id_, made in sets.items() if made.image_set == images.artifact]
        ),
    )


def read_rates(store: Store, run: str, *, split: str = "test") -> pd.DataFrame:
    """What every cell of a run counted on the images of one split, n and k, without a single prediction.

    For runs whose predictions are too many to be read at once. The rows are those of `read_outcomes`, and so are the
    columns, with `n` and `k` beside them and without `victim_index`; what repeats is categorical.

    Raises:
        InputError: As `read_outcomes`.
    """
    with store.reading() as connection:
        images = _images(store, connection, run, split)
        sets = connection.execute(
            sa.select(run_sets).where(run_sets.c.run == run, run_sets.c.image_set == images.artifact)
        ).all()
        models = connection.execute(sa.select(run_models).where(run_models.c.run == run)).all()
        made = [row for row in sets if "decoy" not in json.loads(row.surrogate_axes)]
        rows = np.array(sorted(row.artifact for row in made), dtype=np.int64)
        driver: Any = connection.connection.driver_connection
        planned = _packed(
            driver,
            'SELECT adversarial_set, group_concat(victim), group_concat(ifnull("case", -2)) FROM run_cells '
            "WHERE run = ? GROUP BY adversarial_set",
            (run,),
        )
        # n and k as one number: the less is written and read as digits, the better
        counted = _packed(
            driver,
            "SELECT adversarial_set, group_concat(victim), group_concat((n << 31) | k) FROM cells "
            "WHERE adversarial_set BETWEEN ? AND ? GROUP BY adversarial_set",
            (int(rows.min(initial=0)), int(rows.max(initial=-1))),
        )
    shift = 1 + max(int(planned[:, 1].max(initial=0)), int(counted[:, 1].max(initial=0)))
    ids, have = planned[:, 0] * shift + planned[:, 1], counted[:, 0] * shift + counted[:, 1]
    place = np.minimum(np.searchsorted(have, ids), max(len(have) - 1, 0))
    there = np.isin(planned[:, 0], rows) & (have[place] == ids if len(have) else np.zeros(len(ids), dtype=bool))
    # a model's own sets are shown on it as surrogate, or as the victim that it is where victims were read
    judged = "validation victim" if split == "validation" else "victim"
    others = {row.artifact: row for row in models if row.role == judged}
    own = {row.artifact: row for role in (judged, *reversed(ATTACKERS)) for row in models if row.role == role}
    white = planned[:, 2] == 0
    there &= np.where(white, np.isin(planned[:, 1], list(own)), np.isin(planned[:, 1], list(others)))
    if not there.any():
        raise InputError(f"{store.folder}: run {run} has no outcome of a {judged} on {split} images yet; wait for it")
    planned, counted = planned[there], counted[place[there]]
    by_set = {row.artifact: row for row in made}
    set_rows, of_set = np.unique(planned[:, 0], return_inverse=True)
    # one model may be named twice: as a surrogate's own, and as a victim
    named, of_victim = np.unique(2 * planned[:, 1] + white[there], return_inverse=True)
    victims = [(own if name % 2 else others)[name // 2] for name in named]
    alike = SimpleNamespace(adversarial_set=0, victim=0, case=None)  # what is asked for next is of set or victim alone
    earlier = snapshots(row.attack for row in made)
    told = [_cell(alike, by_set[int(row)], victims[0], 0, earlier) for row in set_rows]
    met = [_cell(alike, made[0], victim, 0, earlier) for victim in victims]
    case = np.where(planned[:, 2] == -2, UNDECLARED, planned[:, 2])
    control = np.array([by_set[int(row)].surrogate is None for row in set_rows], dtype=bool)[of_set]
    columns: dict[str, Any] = {
        "set_id": planned[:, 0].astype(np.int32),
        "victim_id": planned[:, 1].astype(np.int32),
        **{
            name: _spread([row[name] for row in told], of_set) for name in told[0] if name not in (*OF_CELL, *OF_VICTIM)
        },
        **{name: _spread([row[name] for row in met], of_victim) for name in OF_VICTIM},
        "case": np.where(control, CONTROL, case).astype(np.int8),
        "n": (counted[:, 2] >> 31).astype(np.int32),
        "k": (counted[:, 2] & (2**31 - 1)).astype(np.int32),
    }
    return pd.DataFrame(columns)


def count_images(store: Store, run: str, *, split: str = "test") -> int:
    """The images of each set of a run on one split.

    Raises:
        InputError: There are none.
    """
    with store.reading() as connection:
        return len(_images(store, connection, run, split).labels) // 4


OF_CELL = ("set_id", "victim_id", "victim_index", "case")
OF_VICTIM = ("victim", "victim_config", "victim_seed", *(f"{axis}_v" for axis in AXES))


def _spread(values: list[Any], place: NDArray[np.intp]) -> Any:
    """One value a set or victim as one a cell; words as categories, in the order in which they first came."""
    if isinstance(values[0], bool):
        return np.array(values, dtype=bool)[place]
    if isinstance(values[0], int):
        return np.array(values, dtype=np.int32)[place]
    places, levels = pd.factorize(np.array(values, dtype=object))
    codes = np.asarray(places, dtype=np.int32)[place]
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(list(levels)))


def _packed(driver: Any, query: str, given: tuple[Any, ...]) -> NDArray[np.int64]:
    """Rows of three whole numbers, of which the database hands out the last two as one text a set.

    A million rows as Python's objects take four times as long.
    """
    sets, victims, values = [], [], []
    for made, victim, value in driver.execute(query, given):
        sets.append(made)
        victims.append(np.fromstring(victim, dtype=np.int64, sep=","))
        values.append(np.fromstring(value, dtype=np.int64, sep=","))
    if not sets:
        return np.zeros((0, 3), dtype=np.int64)
    every = np.repeat(np.array(sets, dtype=np.int64), [len(some) for some in victims])
    table = np.stack([every, np.concatenate(victims), np.concatenate(values)], axis=1)
    step = np.diff(table[:, :2], axis=0)
    sorted_ = bool(((step[:, 0] > 0) | ((step[:, 0] == 0) & (step[:, 1] > 0))).all())  # as the index has them
    return table if sorted_ else table[np.lexsort((table[:, 1], table[:, 0]))]


def _images(store: Store, connection: sa.Connection, run: str, split: str) -> Any:
    """The row of the images that a run attacks."""
    images = connection.execute(
        sa.select(image_sets)
        .join(run_sets, run_sets.c.image_set == image_sets.c.artifact)
        .where(run_sets.c.run == run, image_sets.c.split == split)
        .limit(1)
    ).first()
    if images is None:
        if connection.execute(sa.select(runs.c.status).where(runs.c.id == run)).scalar() == "published":
            raise InputError(
                f"{store.folder}: run {run} holds published rates, no images or answers; expected a run of one's "
                f"own; its tables: carom show {run}"
            )
        raise InputError(f"{store.folder}: run {run} has no {split} images; expected another split")
    return images


def _cell(row: Any, made: Any, victim: Any, place: int, earlier: Set[str]) -> dict[str, Any]:
    attacker, attacked = json.loads(made.surrogate_axes), json.loads(victim.axes)
    control = made.surrogate is None
    return {
        "set_id": row.adversarial_set,
        "victim_id": row.victim,
        "surrogate": made.surrogate or "",
        "attack": made.attack,
        "snapshot": made.attack in earlier,  # of a trace whose last step is the attack; pooled with nothing
        "norm": made.norm,
        "eps": made.eps,
        "attack_seed": made.attack_seed,
        "victim": victim.label,
        "victim_index": place,
        "case": _case(row.case, made.surrogate),
        "control": control,
        "targeted": bool(made.targeted),
        # what was made from a victim's own answers is no transfer to it, and is never pooled with what is
        "reads": attacker.get("reads", "surrogate"),
        "asked": attacker.get("asked", ""),
        "pool": attacker.get("pool", ""),
        "group": attacker.get("group", ""),
        "decoy": "decoy" in attacker,
        "surrogate_config": _configuration(attacker),
        "victim_config": _configuration(attacked),
        "surrogate_seed": int(attacker.get("seed", -1)),
        "victim_seed": int(attacked.get("seed", -1)),
        **{f"{axis}_s": attacker.get(axis, "") for axis in AXES},
        **{f"{axis}_v": attacked.get(axis, "") for axis in AXES},
    }


def _case(number: int | None, surrogate: str | None) -> int:
    """A model whose axes nobody declared belongs to no case; it is counted where cases are not asked for."""
    if surrogate is None:
        return CONTROL
    return UNDECLARED if number is None else number


def _configuration(axes: dict[str, str]) -> str:
    shown = [axes[a] for a in AXES if a in axes and (a, axes[a]) not in USUAL]
    if axes.get("n", "all") != "all":
        shown.append(f"n={axes['n']}")
    builder = axes.get("builder", "single")
    return "/".join(shown) if builder == "single" else f"{builder}:{'/'.join(shown)}"


def _set(made: Any, record: dict[str, Any]) -> dict[str, Any]:
    return {
        "surrogate": made.surrogate or "",
        "attack": made.attack,
        "norm": made.norm,
        "eps": made.eps,
        "attack_seed": made.attack_seed,
        "asked": json.loads(made.surrogate_axes).get("asked", ""),
        "zero_gradient_fraction": record.get("zero_gradient_fraction", np.nan),
        "mean_size_over_eps": record.get("size_over_eps", np.nan),
        "mean_l2": record.get("l2", np.nan),
        "mean_linf": record.get("linf", np.nan),
        "mean_ssim": record.get("ssim", np.nan),
        "forward": record.get("forward", 0),
        "backward": record.get("backward", 0),
        "seconds": record.get("seconds", np.nan),
        "mean_queries": record.get("mean_queries", np.nan),
        "median_radius": record.get("median_radius", np.nan),
    }


def _target(
    store: Store, images: Any, sets: dict[int, Any], records: dict[int, tuple[str, Any]]
) -> NDArray[np.int64] | None:
    """The target classes of targeted sets of one image set, from the first of them that is there."""
    from safetensors.numpy import load_file

    targeted = [id_ for id_, made in sets.items() if made.targeted]
    for id_ in targeted:
        path = artifact_path(store.folder, "sets", records[id_][0])
        if path.is_file():
            return np.asarray(load_file(path)["target"], dtype=np.int64)
    if not targeted:
        return None
    import torch  # `carom gc --sets` freed them all, so they are drawn once more

    from carom.zoo.tasks.attacked import target_classes

    labels = torch.from_numpy(np.frombuffer(images.labels, "<i4").astype(np.int64))
    ids = torch.from_numpy(np.frombuffer(images.ids, "<i8").astype(np.int64))
    return np.asarray(target_classes(labels, ids, len(json.loads(images.classes))).numpy(), dtype=np.int64)


def list_sets(store: Store, run: str, *, split: str = "test") -> pd.DataFrame:
    """The adversarial sets of a run on one split, one row each, those of controls too.

    Columns: set_id and image_set (rows of the store), surrogate ("" for a control), asked (label of the one victim
    whose answers it was made from, or ""), attack, norm, eps, targeted, attack_seed, made (whether it was crafted).
    """
    query = (
        sa.select(run_sets, artifacts.c.digest)
        .join(artifacts, artifacts.c.id == run_sets.c.artifact)
        .join(image_sets, image_sets.c.artifact == run_sets.c.image_set)
        .where(run_sets.c.run == run, image_sets.c.split == split)
        .order_by(run_sets.c.artifact)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
    columns = ["set_id", "image_set", "surrogate", "asked", "attack", "norm", "eps", "targeted", "attack_seed", "made"]
    table = []
    for row in rows:
        axes = json.loads(row.surrogate_axes)
        if "decoy" not in axes:
            asked = axes.get("asked", "")
            named = (row.attack, row.norm, row.eps, bool(row.targeted), row.attack_seed, row.digest is not None)
            table.append((row.artifact, row.image_set, row.surrogate or "", asked, *named))
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
        .order_by(run_cells.c.case == 0, run_cells.c.victim)
    )
    with store.reading() as connection:
        rows = connection.execute(query).all()
    table = {
        row.victim: (row.victim, row.label, _case(row.case, row.surrogate), row.n, row.k)
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
        found.append(some.astype(np.float32) / np.float32(255 if some.dtype == np.uint8 else 1))
    return found[0], found[1]


def list_models(store: Store, run: str) -> pd.DataFrame:
    """The models of a run: role, label, axes, how they were trained and how long it took."""
    query = (
        sa.select(run_models.c.role, run_models.c.label, run_models.c.axes, artifacts.c.record, artifacts.c.digest)
        .join(artifacts, artifacts.c.id == run_models.c.artifact)
        .where(run_models.c.run == run)
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
        rows = connection.execute(sa.select(run_surrogates).where(run_surrogates.c.run == run)).all()
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
            "surrogate_config": _configuration(axes),
            "surrogate_seed": int(axes.get("seed", -1)),
            "builder": row.builder,
            "base": _configuration({**axes, "builder": "single"}),
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
                "victim_config": _configuration(axes),
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
