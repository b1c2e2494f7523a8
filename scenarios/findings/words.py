"""What a finding is, and how numbers, intervals, ties and attackers are said."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from carom.scenarios.cases import CASES, UNDECLARED

RANGES = {"images, these models": "images, for these very models"}
_TRAINS = {False: "trains the same network", True: "trains another network"}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a run found.

    Attributes:
        kind: Such as "cases" or "attack".
        text: One sentence, or two.
        page: Of the explorer, where the figure of it stands.
        table: Which has its numbers.
        name: Whom or what it is about, in short; "" where that is no one thing.
        number: Its number with the interval; "" likewise.
        ranges_over: What its intervals range over; "" where it has none.
        ties: How many others cannot be told from `name`.
        against: Whom a defence is for; "" for other kinds.
    """

    kind: str
    text: str
    page: str
    table: str
    name: str = ""
    number: str = ""
    ranges_over: str = ""
    ties: int = 0
    against: str = ""


def hundred(rate: float) -> str:
    """A rate as so many of 100; what is neither none nor all is not said to be."""
    if 0 < rate < 0.005:
        return "fewer than 1"
    return "more than 99" if 0.995 <= rate < 1 else f"{100 * rate:.0f}"


def span(low: float, high: float) -> str:
    """Limits of an interval of rates, such as "83 to 87"."""
    return f"{100 * low:.0f} to {100 * high:.0f}"


def of_hundred(row: Mapping[str, Any], unit: str = "", *, n: str = "") -> str:
    """The ASR of a row, such as "84 of 100 images (83 to 85)".

    Args:
        row: With asr, low and high.
        unit: Such as "images"; without it the number stands alone.
        n: Words behind the interval.
    """
    words = hundred(row["asr"]) + (f" of 100 {unit}" if unit else "")
    if pd.isna(row["low"]):
        return words
    return f"{words} ({span(row['low'], row['high'])}{f'; {n}' if n else ''})"


def percent(rate: float, low: float, high: float) -> str:
    """Such as "84% (83 to 85)"."""
    return f"{100 * rate:.0f}%" + ("" if pd.isna(low) else f" ({span(low, high)})")


def points(value: float) -> str:
    """A difference of rates in points, without a sign, such as "23 points"; 1 decimal below 10."""
    size = abs(100 * value)
    return f"{size:.0f}" if size >= 10 else f"{size:.1f}"


def listed(names: Sequence[str], most: int = 4) -> str:
    """Such as "a, b and c"; of more than `most` the first, and how many others."""
    names = list(names)
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def times(count: int, word: str) -> str:
    """Such as "1 sign" and "2 signs"."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def attack_names(labels: Iterable[str]) -> dict[str, str]:
    """Each label of an attack without the settings that all of them have: "mi steps=50" and "bim steps=50"."""
    words = {label: label.split(" ") for label in dict.fromkeys(labels)}
    shared = set.intersection(*map(set, words.values())) if len(words) > 1 else set()
    return {label: " ".join([of[0], *(w for w in of[1:] if w not in shared)]) for label, of in words.items()}


def overlaps(frame: pd.DataFrame, best: Mapping[str, Any]) -> "pd.Series[bool]":
    """Rows whose interval meets that of one row, so that the two cannot be told apart; that row itself too.

    Args:
        frame: With columns low and high.
        best: With the same.
    """
    met: pd.Series[bool] = (frame["low"] <= best["high"]) & (frame["high"] >= best["low"])
    return met


def over(ranges: Iterable[object]) -> str:
    """What intervals range over, in plain words."""
    known = dict.fromkeys(str(r) for r in ranges if isinstance(r, str) and r)
    return " or ".join(RANGES.get(r, r) for r in known)


def who(case: int) -> str:
    """The attacker of a case as the subject of a sentence goes on: "trains another network on another source"."""
    if case == UNDECLARED:
        return "has public models whose training nobody declared"
    differs = CASES[case].mismatch.split("+")
    trains = _TRAINS["M" in differs]
    on = "another source of images" if "D" in differs else "the same kind of images"
    return f"{trains} on {on}" + (" in another balance of classes" if "B" in differs else "")
