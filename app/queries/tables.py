"""Tables as pages show them: numbers that sort, what all rows share, controls that did not pass."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import pandas as pd

from carom.scenarios.tables.table import Form, Table

SAID_ONCE = ("norm", "eps", "targeted")
NONE = "–"
NUMBER = r"[<>]?[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:/\d+)?\+?"
LIMITS = re.compile(rf"({NUMBER})(%?)(?:–| to )({NUMBER})(%?)")


@dataclass(frozen=True, kw_only=True)
class Displayed:
    """A table whose numbers sort as numbers.

    Attributes:
        frame: Numbers, and words where there are none; rates from 0 to 1, differences in points.
        forms: How numbers are written: "count", "percent", "points" or "number".
        words: For columns of numbers that have words of their own, the word of each: 8/255 is 0.0314, "<1" is just
            below 1.
        shared: What all rows share, such as "norm linf", which is said once instead of in a column.
        column: The column of the table that each column was made of.
    """

    frame: pd.DataFrame
    forms: Mapping[str, Form]
    words: Mapping[str, Mapping[float, str]]
    shared: Sequence[str]
    column: Mapping[str, str]


def displayed(shown: Table) -> Displayed:
    """What a sortable table shows of the columns that are shown: an interval becomes its two limits."""
    frame = pd.DataFrame(index=range(len(shown.frame)))
    shared: list[str] = []
    forms: dict[str, Form] = {}
    words: dict[str, Mapping[float, str]] = {}
    made_of: dict[str, str] = {}
    for column, form in shown.forms.items():
        if column not in shown.frame:
            continue
        values = shown.frame[column].reset_index(drop=True)
        said = [_words(value) for value in values] if form == "text" else []
        if column in SAID_ONCE and len(values) > 1 and values.nunique() == 1:
            shared.append(f"{column} {_words(values.iloc[0])}")
        elif form != "text":
            frame[column] = 100 * pd.to_numeric(values) if form == "points" else pd.to_numeric(values)
            forms[column], made_of[column] = form, column
        elif (limits := _limits(said)) is not None:
            base = column.removesuffix("interval").strip()
            for name, (of_limit, numbers) in zip(("low", "high"), limits, strict=True):
                named = f"{base} {name}".strip()
                frame[named], forms[named], made_of[named] = numbers.values, of_limit, column
                words |= {named: numbers.words} if numbers.words else {}
        elif (found := _numbers(said)) is not None:
            frame[column], words[column], made_of[column] = found.values, found.words, column
        else:
            frame[column], made_of[column] = said, column
    if "ranges_over" in shown.frame and shown.frame["ranges_over"].nunique() > 1:
        frame["interval ranges over"] = list(shown.frame["ranges_over"])
    return Displayed(frame=frame, forms=forms, words=words, shared=shared, column=made_of)


def _words(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


@dataclass(frozen=True, kw_only=True)
class _Numbers:
    values: Sequence[float]
    words: Mapping[float, str]


def _numbers(said: Sequence[str]) -> _Numbers | None:
    """The numbers that all of these words say, "–" for none of it; None where one says something else."""
    values: list[float] = []
    words: dict[float, str] = {}
    for word in said:
        if word in (NONE, ""):
            values.append(float("nan"))
            continue
        if re.fullmatch(NUMBER, word) is None:
            return None
        value = float(Fraction(word.strip("<>+")))
        if word[0] in "<>":
            value = math.nextafter(value, -math.inf if word[0] == "<" else math.inf)
        while words.get(value, word) != word:  # another word of the same number
            value = math.nextafter(value, math.inf)
        values.append(value)
        words[value] = word
    return _Numbers(values=values, words=words) if words else None


def _limits(said: Sequence[str]) -> tuple[tuple[Form, _Numbers], tuple[Form, _Numbers]] | None:
    """Both limits of intervals, such as "7.3–9.5%" or "-1.2 to +3.4"; None where one is none."""
    found = [LIMITS.fullmatch(word) for word in said]
    known = [match for match in found if match is not None]
    if not known or any(match is None and word not in (NONE, "") for match, word in zip(found, said, strict=True)):
        return None
    percent = bool(known[0][4])
    sides = []
    for group in (1, 3):
        numbers = _numbers([NONE if match is None else match[group] for match in found])
        assert numbers is not None
        form: Form = "percent" if percent else "points" if " to " in known[0][0] else "number"
        if form != "number":
            scale = 0.01 if percent else 1.0
            numbers = _Numbers(values=[scale * value for value in numbers.values], words={})
        sides.append((form, numbers))
    return sides[0], sides[1]


def troubles(tables: Sequence[Table]) -> pd.DataFrame:
    """The controls that failed, then those that warned."""
    for table in tables:
        if table.name == "controls":
            bad = table.frame[table.frame["status"].isin(["failed", "warned"])]
            return bad.sort_values("status", kind="stable").reset_index(drop=True)
    return pd.DataFrame(columns=["control", "status", "expected", "came"])
