"""The outcomes of a run, for tables, the explorer and exports. Imports no torch, writes nothing."""

import json
from collections.abc import Sequence, Set
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from carom.errors import InputError
from carom.scenarios.axes import AXES
from carom.scenarios.cases import CONTROL, UNDECLARED
from carom.scenarios.statistics import Outcomes
from carom.scenarios.traces import snapshots

from .artifacts import artifact_path
from .called import case_of, configuration_of, surrogate_axes
from .database import Store
from .order import ranked, victims_in_order
from .predictions import unpack_changes, unpack_predictions
from .schema import (
    PLANNED_MODELS,
    PLANNED_SETS,
    artifacts,
    cells,
    clean,
    image_sets,
    run_cells,
    run_models,
    run_sets,
    run_surrogates,
    runs,
)

ATTACKERS = ("surrogate", "public pool seen", "public pool held out")


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
    """Every prediction of a run's cells on the images of one split, in the order of the plan: set by set, then victims.

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
        )
        if only_sets is not None:
            query = query.where(run_cells.c.adversarial_set.in_(only_sets))
        if only_victims is not None:
            query = query.where(run_cells.c.victim.in_(only_victims))
        rows = connection.execute(query).all()
        of_run = sa.select(run_sets).where(run_sets.c.run == run).order_by(PLANNED_SETS)
        sets = {r.artifact: r for r in connection.execute(of_run).all()}
        models = {
            (r.artifact, r.role): r
            for r in connection.execute(
                sa.select(run_models).where(run_models.c.run == run).order_by(PLANNED_MODELS)
            ).all()
        }
        records = {
            r.id: (r.key, json.loads(r.record))
            for r in connection.execute(
                sa.select(artifacts.c.id, artifacts.c.key, artifacts.c.record)
                .join(run_sets, run_sets.c.artifact == artifacts.c.id)
                .where(run_sets.c.run == run)
            ).all()
        }
        read = {
            (r.label, r.victim): len(set(json.loads(r.members)))
            for r in connection.execute(sa.select(run_surrogates).where(run_surrogates.c.run == run)).all()
        }
    if not rows:
        raise InputError(
            f"{store.folder}: run {run} has no outcome yet; wait for it, or run it again to see what fails"
        )
    classes = tuple(json.loads(images.classes))
    victim_role = role or ("validation victim" if split == "validation" else "victim")
    # a model's own sets are shown on it as surrogate, or as the victim that it is where victims were read
    own = (*ATTACKERS, victim_role)
    drawn_off = {id_ for id_, made in sets.items() if made.decoy and not decoys}
    sets = {id_: made for id_, made in sets.items() if id_ not in drawn_off}
    rows = [r for r in rows if r.adversarial_set not in drawn_off]
    rows = [r for r in rows if any((r.victim, role) in models for role in (own if r.case == 0 else own[-1:]))]
    if not rows:
        raise InputError(f"{store.folder}: run {run} has no outcome of a {victim_role} on {split} images yet")
    earlier = snapshots(made.attack for made in sets.values())
    of_set = {id_: i for i, id_ in enumerate(sets)}
    of_victim = victims_in_order(models, own)
    rows.sort(key=lambda r: (of_set[r.adversarial_set], of_victim[r.victim]))
    victims = sorted({r.victim for r in rows}, key=of_victim.__getitem__)
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
            [
                _set(made, records[id_][1], read.get((made.surrogate, made.asked or ""), 1))
                for id_, made in sets.items()
                if made.image_set == images.artifact
            ]
        ),
    )


def read_rates(store: Store, run: str, *, split: str = "test") -> pd.DataFrame:
    """What every cell of a run counted on the images of one split, n and k, without a single prediction.

    For runs whose predictions are too many to be read at once. The rows are those of `read_outcomes`, in its order, and
    so are the columns, with `n` and `k` beside them; what repeats is categorical.

    Raises:
        InputError: As `read_outcomes`.
    """
    with store.reading() as connection:
        images = _images(store, connection, run, split)
        of_run = (run_sets.c.run == run) & (run_sets.c.image_set == images.artifact)
        made = connection.execute(sa.select(run_sets).where(of_run, ~run_sets.c.decoy).order_by(PLANNED_SETS)).all()
        models = connection.execute(sa.select(run_models).where(run_models.c.run == run).order_by(PLANNED_MODELS)).all()
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
    set_rows, of_set = ranked(planned[:, 0], list(by_set))
    # one model may be named twice: as a surrogate's own, and as a victim
    in_order = victims_in_order([(row.artifact, row.role) for row in models], (*ATTACKERS, judged))
    named, of_victim = ranked(
        2 * planned[:, 1] + white[there], [2 * row + as_own for row in in_order for as_own in (0, 1)]
    )
    order = of_set * len(named) + of_victim
    if (np.diff(order) < 0).any():  # sets and models of earlier runs have earlier rows
        at = np.argsort(order, kind="stable")
        planned, counted, of_set, of_victim = planned[at], counted[at], of_set[at], of_victim[at]
    victims = [(own if name % 2 else others)[name // 2] for name in named]
    alone = {row: i for i, row in enumerate(dict.fromkeys(int(name) // 2 for name in named))}
    victim_index = np.array([alone[int(name) // 2] for name in named], dtype=np.int32)[of_victim]
    alike = SimpleNamespace(adversarial_set=0, victim=0, case=None)  # what is asked for next is of set or victim alone
    earlier = snapshots(row.attack for row in made)
    told = [_cell(alike, by_set[int(row)], victims[0], 0, earlier) for row in set_rows]
    met = [_cell(alike, made[0], victim, 0, earlier) for victim in victims]
    case = np.where(planned[:, 2] == -2, UNDECLARED, planned[:, 2])
    control = np.array([by_set[int(row)].surrogate is None for row in set_rows], dtype=bool)[of_set]
    columns: dict[str, Any] = {
        "set_id": planned[:, 0].astype(np.int32),
        "victim_id": planned[:, 1].astype(np.int32),
        "victim_index": victim_index,
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
    attacker, attacked = surrogate_axes(made), json.loads(victim.axes)
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
        "case": case_of(row.case, made.surrogate),
        "control": control,
        "targeted": bool(made.targeted),
        # what was made from a victim's own answers is no transfer to it, and is never pooled with what is
        "reads": made.reads or "surrogate",
        "asked": made.asked or "",
        "pool": attacker.get("pool", ""),
        "group": attacker.get("group", ""),
        "decoy": made.decoy,
        "surrogate_config": configuration_of(attacker, made.surrogate or ""),
        "victim_config": configuration_of(attacked, victim.label),
        "surrogate_seed": int(attacker.get("seed", -1)),
        "victim_seed": int(attacked.get("seed", -1)),
        **{f"{axis}_s": attacker.get(axis, "") for axis in AXES},
        **{f"{axis}_v": attacked.get(axis, "") for axis in AXES},
    }


def _set(made: Any, record: dict[str, Any], models: int) -> dict[str, Any]:
    unknown = np.nan if record.get("kind") == "brought" else 0  # nobody said what a set from elsewhere took
    return {
        "surrogate": made.surrogate or "",
        "attack": made.attack,
        "norm": made.norm,
        "eps": made.eps,
        "attack_seed": made.attack_seed,
        "asked": made.asked or "",
        "models": models,
        "zero_gradient_fraction": record.get("zero_gradient_fraction", np.nan),
        "mean_size_over_eps": record.get("size_over_eps", np.nan),
        "mean_l2": record.get("l2", np.nan),
        "mean_linf": record.get("linf", np.nan),
        "mean_ssim": record.get("ssim", np.nan),
        "forward": record.get("forward", unknown),
        "backward": record.get("backward", unknown),
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
    # `carom gc --sets` freed them all, so they are asked for once more: given with the images, or drawn
    with store.reading() as connection:
        key = connection.execute(sa.select(artifacts.c.key).where(artifacts.c.id == images.artifact)).scalar_one()
    path = artifact_path(store.folder, "images", key)
    given = load_file(path).get("targets") if path.is_file() else None
    if given is not None:
        return np.asarray(given, dtype=np.int64)
    # who reads other stores need not load torch
    import torch

    from carom.zoo.tasks.attacked import target_classes

    labels = torch.from_numpy(np.frombuffer(images.labels, "<i4").astype(np.int64))
    ids = torch.from_numpy(np.frombuffer(images.ids, "<i8").astype(np.int64))
    return np.asarray(target_classes(labels, ids, len(json.loads(images.classes))).numpy(), dtype=np.int64)
