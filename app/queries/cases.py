"""The points of the figure of cases, one's own and published ones."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from carom.scenarios.cases import UNDECLARED
from carom.scenarios.statistics import Outcomes, case_table
from carom.scenarios.statistics.outcomes import eps_value
from carom.scenarios.tables.effects import show_effects
from carom.scenarios.tables.table import INTERVAL, Table

from .cells import attacked, budgets, some_outcomes

Measure = Literal["ASR", "robust accuracy", "lift"]
MEASURES: tuple[Measure, ...] = ("ASR", "robust accuracy", "lift")


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
    pooled = ("case", "mismatch", INTERVAL, "norm", "eps", "targeted", "attack")
    return [c for c in table.forms if c in table.frame and table.is_text(c) and c not in pooled]


def some_case_points(
    folder: Path,
    run: str,
    cells: pd.DataFrame,
    fixed: Sequence[str],
    *,
    attack: str | None = None,
    config: str | None = None,
    measure: Measure = "ASR",
) -> pd.DataFrame:
    """As `case_points`, of one configuration of surrogates or of one attack, or both, read from their answers.

    Raises:
        CaromError: More than `cells.MOST_READ` cells, none, or a store that cannot be read.
    """
    outcomes = some_outcomes(folder, run, cells, {"attack": attack, "surrogate_config": config})
    if measure == "robust accuracy":
        outcomes = _all_right(outcomes)
    table = case_table(outcomes, by=("norm", "eps", "targeted", *fixed))
    return _points_of(table.rename(columns={"case": "case_number", "name": "case"}), fixed, cells)


def some_effects(
    folder: Path,
    run: str,
    cells: pd.DataFrame,
    *,
    budget: str,
    attack: str | None = None,
    config: str | None = None,
) -> Table:
    """The table of effects of one budget, and of one attack or configuration of surrogates where that is chosen.

    Raises:
        CaromError: As `some_case_points`.
    """
    return show_effects(
        some_outcomes(folder, run, cells, {"budget": budget, "attack": attack, "surrogate_config": config})
    )


def _all_right(outcomes: Outcomes) -> Outcomes:
    """The same as if every victim were right on every clean image: then success is a wrong adversarial answer.

    So the ASR of these is the share of all images that are wrong, and its interval that of the robust accuracy.
    """
    right = np.broadcast_to(outcomes.labels, outcomes.clean_predictions.shape)
    return replace(
        outcomes,
        clean_predictions=right.astype(outcomes.clean_predictions.dtype),
        cells=outcomes.cells.assign(targeted=False, aimed=outcomes.targeted),
    )


def measured(points: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """The points with the measure, and its limits, in the columns asr, low and high.

    Args:
        points: As from `case_points`; for robust accuracy as from `some_case_points` of that measure.
        measure: What is to be drawn.
    """
    found = points.copy()
    if measure == "robust accuracy":
        found["asr"], found["low"], found["high"] = 1 - points["asr"], 1 - points["high"], 1 - points["low"]
        found["k"] = points["n"] - points["k"]
    elif measure == "lift":
        found["asr"], found["low"], found["high"] = points["lift"], points["lift_low"], points["lift_high"]
    return found


def measures(points: pd.DataFrame, cells: pd.DataFrame) -> list[Measure]:
    """What can be drawn of a run's cases: of a large one nobody read what the adversarial answers are."""
    found: list[Measure] = ["ASR"]
    if "robust_accuracy" in cells:
        found.append("robust accuracy")
    if "lift" in points and points["lift"].notna().any():
        found.append("lift")
    return found


def over_radii(points: pd.DataFrame, budget: str) -> pd.DataFrame:
    """The points of all radii of a budget's norm and goal, each radius a series; none where there is one only."""
    mine: pd.DataFrame = points[points["budget"] == budget]
    if mine.empty:
        return mine
    of = (points["norm"] == mine["norm"].iloc[0]) & (points["targeted"] == mine["targeted"].iloc[0])
    found: pd.DataFrame = points[of & points["asr"].notna() & (points["eps"].map(eps_value) > 0)]
    radii = sorted(found.loc[found["case_number"] >= 0, "eps"].unique(), key=eps_value)
    if len(radii) < 2:
        return pd.DataFrame(found.iloc[:0])
    grown: pd.DataFrame = found[found["eps"].isin(radii)].assign(series=found["eps"])
    return grown.sort_values("eps", key=lambda eps: eps.map(radii.index), kind="stable", ignore_index=True)


def _points_of(table: pd.DataFrame, fixed: Sequence[str], cells: pd.DataFrame) -> pd.DataFrame:
    if "targeted" not in table:
        table = table.assign(targeted=bool(attacked(cells)["targeted"].any()))
    table = table.assign(budget=budgets(table))
    met = table[table["case_number"] > 0]
    varied = [c for c in fixed if met.loc[met[c] != "", c].nunique() > 1]
    table = table.assign(series=_joined(table, varied))
    # on its own model a surrogate has levels that it meets nowhere else
    twins = table.duplicated(["budget", "case_number", "series"], keep=False) & (table["case_number"] >= 0)
    if twins.any():
        apart = [
            c
            for c in fixed
            if c in varied or table.loc[twins].groupby(["budget", "case_number"])[c].nunique().max() > 1
        ]
        table["series"] = _joined(table, apart)
    return table.reset_index(drop=True)


READS = {"surrogate": "surrogate read", "victim": "victim read", "both": "victim asked"}
SIDES = {"s": "attacker", "v": "victim"}


def _joined(table: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """The levels of these columns in words, such as "attacker plain, victim pgd-at"."""
    return [
        ", ".join(word for column in columns if (word := level_words(column, getattr(row, column))))
        for row in table[list(columns)].itertuples(index=False)
    ]


def level_words(column: str, level: object) -> str:
    """A level of a column that cases are not pooled over, in words; "" for none."""
    if column == "reads":
        return READS.get(str(level), str(level))
    if column == "targeted":
        return "targeted" if level in (True, "True") else "untargeted"
    axis, _, side = column.rpartition("_")
    if side not in SIDES or not level:
        return str(level)
    said = "plain" if (axis, level) == ("defense", "none") else str(level) if axis == "defense" else f"{axis} {level}"
    return f"{SIDES[side]} {said}"


def published_points(tables: Sequence[Table]) -> pd.DataFrame:
    """The published columns of the table that sets them beside one's own: case (one's own), their case, whose, asr."""
    for table in tables:
        if table.name == "published":
            own = {"n", "ASR", *(c for c in table.forms if table.is_text(c))}
            theirs = [c for c in table.forms if c not in own]
            long = table.frame.melt(["case", "their case"], theirs, "whose", "asr")
            return long[long["asr"].notna()].drop_duplicates(ignore_index=True)
    return pd.DataFrame(columns=["case", "their case", "whose", "asr"])


def series_of(points: pd.DataFrame) -> list[str]:
    """The series of some points that surrogates made; what transfers comes first.

    On its own model a surrogate has other levels than elsewhere.
    """
    found = points[points["case_number"] >= 0]
    return list(dict.fromkeys([*found.loc[found["case_number"] > 0, "series"], *found["series"]]))


def published_case_points(table: pd.DataFrame) -> pd.DataFrame:
    """The cases of a published run as points, which come without intervals; n and cells are rows."""
    points = table.assign(series=table["attacks"], low=float("nan"), high=float("nan"), asr=table["ASR"])
    return points.assign(n=points["rows"], cells=points["rows"], **{INTERVAL: "not published"})


MISMATCHES = {
    "source": "A foreign source",
    "balance": "Another balance of classes",
    "architecture": "Another architecture",
    "samples": "Other samples of the same source",
    "recipe": "Another recipe",
    "defense": "Another defence",
}


def finding(effects: pd.DataFrame) -> str:
    """The largest effect that can be told from none, in a sentence.

    Args:
        effects: Columns name, effect, low and high, in points, as from `effect_points`.
    """
    plain = "What a mismatch costs the attacker"
    if effects.empty or effects["low"].isna().all():
        return plain
    sure = effects[(effects["high"] < 0) | (effects["low"] > 0)]
    if sure.empty:
        return "No mismatch can be told from none"
    row = sure.iloc[int(np.argmax(sure["effect"].abs()))]
    what = MISMATCHES.get(str(row["name"]), f"A mismatch in {row['name']}")
    low, high = sorted(abs(limit) for limit in (row["low"], row["high"]))
    points = f"{abs(row['effect']):.0f} points ({low:.0f} to {high:.0f})"
    return f"{what} costs the attacker {points}" if row["effect"] < 0 else f"{what} helps the attacker by {points}"


DIFFER = {
    1: "another seed",
    2: "another balance",
    3: "another architecture",
    4: "another balance and architecture",
    5: "another source",
    6: "another source and balance",
    7: "another source and architecture",
    8: "another source, balance and architecture",
}


def case_finding(points: pd.DataFrame, measure: Measure) -> str:
    """How far the cases are apart, in a sentence.

    Args:
        points: Of one series, as they are drawn.
        measure: What they show.
    """
    met = points[(points["case_number"] > 0) & (points["case_number"] < UNDECLARED) & points["asr"].notna()]
    title = f"{measure[:1].upper()}{measure[1:]} by case"
    if len(met) < 2 or met["case"].duplicated().any():
        return title
    ends = [met.iloc[int(place(met["asr"]))] for place in (np.argmax, np.argmin)]
    high, low = ends if measure != "robust accuracy" else ends[::-1]
    unit = " points" if measure == "lift" else "%"
    one, other = (
        f"{100 * row['asr']:.0f}{unit} in {row['case']} ({DIFFER[int(row['case_number'])]})" for row in (high, low)
    )
    return f"{measure[:1].upper()}{measure[1:]} goes from {one} to {other}"


def effect_points(table: pd.DataFrame) -> pd.DataFrame:
    """The table of effects as points of a figure, in points of ASR; of a published run those of its first task."""
    drawn = pd.DataFrame(
        {
            "name": table["mismatch in"],
            "effect": 100 * table["effect"],
            "low": 100 * table["low"] if "low" in table else float("nan"),
            "high": 100 * table["high"] if "high" in table else float("nan"),
            "interval": table.get(INTERVAL, "not published"),
            "p": table.get("p_holm", float("nan")),
            "kind": table.get("attacks", "all"),
        }
    )
    return drawn[(table["task"] == table["task"].iloc[0]).to_numpy()] if "task" in table else drawn
