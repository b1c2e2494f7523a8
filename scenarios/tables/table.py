"""What a table is: numbers, how people read them, and what to beware of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

Form = Literal["text", "count", "percent", "points", "number"]

INTERVAL = "95% interval"  # the column of its words


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table, with what is needed to read it.

    Attributes:
        name: Short, for files.
        title: One line.
        frame: Numbers as they are: rates from 0 to 1.
        forms: How each shown column is written; columns without a form are not shown to people.
        notes: What the numbers are, over what intervals range, and what to beware of.
    """

    name: str
    title: str
    frame: pd.DataFrame
    forms: Mapping[str, Form]
    notes: Sequence[str] = field(default=())

    def is_text(self, column: str) -> bool:
        """Whether a shown column holds words."""
        return self.forms.get(column) == "text"

    def records(self) -> list[dict[str, Any]]:
        """All columns, for JSON."""
        return records(self.frame)

    def formatted(self) -> pd.DataFrame:
        """The shown columns as words."""
        columns = [c for c in self.forms if c in self.frame]
        return pd.DataFrame({c: [_written(v, self.forms[c]) for v in self.frame[c]] for c in columns})


def _written(value: Any, form: Form) -> str:
    if form == "text":
        return str(value)
    if value is None or pd.isna(value):
        return "–"
    if form == "count":
        return f"{int(value):,}"
    if form == "percent":
        return f"{100 * value:.1f}%"
    if form == "points":
        return f"{round(100 * value, 1) + 0.0:+.1f}"  # -0.0 is written as 0
    return f"{value:.3g}"


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows, by the names of their columns."""
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict(orient="records")]


# ----------------------------------------------------------------------------------------------------- rates, intervals

RATE_FORMS: Mapping[str, Form] = {
    "cells": "count",
    "n": "count",
    "ASR": "percent",
    INTERVAL: "text",
    "clean accuracy": "percent",
    "robust accuracy": "percent",
    "lift": "points",
    "relative": "percent",
}


def with_intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Rates beside their intervals, as people read them."""
    shown = table.copy()
    shown["ASR"] = shown["asr"]
    shown[INTERVAL] = interval_words(shown["low"], shown["high"])
    return shown


def interval(low: float, high: float) -> str:
    """Limits from 0 to 1 as people read them, such as "12.5–15.0%"; "–" where there are none."""
    return "–" if pd.isna(low) else f"{100 * low:.1f}–{100 * high:.1f}%"


def interval_in_points(low: float, high: float) -> str:
    """Limits of a difference in points, such as "-1.2 to +3.4"; "–" where there are none."""
    return "–" if pd.isna(low) else f"{100 * low:+.1f} to {100 * high:+.1f}"


def interval_words(low: "pd.Series[float]", high: "pd.Series[float]") -> list[str]:
    """The `interval` of each row."""
    return [interval(*limits) for limits in zip(low, high, strict=True)]


def points_words(low: "pd.Series[float]", high: "pd.Series[float]") -> list[str]:
    """The `interval_in_points` of each row."""
    return [interval_in_points(*limits) for limits in zip(low, high, strict=True)]


def ranges_over(table: pd.DataFrame) -> str:
    """What the intervals of a table range over."""
    return _distinct(table["ranges_over"])


def ranges_note(table: pd.DataFrame) -> str:
    """The same as the beginning of a sentence."""
    return f"95% intervals range over: {ranges_over(table)}"


def interval_notes(table: pd.DataFrame) -> list[str]:
    """What the intervals of a table range over, and what they speak of; nothing of an empty one."""
    if not len(table):
        return []
    return [f"{ranges_note(table)}. What they speak of: {_distinct(table['claim'])}."]


def _distinct(words: "pd.Series[Any]") -> str:
    return "; ".join(dict.fromkeys(words.dropna().astype(str)))
