"""What the explorer asks of a store; knows nothing of Streamlit."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray
from scipy.cluster import hierarchy

from carom.errors import CaromError, InputError
from carom.scenarios.axes import TRAINING
from carom.scenarios.statistics import case_table, cell_rates, class_rates, wilson
from carom.scenarios.statistics.outcomes import poolable
from carom.scenarios.store.database import Store
from carom.scenarios.store.lists import (
    Pictures,
    list_answering,
    list_attempts,
    list_failures,
    list_models,
    list_runs,
    list_sets,
    read_pictures,
)
from carom.scenarios.store.outcomes import count_images, read_outcomes, read_rates
from carom.scenarios.store.runs import Run, changes, list_runs, run_size
from carom.scenarios.store.schema import cells, planned_cells, run_cells
from carom.scenarios.tables.counted import LARGE, LIVE, counted_tables
from carom.scenarios.tables.rates import Form, Shown, compare_runs, show_run
from carom.scenarios.tables.compare import compare_runs
from carom.scenarios.tables.counted import LARGE, counted_tables
from carom.scenarios.tables.table import Table
from carom.scenarios.tables.which import show_run, too_many_to_read
from carom.scenarios.tables.work import show_failed_jobs, show_failures, show_jobs, show_trained

AXES = {
    "surrogate": "surrogate",
    "surrogate_config": "surrogate's configuration",
    **{f"{axis}_s": f"surrogate's {axis}" for axis in TRAINING},
    "pool": "surrogate's public pool",
    "group": "surrogate's group",
    "victim": "victim",
    "victim_config": "victim's configuration",
    **{f"{axis}_v": f"victim's {axis}" for axis in TRAINING},
    "defense_v": "victim's defence",
    "attack": "attack",
    "budget": "budget",
}

State = Literal["waiting", "running", "interrupted", "failed", "partial", "done", "published"]


@dataclass(frozen=True, kw_only=True)
class View:
    """One run as the page shows it; `problem` says why there is nothing more."""

    tables: Sequence[Table] = ()
    cells: pd.DataFrame = field(default_factory=pd.DataFrame)
    images: int = 0  # of each cell
    problem: str | None = None


def counter(folder: Path) -> int:
    """Moves with every write to the store.

    Raises:
        CaromError: No store, or one that cannot be read.
    """
    with Store(folder) as store:
        return changes(store)


def runs(folder: Path) -> list[Run]:
    """The runs, the latest first. One whose process died without a word is interrupted, not running.

    Raises:
        CaromError: No store, or one that cannot be read.
    """
    with Store(folder) as store:
        found = list_runs(store)
    gone = any(r.status == "running" for r in found) and writer_is_gone(folder)
    return [replace(r, status="interrupted") if gone and r.status == "running" else r for r in found]


def progress(folder: Path, run: str) -> tuple[int, int]:
    """How many cells of a run have an outcome, of how many.

    Raises:
        CaromError: No store, or one that cannot be read.
    """
    query = (
        sa.select(sa.func.count(cells.c.n), sa.func.count()).select_from(planned_cells).where(run_cells.c.run == run)
    )
    with Store(folder) as store, store.reading() as connection:
        done, planned = connection.execute(query).one()
    return int(done), int(planned)


def writer_is_gone(folder: Path) -> bool:
    """Whether the process that last wrote the store has ended; False where that cannot be known from this machine."""
    try:
        words = (folder / "lock").read_text(encoding="utf-8").split()
        _, process, _, host = words  # process PID on HOST
        if host != platform.node():
            return False
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False
    return False


def state(run: Run) -> State:
    """Where a run stands: `partial` has ended with cells that lack an outcome, `failed` with none at all.

    `published` is one of others, which has no cells.
    """
    if run.status == "running":
        return "running" if run.done else "waiting"
    if run.status == "interrupted":
        return "interrupted"
    if run.status == "published":
        return "published"
    if run.status == "failed":
        return "partial" if run.done else "failed"
    return "done"


def view(folder: Path, run: str) -> View:
    """Tables and cells of a run; a run without outcomes yet is a view with a problem, not an error."""
    try:
        with Store(folder) as store:
            status, planned = run_size(store, run)
            if status == "published":
                return View(tables=show_run(store, run))
            aside = [t for t in (show_failures(store, run), show_failed_jobs(store, run)) if len(t.frame)]
            if too_many_to_read(status, planned):
                return _large_view(store, run, aside)
            try:
                outcomes = read_outcomes(store, run)
                tables = [t for t in show_run(store, run) if t.name != "failures"]
            except CaromError as error:
                return View(tables=[*aside, *show_trained(store, run)], problem=str(error))
            cells = cell_rates(outcomes)
            return View(
                tables=[*tables, *aside], cells=cells.assign(budget=budgets(cells)), images=len(outcomes.labels)
            )
    except CaromError as error:
        return View(problem=str(error))


def _large_view(store: Store, run: str, aside: Sequence[Table]) -> View:
    """The view of a run whose predictions are too many to be read at once: from n and k of its cells."""
    try:
        cells = read_rates(store, run)
        images = count_images(store, run)
        tables = counted_tables(store, run, cells, images=images)
    except CaromError as error:
        return View(tables=[*aside, *show_trained(store, run)], problem=str(error))
    return View(
        tables=[*tables, *aside], cells=cells.assign(asr=cells["k"] / cells["n"], budget=budgets(cells)), images=images
    )


def about(folder: Path, run: str) -> list[Table]:
    """What failed in a run, its jobs and its models; empty tables are left out."""
    with Store(folder) as store:
        if run_size(store, run)[0] == "published":
            return []
        tables = [show_failures(store, run), show_failed_jobs(store, run), show_jobs(store, run)]
        return [*(t for t in tables if len(t.frame)), *show_trained(store, run)]


def comparison(folder: Path, first: str, second: str) -> View:
    """What differs between two runs, on the cells and images that both have; or the problem with that."""
    try:
        with Store(folder) as store:
            for run in (first, second):
                if (size := run_size(store, run)[1]) > LARGE:
                    return View(problem=f"{run}: {size:,} cells; expected at most {LARGE:,} to compare image by image")
            return View(tables=compare_runs(store, first, second))
    except CaromError as error:
        return View(problem=str(error))


# ------------------------------------------------------------------------------------------------------------- tables


def displayed(shown: Table) -> tuple[pd.DataFrame, list[str]]:
    """What a sortable table shows: the numbers of the shown columns, and words.

    Returns:
        The table, with rates from 0 to 1 and differences in points; and what all rows share, such as "norm linf", which
        is said once below it instead of in a column.
    """
    frame = pd.DataFrame(index=range(len(shown.frame)))
    shared: list[str] = []
    for column, form in shown.forms.items():
        if column not in shown.frame:
            continue
        values = shown.frame[column].reset_index(drop=True)
        words = values.map(_words) if form == "text" else pd.to_numeric(values)
        if form == "points":
            words = 100 * words
        if column in SAID_ONCE and len(words) > 1 and words.nunique() == 1:
            shared.append(f"{column} {words.iloc[0]}")
        else:
            frame[column] = words
    if "ranges_over" in shown.frame and shown.frame["ranges_over"].nunique() > 1:
        frame["interval ranges over"] = list(shown.frame["ranges_over"])
    return frame, shared


SAID_ONCE = ("norm", "eps", "targeted")


def _words(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def troubles(tables: Sequence[Table]) -> pd.DataFrame:
    """The controls that failed, then those that warned."""
    for table in tables:
        if table.name == "controls":
            bad = table.frame[table.frame["status"].isin(["failed", "warned"])]
            return bad.sort_values("status", kind="stable").reset_index(drop=True)
    return pd.DataFrame(columns=["control", "status", "expected", "came"])


# ------------------------------------------------------------------------------------------------------------- matrix


def budgets(cells: pd.DataFrame) -> pd.Series:
    """What an attack was allowed: "linf 48/255", or "linf 48/255 targeted"."""
    columns = ["norm", "eps", "targeted"]
    keys = cells.groupby(columns, sort=False, observed=True)
    place = keys.ngroup().to_numpy()
    _, first = np.unique(place, return_index=True)
    words = [f"{n} {e}{' targeted' if t else ''}" for n, e, t in cells[columns].iloc[first].itertuples(index=False)]
    if isinstance(cells["eps"].dtype, pd.CategoricalDtype):
        return pd.Series(pd.Categorical.from_codes(place, dtype=pd.CategoricalDtype(words)), index=cells.index)
    return pd.Series(np.array(words, dtype=object)[place], index=cells.index)


def attacked(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of surrogates: no controls."""
    return cells if cells.empty else cells[~cells["control"].astype(bool)]


def axes(cells: pd.DataFrame) -> list[str]:
    """The axes along which these cells differ, and surrogate and victim whether they do or not."""
    return [a for a in AXES if a in ("surrogate", "victim") or len({*cells[a].unique()} - {""}) > 1]


def matrix(
    cells: pd.DataFrame,
    rows: str,
    columns: str,
    *,
    attack: str | None = None,
    budget: str | None = None,
    white_box: bool = False,
) -> pd.DataFrame:
    """ASR of each pair of levels, pooled over its cells: k / n of their sums. Pairs without a clean right answer drop.

    Args:
        cells: As `View.cells`.
        rows: A name in `AXES`.
        columns: Another one.
        attack: Only this one; None pools all.
        budget: Only this one; None pools all.
        white_box: Also cells whose victim is the surrogate's own model (C0).

    Returns:
        The columns `rows`, `columns`, n, k, cells and ASR; the first two are categories in the order of the run.
    """
    mask = (cells["n"] > 0) & ~cells["control"].astype(bool)
    for column, level in (("attack", attack), ("budget", budget)):
        if level is not None:
            mask &= cells[column] == level
    if not white_box:
        mask &= cells["case"] != 0
    if attack is None:
        mask &= poolable(cells, (rows, columns))
    chosen = cells.loc[mask & (cells[rows] != "") & (cells[columns] != ""), [rows, columns, "n", "k"]]
    keys = chosen.groupby([rows, columns], sort=False, observed=True)
    table = keys.agg(n=("n", "sum"), k=("k", "sum"), cells=("n", "size")).reset_index()
    for axis in (rows, columns):
        found = set(table[axis])
        order = [level for level in levels(cells, axis) if level in found]
        table[axis] = pd.Categorical(table[axis].astype(object), order, ordered=True)
    return table.assign(ASR=table["k"] / table["n"]).sort_values([rows, columns], ignore_index=True)


def levels(cells: pd.DataFrame, axis: str) -> list[str]:
    """What stands along an axis, in the order of the run; a surrogate's own model as a victim comes last."""
    return list(dict.fromkeys([*cells.loc[cells["case"] != 0, axis].unique(), *cells[axis].unique()]))


# -------------------------------------------------------------------------------------------------------------- gates

GATES = "gates"  # folder of the store that the pytest plugin writes to


def has_gates(folder: Path) -> bool:
    """Whether a gate has ever recorded what it judged here."""
    return any((folder / GATES).glob("*/*.json"))


def gates_counter(folder: Path) -> int:
    """Moves when a gate records another verdict: files are added, never changed."""
    return sum(1 for _ in (folder / GATES).glob("*/*.json"))


@dataclass(frozen=True, kw_only=True)
class Gates:
    """What the gates of a store judged.

    Attributes:
        verdicts: One row a verdict, the latest first: gate (folder), test, name (within the test), baseline, suite,
            digest, images, time, commit, verdict, said (sentences), before, now (robust accuracy), low, high (one-sided
            bounds of its drop), allowed, clean_before, clean_now, asr_before, asr_now.
        parts: One row a set or class of a verdict: time, gate, kind ("set", "class"), part, before, now.
        checks: One row a check of a verdict: time, gate, and what `Check` of `carom.scenarios.gates` holds.
        damaged: Files that could not be read.
    """

    verdicts: pd.DataFrame
    parts: pd.DataFrame
    checks: pd.DataFrame
    damaged: int


def gates(folder: Path) -> Gates:
    """The verdicts that the pytest plugin kept in a store, which need hold no run."""
    verdicts, parts, checks, damaged = [], [], [], 0
    for path in sorted((folder / GATES).glob("*/*.json"), key=lambda path: path.name, reverse=True):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            row, more, judged = _verdict(path.parent.name, found)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            damaged += 1
            continue
        verdicts.append(row)
        parts += more
        checks += judged
    return Gates(
        verdicts=pd.DataFrame(verdicts), parts=pd.DataFrame(parts), checks=pd.DataFrame(checks), damaged=damaged
    )


def _verdict(gate: str, found: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """One file as rows; raises what reading a damaged one raises."""
    if found["format"] != 1 or found["verdict"] not in ("weaker", "cannot tell", "holds"):
        raise ValueError("of a newer version")
    time = pd.Timestamp(found["time"]).tz_convert("UTC").tz_localize(None)
    first = found["checks"][0]
    robust, clean, asr = (found[name] for name in ("robust_accuracy", "clean_accuracy", "asr"))
    row = {
        "gate": gate,
        "test": str(found["test"]),
        "name": str(found["gate"] or ""),
        "baseline": str(found["baseline"]),
        "suite": str(found["suite"]["name"]),
        "digest": str(found["suite"]["digest"]),
        "images": int(found["images"]),
        "time": time,
        "commit": str(found["commit"] or ""),
        "verdict": str(found["verdict"]),
        "said": "\n".join(map(str, found["said"])),
        "before": float(robust["before"]),
        "now": float(robust["now"]),
        "low": float(first["low"]),
        "high": float(first["high"]),
        "allowed": float(first["allowed"]),
        "clean_before": float(clean["before"]),
        "clean_now": float(clean["now"]),
        "asr_before": _rate(asr["before"]),
        "asr_now": _rate(asr["now"]),
    }
    parts = [
        {"time": time, "gate": gate, "kind": kind, "part": str(part["name"])}
        | {side: float(part[side]) for side in ("before", "now")}
        for kind, group in (("set", found["sets"]), ("class", found["classes"]))
        for part in group
    ]
    return row, parts, [{"time": time, "gate": gate, **check} for check in found["checks"]]


def _rate(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def gate_label(row: Mapping[Any, Any]) -> str:
    """How a gate is named to people: its test, and its name within the test."""
    return f"{row['test']} · {row['name']}" if row["name"] else str(row["test"])


def moved(found: Gates, gate: str, time: pd.Timestamp) -> pd.DataFrame:
    """What moved in one verdict: kind, part, before, now, drop; the largest change first."""
    mine = found.parts[(found.parts["gate"] == gate) & (found.parts["time"] == time)]
    table = mine.assign(drop=mine["before"] - mine["now"])
    order = table["drop"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order, ["kind", "part", "before", "now", "drop"]].reset_index(drop=True)


# --------------------------------------------------------------------------------------------------- order of a matrix

Order = Literal["run", "mean", "clustered"]
ORDERS: dict[Order, str] = {"run": "as in the run", "mean": "by mean ASR", "clustered": "alike beside alike"}
MOST_LEVELS = 150  # along an axis; more are not drawn
MOST_CLUSTERED = 1_000  # along an axis; distances of all pairs take too long above


def ordered(table: pd.DataFrame, rows: str, columns: str, order: Order) -> pd.DataFrame:
    """A matrix with its axes in another order.

    Args:
        table: As from `matrix`.
        rows: Name of its first axis.
        columns: Name of its second.
        order: "run" leaves it; "mean" puts the highest mean of the ASR of an axis's fields first; "clustered" puts what
            is alike side by side: average linkage of Euclidean distances of ASR, a missing field taken as the mean of
            its column. Axes of more than `MOST_CLUSTERED` levels are put in the order of their means instead.
    """
    if order == "run":
        return table
    wide = table.assign(**{a: table[a].astype(str) for a in (rows, columns)}).pivot(
        index=rows, columns=columns, values="ASR"
    )
    for axis, matrix_ in ((rows, wide), (columns, wide.T)):
        means = matrix_.mean(axis=1).sort_values(ascending=False, kind="stable")
        names = [str(name) for name in means.index]
        if order == "clustered" and 2 < len(names) <= MOST_CLUSTERED:
            values = matrix_.loc[means.index]
            filled = values.fillna(values.mean()).to_numpy(dtype=np.float64)
            tree = hierarchy.linkage(filled, "average", optimal_ordering=len(names) <= 200)
            names = [names[i] for i in hierarchy.leaves_list(tree)]
        table = table.assign(**{axis: pd.Categorical(table[axis].astype(str), names, ordered=True)})
    return table.sort_values([rows, columns], ignore_index=True)


def limited(table: pd.DataFrame, rows: str, columns: str) -> tuple[pd.DataFrame, dict[str, int]]:
    """The first `MOST_LEVELS` levels of each axis, and how many levels an axis that lost some had."""
    cut = {}
    for axis in (rows, columns):
        levels_ = table[axis].cat.categories
        if len(levels_) > MOST_LEVELS:
            cut[axis] = len(levels_)
            table = table[table[axis].isin(levels_[:MOST_LEVELS])]
            table = table.assign(**{axis: table[axis].cat.set_categories(levels_[:MOST_LEVELS])})
    return table.reset_index(drop=True), cut


def shortened(names: Sequence[str]) -> list[str]:
    """Names of models without the parts between slashes that all of them share, where that leaves them apart."""
    parts = [name.split("/") for name in names]
    shared = set(parts[0]).intersection(*parts) if len(parts) > 1 else set()
    short = ["/".join(part for part in own if part not in shared) for own in parts]
    return short if len(set(short)) == len(set(names)) and all(short) else list(names)


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """The cells behind one field of a matrix.

    Attributes:
        cells: Those with the highest ASR, at most `MOST_LISTED`, with Wilson's 95% interval over images, low and high,
            and an id of each, cell: "SET-VICTIM".
        count: How many there are.
        n: Summed over all of them.
        k: Likewise.
    """

    cells: pd.DataFrame
    count: int
    n: int
    k: int


MOST_LISTED = 200


def field_cells(
    cells: pd.DataFrame,
    where: Mapping[str, str],
    *,
    attack: str | None = None,
    budget: str | None = None,
    white_box: bool = False,
) -> Pooled:
    """The cells that one field of a matrix pools.

    Args:
        cells: As `View.cells`.
        where: The level of each of the two axes.
        attack: As for `matrix`.
        budget: As for `matrix`.
        white_box: As for `matrix`.
    """
    mask = (cells["n"] > 0) & ~cells["control"].astype(bool)
    for column, level in {"attack": attack, "budget": budget, **where}.items():
        if level is not None:
            mask &= cells[column] == level
    if not white_box:
        mask &= cells["case"] != 0
    if attack is None:
        mask &= poolable(cells, tuple(where))
    return _pooled(cells[mask])


def named_cell(cells: pd.DataFrame, name: str) -> Pooled:
    """The one cell of an id such as "17-4"; none where there is no such."""
    set_id, _, victim_id = name.partition("-")
    if not (set_id.isdecimal() and victim_id.isdecimal()):
        return _pooled(cells.iloc[:0])
    return _pooled(cells[(cells["set_id"] == int(set_id)) & (cells["victim_id"] == int(victim_id)) & (cells["n"] > 0)])


def _pooled(found: pd.DataFrame) -> Pooled:
    asr = (found["k"] / found["n"]).to_numpy()
    top = found.iloc[np.argsort(-asr, kind="stable")[:MOST_LISTED]].reset_index(drop=True)
    low, high = wilson(top["k"].to_numpy(), top["n"].to_numpy())
    name = top["set_id"].astype(str) + "-" + top["victim_id"].astype(str)
    top = top.assign(asr=top["k"] / top["n"], low=low, high=high, cell=name)
    return Pooled(cells=top, count=len(found), n=int(found["n"].sum()), k=int(found["k"].sum()))


# ----------------------------------------------------------------------------------------------------- cells and images

Outcome = Literal["fooled", "withstood", "wrong clean"]
OUTCOMES: dict[Outcome, str] = {
    "fooled": "the attack succeeded",
    "withstood": "the attack failed",
    "wrong clean": "wrong on the clean image already",
}
NO_ANSWER = "no answer"


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """One adversarial set on some victims, image by image.

    Attributes:
        images: One row an image: place (in the set), id, label, source, target ("" where the set aims at no class).
        cells: One row a victim, in the order asked for: as from `cell_rates`.
        by_class: As from `class_rates`; its column `cell` is a row of `cells`.
        clean: Name of the class that each victim sees in each clean image, or "no answer", `victims images`.
        adversarial: The same of the adversarial images.
        outcome: What came of each, `victims images`, in `OUTCOMES`.
    """

    images: pd.DataFrame
    cells: pd.DataFrame
    by_class: pd.DataFrame
    clean: NDArray[np.object_]
    adversarial: NDArray[np.object_]
    outcome: NDArray[np.object_]


def adversarial_sets(folder: Path, run: str) -> pd.DataFrame:
    """The adversarial sets of a run on its test images that were crafted, as from `list_sets`, with their budget."""
    with Store(folder) as store:
        found = list_sets(store, run)
    found = found[found["made"].astype(bool)].reset_index(drop=True)
    return found.assign(budget=budgets(found)) if len(found) else found.assign(budget="")


def answering(folder: Path, run: str, adversarial_set: int) -> pd.DataFrame:
    """The models that answered a set, as from `list_answering`."""
    with Store(folder) as store:
        return list_answering(store, run, adversarial_set)


def answered(folder: Path, run: str, adversarial_set: int, victims: Sequence[int]) -> Answered:
    """What these victims, rows of the store, answered to the images of one set.

    Raises:
        CaromError: No outcome of these, or a store that cannot be read.
    """
    with Store(folder) as store:
        outcomes = read_outcomes(store, run, only_sets=[adversarial_set], only_victims=victims)
    place = {victim: i for i, victim in enumerate(victims)}
    order = np.argsort([place[victim] for victim in outcomes.cells["victim_id"]])
    outcomes = replace(
        outcomes, cells=outcomes.cells.iloc[order].reset_index(drop=True), adversarial=outcomes.adversarial[order]
    )
    names = np.array([*outcomes.classes, NO_ANSWER], dtype=object)  # -1 is the last
    right = outcomes.right[outcomes.victim_index]
    targeted = outcomes.targeted.any() and outcomes.target is not None
    return Answered(
        images=pd.DataFrame(
            {
                "place": range(len(outcomes.labels)),
                "id": range(len(outcomes.labels)) if outcomes.image_ids is None else outcomes.image_ids,
                "label": names[outcomes.labels],
                "source": np.array(outcomes.image_sources, dtype=object)[outcomes.image_source],
                "target": names[outcomes.target] if targeted else "",
            }
        ),
        cells=cell_rates(outcomes),
        by_class=class_rates(outcomes),
        clean=names[outcomes.clean_predictions[outcomes.victim_index]],
        adversarial=names[outcomes.adversarial],
        outcome=np.where(outcomes.success, "fooled", np.where(right, "withstood", "wrong clean")).astype(object),
    )


def pictures(folder: Path, run: str, adversarial_set: int, places: Sequence[int]) -> tuple[Pictures, Pictures]:
    """Clean and adversarial images at these places of a set of a run, as from `read_pictures`.

    Raises:
        CaromError: Images that were freed, or a store that cannot be read.
    """
    with Store(folder) as store:
        known = list_sets(store, run)
        here = known.loc[known["set_id"] == adversarial_set, "image_set"]
        if here.empty:
            raise InputError(f"run {run} has no adversarial set {adversarial_set}; choose one of the run's sets")
        return read_pictures(store, adversarial_set, int(here.iloc[0]), places)


def confusion(found: Answered, victim: int = 0) -> pd.DataFrame:
    """How many images a victim saw as one class clean and as another adversarial: clean, adversarial, images, share.

    `share` is of the images with that clean answer.
    """
    pairs = pd.DataFrame({"clean": found.clean[victim], "adversarial": found.adversarial[victim]})
    table = pairs.groupby(["clean", "adversarial"], sort=False).size().rename("images").reset_index()
    return table.assign(share=table["images"] / table.groupby("clean")["images"].transform("sum"))


def filtered(
    found: Answered,
    *,
    label: str | None = None,
    outcome: str | None = None,
    victim: int = 0,
    agree: bool | None = None,
) -> list[int]:
    """Places of the images that pass.

    Args:
        found: What victims answered.
        label: Only images of this class.
        outcome: Only those that ended so for one victim.
        victim: That victim, a row of `found.cells`.
        agree: Only those whose adversarial image all victims see as the same class, or (False) not all.
    """
    keep = np.ones(len(found.images), dtype=bool)
    if label is not None:
        keep &= (found.images["label"] == label).to_numpy()
    if outcome is not None:
        keep &= found.outcome[victim] == outcome
    if agree is not None:
        keep &= (found.adversarial == found.adversarial[0]).all(axis=0) == agree
    return [int(place) for place in np.flatnonzero(keep)]


# --------------------------------------------------------------------------------------------------------------- cases

MOST_READ = 5_000  # cells whose answers are read one by one for a figure


def case_points(tables: Sequence[Table], cells: pd.DataFrame, *, attack: str | None = None) -> pd.DataFrame:
    """The table of cases as points of a figure: the columns of `case_table`, a budget, and in which `series` each is.

    A series is one combination of the further levels (whose answers were read, recipe, defence, ...) that cases are
    not pooled over; "" where there is one only.

    Args:
        tables: Of the run.
        cells: As `View.cells`.
        attack: Only this one, beside the controls of all; None pools all.
    """
    named = {table.name: table for table in tables}
    if "cases" not in named:
        return pd.DataFrame()
    frame, by_attack = named["cases"].frame, named.get("cases-by-attack")
    if attack is not None and by_attack is not None:
        controls = frame[frame["case_number"] < 0]
        frame = pd.concat([by_attack.frame[by_attack.frame["attack"] == attack], controls], ignore_index=True)
    return _points_of(frame, fixed_axes(named["cases"]), cells)


def fixed_axes(table: Table) -> list[str]:
    """The columns that a table of cases is not pooled over, beside norm, eps and goal."""
    pooled = ("case", "mismatch", "95% interval", "norm", "eps", "targeted", "attack")
    return [c for c in table.forms if c in table.frame and table.is_text(c) and c not in pooled]


def some_case_points(
    folder: Path,
    run: str,
    cells: pd.DataFrame,
    fixed: Sequence[str],
    *,
    attack: str | None = None,
    config: str | None = None,
) -> pd.DataFrame:
    """As `case_points`, of one configuration of surrogates or of one attack, or both, read from their answers.

    Raises:
        CaromError: More than `MOST_READ` cells, none, or a store that cannot be read.
    """
    mask = ~cells["control"].astype(bool)
    for column, value in (("attack", attack), ("surrogate_config", config)):
        if value is not None:
            mask &= cells[column] == value
    mask |= cells["control"].astype(bool)
    if mask.sum() > MOST_READ:
        raise InputError(
            f"run {run}: {int(mask.sum()):,} cells are to be read; expected at most {MOST_READ:,} for a figure; choose "
            "an attack too, or all surrogates"
        )
    with Store(folder) as store:
        outcomes = read_outcomes(store, run, only_sets=[int(i) for i in cells.loc[mask, "set_id"].unique()])
    if attack is not None:  # what was asked for by name stands alone, be it a snapshot
        outcomes = replace(outcomes, cells=outcomes.cells.assign(snapshot=False))
    table = case_table(outcomes, by=("norm", "eps", "targeted", *fixed))
    return _points_of(table.rename(columns={"case": "case_number", "name": "case"}), fixed, cells)


def _points_of(table: pd.DataFrame, fixed: Sequence[str], cells: pd.DataFrame) -> pd.DataFrame:
    if "targeted" not in table:
        table = table.assign(targeted=bool(attacked(cells)["targeted"].any()))
    table = table.assign(budget=budgets(table))
    met = table[table["case_number"] > 0]
    varied = [c for c in fixed if met.loc[met[c] != "", c].nunique() > 1]
    table = table.assign(series=_joined(table, varied))
    # on its own model a surrogate has levels that it meets nowhere else
    twins = table.duplicated(["budget", "case_number", "series"], keep=False)
    if twins.any():
        table.loc[twins, "series"] = _joined(table[twins], fixed)
    return table.reset_index(drop=True)


def _joined(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    return [" · ".join(str(w) for w in row if w) for row in table[list(columns)].itertuples(index=False)]


def published_points(tables: Sequence[Table]) -> pd.DataFrame:
    """The published columns of the table that sets them beside one's own: case (one's own), their case, whose, asr."""
    for table in tables:
        if table.name == "published":
            own = {"n", "ASR", *(c for c in table.forms if table.is_text(c))}
            theirs = [c for c in table.forms if c not in own]
            long = table.frame.melt(["case", "their case"], theirs, "whose", "asr")
            return long[long["asr"].notna()].drop_duplicates(ignore_index=True)
    return pd.DataFrame(columns=["case", "their case", "whose", "asr"])


# ----------------------------------------------------------------------------------------------------------- students


def student_files(folder: Path) -> list[tuple[str, int]]:
    """The files of measured students and when each changed, in nanoseconds: they have no rows that a counter counts."""
    return sorted((f.name, f.stat().st_mtime_ns) for f in (folder / "artifacts" / "students").glob("*.json"))


def students(folder: Path, run: str) -> dict[str, pd.DataFrame]:
    """The students of a run's elastic networks that were measured, by the network's label; nothing is measured.

    Returns:
        Columns student, accuracy, robust accuracy, MACs, parameters, and "on the front": "yes" where no other student
        is as good in accuracy, robust accuracy and MACs, and better in one. Those come first, the most robust on top.

    Raises:
        CaromError: The store, or the data that the run was planned with, cannot be read.
    """
    if not student_files(folder):
        return {}
    from carom.scenarios.cli.students import front, measured_students, record  # brings torch, and few stores need it

    tables = {}
    for label, candidates in measured_students(folder, run).items():
        best = {str(c.choice) for c in front(candidates)}
        table = pd.DataFrame([record(c) for c in candidates])
        table["on the front"] = table["student"].map(lambda name, best=best: "yes" if name in best else "no")
        order = ["on the front", "robust accuracy", "accuracy"]
        tables[label] = table.sort_values(order, ascending=False, ignore_index=True)
    return tables
