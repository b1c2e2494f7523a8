"""Published results of others in the store: rates of whole cells, without images, as a kind of run of their own.

The layouts are those of DUMB (Alecci, Conti, Marchiori, Martinelli, Pajola: "Your Attack Is Too DUMB", RAID 2023) and
of DUMBer (Marchiori, Alecci, Pajola, Conti: arXiv 2506.18516, 2025), which retrains the same grid and adds hardened
victims. What the files say is stored as it stands; what follows from it is computed when it is read.
"""

import csv
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

import carom
from carom.errors import InputError
from carom.identity import content_key
from carom.scenarios.axes import CONDITIONS
from carom.scenarios.cases import case
from carom.scenarios.store.database import Store
from carom.scenarios.store.schema import published, runs

STATUS = "published"
EVALUATION = "results/attacks/evaluation"
HARDENED = "results/attacks/adv_evaluation"  # of DUMBer: the same cells on hardened victims
BASELINE = "results/models/baseline"
IMAGES = 150  # that the testbed attacks of each class and source

# columns of the files -> of the store
VICTIM = {"target_model": "architecture_v", "target_dataset": "source_v", "target_balancing": "balance_v"}
SURROGATE = {"source_model": "architecture_s", "source_dataset": "source_s", "source_balancing": "balance_s"}
RATES = ("asr", "asr_0", "asr_1")
# DUMBer's evaluations name the column after the source, its baselines after the target: both hold the victim's
TRAINING = {"evaluations": "source_adv_training", "baseline": "target_adv_training"}
KEY = ("task", "training", "attack", *SURROGATE.values(), *VICTIM.values())
SEEN = ("task", "training", "source_s", *VICTIM.values())  # one victim on the images of one source


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import did.

    Attributes:
        run: Id of the run that holds the rows.
        rows: How many.
        tasks: Of the testbed.
        attacks: How many.
        trainings: Of the victims; "" is the usual one.
        new: False if the store already had these files.
    """

    run: str
    rows: int
    tasks: tuple[str, ...]
    attacks: int
    trainings: tuple[str, ...]
    new: bool


def read_in(folder: Path, store_folder: Path) -> Imported:
    """Write the published files of a DUMB or DUMBer folder into a store; the same files again change nothing.

    Raises:
        InputError: No such folder, not the layout, columns that are missing, or a value that cannot be.
        StoreError: The store cannot be written.
    """
    files = _files(folder)
    rows = _rows(folder, files)
    shas = [[str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest()] for path in files]
    name = "dumber" if any(path.is_relative_to(folder / HARDENED) for path in files) else "dumb"
    run = f"{name}-{content_key('published', shas)[:6]}"
    tasks = tuple(dict.fromkeys(row["task"] for row in rows))
    found = Imported(
        run=run,
        rows=len(rows),
        tasks=tasks,
        attacks=len({row["attack"] for row in rows}),
        trainings=tuple(dict.fromkeys(row["training"] for row in rows)),
        new=True,
    )
    with Store(store_folder, write=True) as store:
        with store.reading() as connection:
            if connection.execute(sa.select(runs.c.id).where(runs.c.id == run)).first() is not None:
                return Imported(**{**vars(found), "new": False})
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with store.writing() as connection:
            connection.execute(
                runs.insert().values(
                    id=run,
                    scenario=name,
                    description=f"Published results of {name.upper().replace('ER', 'er')}: {len(rows):,} rates",
                    text="\n".join(["# read from files of these sha256", *(f"# {sha}  {path}" for path, sha in shas)]),
                    task=", ".join(tasks),
                    status=STATUS,
                    started=now,
                    finished=now,
                    environment=json.dumps({"files": len(files), "rows": len(rows), "carom": carom.__version__}),
                )
            )
            connection.execute(published.insert(), [{"run": run, "row": i, **row} for i, row in enumerate(rows)])
    return found


# ------------------------------------------------------------------------------------------------------- what is read


def read_published(store: Store, run: str, *, training: str | None = None) -> pd.DataFrame:
    """The rows of a published run, one for each attack, surrogate and victim, and what follows from them.

    As published: task, training (of the victim; "" is the usual one), attack, math (the testbed's word for attacks that
    compute, filters are not), source_s, architecture_s, balance_s of the surrogate, source_v, architecture_v, balance_v
    of the victim, asr, asr_0 and asr_1 (shares of the images of both classes, and of each), clean_f1 (of the victim on
    the images' source, NaN where no file says it). The images are of the surrogate's source.

    Computed: case (1 to 8 as DUMB counts: its 1 is the same weights, carom's 0); n_0 and n_1, the fewest images of a
    class, of 150 at most, that all rates of this victim on these images can be shares of, NaN where there are none;
    wrong_filter: these are all images, across sources, so that clean errors were counted as successes; adjusted: asr
    without these, approximately, as (asr - e) / (1 - e) with e = 1 - clean_f1, NaN where e is not known.

    Args:
        store: Where it is.
        run: Its id.
        training: Only victims of this training; None for all.

    Raises:
        InputError: No published run of this id.
    """
    query = sa.select(published).where(published.c.run == run).order_by(published.c.row)
    if training is not None:
        query = query.where(published.c.training == training)
    with store.reading() as connection:
        found = connection.execute(query).all()
    if not found and not any(r == run for r in published_runs(store)):
        raise InputError(f"{store.folder}: run {run} is no published one; `carom import dumb DIR` makes such runs")
    rows = pd.DataFrame(found, columns=[c.name for c in published.columns]).drop(columns=["run", "row"])
    rows["clean_f1"] = rows["clean_f1"].astype(float)
    rows["math"] = rows["math"].astype(bool)
    match = {a: rows[f"{a}_s"] == rows[f"{a}_v"] for a in CONDITIONS}
    # the testbed has no second seed: what matches in all three is the same model, which it counts as its case 1
    number = {m: case(False, *m) for m in itertools.product((True, False), repeat=3)}
    rows["case"] = [number[m] for m in zip(*(match[a].tolist() for a in match), strict=True)]
    groups = rows.groupby(list(SEEN), sort=False)
    for c in (0, 1):
        rows[f"n_{c}"] = groups[f"asr_{c}"].transform(_denominator)
    whole = (rows["n_0"] == IMAGES) & (rows["n_1"] == IMAGES)
    rows["wrong_filter"] = whole & ~match["source"] & (rows["clean_f1"] != 1.0)
    right = rows["clean_f1"].where(rows["clean_f1"] > 0)
    rows["adjusted"] = rows["asr"].where(~rows["wrong_filter"], (rows["asr"] - (1 - right)) / right)
    return rows


def _denominator(rates: "pd.Series[float]") -> float:
    """The smallest n up to 150 of which every rate is a whole number of images."""
    seen = np.unique(rates.to_numpy())
    for n in range(1, IMAGES + 1):
        # two fractions of at most 150 images lie 4e-5 apart or more; the files round at the 16th digit
        if np.all(np.abs(seen * n - np.round(seen * n)) < 1e-6):
            return float(n)
    return float("nan")


def published_runs(store: Store) -> list[str]:
    """Ids of the published runs of a store, the latest first."""
    query = sa.select(runs.c.id).where(runs.c.status == STATUS).order_by(runs.c.started.desc(), runs.c.id)
    with store.reading() as connection:
        return list(connection.execute(query).scalars())


def means_by_case(rows: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Means of rows of `read_published` over all rows of a case.

    Columns: those of `by`, case, rows, asr, adjusted (NaN where one row's is), wrong_filter (how many rows).
    """
    groups = rows.groupby([*by, "case"], sort=False)
    table = groups.agg(
        rows=("asr", "size"),
        asr=("asr", "mean"),
        adjusted=("adjusted", lambda values: values.mean(skipna=False)),
        wrong_filter=("wrong_filter", "sum"),
    ).reset_index()
    places = {column: list(dict.fromkeys(rows[column])) for column in by}
    order = table.assign(**{c: table[c].map({v: i for i, v in enumerate(places[c])}) for c in by})
    return table.loc[order.sort_values([*by, "case"]).index].reset_index(drop=True)


def published_by_case(store: Store) -> pd.DataFrame:
    """Means by case of every published run, to set beside one's own: victims of the usual training, over all tasks.

    Columns: run, math, case (as published: 1 is the same weights, carom's 0), rows, asr, adjusted, wrong_filter (how
    many rows). Empty where the store has no published run.
    """
    tables = []
    for run in published_runs(store):
        rows = read_published(store, run, training="")
        if len(rows):
            table = means_by_case(rows, ("math",)).sort_values(["math", "case"], ascending=[False, True])
            table.insert(0, "run", run)
            tables.append(table)
    columns = ["run", "math", "case", "rows", "asr", "adjusted", "wrong_filter"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


# ---------------------------------------------------------------------------------------------------------- the files


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; give the folder of a DUMB or DUMBer checkout, which holds results/"
        )
    evaluations = [*folder.glob(f"{EVALUATION}/*/evaluations_*.csv"), *folder.glob(f"{HARDENED}/*/evaluations_*.csv")]
    if not evaluations:
        raise InputError(
            f"{folder}: not the layout of DUMB or DUMBer: expected {EVALUATION}/TASK/evaluations_ATTACK.csv, or the "
            f"same below {HARDENED}; give the folder that holds results/"
        )
    baselines = [path for start in ("", "adv_") for path in folder.glob(f"{BASELINE}/{start}baseline_*.csv")]
    return sorted([*evaluations, *baselines])


def _rows(folder: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    """The rows of the evaluations, each with its victim's clean F1 from the baselines where these have it."""
    clean = {}
    for path in files:
        if path.parent == folder / BASELINE:
            task = path.stem.removeprefix("adv_").removeprefix("baseline_")
            hardened = path.name.startswith("adv_")
            needed = ("source_dataset", *VICTIM, "baseline_f1")
            for where, line in _lines(path, needed, TRAINING["baseline"], required=hardened):
                victim = tuple(_level(line, column, where) for column in VICTIM)
                training = _text(line, TRAINING["baseline"], where) if hardened else ""
                clean[(task, training, line["source_dataset"], *victim)] = _share(line, "baseline_f1", where)
    rows, first = [], dict[tuple[str, ...], str]()
    needed = (*SURROGATE, *VICTIM, "isMath", "attack", *RATES)
    for path in files:
        if path.parent == folder / BASELINE:
            continue
        hardened = path.is_relative_to(folder / HARDENED)
        for where, line in _lines(path, needed, TRAINING["evaluations"], required=hardened):
            if line["isMath"] not in ("True", "False"):
                raise InputError(f"{where}: isMath {line['isMath']!r}; expected True or False")
            row: dict[str, Any] = {
                "task": path.parent.name,
                "training": _text(line, TRAINING["evaluations"], where) if hardened else "",
                "attack": _text(line, "attack", where),
                "math": line["isMath"] == "True",
                **{ours: _level(line, theirs, where) for theirs, ours in (SURROGATE | VICTIM).items()},
                **{rate: _share(line, rate, where) for rate in RATES},
            }
            row["clean_f1"] = clean.get(tuple(row[column] for column in SEEN))
            key = tuple(row[column] for column in KEY)
            if key in first:
                raise InputError(f"{where}: the same attack, surrogate and victim as {first[key]}; delete one of them")
            first[key] = where
            rows.append(row)
    return rows


def _lines(
    path: Path, needed: Sequence[str], training: str, *, required: bool = False
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each line of a file with its place, checked to have the columns; the index column is of no use and ignored."""
    try:
        with path.open(encoding="utf-8", newline="") as text:
            reader = csv.reader(text)
            header = next(reader, [])
            missing = [column for column in (*needed, *([training] if required else [])) if column not in header]
            if missing:
                raise InputError(
                    f"{path}: column {', '.join(missing)} missing; expected {', '.join(needed)}; is it another file?"
                )
            for fields in reader:
                if not fields:
                    continue
                where = f"{path}: line {reader.line_num}"
                if len(fields) != len(header):
                    raise InputError(f"{where}: {len(fields)} fields; expected {len(header)}; is the file cut off?")
                yield where, dict(zip(header, fields, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}; fetch it again") from None


def _text(line: dict[str, str], column: str, where: str) -> str:
    if not line[column]:
        raise InputError(f"{where}: {column} is empty; expected a name")
    return line[column]


def _level(line: dict[str, str], column: str, where: str) -> str:
    """A name; balances are written 20/80 in some files and 20_80 in others."""
    text = _text(line, column, where)
    return text.replace("_", "/") if column.endswith("balancing") else text


def _share(line: dict[str, str], column: str, where: str) -> float:
    try:
        value = float(line[column])
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputError(f"{where}: {column} {line[column]!r}; expected a number from 0 to 1")
    return value
