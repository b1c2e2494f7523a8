"""What the gates of a store judged, from the files that the pytest plugin writes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

VERDICTS = ("weaker", "cannot tell", "holds")  # the worst first
Rows = list[dict[str, Any]]
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
            bounds of its drop), allowed, first (the verdict on robust accuracy alone, which these bounds are of),
            clean_before, clean_now, asr_before, asr_now, lost, won (images that are answered right in fewer sets than
            before, and in more; nan where that was not kept), sets.
        parts: One row a set or class of a verdict: time, gate, kind ("set", "class"), part, before, now.
        checks: One row a check of a verdict: time, gate, and what `Check` of `carom.scenarios.gates` holds.
        flipped: One row an image of a verdict whose answers changed most: time, gate, id, source, class, before, now
            (sets in which it is answered right).
        damaged: Files that could not be read.
    """

    verdicts: pd.DataFrame
    parts: pd.DataFrame
    checks: pd.DataFrame
    flipped: pd.DataFrame
    damaged: int


def gates(folder: Path) -> Gates:
    """The verdicts that the pytest plugin kept in a store, which need hold no run."""
    verdicts, parts, checks, flipped, damaged = [], [], [], [], 0
    for path in sorted((folder / GATES).glob("*/*.json"), key=lambda path: path.name, reverse=True):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            row, more, judged, images = _verdict(path.parent.name, found)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            damaged += 1
            continue
        verdicts.append(row)
        parts += more
        checks += judged
        flipped += images
    return Gates(
        verdicts=pd.DataFrame(verdicts),
        parts=pd.DataFrame(parts),
        checks=pd.DataFrame(checks),
        flipped=pd.DataFrame(flipped, columns=["time", "gate", "id", "source", "class", "before", "now"]),
        damaged=damaged,
    )


def _verdict(gate: str, found: Mapping[str, Any]) -> tuple[dict[str, Any], Rows, Rows, Rows]:
    """One file as rows; raises what reading a damaged one raises."""
    if found["format"] != 1 or found["verdict"] not in ("weaker", "cannot tell", "holds"):
        raise ValueError("of a newer version")
    time = pd.Timestamp(found["time"]).tz_convert("UTC").tz_localize(None)
    first = found["checks"][0]
    flips = found.get("flipped") or {}  # carom 1.0 did not keep them
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
        "first": str(first["verdict"]),
        "clean_before": float(clean["before"]),
        "clean_now": float(clean["now"]),
        "asr_before": _rate(asr["before"]),
        "asr_now": _rate(asr["now"]),
        **{name: float(flips.get(name, "nan")) for name in ("lost", "won", "sets")},
    }
    parts = [
        {"time": time, "gate": gate, "kind": kind, "part": str(part["name"])}
        | {side: float(part[side]) for side in ("before", "now")}
        for kind, group in (("set", found["sets"]), ("class", found["classes"]))
        for part in group
    ]
    checks = [{"time": time, "gate": gate, **check} for check in found["checks"]]
    images = [{"time": time, "gate": gate, **image} for image in flips.get("images", [])]
    return row, parts, checks, images


def _rate(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def gate_label(row: Mapping[Any, Any]) -> str:
    """How a gate is named to people: its test, and its name within the test."""
    return f"{row['test']} · {row['name']}" if row["name"] else str(row["test"])


def latest(found: Gates) -> pd.DataFrame:
    """The latest verdict of each gate, the worst first."""
    last = found.verdicts.groupby("gate", sort=False).head(1)
    order = last["verdict"].map(VERDICTS.index).sort_values(kind="stable").index
    return last.loc[order].reset_index(drop=True)


def moved(found: Gates, gate: str, time: pd.Timestamp) -> pd.DataFrame:
    """What moved in one verdict: kind, part, before, now, drop; the largest change first."""
    mine = found.parts[(found.parts["gate"] == gate) & (found.parts["time"] == time)]
    table = mine.assign(drop=mine["before"] - mine["now"])
    order = table["drop"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order, ["kind", "part", "before", "now", "drop"]].reset_index(drop=True)


def judged(found: Gates, gate: str, time: pd.Timestamp) -> pd.DataFrame:
    """The checks of one verdict, those that do not hold first, on one scale: how far each is from its limit.

    Returns:
        Columns what, verdict, before, now, drop, low, high, allowed, n, and in points spare, spare_low, spare_high:
        what is left before the limit is met, with its one-sided bounds; below 0 the limit is overstepped.
    """
    mine = found.checks[(found.checks["gate"] == gate) & (found.checks["time"] == time)]
    numbers = ["before", "now", "drop", "low", "high", "allowed"]
    table = mine[["what", "verdict", *numbers, "n"]].astype(dict.fromkeys(numbers, float))
    floor = table["drop"].isna()  # a floor is of robust accuracy itself, not of its drop
    table["spare"] = 100 * (table["now"] - table["allowed"]).where(floor, table["allowed"] - table["drop"])
    table["spare_low"] = 100 * (table["low"] - table["allowed"]).where(floor, table["allowed"] - table["high"])
    table["spare_high"] = 100 * (table["high"] - table["allowed"]).where(floor, table["allowed"] - table["low"])
    order = table["verdict"].map(VERDICTS.index).sort_values(kind="stable").index
    return table.loc[order].reset_index(drop=True)


def flipped(found: Gates, gate: str, time: pd.Timestamp) -> pd.DataFrame:
    """The images of one verdict whose answers changed most: id, source, class, before, now."""
    mine = found.flipped[(found.flipped["gate"] == gate) & (found.flipped["time"] == time)]
    return mine.drop(columns=["time", "gate"]).reset_index(drop=True)
