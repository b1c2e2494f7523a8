"""What surrogates, attacks and defences buy: tables of a run made ready for figures, and students of its networks."""

from pathlib import Path

import pandas as pd

from carom.scenarios.tables.surrogates import GEOMETRY
from carom.scenarios.tables.table import INTERVAL, Table

from .cases import level_words


def with_budget(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of a table with their budget in words, such as "linf 8/255"."""
    return frame.assign(budget=frame["norm"] + " " + frame["eps"])


def by_kind(by_attack: Table) -> tuple[pd.DataFrame, list[str]]:
    """The rows of attacks with their budget and, where some are not comparable, with the kind of each.

    Returns:
        The rows; and the columns whose levels no figure may mix: goals, whose answers were read, recipes, defences.
        With some, the column `kind` has those levels in words.
    """
    frame = with_budget(by_attack.frame)
    apart = [c for c in by_attack.forms if by_attack.is_text(c) and c not in ("attack", "norm", "eps", INTERVAL)]
    apart = [c for c in apart if c in frame and frame[c].nunique() > 1]
    if apart:
        words = [frame[c].map(lambda v, c=c: level_words(c, v)) for c in apart]
        frame = frame.assign(kind=[", ".join(filter(None, row)) for row in zip(*words, strict=True)])
    return frame, apart


def beside_sets(by_attack: pd.DataFrame, sets: pd.DataFrame) -> pd.DataFrame:
    """Rows of attacks beside how visible their sets are and what they took."""
    seen = sets[["attack", "norm", "eps", "L2", "SSIM", "passes per image"]]
    return by_attack.merge(seen, on=["attack", "norm", "eps"])


def measured(geometry: pd.DataFrame, chosen: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Surrogates beside the geometry of their loss, and the measures that at least two of them have."""
    both = chosen.drop(columns="seeds").merge(geometry, on="surrogate")
    return both, [m for m in GEOMETRY.values() if m in geometry and both[m].notna().sum() > 1]


def rank_correlation(rows: pd.DataFrame, measure: str) -> float:
    """Spearman's, of a measure and the ASR; NaN where one of them is constant."""
    return float(rows[measure].rank().corr(rows["asr"].rank()))


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
    from carom.scenarios.students import front, measured_students, record  # brings torch, and few stores need it

    tables = {}
    for label, candidates in measured_students(folder, run).items():
        best = {str(c.choice) for c in front(candidates)}
        table = pd.DataFrame([record(c) for c in candidates])
        table["on the front"] = table["student"].map(lambda name, best=best: "yes" if name in best else "no")
        order = ["on the front", "robust accuracy", "accuracy"]
        tables[label] = table.sort_values(order, ascending=False, ignore_index=True)
    return tables
